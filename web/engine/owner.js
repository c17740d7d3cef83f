// @ts-check
/**
 * One tab has a model in memory, others use it through that tab. Who has it holds a Web Lock; those who use it wait for that lock, so whoever is next knows the
 * moment the owner is gone, however it went. Requests travel over a BroadcastChannel in the form in which they go to the worker.
 */

import { RwkvError } from "./errors.js";

/** `{ask: model, from}` → `{to, owner}`; then `{to, from, id, op, args}`, `{to, from, cancel: id}`, `{to, from, gone: true}` → `{to, id, event, value}`. @typedef {any} Message */
/** @typedef {(op: string, args: any, options: {signal: AbortSignal, onEvent: (event: any) => void}) => Promise<any>} Serve */

export const CHANNEL = "rwkv-engine";
const LOCK = "rwkv-engine ";

/** Whether some tab has a model in memory that others can use. */
export async function ownedSomewhere() {
  const { held = [] } = (await navigator.locks?.query().catch(() => undefined)) ?? {};
  return held.some(({ name }) => name?.startsWith(LOCK));
}

export class Owner {
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** What this engine has. @type {string | undefined} */
  #model;
  /** Gives the lock back. */
  #release = () => {};
  /** Ends the waiting for a lock. */
  #waiting = new AbortController();
  /** @type {Map<string, AbortController>} */
  #running = new Map();

  /** @param {string} me @param {Serve} serve */
  constructor(me, serve) {
    this.me = me;
    this.serve = serve;
  }

  /** Whether this engine now has the model for all tabs; without Web Locks every tab is on its own. @param {string} model @returns {Promise<boolean>} */
  async claim(model) {
    if (!navigator.locks) return true;
    return new Promise((resolve) => {
      navigator.locks
        .request(LOCK + model, { ifAvailable: true }, (lock) => {
          resolve(Boolean(lock));
          return lock ? this.#hold(model) : undefined;
        })
        .catch(() => resolve(true));
    });
  }

  /** Be the next to have it: resolves when whoever has it is gone; never, if `release` comes first. @param {string} model @returns {Promise<void>} */
  next(model) {
    this.#waiting.abort();
    const { signal } = (this.#waiting = new AbortController());
    return new Promise((resolve) => {
      navigator.locks
        ?.request(LOCK + model, { signal }, () => {
          resolve();
          return this.#hold(model);
        })
        .catch(() => {}); // no longer wanted
    });
  }

  /** The model is no longer here: others may load it. What was asked for through this tab is left to them. */
  release() {
    this.#waiting.abort();
    this.#model = undefined;
    this.#channel?.close();
    this.#channel = undefined;
    for (const abort of this.#running.values()) abort.abort();
    this.#running.clear();
    this.#release();
  }

  /** @param {string} model @returns {Promise<void>} */
  #hold(model) {
    this.#release();
    this.#model = model;
    this.#channel ??= new BroadcastChannel(CHANNEL);
    this.#channel.onmessage = ({ data }) => void this.#receive(data);
    return new Promise((resolve) => void (this.#release = resolve));
  }

  /** @param {Message} message */
  async #receive({ ask, to, from, id, op, args, cancel, gone }) {
    const channel = this.#channel;
    if (ask !== undefined && ask === this.#model) channel?.postMessage({ to: from, owner: this.me });
    if (to !== this.me) return;
    if (gone) for (const [name, abort] of this.#running) if (name.startsWith(`${from} `)) abort.abort();
    if (cancel !== undefined) this.#running.get(`${from} ${cancel}`)?.abort();
    if (op === undefined) return;
    const abort = new AbortController();
    const name = `${from} ${id}`;
    this.#running.set(name, abort);
    const post = (/** @type {string} */ event, /** @type {unknown} */ value) => {
      if (this.#channel === channel) channel?.postMessage({ to: from, id, event, value });
    };
    try {
      post(
        "result",
        await this.serve(op, args, { signal: abort.signal, onEvent: (value) => post(op === "answer" ? "chunk" : "progress", value) }),
      );
    } catch (e) {
      post("error", RwkvError.from(e).toJSON());
    } finally {
      this.#running.delete(name);
    }
  }
}
