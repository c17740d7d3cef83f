// @ts-check
/** What a request to load means: an entry of the catalogue, a stored model, an address, or files; and whether an earlier visit has converted it already. */

import { RwkvError } from "./errors.js";
import { addressOf, INDEX, mirrored, nameOf, openAddress, openFiles, WEIGHTS } from "./sources.js";
import { fetchBlob } from "./store.js";

/** What the site offers: a model directory below models/ (`path`), or a checkpoint (`url`) of that `config`. @typedef {{id: string, name: string, path?: string, url?: string, bytes: number, config: object, description: Record<string, string>, licence: string}} CatalogueEntry */
/** @typedef {{source: string | File | File[], device: "webgpu" | "numpy", quantization: string, name: string, mirror: string, slots: number, parallel?: number, tuning: "auto" | "preset" | "measure" | "rounded", python?: import("./hooks.js").Script}} LoadRequest */
/** What to load: a manifest with its shards in the store or below `base`, or the `files` of a checkpoint. `listed`: in the site's catalogue. @typedef {{id: string, manifest: string, base?: URL, listed?: boolean, files?: ByteSource[], name?: string, origin: import("./store.js").Origin}} Source */
/** @typedef {import("./sources.js").ByteSource} ByteSource */
/** @typedef {import("./store.js").Store} Store */

export const SITE = new URL("../", import.meta.url);

/** @returns {Promise<CatalogueEntry[]>} */
export async function catalogue() {
  return (await fetchBlob(new URL("models/catalogue.json", SITE), () => {}, new AbortController().signal)).text().then(JSON.parse);
}

/** @param {LoadRequest} request @param {Store} store @param {Pick<import("./worker.js").Context, "signal" | "progress">} context @returns {Promise<Source>} */
export async function resolve({ source, quantization, name, mirror }, store, { signal, progress }) {
  if (typeof source !== "string") {
    const chosen = [source].flat();
    const id = `file:${chosen.map((f) => `${f.name}:${f.size}:${f.lastModified}`).join(":")}:${quantization}`;
    return known(store, id, { source: "", files: chosen.map((f) => f.name), quantization, name }, () => openFiles(chosen));
  }
  if (source.startsWith("stored:")) {
    const row = await store.model(source.slice(7));
    if (!row?.complete) throw new RwkvError("bad-source", { source });
    return { id: row.id, manifest: row.manifest, origin: row.origin ?? { source: row.id } };
  }
  const entry = (await catalogue()).find((e) => e.id === source);
  let url;
  try {
    url = entry?.path ? new URL(entry.path, new URL("models/", SITE)) : addressOf(entry?.url ?? source);
  } catch {
    throw new RwkvError("bad-source", { source });
  }
  if (!/^https?:$/.test(url.protocol)) throw new RwkvError("bad-source", { source });
  if (WEIGHTS.test(url.pathname) || INDEX.test(url.pathname)) {
    let done = 0;
    const count = (/** @type {number} */ n) => progress("download", (done += n), 0, "bytes");
    const origin = { source, quantization, name: name || (entry?.name ?? nameOf(url)) };
    return known(store, `${url.href}:${quantization}`, origin, () => openAddress(mirrored(url, mirror), count, signal));
  }
  const base = url.pathname.endsWith("/manifest.json") ? new URL("./", url) : new URL(url.href.replace(/\/?$/, "/"));
  const id = entry ? entry.id : base.href;
  try {
    const manifest = await (await fetchBlob(new URL("manifest.json", base), () => {}, signal, "no-cache")).text();
    checkJson(manifest, base);
    return { id, manifest, base, listed: Boolean(entry), origin: { source, base: base.href } };
  } catch (e) {
    const row = await store.model(id); // offline: what is stored still runs
    if (row?.complete && RwkvError.from(e).code === "fetch-failed")
      return { id, manifest: row.manifest, base, origin: { source, base: base.href } };
    throw e;
  }
}

/** A checkpoint, unless an earlier visit has converted it. @param {Store} store @param {string} id @param {import("./store.js").Origin} origin @param {() => ByteSource[] | Promise<ByteSource[]>} open @returns {Promise<Source>} */
async function known(store, id, origin, open) {
  const manifest = await store.manifest(id);
  return manifest ? { id, manifest, origin } : { id, manifest: "", name: origin.name, origin, files: await open() };
}

/** @param {string} text @param {URL} base */
function checkJson(text, base) {
  try {
    const { total_bytes, shards } = JSON.parse(text);
    if (Number.isFinite(total_bytes) && Array.isArray(shards)) return;
  } catch {
    // said below
  }
  throw new RwkvError("bad-manifest", { reason: `${base.href}manifest.json is not one` });
}

/** Where the model directory of a stored model is that was stored without saying so. @param {string} id */
export async function baseOf(id) {
  const listed = (await catalogue().catch(() => [])).find((e) => e.id === id)?.path;
  return listed ? new URL(listed, new URL("models/", SITE)).href : /^https?:.*\/$/.test(id) ? id : "";
}
