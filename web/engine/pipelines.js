// @ts-check
/**
 * Which pipelines a model needs, known before Python is: from an earlier visit, or for a model of the site from its build. They compile while Python is still
 * starting. A list only hastens what Python asks for later: pipelines are found by their code, and one that is not asked for is never run.
 */

import { fetchBlob } from "./store.js";

/** @typedef {import("./gpu.js").Gpu} Gpu */
/** @typedef {import("./store.js").Store} Store */

const LAST = "last"; // which model was used last

/**
 * Begin with a model's pipelines. Returns the list that an earlier visit left, if there is one.
 * @param {Gpu} gpu @param {string} id the model @param {Promise<Store>} store @param {Promise<string>} build what a list belongs to
 * @param {URL} [site] where the site's own list would be: that of software adapters, on which compiling takes seconds
 * @returns {Promise<string | undefined>}
 */
export async function anticipate(gpu, id, store, build, site) {
  try {
    const [key, row] = await Promise.all([keyOf(gpu, build), store.then((s) => s.kept(name(id))).catch(() => undefined)]);
    if (row?.key === key) gpu.prepare(JSON.parse(row.specs));
    else if (site && gpu.software) gpu.prepare(JSON.parse(await (await fetchBlob(site, () => {}, new AbortController().signal)).text()));
    return row?.key === key ? row.specs : undefined;
  } catch {
    return undefined; // then they begin when Python says so
  }
}

/** The model that was used last, if any. @param {Promise<Store>} store @returns {Promise<string | undefined>} */
export async function lastUsed(store) {
  return (await store).kept(LAST).catch(() => undefined);
}

/** Keep the list, unless it is the one that was `known`. @param {Gpu} gpu @param {string} id @param {Promise<Store>} store @param {Promise<string>} build @param {string | undefined} known */
export async function remember(gpu, id, store, build, known) {
  try {
    const [key, specs, kept] = [await keyOf(gpu, build), JSON.stringify(gpu.wanted), await store];
    if (specs !== known) await kept.hold(name(id), { key, specs });
    if ((await kept.kept(LAST)) !== id) await kept.hold(LAST, id);
  } catch (e) {
    console.warn("The list of pipelines was not kept:", e);
  }
}

/** @param {string} id @param {Promise<Store>} store */
export async function forget(id, store) {
  await (await store).drop(name(id));
  if ((await lastUsed(store)) === id) await (await store).drop(LAST);
}

/** @param {Gpu} gpu @param {Promise<string>} build */
async function keyOf(gpu, build) {
  return `${await build} ${gpu.identity}`;
}

/** @param {string} id */
function name(id) {
  return `pipelines ${id}`;
}
