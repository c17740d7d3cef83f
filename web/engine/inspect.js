// @ts-check
/** What a model would take, before anything of it is fetched but the header. */

import { RwkvError } from "./errors.js";
import { addressOf, INDEX, mirrored, openAddress, openFiles, WEIGHTS } from "./sources.js";

/**
 * Its name, config, parameters and bytes, and the bytes that each strategy makes of it. A model that is packed already has one, its own.
 * @param {any} pyodide @param {{source: string | File | File[], strategies: string[], mirror: string, name: string}} request
 * @param {{entry?: {config: object}, packed: () => Promise<string>, signal: AbortSignal}} context entry: of the catalogue; packed: the manifest of a model directory
 */
export async function inspect(pyodide, { source, strategies, mirror, name }, { entry, packed, signal }) {
  const module = pyodide.pyimport("py_rwkv.browser.service");
  const wanted = JSON.stringify(strategies);
  try {
    if (entry) return { ...entry, sizes: JSON.parse(module.plan(JSON.stringify(entry.config), wanted)) };
    if (typeof source === "string" && !isCheckpoint(source)) return JSON.parse(module.inspect_manifest(await packed()));
    const files =
      typeof source === "string"
        ? await openAddress(mirrored(addressOf(source), mirror), () => {}, signal, false)
        : openFiles([source].flat());
    await pyodide.loadPackage("numpy", { messageCallback: () => {} }); // some headers are arrays; converting needs it anyway
    return JSON.parse(module.inspect_files(files, name, wanted));
  } finally {
    module.destroy();
  }
}

/** @param {string} source */
function isCheckpoint(source) {
  try {
    const { pathname } = addressOf(source);
    return WEIGHTS.test(pathname) || INDEX.test(pathname);
  } catch {
    throw new RwkvError("bad-source", { source });
  }
}
