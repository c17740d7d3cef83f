// @ts-check
/**
 * The public JavaScript API: an engine that lives in a worker. OpenAI-shaped requests in, chunks out.
 *
 *   const engine = await Engine.create();
 *   await engine.load("demo", { onProgress: console.log });
 *   for await (const chunk of await engine.chat.completions.create({ messages, stream: true })) …
 *
 * Events: "state" ({state}), "progress" (Progress), "error" (RwkvError), each with its value in `detail`.
 */

import { loadTexts, RwkvError } from "./errors.js";

export { localized, RwkvError } from "./errors.js";

/** @typedef {"python" | "download" | "convert" | "upload" | "compile" | "warmup" | "ready"} Phase */
/** @typedef {{phase: Phase, done: number, total: number, unit: "bytes" | "steps" | "", speed?: number, eta?: number, fromCache?: boolean}} Progress */
/** @typedef {{signal?: AbortSignal, onProgress?: (progress: Progress) => void, device?: "webgpu" | "numpy", quantization?: string, name?: string}} LoadOptions */
/** @typedef {{role: "system" | "user" | "assistant", content: string}} Message */
/** @typedef {{messages: Message[], stream?: boolean, signal?: AbortSignal, temperature?: number, top_p?: number, top_k?: number, seed?: number, stop?: string | string[], max_tokens?: number, presence_penalty?: number, frequency_penalty?: number, penalty_decay?: number}} ChatRequest */
/** @typedef {{resolve: (value: any) => void, reject: (error: RwkvError) => void, onEvent?: (event: any) => void}} Pending */
/** @typedef {{state: "idle" | "loading" | "ready" | "busy" | "error", model?: any, device?: any}} Status */

export class Engine extends EventTarget {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "py_rwkv" });
  #next = 1;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {Status} */
  #status = { state: "idle" };
  /** The load under way or done. @type {{key: string, promise: Promise<any>, abort: AbortController} | undefined} */
  #load;
  #busy = 0;
  #closed = false;

  /** An engine whose worker runs, with nothing loaded. */
  static async create() {
    await loadTexts(new URL("../i18n/errors.json", import.meta.url));
    return new Engine();
  }

  /** Use `Engine.create()`. */
  constructor() {
    super();
    this.#listen();
    /** OpenAI's shape. */
    this.chat = { completions: { create: (/** @type {ChatRequest} */ request) => this.#create(request) } };
    /** Raw text: `prompt` in, its continuation out. */
    this.completions = {
      create: (/** @type {Omit<ChatRequest, "messages"> & {prompt: string}} */ request) => this.#create(request),
    };
  }

  /** @returns {Status} */
  status() {
    return this.#status;
  }

  /** What this browser can do and which models are stored; loads nothing. */
  probe() {
    return this.#call("probe", {});
  }

  /** The models this site knows: id, name, size. */
  catalogue() {
    return this.#call("catalogue", {});
  }

  /**
   * Load a catalogue id, the URL of a model directory, or a checkpoint: the URL of a `.pth`, `.safetensors`, `.st`, `.gguf` or `*.index.json`, such a `File`,
   * or the files of a Hugging Face folder. Without arguments: what is loaded already, else the embedded demo. Loading what is loaded (or loading) does
   * nothing more; loading something else ends what is under way. `quantization`: a strategy for a checkpoint, e.g. "int8" or "nf4, head=int8"; it is
   * converted once and then stored. `name`: how a converted model is to be called.
   * @param {string | File | File[]} [source] @param {LoadOptions} [options]
   */
  load(source, { signal, onProgress, device = "webgpu", quantization = "int8", name = "" } = {}) {
    if (source === undefined && this.#load) return this.#load.promise;
    source ??= "demo";
    const what = typeof source === "string" ? source : [source].flat().map((f) => `${f.name} ${f.size} ${f.lastModified}`);
    const key = `${what} ${device} ${quantization}`;
    if (this.#load?.key === key && this.#status.state !== "error") return this.#load.promise;
    this.#load?.abort.abort();
    const abort = new AbortController();
    const load = (this.#load = { key, abort, promise: Promise.resolve() });
    this.#setState({ state: "loading" });
    /** @param {Progress} progress */
    const onEvent = (progress) => {
      onProgress?.(progress);
      this.dispatchEvent(new CustomEvent("progress", { detail: progress }));
    };
    load.promise = this.#call(
      "load",
      { source, device, quantization, name },
      { signal: signal ? AbortSignal.any([signal, abort.signal]) : abort.signal, onEvent },
    ).then(
      (info) => {
        if (this.#load === load) this.#setState({ state: "ready", model: info.model, device: info.device });
        return info;
      },
      (error) => {
        if (this.#load === load) {
          this.#load = undefined;
          this.#setState({ state: error.code === "cancelled" ? "idle" : "error" });
          if (error.code !== "cancelled") this.dispatchEvent(new CustomEvent("error", { detail: error }));
        }
        throw error;
      },
    );
    return load.promise;
  }

  /** f32 logits after these tokens from a zero state. @param {number[]} tokens @returns {Promise<Float32Array>} */
  logits(tokens) {
    return this.#whenReady(() => this.#call("logits", { tokens: Array.from(tokens) }));
  }

  /** Token ids of a text, by the loaded model's tokenizer. @param {string} text @returns {Promise<number[]>} */
  tokenize(text) {
    return this.#whenReady(() => this.#call("tokenize", { text }));
  }

  /** Model, device, memory in bytes, cost of a token, phase times in ms. */
  info() {
    return this.#whenReady(() => this.#call("info", {}));
  }

  /** Free the model's memory; what is stored stays stored. */
  async unload() {
    this.#load?.abort.abort();
    this.#load = undefined;
    await this.#call("unload", {});
    this.#setState({ state: "idle" });
  }

  /** Delete a stored model. @param {string} id catalogue id or URL */
  forget(id) {
    return this.#call("forget", { id });
  }

  /** Stop the worker; every open request fails with `closed`. */
  close() {
    this.#closed = true;
    this.#worker.terminate();
    this.#fail(new RwkvError("closed"));
    this.#setState({ state: "idle" });
  }

  /**
   * @param {any} request
   * @returns {Promise<any>} the completion, or with `stream` an async iterable of chunks
   */
  async #create({ signal, ...request }) {
    if (!this.#load) throw new RwkvError("not-loaded");
    await this.#load.promise;
    if (!request.stream) return this.#work(request, { signal });
    const abort = new AbortController();
    const stop = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    /** @type {any[]} */
    const queue = [];
    let wake = () => {};
    let done = false;
    /** @type {RwkvError | undefined} */
    let failure;
    this.#work(request, {
      signal: stop,
      onEvent(chunk) {
        queue.push(chunk);
        wake();
      },
    })
      .catch((error) => void (failure = error))
      .finally(() => {
        done = true;
        wake();
      });
    return (async function* () {
      try {
        for (;;) {
          while (queue.length) yield queue.shift();
          if (failure) throw failure;
          if (done) return;
          await new Promise((resolve) => void (wake = () => resolve(undefined)));
        }
      } finally {
        if (!done) abort.abort(); // the reader left early
      }
    })();
  }

  /** A request that keeps the model busy. @param {object} request @param {{signal?: AbortSignal, onEvent?: (event: any) => void}} options */
  async #work(request, options) {
    if (++this.#busy === 1) this.#setState({ ...this.#status, state: "busy" });
    try {
      return await this.#call("answer", request, options);
    } finally {
      if (--this.#busy === 0 && this.#status.state === "busy") this.#setState({ ...this.#status, state: "ready" });
    }
  }

  /** @template T @param {() => Promise<T>} then @returns {Promise<T>} */
  async #whenReady(then) {
    if (!this.#load) throw new RwkvError("not-loaded");
    await this.#load.promise;
    return then();
  }

  /**
   * One request to the worker: `{id, op, args}` out; `{id, event: "progress" | "chunk" | "result" | "error", value}` back; `{cancel: id}` ends it early.
   * @param {string} op @param {object} args
   * @param {{signal?: AbortSignal, onEvent?: (event: any) => void}} [options]
   * @returns {Promise<any>}
   */
  #call(op, args, { signal, onEvent } = {}) {
    if (this.#closed) return Promise.reject(new RwkvError("closed"));
    if (signal?.aborted) return Promise.reject(new RwkvError("cancelled"));
    const id = this.#next++;
    const cancel = () => this.#worker.postMessage({ cancel: id });
    signal?.addEventListener("abort", cancel, { once: true });
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onEvent });
      this.#worker.postMessage({ id, op, args });
    }).finally(() => {
      this.#pending.delete(id);
      signal?.removeEventListener("abort", cancel);
    });
  }

  #listen() {
    this.#worker.onmessage = ({ data: { id, event, value } }) => {
      const pending = this.#pending.get(id);
      if (!pending) {
        if (event === "error") this.#lose(RwkvError.from(value)); // not an answer: the device is gone
      } else if (event === "result") pending.resolve(value);
      else if (event === "error") pending.reject(RwkvError.from(value));
      else pending.onEvent?.(value);
    };
    this.#worker.onerror = (e) => this.#lose(new RwkvError("internal", { reason: e.message || "the worker failed to start" }));
  }

  /** Everything in the worker is lost. @param {RwkvError} error */
  #lose(error) {
    this.#fail(error);
    this.#load = undefined;
    this.#setState({ state: "error" });
    this.dispatchEvent(new CustomEvent("error", { detail: error }));
  }

  /** @param {RwkvError} error */
  #fail(error) {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  /** @param {Status} status */
  #setState(status) {
    this.#status = status;
    this.dispatchEvent(new CustomEvent("state", { detail: status }));
  }
}
