// @ts-check
/**
 * Python turns a checkpoint into shards; each goes to the store as it is made, with what is needed to go on from there. So an interrupted conversion, of a file
 * that is here or of one whose bytes are fetched as they are needed, loses at most the shard it was working on.
 */

import { RwkvError } from "./errors.js";
import { Gpu } from "./gpu.js";
import { passing } from "./transfer.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./transfer.js").Gate} Gate */

const LASTING = new Set(["cancelled", "fetch-failed", "device-lost", "unreadable-file"]); // the rest says that the file is no good
const TURN = 100; // ms of work before messages are looked at

/**
 * @param {any} module py_rwkv.browser.service @param {Store} store
 * @param {{id: string, files: import("./sources.js").ByteSource[], name: string, quantization: string, device: string, origin: import("./store.js").Origin}} what
 * @param {Gate} gate @param {(phase: string, done: number, total: number, unit: string) => void} progress
 * @param {(e: unknown) => RwkvError} coded what Python threw, as an error with a code
 * @returns {Promise<string>} the manifest
 */
export async function convert(module, store, { id, files, name, quantization, device, origin }, gate, progress, coded) {
  const label = name || files[0].name;
  /** @type {Promise<void>[]} */
  let writes = [];
  let looked = performance.now();
  let part = 0;
  const count = (/** @type {string} */ phase, /** @type {number} */ done, /** @type {number} */ total, /** @type {string} */ unit) => {
    part = done / total;
    progress(phase, done, total, unit);
  };
  const keep = (/** @type {string} */ hash, /** @type {Uint8Array} */ data, /** @type {string} */ state) =>
    void writes.push(store.keep({ id, name: label, origin, begun: { state, part } }, hash, new Blob([/** @type {BlobPart} */ (data)])));
  const settle = async () => {
    await Promise.all(writes);
    writes = [];
    if (performance.now() - looked > TURN) {
      await new Promise((resolve) => setTimeout(resolve)); // so that a pause is heard of
      looked = performance.now();
    }
    await gate.pass();
  };
  for (let failed = 0; ;) {
    const begun = await stateOf(store, id);
    if (!begun) await store.remove(id);
    const before = part;
    const gpu = device === "webgpu" ? await Gpu.create() : undefined;
    try {
      const manifest = await module.convert_files(files, name, quantization, gpu, keep, settle, count, () => gate.signal.aborted, begun);
      await settle();
      await store.record(id, manifest, true, origin);
      return manifest;
    } catch (e) {
      await Promise.allSettled(writes);
      writes = [];
      const error = gate.signal.aborted ? new RwkvError("cancelled") : coded(e);
      if (!LASTING.has(error.code)) await store.remove(id);
      failed = part > before ? 1 : failed + 1;
      if (!passing(error) || !(await gate.again(failed))) throw error;
    } finally {
      gpu?.close();
    }
  }
}

/** What an earlier attempt left, if all its shards are still there. @param {Store} store @param {string} id */
async function stateOf(store, id) {
  const row = await store.model(id);
  if (!row?.begun || row.complete) return "";
  return (await store.have(row.shards)).size === new Set(row.shards).size ? row.begun.state : "";
}
