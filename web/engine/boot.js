// @ts-check
/**
 * Starts Python: Pyodide with this package. The first visit copies the interpreter's memory as it is once everything is imported (a snapshot) and keeps it when
 * there is time, later ones begin there. A snapshot belongs to one build and one browser; whatever is wrong with it, Python starts the ordinary way and a new one replaces it.
 */

import { RwkvError } from "./errors.js";
import { free } from "./held.js";
import { fetchBlob, sha256 } from "./store.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {{file: string, sha256: string}} Part */
/** @typedef {{package: Part, pyodide: {version: string, path: string}, start: Part[]}} Build */
/** `files`: the package as it lies in Python's file system, which is no part of its memory. @typedef {{key: string, memory: Blob, sha256: string, files: [path: string, content: Uint8Array][]}} Snapshot */
/** `snapshot`: whether Python began at one; `keep`: if not, keeps the one that was made. @typedef {{pyodide: any, snapshot: boolean, keep?: () => Promise<void>}} Booted */

const NAME = "python"; // the snapshot's key in the store: there is one at a time

/** What build.json says; `key` names this build in this browser. @param {URL} site @returns {Promise<Build & {key: string}>} */
export async function readBuild(site) {
  /** @type {Build} */
  const build = JSON.parse(await (await fetchBlob(new URL("build.json", site), () => {}, never(), "no-cache")).text());
  return { ...build, key: [...build.start.map((part) => part.sha256), navigator.userAgent].join(" ") };
}

/** @param {URL} site @param {Promise<Build & {key: string}>} reading @param {Promise<Store | undefined>} opening without a store every start is an ordinary one @returns {Promise<Booted>} */
export async function boot(site, reading, opening) {
  const { key, ...build } = await reading;
  const home = new URL(build.pyodide.path, site).href;
  const [{ loadPyodide }, store] = await Promise.all([import(/** @type {string} */ (new URL("pyodide.mjs", home).href)), opening]);
  /** @type {Snapshot | undefined} */
  const kept = await store?.kept(NAME).catch(() => undefined);
  if (kept?.key === key)
    try {
      return { pyodide: await restore(loadPyodide, home, kept), snapshot: true };
    } catch (e) {
      console.warn("Python's snapshot cannot be used:", e);
    }
  if (kept) await store?.drop(NAME).catch(() => {});
  const pyodide = await loadPyodide({ indexURL: home, _makeSnapshot: Boolean(store) });
  const room = pyodide._module.HEAP8.length;
  await unpack(pyodide, build.package, site);
  prepare(pyodide);
  return { pyodide, snapshot: false, keep: store && keeper(pyodide, store, key, room) };
}

/** @param {any} loadPyodide @param {string} home @param {Snapshot} snapshot */
async function restore(loadPyodide, home, { memory, sha256: expected, files }) {
  const checked = memory.arrayBuffer().then(async (bytes) => {
    const found = await sha256(bytes);
    if (found !== expected) throw new RwkvError("shard-mismatch", { expected, found });
    return bytes;
  });
  checked.catch(() => {}); // reported by loadPyodide, which may fail before it looks at it
  const undo = compileMeanwhile(`${home}pyodide.asm.wasm`);
  const pyodide = await loadPyodide({ indexURL: home, _loadSnapshot: checked }).finally(undo);
  free(await checked); // Python has its own by now
  for (const [path, content] of files) {
    pyodide.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")));
    pyodide.FS.writeFile(path, content);
  }
  prepare(pyodide);
  return pyodide;
}

/** Pyodide waits for the memory before it compiles itself: here both go on at a time. @param {string} url @returns {() => void} takes that back */
function compileMeanwhile(url) {
  const compiling = WebAssembly.compileStreaming(fetch(url));
  compiling.catch(() => {}); // told where it is awaited
  const { instantiateStreaming } = WebAssembly;
  const undo = () => void (WebAssembly.instantiateStreaming = instantiateStreaming);
  WebAssembly.instantiateStreaming = async (source, imports) => {
    undo();
    void (await source).body?.cancel();
    const module = await compiling;
    return { module, instance: await WebAssembly.instantiate(module, imports) };
  };
  return undo;
}

/** @param {any} pyodide @param {Part} part @param {URL} site */
async function unpack(pyodide, part, site) {
  const bytes = await (await fetchBlob(new URL(part.file, site), () => {}, never())).arrayBuffer();
  const found = await sha256(bytes);
  if (found !== part.sha256) throw new RwkvError("shard-mismatch", { expected: part.sha256, found: part.file });
  pyodide.FS.writeFile("/tmp/package.zip", new Uint8Array(bytes)); // as a file: unpackArchive would leave JavaScript objects in a snapshot
  pyodide.runPython("import site, zipfile\nwith zipfile.ZipFile('/tmp/package.zip') as z: z.extractall(site.getsitepackages()[0])\ndel z");
  pyodide.FS.unlink("/tmp/package.zip");
}

/** What every model needs is imported here, so that a snapshot contains it. @param {any} pyodide */
function prepare(pyodide) {
  pyodide.runPython("import py_rwkv.browser.service; py_rwkv.browser.service.prepare()");
}

/**
 * What keeps the memory as it is now, at a later moment. That it fails is no reason to stop.
 * @param {any} pyodide @param {Store} store @param {string} key @param {number} room bytes that a memory begins with: one that has grown cannot be restored
 * @returns {(() => Promise<void>) | undefined}
 */
function keeper(pyodide, store, key, room) {
  const complain = (/** @type {unknown} */ e) => console.warn("No snapshot of Python was kept:", e);
  try {
    if (pyodide._module.HEAP8.length > room) throw new RangeError(`Python has grown from ${room} to ${pyodide._module.HEAP8.length} bytes`);
    const memory = new Blob([pyodide.makeMemorySnapshot()]); // a Blob: the browser need not hold it in memory
    return async () => {
      try {
        const files = [...under(pyodide.FS, `${pyodide.runPython("import site; site.getsitepackages()[0]")}/py_rwkv`)];
        await store.hold(NAME, { key, memory, sha256: await sha256(await memory.arrayBuffer()), files });
      } catch (e) {
        complain(e);
      }
    };
  } catch (e) {
    complain(e);
    return undefined;
  }
}

/** The files below a folder of Python's. @param {any} FS @param {string} folder @returns {Generator<[path: string, content: Uint8Array]>} */
function* under(FS, folder) {
  for (const name of FS.readdir(folder)) {
    const path = `${folder}/${name}`;
    if (name.startsWith(".") || name === "__pycache__") continue;
    if (FS.isDir(FS.stat(path).mode)) yield* under(FS, path);
    else yield [path, FS.readFile(path)];
  }
}

function never() {
  return new AbortController().signal;
}
