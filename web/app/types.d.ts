// What the page expects of its surroundings: the engine's public surface as far as the page uses it, and the two vendored libraries.

export type EngineState = "idle" | "loading" | "ready" | "busy" | "recovering" | "error";
export type DeviceKind = "webgpu" | "numpy";
export type Phase = "python" | "download" | "upload" | "compile" | "warmup" | "convert" | "verify" | "ready";

export interface ModelInfo {
  name: string;
  version: string | number;
  layers: number;
  embd: number;
  quantization: string;
  bytes: number;
  /** The model's own sampling defaults, where the engine tells them. */
  sampling?: Partial<Record<SettingName, number | null>>;
}
export interface DeviceInfo {
  kind: DeviceKind;
  adapter: string;
}
export interface EngineStatus {
  state: EngineState;
  model?: ModelInfo;
  device?: DeviceInfo;
  /** Another tab has the model. */
  shared?: boolean;
}
export interface Probe {
  webgpu: {
    available: boolean;
    code?: string;
    reason?: string;
    details?: Record<string, unknown>;
    adapter?: string;
    software?: boolean;
    limits?: { binding: number };
  };
  stored: Record<string, boolean>;
}
export interface CatalogueEntry {
  id: string;
  name: string;
  bytes: number;
  description: Record<string, string>;
  licence: string;
  /** demo, g1, world7 or world6. */
  family?: string;
  /** A model directory of this site, or the address of a checkpoint. */
  path?: string;
  url?: string;
  parameters?: number;
  languages?: string[];
  config?: ModelConfig;
  /** By strategy. */
  sizes?: Record<string, Size>;
}
export interface ModelConfig {
  version: string;
  layers: number;
  embd: number;
}
/** Bytes: as stored, on the device, and of the largest buffer that a kernel sees. */
export interface Size {
  disk: number;
  gpu: number;
  binding: number;
}
/** What `inspect` tells: a catalogue entry, or as much of one as a file says about itself. */
export type Inspection = Partial<CatalogueEntry> & { packed?: boolean };
export type { StoredModel } from "../engine/shapes.js";
export interface Progress {
  phase: Phase;
  done: number;
  total: number;
  unit: "bytes" | "steps" | "";
  /** Units per second. */
  speed?: number;
  /** Seconds left. */
  eta?: number;
  fromCache?: boolean;
  /** Only in reports about that: why nothing happens, or undefined when it goes on. */
  waiting?: { reason: "paused" | "offline" | "retry"; ms?: number };
}
export interface EngineInfo {
  model: ModelInfo;
  device: DeviceInfo;
  /** device: everything on the device, in bytes. */
  memory?: { gpuBytes?: number; wasmBytes?: number; weight?: number; state?: number; scratch?: number; shardBytes?: number };
  /** How the kernels were chosen. */
  tuning?: Record<string, unknown>;
  start?: { snapshot?: unknown };
  program?: { dispatches?: number; bytesPerToken?: number };
  timings?: Record<string, number>;
  /** false: the model found no room in the browser's storage. */
  kept?: boolean;
  /** Tokens that the state used last has seen, and each of the states on the device. */
  context?: { tokens: number; slots: number[] };
  states?: StatesUsage;
}
/** Kept states of what was read: bytes, and how many. `persistent`: they survive a reload. */
export interface StatesUsage {
  memory: number;
  stored: number;
  count: number;
  budget: { memory: number; stored: number };
  persistent: boolean;
}
/** `{}` is where a message goes; `clean`, `clean_answer`: "lines", "paragraphs" or "verbatim". */
export interface Template {
  name?: string;
  preamble?: string;
  system?: string;
  user: string;
  cue: string;
  answer: string;
  stops?: string[];
  clean?: string;
  clean_answer?: string;
  /** By mode: what follows the cue, and what follows the question. */
  thinking?: Record<string, string | { user?: string; cue?: string }>;
}
/** What the model reads: the whole text, what is tokenized one by one, the number of tokens. */
export interface Rendered {
  text: string;
  pieces: string[];
  tokens: number;
}
export interface TokenChoice {
  token: string;
  bytes: number[];
  id: number;
  logprob: number;
}
export interface TokenLogprob extends TokenChoice {
  /** Nats over the 256 best tokens, and the rest as one. */
  entropy: number;
  top_logprobs: TokenChoice[];
  /** Not among the 256 best: `logprob` is that of the last of them. */
  rare?: boolean;
}
/** What a token did to the state. `logprob`: its own, null for the first; `entropy`: of what comes next, in nats; `change`: relative, [layers · heads]. */
export interface TracedToken {
  index: number;
  id: number;
  text: string;
  bytes: number[];
  logprob: number | null;
  entropy: number;
  change: number[];
}
export interface Trace {
  tokens: number;
  layers: number;
  heads: number;
  head_size: number;
  norms: number[];
}
/** What a request may say beside messages and sampling. */
export interface RequestExtras {
  template?: string | Template;
  thinking?: string;
  continue?: boolean;
  state?: string;
  logprobs?: boolean;
  top_logprobs?: number;
  stop?: string | string[];
}
export interface ChatMessage {
  role: "user" | "assistant" | "system";
  content: string;
  /** Of an answer: its thought, if the model is to see it again, and the mode it was asked for in. */
  reasoning_content?: string;
  thinking?: string;
}
export interface Chunk {
  choices: {
    delta: { content?: string; reasoning_content?: string };
    finish_reason?: string | null;
    logprobs?: { content: TokenLogprob[] } | null;
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details?: { cached_tokens?: number } };
  timings?: { prefill_tokens_per_second?: number; decode_tokens_per_second?: number };
}
export interface TextChunk extends Pick<Chunk, "usage" | "timings"> {
  choices: { text: string; finish_reason?: string | null }[];
}
export type SettingName =
  "temperature" | "top_p" | "max_tokens" | "top_k" | "presence_penalty" | "frequency_penalty" | "penalty_decay" | "seed";
export type Sampling = Partial<Record<SettingName, number>> & { stop?: string[] };
export type LoadSource = string | File | File[] | undefined;
/** For checkpoints: how their weights are stored, and what the model is called. */
export interface Conversion {
  quantization?: string;
  name?: string;
  /** What stands for https://huggingface.co/. */
  mirror?: string;
}

export interface PageEngine extends EventTarget {
  status(): EngineStatus;
  probe(): Promise<Probe>;
  catalogue(): Promise<CatalogueEntry[]>;
  load(source?: LoadSource, options?: { signal?: AbortSignal; device?: DeviceKind; share?: boolean } & Conversion): Promise<unknown>;
  info(): Promise<EngineInfo>;
  unload(): unknown;
  own(): unknown;
  pause(paused: boolean): void;
  models(): Promise<StoredModel[]>;
  inspect(
    source: string | File[],
    options?: { strategies?: string[]; mirror?: string; name?: string; signal?: AbortSignal },
  ): Promise<Inspection>;
  check(
    id: string,
    options?: { repair?: boolean; onProgress?: (progress: Progress) => void },
  ): Promise<{ files: number; bad: string[]; repaired: boolean }>;
  files(id: string): Promise<{ name: string; blob: Blob }[]>;
  forget(id: string): Promise<unknown>;
  chat: {
    completions: {
      create(
        request: { messages: ChatMessage[]; stream: true; signal?: AbortSignal } & Sampling & RequestExtras,
      ): Promise<AsyncIterable<Chunk>>;
    };
  };
  /** Raw text: its continuation. */
  completions: {
    create(request: { prompt: string; stream: true; signal?: AbortSignal } & Sampling): Promise<AsyncIterable<TextChunk>>;
  };
  templates(): Promise<{ default: string; templates: Required<Template>[] }>;
  render(request: { messages: ChatMessage[] } & RequestExtras): Promise<Rendered>;
  trace(
    request: (({ messages: ChatMessage[] } & RequestExtras) | { text: string; state?: string }) & { until?: number; last?: number },
    options?: { signal?: AbortSignal; onToken?: (token: TracedToken) => void },
  ): Promise<Trace>;
  score(
    request: { messages: ChatMessage[] } & RequestExtras,
    options?: { signal?: AbortSignal; onToken?: (token: TokenLogprob & { index: number }) => void },
  ): Promise<{ tokens: number; prompt_tokens: number; cached_tokens: number }>;
  stateOf(layer: number, head: number): Promise<Float32Array>;
  states: {
    usage(): Promise<StatesUsage>;
    clear(): Promise<void>;
    load(file: File | Blob | ArrayBuffer, name?: string, options?: { layout?: "official" | "web-rwkv"; force?: boolean }): Promise<string>;
    save(request: { messages: ChatMessage[]; signal?: AbortSignal } & RequestExtras): Promise<Blob>;
  };
}

/** An error as it crosses from Python: a code of i18n/errors.json and the values that fill its text. */
export interface PageError {
  code: string;
  message: string;
  hint: string;
  details: Record<string, unknown>;
  stack?: string;
}
