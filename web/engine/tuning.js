// @ts-check
/**
 * What Python's `Tuner` keeps between visits (py_rwkv/runtime/kept.py): short texts by key, all in one row of the store. Those of another build are dropped with
 * the next write; a store that fails counts as empty.
 */

/** @typedef {import("./store.js").Store} Store */

const ROW = "tuning";

/** @param {Promise<Store>} store @param {string} build */
export function keeper(store, build) {
  /** @returns {Promise<Record<string, string>>} */
  const texts = async () => {
    try {
      const row = await (await store).kept(ROW);
      return row?.build === build ? row.texts : {};
    } catch {
      return {};
    }
  };
  return {
    get: async (/** @type {string} */ key) => (await texts())[key],
    put: async (/** @type {string} */ key, /** @type {string} */ text) => {
      try {
        await (await store).hold(ROW, { build, texts: { ...(await texts()), [key]: text } });
      } catch (e) {
        console.warn("The choice of kernels was not kept:", e);
      }
    },
  };
}
