// A named preset, in memory, in IndexedDB, and in a file.

import type { Values } from "../conversations/types.js";
import type { Sampling } from "../types.js";

/** Where a conversation begins, instead of an empty state: a file in the store, by its hash. */
export interface StateRef {
  key: string;
  name: string;
}

export interface Persona {
  id: string;
  name: string;
  system?: string;
  /** template, thinking, state: as in a conversation's header. */
  prompt: Values;
  sampling: Sampling;
  /** Shown before the first message; the model does not see it. */
  greeting?: string;
  suggestions?: string[];
  created: number;
  /** It comes with the page: it can be copied, not changed. */
  builtin?: boolean;
}

export interface StateRow extends StateRef {
  blob: Blob;
  /** Milliseconds since 1970. */
  added: number;
}

export interface SharedPersona extends Omit<Persona, "builtin"> {
  /** Its state file: sha256 and base64. */
  state?: { name: string; sha256: string; data: string };
}

export interface PersonaFile {
  format: "rwkv-personas";
  version: 1;
  personas: SharedPersona[];
}
