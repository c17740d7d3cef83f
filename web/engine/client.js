// @ts-check
/**
 * The public JavaScript API: an engine that lives in a worker. OpenAI-shaped requests in, chunks out.
 *
 *   const engine = await Engine.create();
 *   await engine.load("demo", { onProgress: console.log });
 *   for await (const chunk of await engine.chat.completions.create({ messages, stream: true })) …
 *
 * Events: "state" ({state}), "progress" (Progress), "error" (RwkvError), each with its value in `detail`; "recovering" and "recovered" with the RwkvError that
 * made it necessary to load the model again (answers under way go on where they were).
 */

import { Core } from "./core.js";
import { loadTexts, RwkvError } from "./errors.js";
import { apiFetch, models } from "./fetch.js";
import { crossing } from "./hooks.js";

export { localized, RwkvError } from "./errors.js";

/** @typedef {"python" | "download" | "convert" | "upload" | "compile" | "warmup" | "ready"} Phase */
/** @typedef {{phase: Phase, done: number, total: number, unit: "bytes" | "steps" | "", speed?: number, eta?: number, fromCache?: boolean}} Progress */
/** @typedef {{signal?: AbortSignal, onProgress?: (progress: Progress) => void, device?: "webgpu" | "numpy", quantization?: string, name?: string, mirror?: string, slots?: number, parallel?: number, tuning?: "auto" | "preset" | "measure" | "rounded", share?: boolean, python?: Script}} LoadOptions */
/** What to measure; every key has a default. Lengths in tokens; `batches`: sessions side by side. @typedef {{prefill?: number, prefills?: number[], decode?: number, repeat?: number, batches?: number[], contexts?: number[]}} BenchPlan */
/** Of an answer: its thought, if the model is to see it again, and the mode it was asked for in. @typedef {{role: "system" | "user" | "assistant", content: string, reasoning_content?: string, thinking?: string}} Message */
/** What follows the question, and what follows the cue, in a mode of thinking. @typedef {{user?: string, cue?: string}} ThinkingMode */
/** `{}` is where a message goes; `clean`, `clean_answer`: "lines", "paragraphs" or "verbatim". @typedef {{name?: string, preamble?: string, system?: string, user: string, cue: string, answer: string, stops?: string[], clean?: string, clean_answer?: string, thinking?: Record<string, string | ThinkingMode>}} Template */
/** What each field does: docs/api.md. @typedef {{model?: string, stream?: boolean, stream_options?: {include_usage?: boolean}, signal?: AbortSignal, n?: number, temperature?: number, top_p?: number, top_k?: number, seed?: number, stop?: string | string[], max_tokens?: number, max_completion_tokens?: number, presence_penalty?: number, frequency_penalty?: number, penalty_decay?: number, logit_bias?: Record<string, number>, ban?: number[], logprobs?: boolean | number, top_logprobs?: number, response_format?: ResponseFormat, state?: string, processors?: string[], sampler?: string, max_prompt_tokens?: number}} Settings */
/** @typedef {{type: "text" | "json_object"} | {type: "json_schema", json_schema: {name?: string, schema: object, strict?: boolean}} | {type: "regex", pattern: string} | {type: "choice", choices: string[]}} ResponseFormat */
/** A function that the model may call. @typedef {{type: "function", function: {name: string, description?: string, parameters?: object, strict?: boolean}}} Tool */
/** Of a conversation with calls. @typedef {{role: "tool", content: string, tool_call_id?: string} | {role: "assistant", content?: string | null, tool_calls: {id?: string, type: "function", function: {name: string, arguments: string}}[]}} CallMessage */
/** `continue`: go on with the answer that is the last message. @typedef {Settings & {messages: (Message | CallMessage)[], tools?: Tool[], tool_choice?: "none" | "auto" | "required" | {type: "function", function: {name: string}}, parallel_tool_calls?: boolean, reasoning_effort?: string, template?: string | Template, thinking?: string, continue?: boolean}} ChatRequest */
/** @typedef {Settings & {prompt: string | string[] | number[] | number[][], echo?: boolean}} TextRequest */
/** @typedef {import("./shapes.js").Usage} StatesUsage */
/** @typedef {import("./hooks.js").Script} Script */
/** @typedef {import("./hooks.js").Registered} Registered */
/** @typedef {{index: number, id: number, text: string, bytes: number[], logprob: number | null, entropy: number, change: number[]}} TracedToken */
/** @typedef {{tokens: number, layers: number, heads: number, head_size: number, norms: number[]}} Trace */
/** @typedef {import("./core.js").Status} Status */

export class Engine extends EventTarget {
  #core;

  /**
   * An engine whose worker runs, with nothing loaded. `python`: scripts of your own may run in it, with all the rights of this page (docs/hooks.md).
   * `soon`: it is going to be used, so a model that is stored already is prepared for.
   * @param {{python?: boolean, soon?: boolean}} [options]
   */
  static async create({ python = false, soon = false } = {}) {
    const engine = new Engine({ python }); // its worker starts while the texts come
    if (soon) engine.probe().catch(() => {}); // whoever needs the answer asks again
    await loadTexts(new URL("../i18n/errors.json", import.meta.url));
    return engine;
  }

  /** Use `Engine.create()`. @param {{python?: boolean}} [options] */
  constructor({ python = false } = {}) {
    super();
    this.#core = new Core((name, detail) => this.dispatchEvent(new CustomEvent(name, { detail })), python);
    /** OpenAI's shape: a completion, or with `stream` an async iterable of chunks. */
    this.chat = {
      completions: {
        /** Answer messages. @param {ChatRequest} request @param {{signal?: AbortSignal}} [options] @returns {Promise<any>} */
        create: (request, options) => this.#create({ ...request, ...options }),
      },
    };
    /** A `fetch` that answers OpenAI's HTTP requests from the model that is loaded: docs/api.md. It needs no `this`. */
    this.fetch = apiFetch(this.#core);
    /** Raw text: `prompt` in, its continuation out. */
    this.completions = {
      /** Go on with a text. @param {TextRequest} request @param {{signal?: AbortSignal}} [options] @returns {Promise<any>} */
      create: (request, options) => this.#create({ ...request, ...options }),
    };
    /** What the model remembers: kept as a cache of what was read, and as files. */
    this.states = {
      /** Bytes and number of the states kept, of all models. @returns {Promise<StatesUsage>} */
      usage: () => this.#core.call("states.usage", {}),
      /** Forget all kept states. @returns {Promise<void>} */
      clear: () => this.#core.call("states.clear", {}),
      /**
       * Make a state file (ours or a state-tuned one) something that conversations can start from: an id for requests' `state`, the same for the same state, good
       * while the model is loaded. `layout`: of a state-tuned file, where it does not tell; `force`: also a state of other weights.
       * @param {File | Blob | ArrayBuffer} file @param {string} [name] @param {{layout?: "official" | "web-rwkv", force?: boolean}} [options] @returns {Promise<string>}
       */
      load: (file, name = "", { layout, force = false } = {}) => {
        const named = new File([file], name || (file instanceof File ? file.name : "state"));
        return this.#core.ask("states.load", { file: named, layout, force });
      },
      /** A state file that ends where these messages do. @param {ChatRequest} request @returns {Promise<Blob>} */
      save: ({ signal, ...request }) => this.#core.work("states.save", request, { signal }),
      /**
       * The same without a file: an id for requests' `state`, so that any number of conversations go on from what these messages left.
       * @param {ChatRequest} request @returns {Promise<string>}
       */
      fork: ({ signal, ...request }) => this.#core.ask("states.fork", request, { signal }),
      /** How many bytes of states to keep in memory (64 MB if not said), and stored in the browser (512 MB). @param {{memory?: number, stored?: number}} budget @returns {Promise<StatesUsage>} */
      limit: (budget) => this.#core.call("states.limit", budget),
    };
    const stored = /** @returns {Promise<import("./shapes.js").StoredModel[]>} */ () => this.#core.call("models", {});
    /** The stored models with their sizes and dates, the latest first; `list()` and `retrieve(id)`: what is loaded, in OpenAI's shape. */
    this.models = Object.assign(stored, { list: () => models(this.#core), retrieve: (/** @type {string} */ id) => models(this.#core, id) });
    /** Python of your own beside the model, in an engine that was made for it: docs/hooks.md. */
    this.python = {
      /** Run a script: its processors and samplers take part in answers from now on. What there is now. @param {Script} script @returns {Promise<Registered>} */
      run: async (script) => this.#core.ask("python.run", crossing(script, this.#core.python)),
      /** Call a function that a script has registered, with JSON and for JSON. @param {string} name @param {unknown} [argument] @returns {Promise<any>} */
      call: async (name, argument) => this.#core.ask("python.call", { name, argument }),
    };
  }

  /** @returns {Status} */
  status() {
    return this.#core.status;
  }

  /** What this browser can do and which models are stored; loads nothing. */
  probe() {
    return this.#core.probe();
  }

  /** The models this site knows: id, name, size. */
  catalogue() {
    return this.#core.call("catalogue", {});
  }

  /**
   * Load a catalogue id, the URL of a model directory, or a checkpoint: the URL of a `.pth`, `.safetensors`, `.st`, `.gguf` or `*.index.json`, such a `File`,
   * or the files of a Hugging Face folder. Without arguments: what is loaded already, else the embedded demo. Loading what is loaded (or loading) does
   * nothing more; loading something else ends what is under way. `quantization`: a strategy for a checkpoint, e.g. "int8" or "nf4, head=int8"; it is
   * converted once and then stored. `name`: how a converted model is to be called. `parallel`: answers at a time, in the same steps; others wait.
   * `slots`: states on the device, `parallel` of them for answers.
   * `tuning`: "measure" tries which forms of the kernels are the fastest here, "rounded" also those that round activations, "preset" takes none that was measured;
   * docs/tuning.md.
   * `share`: where another tab of this site has the model, use it through that tab; when that one is closed, it is loaded here.
   * `python`: a script of your own that hooks the model (docs/hooks.md), for an engine made with `Engine.create({ python: true })`.
   * @param {string | File | File[]} [source] @param {LoadOptions} [options]
   */
  load(
    source,
    {
      signal,
      onProgress,
      device = "webgpu",
      quantization = "int8",
      name = "",
      mirror = "",
      slots = 4,
      parallel = 3,
      tuning = "auto",
      share = false,
      python,
    } = {},
  ) {
    if (source === undefined && python === undefined && this.#core.loading) return this.#core.loading;
    try {
      const script = python && crossing(python, this.#core.python);
      const what = {
        source: source ?? "demo",
        device,
        quantization,
        name,
        mirror,
        slots: Math.max(slots, parallel + 1),
        parallel,
        tuning,
        python: script,
      };
      return this.#core.load(what, { signal, onProgress, share });
    } catch (e) {
      return Promise.reject(e); // a script that may not run
    }
  }

  /** Load the model into this tab, although it is used through another one (`load` with `share`). */
  own() {
    return this.#core.own();
  }

  /** f32 logits after these tokens from a zero state. @param {number[]} tokens @returns {Promise<Float32Array>} */
  logits(tokens) {
    return this.#core.ask("logits", { tokens: Array.from(tokens) });
  }

  /** Token ids of a text, by the loaded model's tokenizer. @param {string} text @returns {Promise<number[]>} */
  tokenize(text) {
    return this.#core.ask("tokenize", { text });
  }

  /** The templates there are, as a request may bring them, and the loaded model's own. @returns {Promise<{default: string, templates: Required<Template>[]}>} */
  templates() {
    return this.#core.ask("templates", {});
  }

  /** Exactly what the model would read: the text, its pieces, the number of tokens. @param {ChatRequest} request @returns {Promise<{text: string, pieces: string[], tokens: number}>} */
  render({ signal, ...request }) {
    return this.#core.ask("render", request, { signal });
  }

  /**
   * Watch the recurrent state while the model reads at most 512 tokens: a text, or what it would read for a request. `until`: read only so many tokens; `last`:
   * watch only so many of them, and read those before at once. `onToken` gets each token; at the end the sizes and the norm of every head's state. `change`, `norms`: [layers · heads], layer by layer; `logprob`: of the token, null for the first.
   * @param {(ChatRequest | {text: string, state?: string}) & {until?: number, last?: number}} request
   * @param {{signal?: AbortSignal, onToken?: (token: TracedToken) => void}} [options] @returns {Promise<Trace>}
   */
  trace(request, { signal, onToken } = {}) {
    return this.#core.work("trace", request, { signal, onEvent: onToken });
  }

  /**
   * Read an answer, the last message, again: `onToken` gets an entry of `logprobs.content` of each of its tokens, with `index` and `top_logprobs` alternatives. `rare`: it is
   * not among the 256 best, and `logprob` is that of the last of them.
   * @param {ChatRequest} request @param {{signal?: AbortSignal, onToken?: (token: any) => void}} [options]
   * @returns {Promise<{tokens: number, prompt_tokens: number, cached_tokens: number}>}
   */
  score(request, { signal, onToken } = {}) {
    return this.#core.work("score", request, { signal, onEvent: onToken });
  }

  /**
   * The state of a head as the last trace left it: [N · N], in RWKV-7 value by key, in RWKV-5 and 6 key by value; in RWKV-4, which has one "head", [C].
   * @param {number} layer @param {number} head @returns {Promise<Float32Array>}
   */
  stateOf(layer, head) {
    return this.#core.ask("stateOf", { layer, head });
  }

  /**
   * Measure the loaded model; `onPart` gets each part of the report as it is done. What the keys mean: docs/benchmarks.md.
   * @param {BenchPlan} [plan] @param {{signal?: AbortSignal, onPart?: (part: Record<string, any>) => void}} [options]
   */
  bench(plan = {}, { signal, onPart } = {}) {
    return this.#core.work("bench", plan, { signal, onEvent: onPart });
  }

  /** Model, device, memory in bytes, cost of a token, phase times in ms. */
  info() {
    return this.#core.ask("info", {});
  }

  /** Free the model's memory; what is stored stays stored. */
  unload() {
    return this.#core.unload();
  }

  /** Pause the load or the repair under way, or go on: nothing is fetched or converted meanwhile, and what is stored stays. @param {boolean} paused */
  pause(paused) {
    this.#core.pause(paused);
  }

  /**
   * What a model would take, before it is fetched: `{name, config, parameters, bytes, sizes: {STRATEGY: {disk, gpu, binding}}}`, sizes in bytes. Of an address that
   * serves no ranges nothing is told (`ranges: false`).
   * @param {string | File | File[]} source @param {{strategies?: string[], mirror?: string, name?: string, signal?: AbortSignal}} [options]
   */
  inspect(source, { strategies = ["int8", "nf4", "int4", "f16"], mirror = "", name = "", signal } = {}) {
    return this.#core.call("inspect", { source, strategies, mirror, name }, { signal });
  }

  /**
   * Compare every stored file of a model with its hash. Damaged ones are removed, and with `repair` fetched again.
   * @param {string} id @param {{repair?: boolean, signal?: AbortSignal, onProgress?: (progress: Progress) => void}} [options]
   * @returns {Promise<{files: number, bad: string[], repaired: boolean}>}
   */
  check(id, { repair = false, signal, onProgress } = {}) {
    return this.#core.call("check", { id, repair }, { signal, onEvent: onProgress });
  }

  /** The files of a stored model, its manifest first: hosted together in a folder, they can be loaded by its address. @param {string} id @returns {Promise<{name: string, blob: Blob}[]>} */
  files(id) {
    return this.#core.call("files", { id });
  }

  /** Delete a stored model. @param {string} id as in `models` */
  forget(id) {
    return this.#core.call("forget", { id });
  }

  /** Stop the worker; every open request fails with `closed`. */
  close() {
    this.#core.close();
  }

  /**
   * @param {any} request
   * @returns {Promise<any>} the completion, or with `stream` an async iterable of chunks
   */
  async #create({ signal, ...request }) {
    if (!this.#core.loading) throw new RwkvError("not-loaded");
    await this.#core.loading;
    if (!request.stream) return this.#core.work("answer", request, { signal });
    const abort = new AbortController();
    const stop = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    /** @type {any[]} */
    const queue = [];
    let wake = () => {};
    let done = false;
    /** @type {RwkvError | undefined} */
    let failure;
    const work = this.#core.work("answer", request, {
      signal: stop,
      onEvent(chunk) {
        queue.push(chunk);
        wake();
      },
    });
    work
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
}
