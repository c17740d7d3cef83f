// @ts-check
/** What is stored: the list, checking it, and the files that make a model directory again. */

import { RwkvError } from "./errors.js";
import { filesOf, sha256 } from "./store.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./shapes.js").StoredModel} StoredModel */

/** @param {Store} store @returns {Promise<StoredModel[]>} the latest first */
export async function list(store) {
  const rows = await store.models();
  const models = await Promise.all(
    rows.map(async ({ id, name, bytes, shards, manifest, complete, added, used, origin, begun }) => {
      const about = manifest ? JSON.parse(manifest) : undefined;
      const have = complete || !about ? undefined : await store.have(shards);
      const files = about ? filesOf(about) : [];
      const stored = have ? files.reduce((sum, s) => sum + (have.has(s.sha256) ? s.bytes : 0), 0) : bytes;
      const done = complete ? 1 : about ? stored / Math.max(1, bytes) : (begun?.part ?? 0);
      const quantization = about?.quantization ?? origin?.quantization ?? "";
      return { id, name, version: about?.config?.version ?? "", quantization, bytes, stored, done, complete, added, used, origin };
    }),
  );
  return models.sort((a, b) => (b.used ?? b.added) - (a.used ?? a.added));
}

/**
 * Read every file of a model and compare its hash; those that are missing or differ are removed, and the model counts as incomplete.
 * @param {Store} store @param {string} id @param {(() => Promise<string>) | undefined} repair where to fetch them again, "" if nowhere, for a model that was stored without saying so
 * @param {import("./transfer.js").Gate} gate @param {(phase: string, done: number, total: number, unit: string) => void} progress
 * @returns {Promise<{files: number, bad: string[], repaired: boolean}>}
 */
export async function check(store, id, repair, gate, progress) {
  const row = await store.model(id);
  if (!row) throw new RwkvError("bad-source", { source: id });
  /** @type {string[]} */
  const bad = [];
  let done = 0;
  for (const hash of row.shards) {
    await gate.pass();
    const blob = await store.blob(hash);
    const found = await blob
      ?.arrayBuffer()
      .then(sha256)
      .catch(() => ""); // a browser may have lost the file behind a Blob
    if (found !== hash) {
      bad.push(hash);
      await store.discard(hash);
    }
    progress("verify", (done += blob?.size ?? 0), row.bytes, "bytes");
  }
  if (bad.length) await store.update(id, { complete: false, begun: undefined });
  const base = bad.length && repair ? (row.origin?.base ?? (await repair())) : "";
  if (!base) return { files: row.shards.length, bad, repaired: false };
  const told = (/** @type {number} */ n, /** @type {number} */ total) => progress("download", n, total, "bytes");
  await store.download(id, row.manifest, { source: id, ...row.origin, base }, told, gate);
  const repaired = !store.refused;
  store.release();
  return { files: row.shards.length, bad, repaired };
}

/**
 * The files of a complete model: manifest first. Blobs stay where they are until somebody reads them.
 * @param {Store} store @param {string} id @returns {Promise<{name: string, blob: Blob}[]>}
 */
export async function files(store, id) {
  const manifest = await store.manifest(id);
  if (!manifest) return [];
  const shards = await Promise.all(
    filesOf(JSON.parse(manifest)).map(async ({ sha256: hash, file }) => ({
      name: file,
      blob: /** @type {Blob} */ (await store.blob(hash)),
    })),
  );
  return [{ name: "manifest.json", blob: new Blob([manifest], { type: "application/json" }) }, ...shards];
}
