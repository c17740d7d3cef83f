// What a conversation is: in memory, in IndexedDB, and in an exported file.

export type Role = "user" | "assistant" | "system";
export type SettingValue = string | number | boolean | null | SettingValue[] | { [name: string]: SettingValue };
/** Values that a conversation keeps for itself; a key that is missing means "the model's default". */
export type Values = Record<string, SettingValue>;

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  /** Prompt tokens whose state the engine still had. */
  cached_tokens?: number;
}

export interface Message {
  /** Unique within its conversation. */
  id: string;
  /** The message before it; null: one of the first. */
  parent: string | null;
  role: Role;
  content: string;
  /** What a thinking model wrote before its answer, and how long that took in seconds. */
  reasoning?: string;
  reasoningSeconds?: number;
  /** An answer under way is kept as "stopped", so that a page that dies leaves nothing to repair. */
  state: "done" | "stopped" | "error";
  /** Why an answer ended: "length" can be continued. */
  finish?: "stop" | "length";
  error?: { code: string; message: string; hint: string; details: Record<string, unknown> };
  usage?: Usage;
  timings?: { prefill?: number; decode?: number };
  /** The model's name, and the values the answer was asked for with. */
  model?: string;
  sampling?: Values;
  /** The mode of thinking it was asked for in, as requests call it. */
  thinking?: string;
  /** A person changed an answer's text. */
  edited?: boolean;
  /** Milliseconds since 1970. */
  created: number;
}

/** A conversation without its messages: what the list needs. */
export interface Header {
  id: string;
  title: string;
  /** A person gave it this title; otherwise it is the first question. */
  named?: boolean;
  /** The last message of the branch that is shown. */
  leaf: string | null;
  /** Which model it is with. */
  model?: string;
  /** What stands before the first message. */
  system?: string;
  persona?: string;
  sampling: Values;
  /** Template, thinking and whatever else belongs to the prompt. */
  prompt: Values;
  created: number;
  updated: number;
  /** Deleted at this time; kept for as long as that can be undone. */
  deleted?: number;
}

export interface Conversation extends Header {
  draft?: string;
  messages: Message[];
}

export interface ExportFile {
  format: "rwkv-conversations";
  version: 1;
  conversations: Conversation[];
}

/** A message as the store keeps it. */
export interface MessageRow extends Message {
  conversation: string;
}
