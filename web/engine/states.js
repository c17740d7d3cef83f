// @ts-check
/**
 * Recurrent states of what was read, by the keys that Python makes of it (py_rwkv/chat/prefix_cache.py): in memory, and in IndexedDB, where they wait for the
 * next visit. Those used longest ago leave first. The bytes stay on this side, outside of Python's memory; nothing here may fail an answer.
 */

import { RwkvError } from "./errors.js";

/** @typedef {import("./store.js").Store} Store */
/** What the store `states` holds of a state; its bytes lie under the same key in `stateBytes`. @typedef {{key: string, model: string, length: number, bytes: number, used: number}} Row */
/** `data` comes when `reading` is done: it is still on its way from the device. @typedef {{length: number, extra: Uint8Array, data?: Uint8Array, reading?: Promise<unknown>}} Entry */
/** @typedef {import("./shapes.js").Usage} Usage */

const MEMORY = 64 << 20;
const STORED = 512 << 20;
const SHARE = 0.1; // of what the browser lets the site store, at most

export class States {
  /** Used longest ago first. @type {Map<string, Entry>} */
  #entries = new Map();
  /** Of all models. @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Map<string, Uint8Array>} */
  #pinned = new Map();
  #model = "";
  #writing = Promise.resolve();
  #waiting = 0; // bytes to be written; beyond the memory's budget states stay in memory only
  #persistent = true;
  /** @type {Promise<void> | undefined} */
  #opened;

  /** @param {Promise<Store>} store @param {{memory?: number, stored?: number}} [budget] bytes */
  constructor(store, { memory = MEMORY, stored = STORED } = {}) {
    this.store = store;
    this.budget = { memory, stored };
  }

  /** Read what is stored, once. */
  open() {
    this.#opened ??= this.store
      .then(async ({ db }) => {
        for (const row of await db.getAll("states")) this.#rows.set(row.key, row);
        const { quota = Infinity } = await navigator.storage.estimate();
        this.budget.stored = Math.min(this.budget.stored, Math.floor(quota * SHARE)); // models come first
      })
      .catch(() => void (this.#persistent = false));
    return this.#opened;
  }

  /** From now on the states are those of this model. @param {string} model */
  begin(model) {
    this.#model = model;
    this.#entries.clear();
    this.#pinned.clear();
  }

  /** How many tokens made the states there are of this model. */
  lengths() {
    const found = new Set([...this.#entries.values()].map(({ length }) => length));
    for (const { model, length } of this.#rows.values()) if (model === this.#model) found.add(length);
    return Uint32Array.from(found);
  }

  /** Whether there is such a state; then it counts as used now. @param {string} key */
  touch(key) {
    const row = this.#rows.get(key);
    if (row) this.#use(row);
    const entry = this.#entries.get(key);
    if (entry) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return Boolean(row || entry);
  }

  /**
   * Keep what a device holds now; later work may be given to it at once.
   * @param {string} key @param {number} length @param {Uint8Array} extra @param {import("./gpu.js").Gpu} gpu @param {Parameters<import("./gpu.js").Gpu["read"]>[0]} spans
   */
  take(key, length, extra, gpu, spans) {
    this.keep(key, length, extra, gpu.read(spans));
  }

  /**
   * Keep a state that is being read. @param {string} key @param {number} length tokens @param {Uint8Array} extra bytes that come back with it
   * @param {Uint8Array | Promise<Uint8Array>} reading
   */
  keep(key, length, extra, reading) {
    /** @type {Entry} */
    const entry = { length, extra };
    const model = this.#model;
    this.#entries.set(key, entry);
    entry.reading = Promise.resolve(reading).then(
      (data) => {
        entry.data = data;
        this.#shrink();
        this.#store({ key, model, length, bytes: data.length + extra.length, used: Date.now() }, data, extra);
      },
      () => void this.#entries.delete(key),
    );
  }

  /** The first of these states that is there. @param {string[]} keys @returns {Promise<{key: string, extra: Uint8Array, data: Uint8Array} | undefined>} */
  async find(keys) {
    for (const key of keys) {
      const pinned = this.#pinned.get(key);
      if (pinned) return { key, extra: new Uint8Array(), data: pinned };
      const entry = this.#entries.get(key);
      await entry?.reading;
      if (entry?.data) {
        this.touch(key);
        return { key, extra: entry.extra, data: entry.data };
      }
      const found = this.#rows.has(key) && (await this.#load(key));
      if (found) return found;
    }
  }

  /** Keep a state as long as the model is loaded. @param {string} key @param {Uint8Array} data */
  pin(key, data) {
    this.#pinned.set(key, data);
  }

  /** @param {boolean} [settled] once all that is under way is written @returns {Promise<Usage>} */
  async usage(settled = true) {
    await this.open();
    if (settled) await Promise.all([...this.#entries.values()].map(({ reading }) => reading));
    if (settled) await this.#writing;
    let memory = 0;
    for (const { data, extra } of this.#entries.values()) memory += (data?.length ?? 0) + extra.length;
    const count = new Set([...this.#entries.keys(), ...this.#rows.keys()]).size;
    return { memory, stored: this.#stored(), count, budget: this.budget, persistent: this.#persistent };
  }

  /** Set how many bytes are kept; the browser's own limit stays. @param {{memory?: number, stored?: number}} budget */
  async limit({ memory, stored }) {
    for (const [name, found] of Object.entries({ memory, stored }))
      if (found !== undefined && !(typeof found === "number" && found >= 0))
        throw new RwkvError("bad-setting", { name, expected: "a number of bytes", found: String(found) });
    await this.open();
    this.budget.memory = memory ?? this.budget.memory;
    if (stored !== undefined) {
      const { quota = Infinity } = await navigator.storage.estimate();
      this.budget.stored = Math.min(stored, Math.floor(quota * SHARE));
      this.#later((db) => this.#forget(db));
    }
    this.#shrink();
    return this.usage();
  }

  /** Forget all of them, of every model. */
  async clear() {
    await this.open();
    this.#entries.clear();
    await this.#writing;
    this.#rows.clear();
    await this.#quietly(async (db) => {
      const work = db.transaction(["states", "stateBytes"], "readwrite");
      await Promise.all([work.objectStore("states").clear(), work.objectStore("stateBytes").clear(), work.done]);
      this.#persistent = true;
    });
  }

  /** From IndexedDB, where another tab may have deleted it. @param {string} key */
  async #load(key) {
    try {
      const row = this.#rows.get(key);
      /** @type {Blob | undefined} */
      const blob = await (await this.store).db.get("stateBytes", key);
      if (!row || !blob || blob.size !== row.bytes) throw new Error("gone");
      const all = new Uint8Array(await blob.arrayBuffer());
      const at = new DataView(all.buffer).getUint32(0, true);
      const entry = { length: row.length, extra: all.subarray(4, 4 + at), data: all.subarray(4 + at) };
      this.#entries.set(key, entry);
      this.#use(row);
      this.#shrink();
      return { key, extra: entry.extra, data: entry.data };
    } catch {
      this.#rows.delete(key);
    }
  }

  /** Take the oldest out of memory until it fits. */
  #shrink() {
    let total = 0;
    for (const { data, extra } of this.#entries.values()) total += (data?.length ?? 0) + extra.length;
    for (const [key, { data, extra }] of this.#entries) {
      if (total <= this.budget.memory) return;
      if (!data) continue;
      this.#entries.delete(key);
      total -= data.length + extra.length;
    }
  }

  /** Write a state in the background, and delete the oldest until all fit. @param {Row} row @param {Uint8Array} data @param {Uint8Array} extra */
  #store(row, data, extra) {
    row.bytes += 4;
    const fits = row.bytes <= this.budget.stored && (!this.#waiting || this.#waiting + row.bytes <= this.budget.memory);
    if (!this.#persistent || !fits) return;
    this.#waiting += row.bytes;
    this.#later(async (db) => {
      this.#waiting -= row.bytes;
      await this.#forget(db, row.bytes);
      const head = new Uint8Array(4);
      new DataView(head.buffer).setUint32(0, extra.length, true);
      const blob = new Blob(/** @type {BlobPart[]} */ ([head, extra, data]));
      const work = db.transaction(["states", "stateBytes"], "readwrite");
      const [states, bytes] = [work.objectStore("states"), work.objectStore("stateBytes")];
      await Promise.all([states.put(row), bytes.put(blob, row.key), work.done]);
      this.#rows.set(row.key, row);
    });
  }

  /** Delete the oldest that are stored until so many more bytes fit. @param {Store["db"]} db @param {number} [more] */
  async #forget(db, more = 0) {
    const old = [...this.#rows.values()].sort((a, b) => a.used - b.used);
    const gone = [];
    for (let total = this.#stored() + more; total > this.budget.stored && old.length; total -= gone[gone.length - 1].bytes)
      gone.push(/** @type {Row} */ (old.shift()));
    if (!gone.length) return;
    const work = db.transaction(["states", "stateBytes"], "readwrite");
    const [states, bytes] = [work.objectStore("states"), work.objectStore("stateBytes")];
    await Promise.all([...gone.flatMap(({ key }) => [states.delete(key), bytes.delete(key)]), work.done]);
    for (const { key } of gone) this.#rows.delete(key);
  }

  /** @param {Row} row */
  #use(row) {
    row.used = Date.now();
    this.#later((db) => db.put("states", row));
  }

  #stored() {
    let total = 0;
    for (const { bytes } of this.#rows.values()) total += bytes;
    return total;
  }

  /** One write after the other. @param {(db: Store["db"]) => Promise<unknown>} write */
  #later(write) {
    this.#writing = this.#writing.then(() => this.#quietly(write));
  }

  /** What cannot be stored stays in memory. @param {(db: Store["db"]) => Promise<unknown>} write */
  async #quietly(write) {
    try {
      await write((await this.store).db);
    } catch {
      this.#persistent = false;
    }
  }
}
