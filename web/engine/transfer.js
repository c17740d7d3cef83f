// @ts-check
/**
 * Downloads that last: they can be paused, wait while there is no network, try again after a failure, and continue a file at the byte where it broke off.
 */

import { RwkvError } from "./errors.js";
import { free } from "./held.js";

/** Told why nothing arrives at the moment: paused, no network, or a failure after which it tries again in so many milliseconds; undefined: it goes on. */
/** @typedef {(waiting: {reason: "paused" | "offline" | "retry", ms?: number} | undefined) => void} OnWaiting */

const DELAYS = [300, 1000, 3000]; // ms before another attempt; bytes that arrive begin the count anew

/** What pauses a load, and waits for the network. */
export class Gate {
  #paused = false;
  /** Why nothing would arrive if it were not paused. @type {Parameters<OnWaiting>[0]} */
  #reason;
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {AbortSignal} signal @param {OnWaiting} tell */
  constructor(signal, tell) {
    this.signal = signal;
    this.tell = tell;
    signal.addEventListener("abort", () => this.#open(), { once: true });
  }

  /** @param {boolean} paused */
  set(paused) {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#say(this.#reason);
    if (!paused) this.#open();
  }

  /** A person who has paused it sees that, whatever else happens. @param {Parameters<OnWaiting>[0]} reason */
  #say(reason) {
    this.#reason = reason;
    this.tell(this.#paused ? { reason: "paused" } : reason);
  }

  #open() {
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Waits while paused. Throws when cancelled. */
  async pass() {
    while (this.#paused && !this.signal.aborted) await new Promise((resolve) => void this.#waiting.push(() => resolve(undefined)));
    this.signal.throwIfAborted();
  }

  /** Before attempt number `failed` + 1: until there is a network, and a little longer each time. False: it is not worth another. @param {number} failed */
  async again(failed) {
    if (navigator.onLine === false) {
      this.#say({ reason: "offline" });
      await this.#until((done) => addEventListener("online", done, { once: true, signal: this.signal }));
    } else {
      if (failed > DELAYS.length) return false;
      const ms = DELAYS[failed - 1];
      this.#say({ reason: "retry", ms });
      await this.#until((done) => void setTimeout(done, ms));
    }
    await this.pass();
    this.#say(undefined);
    return true;
  }

  /** @param {(done: () => void) => void} arrange */
  async #until(arrange) {
    await new Promise((resolve) => {
      const done = () => resolve(undefined);
      this.signal.addEventListener("abort", done, { once: true });
      arrange(done);
    });
    this.signal.throwIfAborted();
  }
}

/** Whether another attempt may end differently: no connection, a server that is busy or down. @param {unknown} e */
export function passing(e) {
  const { code, details } = RwkvError.from(e);
  const status = Number(/^HTTP (\d+)$/.exec(String(details.reason))?.[1] ?? 0);
  return code === "fetch-failed" && !details.changed && (status === 0 || status >= 500 || status === 408 || status === 429);
}

/**
 * A whole file. Throws `fetch-failed`.
 * @param {URL} url @param {(bytes: number) => void} count also told negative numbers, when bytes turn out to be lost @param {Gate} gate @param {RequestCache} [cache]
 * @returns {Promise<Blob>}
 */
export async function fetchLasting(url, count, gate, cache = "default") {
  /** @type {Blob[]} */
  const parts = [];
  let got = 0;
  for (let failed = 0; ;) {
    const before = got;
    try {
      await gate.pass();
      const headers = got ? { Range: `bytes=${got}-` } : undefined;
      const response = await fetch(url, { signal: gate.signal, cache, headers });
      if (!response.ok || !response.body) throw new RwkvError("fetch-failed", { name: url.href, reason: `HTTP ${response.status}` });
      if (got && response.status !== 206) {
        count(-got); // the server begins at the beginning
        parts.length = got = 0;
      }
      const reader = response.body.getReader();
      /** @type {Uint8Array<ArrayBuffer>[]} */
      const chunks = [];
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          chunks.push(value);
          got += value.byteLength;
          count(value.byteLength);
          await gate.pass();
        }
      } finally {
        parts.push(new Blob(chunks));
        for (const chunk of chunks) free(chunk.buffer);
        reader.cancel().catch(() => {});
      }
      return new Blob(parts);
    } catch (e) {
      gate.signal.throwIfAborted();
      const error = e instanceof RwkvError ? e : new RwkvError("fetch-failed", { name: url.href, reason: String(e) });
      failed = got > before ? 1 : failed + 1;
      if (!passing(error) || !(await gate.again(failed))) throw error;
    }
  }
}
