// @ts-check
/** Engines that the elements of a page share: one for each model, started when somebody first needs it, closed a moment after nobody does. */

/** @typedef {import("../engine/client.js").Engine} Engine */
/** What to load. @typedef {{model: string, device: "webgpu" | "numpy"}} Wanted */
/** @typedef {{users: Set<Lease>, engine?: Promise<Engine>, closing?: ReturnType<typeof setTimeout>}} Shared */

const MOMENT = 2000; // ms; an element that is moved, or replaced by the next page of an application, needs no other engine

/** @type {Map<string, Shared>} */
const shared = new Map();
const EVENTS = ["state", "progress", "recovering", "recovered"];

/** How many engines there are. */
export function engines() {
  return [...shared.values()].filter(({ engine }) => engine).length;
}

/** An element's right to an engine. */
export class Lease {
  #released = false;
  /** @type {Engine | undefined} */
  #engine;

  /** @param {Wanted} wanted @param {(event: CustomEvent) => void} listener of the engine's events */
  constructor(wanted, listener) {
    this.wanted = wanted;
    this.key = JSON.stringify([wanted.model, wanted.device]);
    this.listener = listener;
    const entry = shared.get(this.key) ?? { users: new Set() };
    shared.set(this.key, entry);
    clearTimeout(entry.closing);
    entry.users.add(this);
    this.entry = entry;
  }

  /** The engine, with its model. @returns {Promise<Engine>} */
  async load() {
    const { entry, wanted } = this;
    entry.engine ??= create();
    try {
      this.#hear(await entry.engine);
    } catch (e) {
      entry.engine = undefined; // not even its program could be fetched
      throw e;
    }
    const engine = await entry.engine;
    await engine.load(wanted.model, { device: wanted.device, share: true }); // what is loaded, or loading, is not loaded again
    return engine;
  }

  /** @param {Engine} engine */
  #hear(engine) {
    if (this.#engine || this.#released) return;
    this.#engine = engine;
    for (const name of EVENTS) engine.addEventListener(name, /** @type {any} */ (this.listener));
  }

  release() {
    if (this.#released) return;
    this.#released = true;
    for (const name of EVENTS) this.#engine?.removeEventListener(name, /** @type {any} */ (this.listener));
    const { entry, key } = this;
    entry.users.delete(this);
    if (entry.users.size) return;
    entry.closing = setTimeout(() => {
      shared.delete(key);
      entry.engine?.then((engine) => engine.close()).catch(() => {});
    }, MOMENT);
  }
}

/** @returns {Promise<Engine>} */
async function create() {
  const { Engine } = await import("../engine/client.js");
  return Engine.create();
}
