// @ts-check
// Personas and the state files of conversations, in a database of their own; without storage they last as long as the page. The personas that come with the
// page are texts of the language, not rows.

import { openDB } from "../../vendor/idb/index.js";
import { t } from "../i18n.js";

/** @typedef {import("./types.js").Persona} Persona */
/** @typedef {import("./types.js").StateRef} StateRef */
/** @typedef {import("./types.js").StateRow} StateRow */

const UNUSED = 86_400_000; // ms that a state file is kept which nothing names
/** Texts of the page: personas.NAME.name, .system, .greeting, .try (one a line). @type {{name: string, sampling: Persona["sampling"], system: boolean}[]} */
const BUILTIN = [
  { name: "short", sampling: { temperature: 0.3, top_p: 0.3, max_tokens: 200 }, system: true },
  {
    name: "story",
    sampling: { temperature: 1, top_p: 0.6, presence_penalty: 0.4, frequency_penalty: 0.4, max_tokens: 800 },
    system: false,
  },
  { name: "teacher", sampling: { temperature: 0.6, top_p: 0.4, max_tokens: 500 }, system: true },
];

/** @returns {Persona[]} */
export const builtins = () =>
  BUILTIN.map(({ name, sampling, system }) => ({
    id: `builtin-${name}`,
    name: t(`personas.${name}.name`),
    ...(system ? { system: t(`personas.${name}.system`) } : {}),
    prompt: {},
    sampling,
    greeting: t(`personas.${name}.greeting`),
    suggestions: t(`personas.${name}.try`).split("\n"),
    created: 0,
    builtin: true,
  }));

export class PersonaStore {
  /** @type {Map<string, Persona>} */
  #own = new Map();
  /** Those that could not be stored. @type {Map<string, StateRow>} */
  #states = new Map();
  /** @type {import("../../vendor/idb/index.js").IDBPDatabase | undefined} */
  #db;
  #channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("rwkv-personas");
  /** @type {(() => void)[]} */
  #listeners = [];

  /** Never fails: without storage the list is empty. */
  async open() {
    try {
      this.#db = await openDB("rwkv-personas", 1, {
        upgrade(db) {
          db.createObjectStore("personas", { keyPath: "id" });
          db.createObjectStore("states", { keyPath: "key" });
        },
        blocking: (_, __, event) => void (/** @type {IDBDatabase} */ (event.target).close()),
      });
      await this.#read();
    } catch {
      this.#db = undefined;
    }
    this.#channel?.addEventListener("message", () => void this.#read().then(() => this.#tell()));
    this.#tell();
  }

  async #read() {
    /** @type {Persona[]} */
    const rows = (await this.#db?.getAll("personas")) ?? [];
    this.#own = new Map(rows.map((row) => [row.id, row]));
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }

  /** @param {() => void} listener */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Those that come with the page, then one's own, the oldest first. @returns {Persona[]} */
  list() {
    return [...builtins(), ...this.own()];
  }

  own() {
    return [...this.#own.values()].sort((a, b) => a.created - b.created);
  }

  /** @param {string | undefined} id */
  get(id) {
    return this.#own.get(id ?? "") ?? builtins().find((one) => one.id === id);
  }

  /** @param {Persona} persona */
  async put(persona) {
    this.#own.set(persona.id, persona);
    this.#tell();
    await this.#db?.put("personas", persona);
    this.#channel?.postMessage("");
  }

  /** @param {string} id */
  async delete(id) {
    this.#own.delete(id);
    this.#tell();
    await this.#db?.delete("personas", id);
    this.#channel?.postMessage("");
  }

  /** Keep a state file. @param {Blob} file @param {string} name @returns {Promise<StateRef>} */
  async keepState(file, name) {
    const bytes = await file.arrayBuffer();
    const key = hex(await crypto.subtle.digest("SHA-256", bytes));
    /** @type {StateRow} */
    const row = { key, name, blob: new Blob([bytes]), added: Date.now() };
    try {
      if (!this.#db) throw new Error("no storage");
      await this.#db.put("states", row);
    } catch {
      this.#states.set(key, row);
    }
    return { key, name };
  }

  /** @param {string} key @returns {Promise<StateRow | undefined>} */
  async state(key) {
    return this.#states.get(key) ?? (await this.#db?.get("states", key).catch(() => undefined));
  }

  /** Delete old state files that no persona names, and none of these conversations. @param {Iterable<{prompt?: import("../conversations/types.js").Values}>} headers */
  async sweep(headers) {
    if (!this.#db) return;
    const used = new Set([...headers, ...this.own()].map(({ prompt }) => stateOf(prompt ?? {})?.key));
    for (const { key, added } of /** @type {StateRow[]} */ (await this.#db.getAll("states")))
      if (!used.has(key) && added < Date.now() - UNUSED) await this.#db.delete("states", key);
  }
}

/** The state file that a prompt begins with. @param {import("../conversations/types.js").Values} prompt @returns {StateRef | undefined} */
export function stateOf({ state }) {
  const ref = /** @type {any} */ (state);
  return ref && typeof ref === "object" && typeof ref.key === "string" ? { key: ref.key, name: String(ref.name ?? "") } : undefined;
}

/** @param {ArrayBuffer} bytes */
export const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
