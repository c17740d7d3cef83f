// @ts-check
/**
 * The worker: starts Python (boot.js), keeps the store and the GPU, and passes requests to Python (py_rwkv/browser/service.py).
 * In: `{id, op, args}` and `{cancel: id}`. Out: `{id, event, value}` with event "progress" | "chunk" | "result" | "error".
 */

import { boot, readBuild } from "./boot.js";
import { loadTexts, RwkvError } from "./errors.js";
import { describe, Gpu, isSoftware, requestAdapter } from "./gpu.js";
import { Meter } from "./meter.js";
import { anticipate, forget, remember } from "./pipelines.js";
import { INDEX, nameOf, openAddress, openFiles, WEIGHTS } from "./sources.js";
import { fetchBlob, sha256, Store } from "./store.js";

/** @typedef {{id: string, name: string, path: string, bytes: number, description: Record<string, string>, licence: string}} CatalogueEntry */
/** @typedef {{signal: AbortSignal, progress: (phase: string, done: number, total: number, unit: string) => void, emit: (value: unknown) => void}} Context */
/** @typedef {import("./sources.js").ByteSource} ByteSource */
/** @typedef {{source: string | File | File[], device: "webgpu" | "numpy", quantization: string, name: string}} LoadRequest */
/** What to load: a manifest with its shards in the store or below `base`, or the `files` of a checkpoint. @typedef {{id: string, manifest: string, base?: URL, files?: ByteSource[], name?: string}} Source */

const SITE = new URL("../", import.meta.url);
const SMALL = 64 << 20; // models below this start downloading before Python is up; larger ones are checked against the adapter first

const texts = loadTexts(new URL("i18n/errors.json", SITE));
/** @type {Map<number, AbortController>} */
const running = new Map();
/** @type {Promise<Store> | undefined} */
let store;
/** @type {Promise<import("./boot.js").Booted> | undefined} */
let python;
/** @type {ReturnType<typeof readBuild> | undefined} */
let building;
/** @type {any} */
let service; // of Python, once a model is loaded
/** @type {any} */
let loaded; // its Meter
/** Loads take turns: the next begins when the one before has ended. */
let turn = Promise.resolve();

/** @type {Record<string, (args: any, context: Context) => Promise<unknown>>} */
const operations = {
  probe,
  catalogue,
  load,
  unload,
  logits: async ({ tokens }) => {
    const bytes = await need().logits(JSON.stringify(tokens));
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  },
  tokenize: async ({ text }) => JSON.parse(need().tokenize(text)),
  info: async () => info(),
  answer,
  forget: async ({ id }) => {
    await (await openStore()).remove(id);
    await forget(id, openStore());
  },
};

onmessage = async ({ data: { id, op, args, cancel } }) => {
  if (cancel !== undefined) return running.get(cancel)?.abort();
  await texts;
  const abort = new AbortController();
  running.set(id, abort);
  const post = (/** @type {string} */ event, /** @type {unknown} */ value) => postMessage({ id, event, value });
  const meter = new Meter((progress) => post("progress", progress));
  /** @type {Context} */
  const context = { signal: abort.signal, progress: meter.update.bind(meter), emit: (value) => post("chunk", value) };
  try {
    if (op === "load") loaded = meter;
    post("result", await operations[op](args, context));
  } catch (e) {
    post("error", (abort.signal.aborted && op === "load" ? new RwkvError("cancelled") : pythonError(e)).toJSON());
  } finally {
    running.delete(id);
  }
};

/** A Python RwkvError crosses as JSON in the last line of the exception's text (service.py, `crossing`). @param {any} e */
function pythonError(e) {
  const found = /^py_rwkv\.browser\.service\.Crossing: (\{.*\})$/m.exec(e?.message ?? "");
  return RwkvError.from(found ? JSON.parse(found[1]) : e);
}

async function probe() {
  /** @type {Record<string, boolean>} */
  const stored = {};
  for (const row of await openStore().then(
    (s) => s.models(),
    () => [],
  ))
    stored[row.id] = row.complete;
  if (Object.values(stored).some(Boolean)) startPython().catch(() => {}); // somebody who has a model is going to use it
  try {
    const adapter = await requestAdapter();
    return { webgpu: { available: true, adapter: describe(adapter), software: isSoftware(adapter) }, stored };
  } catch (e) {
    const { code, message, details } = RwkvError.from(e);
    return { webgpu: { available: false, code, reason: message, details }, stored };
  }
}

/** @returns {Promise<CatalogueEntry[]>} */
async function catalogue() {
  return (await fetchBlob(new URL("models/catalogue.json", SITE), () => {}, new AbortController().signal)).text().then(JSON.parse);
}

/** @param {LoadRequest} request @param {Context} context */
async function load(request, context) {
  const { signal } = context;
  const before = turn;
  let ended = () => {};
  turn = new Promise((resolve) => void (ended = () => resolve(undefined)));
  await before;
  try {
    signal.throwIfAborted();
    return await loadNow(request, context);
  } finally {
    ended();
  }
}

/** @param {LoadRequest} request @param {Context} context */
async function loadNow(request, context) {
  const { progress, signal } = context;
  await unload();
  progress("python", 0, 1, "steps");
  const booting = startPython();
  booting.catch(() => {}); // reported where it is awaited
  const gpu = request.device === "webgpu" ? await Gpu.create() : undefined;
  try {
    const found = await resolve(request, context);
    const small = found.manifest && JSON.parse(found.manifest).total_bytes < SMALL;
    const early = small ? fetchShards(found, context) : undefined;
    early?.catch(() => {});
    const kept = gpu && anticipate(gpu, found.id, openStore(), pipelinesKey(found));
    const { pyodide } = await booting;
    signal.throwIfAborted();
    if (!gpu || found.files) await pyodide.loadPackage("numpy", { messageCallback: () => {} });
    progress("python", 1, 1, "steps");
    const module = pyodide.pyimport("py_rwkv.browser.service");
    if (found.files) found.manifest = await convert(module, found, request, context);
    signal.throwIfAborted();
    module.check(found.manifest, small ? undefined : gpu); // a small one is refused when its programs are built
    await (early ?? fetchShards(found, context));
    signal.throwIfAborted();
    service = await module.open_model(found.manifest, shardsOf(found.manifest), gpu, progress, await tokenizerOf(found.manifest));
    module.destroy();
    progress("ready", 1, 1, "");
    if (gpu) void remember(gpu, found.id, openStore(), pipelinesKey(found), await kept);
    gpu?.device.lost.then(({ reason, message }) => {
      if (reason !== "destroyed")
        postMessage({ id: 0, event: "error", value: new RwkvError("device-lost", { reason: message || "unknown" }).toJSON() });
    });
    return info();
  } catch (e) {
    gpu?.close();
    throw e;
  }
}

/** @param {LoadRequest} request @param {Context} context @returns {Promise<Source>} */
async function resolve({ source, quantization, name }, { signal, progress }) {
  if (typeof source !== "string") {
    const files = [source].flat();
    const id = `file:${files.map((f) => `${f.name}:${f.size}:${f.lastModified}`).join(":")}:${quantization}`;
    return known(id, name, () => openFiles(files));
  }
  const entry = (await catalogue()).find((e) => e.id === source);
  let url;
  try {
    url = entry ? new URL(entry.path, new URL("models/", SITE)) : new URL(source);
  } catch {
    throw new RwkvError("bad-source", { source });
  }
  if (!/^https?:$/.test(url.protocol)) throw new RwkvError("bad-source", { source });
  if (WEIGHTS.test(url.pathname) || INDEX.test(url.pathname)) {
    let done = 0;
    const count = (/** @type {number} */ n) => progress("download", (done += n), 0, "bytes");
    return known(`${url.href}:${quantization}`, name || nameOf(url), () => openAddress(url, count, signal));
  }
  const base = url.pathname.endsWith("/manifest.json") ? new URL("./", url) : new URL(url.href.replace(/\/?$/, "/"));
  const id = entry ? entry.id : base.href;
  try {
    const manifest = await (await fetchBlob(new URL("manifest.json", base), () => {}, signal, "no-cache")).text();
    checkJson(manifest, base);
    return { id, manifest, base };
  } catch (e) {
    const row = await (await openStore()).model(id); // offline: what is stored still runs
    if (row?.complete && RwkvError.from(e).code === "fetch-failed") return { id, manifest: row.manifest, base };
    throw e;
  }
}

/** A checkpoint, unless an earlier visit has converted it. @param {string} id @param {string} name @param {() => ByteSource[] | Promise<ByteSource[]>} open @returns {Promise<Source>} */
async function known(id, name, open) {
  const manifest = await (await openStore()).manifest(id);
  return manifest ? { id, manifest } : { id, manifest: "", name, files: await open() };
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

/** @param {Source} source @param {Context} context */
async function fetchShards({ id, manifest, base }, { signal, progress }) {
  if (!base) return;
  await (await openStore()).download(id, manifest, base, (done, total) => progress("download", done, total, "bytes"), signal);
}

/**
 * Python turns a checkpoint into shards, on a GPU of its own if there is one; each goes to the store as it is made. Nothing stays there unless all do.
 * @param {any} module @param {Source} found @param {LoadRequest} request @param {Context} context
 */
async function convert(module, { id, files = [], name }, { device, quantization }, { progress, signal }) {
  const target = await openStore();
  await target.remove(id); // what a crash may have left
  const gpu = device === "webgpu" ? await Gpu.create() : undefined;
  const label = name || files[0].name;
  /** @type {Promise<void>[]} */
  let writes = [];
  const keep = (/** @type {string} */ hash, /** @type {Uint8Array} */ data) =>
    void writes.push(target.keep(id, label, hash, new Blob([/** @type {BlobPart} */ (data)])));
  const settle = async () => {
    await Promise.all(writes);
    writes = [];
  };
  try {
    const manifest = await module.convert_files(files, name, quantization, gpu, keep, settle, progress, () => signal.aborted);
    await settle();
    signal.throwIfAborted();
    await target.record(id, manifest, true);
    return manifest;
  } catch (e) {
    await Promise.allSettled(writes);
    await target.remove(id);
    throw e;
  } finally {
    gpu?.close();
  }
}

/** What a list of pipelines belongs to. @param {Source} source */
async function pipelinesKey({ manifest }) {
  return `${(await building)?.key} ${await sha256(new TextEncoder().encode(manifest))}`;
}

/** Shards by their number, from the store. @param {string} manifest */
function shardsOf(manifest) {
  /** @type {{sha256: string}[]} */
  const shards = JSON.parse(manifest).shards;
  return async (/** @type {number} */ index) => (await openStore()).read(shards[index].sha256);
}

/** The tokenizer's file, from the store, of a model that has one. @param {string} manifest */
async function tokenizerOf(manifest) {
  /** @type {{tokenizer_file?: {sha256: string}}} */
  const { tokenizer_file } = JSON.parse(manifest);
  return tokenizer_file && (await openStore()).read(tokenizer_file.sha256);
}

async function unload() {
  if (!service) return;
  service.close();
  service.destroy();
  service = undefined;
}

/** A chat or a continuation. @param {object} request @param {Context} context */
async function answer(request, { signal, emit }) {
  const text = await need().answer(
    JSON.stringify(request),
    (/** @type {string} */ chunk) => emit(JSON.parse(chunk)),
    () => signal.aborted,
  );
  return text ? JSON.parse(text) : undefined;
}

function need() {
  if (!service) throw new RwkvError("not-loaded");
  return service;
}

async function info() {
  const facts = JSON.parse(need().info());
  const { pyodide, snapshot } = await startPython();
  const wasmBytes = pyodide._module.HEAP8.length;
  return { ...facts, memory: { ...facts.memory, wasmBytes }, timings: loaded.timings, start: { snapshot } };
}

function openStore() {
  store ??= Store.open();
  return store;
}

function startPython() {
  building ??= readBuild(SITE);
  python ??= boot(
    SITE,
    building,
    openStore().catch(() => undefined),
  ).catch((e) => {
    python = building = undefined;
    throw new RwkvError("python-failed", { reason: RwkvError.from(e).message });
  });
  return python;
}
