// @ts-check
/** A model's shards on their way from the store to the device; what is missing or damaged there is fetched. */

import { RwkvError } from "./errors.js";

/** @typedef {import("./requests.js").Source} Source */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {Pick<import("./worker.js").Context, "gate" | "progress">} Context */

/** Download what is not stored yet. @param {Source} source @param {Store} store @param {Context} context */
export async function fetchShards({ id, manifest, base, origin }, store, { gate, progress }) {
  if (!base) return;
  const from = { ...origin, base: base.href };
  await store.download(id, manifest, from, (done, total) => progress("download", done, total, "bytes"), gate);
}

/**
 * Shards by their number, from the store. One that was damaged there is fetched again.
 * @param {Source} found @param {Store} store @param {Context} context @param {Record<string, number>} timings gets `read`, what reading them takes
 */
export function shardsOf(found, store, context, timings) {
  /** @type {{sha256: string}[]} */
  const shards = JSON.parse(found.manifest).shards;
  timings.read = 0;
  return async (/** @type {number} */ index) => {
    const start = performance.now();
    const { sha256 } = shards[index];
    const shard = (await store.sound(sha256)) ?? (await replaced(store, sha256, found, context));
    timings.read += Math.round(performance.now() - start);
    return shard;
  };
}

/** The same, with the first one on its way already. @param {ReturnType<typeof shardsOf>} shards @returns {ReturnType<typeof shardsOf>} */
export function begun(shards) {
  /** @type {ReturnType<typeof shards> | undefined} */
  let first = shards(0);
  first.catch(() => {}); // told to whoever asks for it
  return (index) => {
    if (index > 0 || !first) return shards(index);
    const given = first;
    first = undefined; // whoever has it frees it
    return given;
  };
}

/** A shard in place of one that is damaged. @param {Store} store @param {string} sha256 @param {Source} found @param {Context} context */
async function replaced(store, sha256, found, context) {
  await store.discard(sha256);
  if (!found.base) {
    await store.update(found.id, { complete: false, begun: undefined }); // made here: the next load makes it again
    throw new RwkvError("shard-mismatch", { expected: sha256, found: "changed in the browser's storage" });
  }
  await fetchShards(found, store, context);
  return store.read(sha256);
}

/** The tokenizer's file, from the store, of a model that has one. @param {string} manifest @param {Store} store */
export async function tokenizerOf(manifest, store) {
  /** @type {{tokenizer_file?: {sha256: string}}} */
  const { tokenizer_file } = JSON.parse(manifest);
  return tokenizer_file && store.read(tokenizer_file.sha256);
}
