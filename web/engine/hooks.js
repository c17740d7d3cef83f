// @ts-check
/**
 * A person's own Python in the worker (docs/hooks.md): fetched, checked, and run beside the engine with all the rights that the page's scripts have. Only an
 * engine that was made for it does so: that stands in its worker's name, which no message can change.
 */

import { RwkvError } from "./errors.js";

/** `text`, or its address; `integrity`: what it has to hash to, as in a script element; `name`: in messages. @typedef {{text?: string, url?: string, integrity?: string, name?: string}} Script */
/** `processors`, `samplers`, `functions`: their names. @typedef {{hooks: number, processors: string[], samplers: string[], functions: string[]}} Registered */

const MARK = " python";
const HASHES = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" };
const QUIET = { messageCallback: () => {} };

/** The name of a worker that may run scripts. @param {string} name @param {boolean} python */
export function workerName(name, python) {
  return python ? name + MARK : name;
}

/** A script as it crosses to the worker; relative addresses are the page's. @param {Script} script @param {boolean} allowed @returns {Script} */
export function crossing(script, allowed) {
  if (!allowed) throw new RwkvError("script-not-allowed");
  const { text, url, integrity, name } = script ?? {};
  if ((text === undefined) === (url === undefined))
    throw new RwkvError("bad-setting", {
      name: "python",
      expected: "an object with either text or url",
      found: text === undefined ? "neither" : "both",
    });
  return url === undefined
    ? { text: String(text), integrity, name }
    : { url: new URL(url, globalThis.document?.baseURI).href, integrity, name };
}

/** What is to be run. @param {Script} script @param {AbortSignal} signal @returns {Promise<{text: string, name: string}>} */
export async function read({ text, url, integrity, name }, signal) {
  if (!self.name.endsWith(MARK)) throw new RwkvError("script-not-allowed");
  const called = name ?? url?.split(/[?#]/)[0].split("/").at(-1) ?? "script.py";
  const bytes = text === undefined ? await fetched(String(url), signal) : new TextEncoder().encode(text);
  if (integrity !== undefined) await check(bytes, integrity, called);
  return { text: new TextDecoder().decode(bytes), name: called };
}

/** Run it for a model that is about to be loaded. @param {any} pyodide @param {{text: string, name: string}} script @returns {Promise<any>} a `Script` of Python, to be destroyed */
export async function begin(pyodide, { text, name }) {
  await pyodide.loadPackagesFromImports(text, QUIET);
  const module = pyodide.pyimport("py_rwkv.browser.hooks");
  try {
    const registered = module.begin(text, name);
    if (module.wants_numpy(registered)) await pyodide.loadPackage("numpy", QUIET);
    return registered;
  } finally {
    module.destroy();
  }
}

/** Run it beside a model that is loaded. @param {any} pyodide @param {any} service of Python @param {{text: string, name: string}} script @returns {Promise<Registered>} */
export async function run(pyodide, service, { text, name }) {
  await pyodide.loadPackagesFromImports(text, QUIET);
  return JSON.parse(service.run_script(text, name));
}

/** @param {string} url @param {AbortSignal} signal */
async function fetched(url, signal) {
  try {
    const response = await fetch(url, { signal, credentials: "same-origin", cache: "no-cache" });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (e) {
    signal.throwIfAborted();
    throw new RwkvError("script-unavailable", { name: url, reason: /** @type {Error} */ (e).message });
  }
}

/** @param {Uint8Array} bytes @param {string} integrity @param {string} name */
async function check(bytes, integrity, name) {
  const [, kind, expected] = /^(sha256|sha384|sha512)-(\S+)$/.exec(integrity) ?? [];
  if (!kind)
    throw new RwkvError("bad-setting", {
      name: "integrity",
      expected: "sha256-, sha384- or sha512- and base64",
      found: integrity.slice(0, 80),
    });
  const hash = HASHES[/** @type {keyof typeof HASHES} */ (kind)];
  const digest = new Uint8Array(await crypto.subtle.digest(hash, /** @type {BufferSource} */ (bytes)));
  const found = btoa(String.fromCharCode(...digest));
  if (found !== expected) throw new RwkvError("script-unavailable", { name, reason: `it hashes to ${kind}-${found}, not to ${integrity}` });
}
