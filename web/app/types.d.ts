// What the page expects of its surroundings: the engine's public surface as far as the page uses it, and the two vendored libraries.

export type EngineState = "idle" | "loading" | "ready" | "busy" | "error";
export type DeviceKind = "webgpu" | "numpy";
export type Phase = "python" | "download" | "upload" | "compile" | "warmup" | "convert" | "ready";

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
}
export interface Probe {
  webgpu: { available: boolean; code?: string; reason?: string; details?: Record<string, unknown>; adapter?: string; software?: boolean };
  stored: Record<string, boolean>;
}
export interface CatalogueEntry {
  id: string;
  name: string;
  bytes: number;
  description: Record<string, string>;
  licence: string;
}
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
}
export interface EngineInfo {
  model: ModelInfo;
  device: DeviceInfo;
  /** device: everything on the device, in bytes. */
  memory?: { gpuBytes?: number; wasmBytes?: number };
  program?: { dispatches?: number; bytesPerToken?: number };
  timings?: Record<string, number>;
}
export interface ChatMessage {
  role: "user" | "assistant" | "system";
  content: string;
}
export interface Chunk {
  choices: { delta: { content?: string }; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number };
  timings?: { prefill_tokens_per_second?: number; decode_tokens_per_second?: number };
}
export type SettingName = "temperature" | "top_p" | "max_tokens" | "seed";
export type Sampling = Partial<Record<SettingName, number>>;
export type LoadSource = string | File | File[] | undefined;
/** For checkpoints: how their weights are stored, and what the model is called. */
export interface Conversion {
  quantization?: string;
  name?: string;
}

export interface PageEngine extends EventTarget {
  status(): EngineStatus;
  probe(): Promise<Probe>;
  catalogue(): Promise<CatalogueEntry[]>;
  load(source?: LoadSource, options?: { signal?: AbortSignal; device?: DeviceKind } & Conversion): Promise<unknown>;
  info(): Promise<EngineInfo>;
  unload(): unknown;
  chat: {
    completions: {
      create(request: { messages: ChatMessage[]; stream: true; signal?: AbortSignal } & Sampling): Promise<AsyncIterable<Chunk>>;
    };
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
