// @ts-check
// The page's engine, begun before the rest of the page is there: its worker looks at what this browser can do and starts Python meanwhile.

import { Engine } from "../engine/client.js";

/** @typedef {import("./types.js").PageEngine} PageEngine */

export const creating = /** @type {Promise<PageEngine>} */ (/** @type {unknown} */ (Engine.create({ soon: true })));
creating.catch(() => {}); // told by main.js, which waits for it
