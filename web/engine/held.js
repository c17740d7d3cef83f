// @ts-check
/** How many bytes of shards are in memory: those being fetched, and those that were read and are not freed yet. What is promised is at most two shards. */

/** @type {WeakRef<ArrayBuffer>[]} */
let read = [];
let fetching = 0;
let most = 0;

/** The most there were at a time, in bytes. */
export function peak() {
  return most;
}

/** A shard that has just been read. @param {ArrayBuffer} bytes */
export function holding(bytes) {
  read.push(new WeakRef(bytes));
  measure();
  return bytes;
}

/** @template T @param {number} bytes @param {() => Promise<T>} work which has so many in memory @returns {Promise<T>} */
export async function whileFetching(bytes, work) {
  fetching += bytes;
  measure();
  try {
    return await work();
  } finally {
    fetching -= bytes;
  }
}

/** Free bytes that nobody needs any more, and not whenever garbage is collected. @param {ArrayBufferLike} bytes */
export function free(bytes) {
  /** @type {any} */ (bytes).transfer?.(0);
}

function measure() {
  read = read.filter((bytes) => bytes.deref()?.byteLength); // one that was freed has none
  most = Math.max(most, fetching + read.reduce((sum, bytes) => sum + (bytes.deref()?.byteLength ?? 0), 0));
}
