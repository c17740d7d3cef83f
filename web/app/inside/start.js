// @ts-check
// Hangs everything that looks inside into the page: the panel, the counters of answers, the journal.

import { Journal } from "../journal.js";
import { LogDialog } from "./log.js";
import { Inside } from "./panel.js";

/**
 * @param {import("../types.js").PageEngine} engine @param {import("../chat.js").Chat} chat
 * @param {import("../conversations/library.js").Library} library @param {import("../info.js").InfoPanel} info
 */
export function startInside(engine, chat, library, info) {
  const journal = new Journal();
  journal.watch(engine, chat);
  new LogDialog(journal, library);
  new Inside(engine, chat);
  info.follow(chat);
}
