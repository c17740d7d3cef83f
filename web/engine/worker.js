// @ts-check
/**
 * The worker: starts Python (boot.js), keeps the store and the GPU, and passes requests to Python (py_rwkv/browser/service.py).
 * In: `{id, op, args}`, `{cancel: id}`, and `{pause: id, paused}`. Out: `{id, event, value}` with event "progress" | "chunk" | "result" | "error".
 */

import { boot, readBuild } from "./boot.js";
import { convert } from "./conversion.js";
import { loadTexts, RwkvError } from "./errors.js";
import { pythonError, told } from "./failures.js";
import * as held from "./held.js";
import { describe, isSoftware, requestAdapter } from "./adapter.js";
import { Gpu } from "./gpu.js";
import * as hooks from "./hooks.js";
import { inspect } from "./inspect.js";
import { check, files, list } from "./library.js";
import { Meter } from "./meter.js";
import { anticipate, forget, lastUsed, remember } from "./pipelines.js";
import { baseOf, catalogue, resolve, SITE } from "./requests.js";
import { begun, fetchShards, shardsOf, tokenizerOf } from "./shards.js";
import { openFiles } from "./sources.js";
import { States } from "./states.js";
import { Gauge } from "./trace.js";
import { Store } from "./store.js";
import { Gate } from "./transfer.js";
import { keeper } from "./tuning.js";

/** @typedef {{signal: AbortSignal, gate: Gate, progress: (phase: string, done: number, total: number, unit: string) => void, emit: (value: unknown) => void}} Context */
/** @typedef {import("./requests.js").LoadRequest} LoadRequest */

const IDLE = 1000; // ms without a request before what can wait is done
const SMALL = 64 << 20; // models below this start downloading before Python is up; larger ones are checked against the adapter first

const texts = loadTexts(new URL("i18n/errors.json", SITE));
/** @type {Map<number, AbortController>} */
const running = new Map();
/** Of the loads and repairs under way. @type {Map<number, Gate>} */
const gates = new Map();
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
/** @type {Gpu | undefined} */
let device; // its executor
/** For the next load: the device of a model that was unloaded, with its pipelines. @type {Gpu | undefined} */
let spare;
/** Devices whose loss is told. @type {WeakSet<GPUDevice>} */
const watched = new WeakSet();
/** A device that compiles the pipelines of the model used last, before anybody asks for it. @type {Promise<Gpu> | undefined} */
let ahead;
/** What can wait until nothing is to be done. @type {(() => Promise<unknown>)[]} */
const later = [];
/** What was read, in conversations. @type {States | undefined} */
let states;
/** The last trace. @type {Gauge | undefined} */
let traced;
/** Whether people's scripts have run: then Python's files are not only ours, and none are kept for later visits. */
let scripted = false;
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
  templates: async () => JSON.parse(await need().do("templates", "{}")),
  render: async (request) => JSON.parse(await need().do("render", JSON.stringify(request))),
  "states.usage": () => openStates().usage(),
  "states.clear": () => openStates().clear(),
  "states.load": loadState,
  "states.save": saveState,
  "states.fork": (request, { signal }) => need().do("fork_state", JSON.stringify(request), () => signal.aborted),
  "states.limit": (budget) => openStates().limit(budget),
  "models.loaded": async (asked) => JSON.parse(await need().do("models", JSON.stringify(asked))),
  trace,
  score,
  stateOf: async ({ layer, head }) => {
    if (!traced) throw new RwkvError("bad-setting", { name: "stateOf", expected: "something after a trace", found: "no trace" });
    return traced.head(layer, head);
  },
  bench,
  "python.run": async (script, { signal }) => {
    const read = await hooks.read(script, signal);
    scripted = true;
    return hooks.run((await startPython()).pyodide, need(), read);
  },
  "python.call": async ({ name, argument }) => JSON.parse(await need().call_script(name, JSON.stringify(argument ?? null))),
  inspect: async (request, { signal }) => {
    const entry = typeof request.source === "string" ? (await catalogue()).find((e) => e.id === request.source) : undefined;
    const packed = async () =>
      (await resolve({ ...request, quantization: "" }, await openStore(), { signal, progress: () => {} })).manifest;
    return inspect((await startPython()).pyodide, request, { entry, packed, signal });
  },
  models: async () => list(await openStore()),
  check: async ({ id, repair }, { gate, progress }) => check(await openStore(), id, repair ? () => baseOf(id) : undefined, gate, progress),
  files: async ({ id }) => files(await openStore(), id),
  forget: async ({ id }) => {
    await (await openStore()).remove(id);
    await forget(id, openStore());
  },
};

// As long as this worker lives it holds a lock of its name; whoever started it learns from the lock that it is gone, however that came about.
navigator.locks
  ?.request(self.name, () => {
    postMessage({ id: 0, event: "alive" });
    return new Promise(() => {});
  })
  .catch(() => {}); // a frame whose browser gives it no storage has no locks either

onmessage = async ({ data: { id, op, args, cancel, pause, paused } }) => {
  if (cancel !== undefined) return running.get(cancel)?.abort();
  if (pause !== undefined) return gates.get(pause)?.set(paused);
  const abort = new AbortController();
  running.set(id, abort);
  const post = (/** @type {string} */ event, /** @type {unknown} */ value) => postMessage({ id, event, value });
  const meter = new Meter((progress) => post("progress", progress));
  /** @type {Context} */
  const context = {
    signal: abort.signal,
    gate: new Gate(abort.signal, (waiting) => meter.wait(waiting)),
    progress: meter.update.bind(meter),
    emit: (value) => post("chunk", value),
  };
  gates.set(id, context.gate);
  try {
    if (op === "load") loaded = meter;
    post("result", await operations[op](args, context));
  } catch (e) {
    await texts;
    post("error", (abort.signal.aborted && op === "load" ? new RwkvError("cancelled") : told(pythonError(e))).toJSON());
  } finally {
    running.delete(id);
    gates.delete(id);
  }
};

/** @param {{warm: boolean}} request warm: whether a model is going to be used here */
async function probe({ warm }) {
  /** @type {Record<string, boolean>} */
  const stored = {};
  for (const row of await openStore().then(
    (s) => s.models(),
    () => [],
  ))
    stored[row.id] = row.complete;
  if (warm && Object.values(stored).some(Boolean)) {
    startPython().catch(() => {}); // somebody who has a model is going to use it
    if (!service) ahead ??= lookAhead();
    ahead?.catch(() => {});
  }
  try {
    const adapter = await requestAdapter();
    return { webgpu: { available: true, adapter: describe(adapter), software: isSoftware(adapter), limits: limitsOf(adapter) }, stored };
  } catch (e) {
    await texts;
    const { code, message, details } = told(RwkvError.from(e));
    return { webgpu: { available: false, code, reason: message, details }, stored };
  }
}

/** The largest buffer a kernel can have. @param {GPUAdapter} adapter */
function limitsOf({ limits: { maxStorageBufferBindingSize, maxBufferSize } }) {
  return { binding: Math.min(maxStorageBufferBindingSize, maxBufferSize, 2 ** 31 - 4) };
}

async function lookAhead() {
  const [gpu, id] = await Promise.all([Gpu.create(), lastUsed(openStore())]);
  if (id !== undefined) void anticipate(gpu, id, openStore(), buildKey());
  return gpu;
}

/** The device for a load: one that is there already, if there is one. */
async function takeGpu() {
  const [left, opened] = [spare, ahead];
  spare = ahead = undefined;
  return left?.heir() ?? (await opened?.catch(() => undefined)) ?? (await Gpu.create());
}

/** Do what has waited, once nobody has asked for anything for a while. */
function whenIdle() {
  setTimeout(async () => {
    if (running.size) return whenIdle();
    for (const work of later.splice(0)) await work();
  }, IDLE);
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
  loaded.timings.start = Math.round(performance.now()); // since the worker began
  await unload();
  const store = await openStore();
  store.release();
  const script = request.python && (await hooks.read(request.python, signal));
  progress("python", 0, 1, "steps");
  const booting = startPython();
  booting.catch(() => {}); // reported where it is awaited
  progress("adapter", 0, 1, "steps");
  const gpu = request.device === "webgpu" ? await takeGpu() : undefined;
  progress("adapter", 1, 1, "steps");
  /** What is Python's and not needed any more once the model is there. @type {any[]} */
  const proxies = [];
  try {
    const found = await resolve(request, store, context);
    const small = found.manifest && JSON.parse(found.manifest).total_bytes < SMALL;
    const { timings } = loaded;
    const early = small ? fetchShards(found, store, context).then(() => begun(shardsOf(found, store, context, timings))) : undefined;
    early?.catch(() => {});
    const listed = found.listed ? new URL("pipelines.json", found.base) : undefined;
    const kept = gpu && anticipate(gpu, found.id, openStore(), buildKey(), listed);
    const { pyodide } = await booting;
    signal.throwIfAborted();
    if (!gpu || found.files) await pyodide.loadPackage("numpy", { messageCallback: () => {} });
    progress("python", 1, 1, "steps");
    const module = pyodide.pyimport("py_rwkv.browser.service");
    proxies.push(module);
    if (found.files) {
      const { id, files: sources, name = "", origin } = found;
      const what = { id, files: sources, name, origin, quantization: request.quantization, device: request.device };
      found.manifest = await convert(module, store, what, context.gate, progress, pythonError);
    }
    signal.throwIfAborted();
    if (!small) module.check(found.manifest, gpu, request.slots); // a small one is refused when its programs are built
    const [shards] = await Promise.all([early, early ?? fetchShards(found, store, context), openStates().open()]);
    signal.throwIfAborted();
    scripted ||= Boolean(script);
    const registered = script && (await hooks.begin(pyodide, script));
    if (registered) proxies.push(registered);
    service = await module.open_model(
      found.manifest,
      shards ?? shardsOf(found, store, context, timings),
      gpu,
      progress,
      await tokenizerOf(found.manifest, store),
      request.slots,
      keeper(openStore(), await buildKey()),
      request.tuning,
      openStates(),
      registered,
      request.parallel,
      found.id,
    );
    await settleStore(found.id);
    progress("ready", 1, 1, "");
    timings.ready = loaded.elapsed();
    if (gpu) {
      const meter = loaded;
      void gpu.settled().then(() => void (timings.complete = meter.elapsed()));
      later.push(async () => remember(gpu, found.id, openStore(), buildKey(), await kept));
    }
    later.push(verify);
    const { keep } = await booting;
    if (keep) later.push(async () => scripted || keep());
    whenIdle();
    device = gpu;
    if (gpu) watch(gpu.device);
    return info();
  } catch (e) {
    gpu?.close();
    throw e;
  } finally {
    for (const proxy of proxies) proxy.destroy();
  }
}

/** Tell when the model's device is lost. @param {GPUDevice} used */
function watch(used) {
  if (watched.has(used)) return;
  watched.add(used);
  used.lost.then(({ reason, message }) => {
    if (reason !== "destroyed" && device?.device === used)
      postMessage({ id: 0, event: "error", value: new RwkvError("device-lost", { reason: message || "unknown" }).toJSON() });
  });
}

/**
 * The self-test that the load has left for later (py_rwkv/runtime/tuner.py). A model that turns out to compute wrongly has to be loaded again, with kernels that
 * do not; where there are none, it is an error of the whole engine. Either is told as the loss of a device is.
 */
async function verify() {
  const tested = service;
  try {
    if (!tested || (await tested.verify()) || tested !== service) return;
    throw new RwkvError("wrong-kernels");
  } catch (e) {
    if (tested === service) postMessage({ id: 0, event: "error", value: told(pythonError(e)).toJSON() });
  }
}

/** A model is ready: what found no place on the disk may go, and the rest was used now. @param {string} id */
async function settleStore(id) {
  const store = await openStore();
  loaded.kept = !store.volatile && !store.refused;
  store.release();
  await store.update(id, { used: Date.now() }).catch(() => {});
}

async function buildKey() {
  return (await building)?.key ?? "";
}

async function unload() {
  if (!service) return;
  spare = device?.heir();
  device = undefined;
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

/** Makes a state file the start of conversations; its id. @param {{file: File, force: boolean, layout: string | undefined}} args */
async function loadState({ file, ...options }) {
  const [source] = openFiles([file]);
  if (await need().do("needs_numpy", "{}", source)) {
    const { pyodide } = await startPython();
    await pyodide.loadPackage("numpy", { messageCallback: () => {} });
  }
  return need().do("load_state", JSON.stringify(options), source);
}

/** A state file that ends where these messages do. @param {object} request @param {Context} context */
async function saveState(request, { signal }) {
  const bytes = await need().do("save_state", JSON.stringify(request), () => signal.aborted);
  return new Blob([bytes], { type: "application/octet-stream" });
}

/** Reads a text and tells what every token did to the state. @param {object} request @param {Context} context */
async function trace(request, { signal, emit }) {
  const [end, gauge] = await need().do(
    "trace",
    JSON.stringify(request),
    Gauge,
    (/** @type {string} */ token) => emit(JSON.parse(token)),
    () => signal.aborted,
  );
  traced = gauge;
  return JSON.parse(end);
}

/** Reads an answer again and tells what each of its tokens competed with. @param {object} request @param {Context} context */
async function score(request, { signal, emit }) {
  const told = (/** @type {string} */ token) => emit(JSON.parse(token));
  return JSON.parse(await need().do("score", JSON.stringify(request), told, () => signal.aborted));
}

/** Measures the loaded model, and the adapter on a device of its own. @param {object} plan @param {Context} context */
async function bench(plan, { signal, emit }) {
  const gpu = JSON.parse(need().info()).device.kind === "webgpu" ? await Gpu.create() : undefined;
  try {
    const part = (/** @type {string} */ text) => emit(JSON.parse(text));
    return { ...JSON.parse(await need().bench(JSON.stringify(plan), gpu, part, () => signal.aborted)), load_ms: loaded.timings };
  } finally {
    gpu?.close();
  }
}

function need() {
  if (!service) throw new RwkvError("not-loaded");
  return service;
}

async function info() {
  const facts = JSON.parse(need().info());
  const { pyodide, snapshot } = await startPython();
  const wasmBytes = pyodide._module.HEAP8.length;
  const memory = { ...facts.memory, wasmBytes, shardBytes: held.peak() };
  const states = await openStates().usage(false);
  return {
    ...facts,
    memory,
    states,
    timings: loaded.timings,
    start: { snapshot },
    kept: loaded.kept,
    bridge: device && { ...device.traffic },
  };
}

function openStates() {
  states ??= new States(openStore());
  return states;
}

function openStore() {
  store ??= Store.open().catch(() => Store.inMemory());
  return store;
}

function startPython() {
  building ??= readBuild(SITE);
  python ??= boot(
    SITE,
    building,
    openStore().then((s) => (s.volatile ? undefined : s)),
  ).catch((e) => {
    python = building = undefined;
    throw new RwkvError("python-failed", { reason: RwkvError.from(e).message });
  });
  return python;
}
