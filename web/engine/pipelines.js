// @ts-check
/**
 * Which pipelines a model needed on an earlier visit, so that they compile while Python is still starting. A list only hastens what Python asks for later:
 * pipelines are found by their code, and one that is not asked for is never run.
 */

/** @typedef {import("./gpu.js").Gpu} Gpu */
/** @typedef {import("./store.js").Store} Store */

/**
 * Begin with them. Returns the list, if there was one.
 * @param {Gpu} gpu @param {string} id the model @param {Promise<Store>} store @param {Promise<string>} belongs the build and the model's manifest
 * @returns {Promise<string | undefined>}
 */
export async function anticipate(gpu, id, store, belongs) {
  try {
    const [key, row] = await Promise.all([keyOf(gpu, belongs), store.then((s) => s.kept(name(id)))]);
    if (row?.key !== key) return undefined;
    gpu.prepare(JSON.parse(row.specs));
    return row.specs;
  } catch {
    return undefined; // then they begin when Python says so
  }
}

/** Keep the list, unless it is the one that was `known`. @param {Gpu} gpu @param {string} id @param {Promise<Store>} store @param {Promise<string>} belongs @param {string | undefined} known */
export async function remember(gpu, id, store, belongs, known) {
  try {
    const [key, specs] = [await keyOf(gpu, belongs), JSON.stringify(gpu.wanted)];
    if (specs !== known) await (await store).hold(name(id), { key, specs });
  } catch (e) {
    console.warn("The list of pipelines was not kept:", e);
  }
}

/** @param {string} id @param {Promise<Store>} store */
export async function forget(id, store) {
  await (await store).drop(name(id));
}

/** @param {Gpu} gpu @param {Promise<string>} belongs */
async function keyOf(gpu, belongs) {
  return `${await belongs} ${gpu.adapter} ${gpu.software}`;
}

/** @param {string} id */
function name(id) {
  return `pipelines ${id}`;
}
