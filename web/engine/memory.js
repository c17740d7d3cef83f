// @ts-check
/** Where models go when the browser gives no storage at all (some private windows): the part of idb's interface that store.js uses, in memory. */

/** @typedef {Map<string, any>} Table */

export class MemoryDb {
  /** @type {Record<string, Table>} */
  #tables = { shards: new Map(), models: new Map(), start: new Map() };

  /** @param {string} table @param {string} key */
  async get(table, key) {
    return this.#tables[table].get(key);
  }

  /** @param {string} table */
  async getAll(table) {
    return [...this.#tables[table].values()];
  }

  /** @param {string} table @param {string} key */
  async count(table, key) {
    return this.#tables[table].has(key) ? 1 : 0;
  }

  /** @param {string} table @param {any} value @param {string} [key] */
  async put(table, value, key) {
    if (table === "start") throw new Error("there is no later visit to hold it for");
    this.#tables[table].set(key ?? value.id, value);
  }

  /** @param {string} table @param {string} key */
  async delete(table, key) {
    this.#tables[table].delete(key);
  }

  /** Not atomic: nobody else is there. */
  transaction() {
    const objectStore = (/** @type {string} */ table) => ({
      get: (/** @type {string} */ key) => this.get(table, key),
      put: (/** @type {any} */ value, /** @type {string} */ key) => this.put(table, value, key),
    });
    return { objectStore, done: Promise.resolve() };
  }
}
