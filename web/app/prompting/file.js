// @ts-check
// Personas as one file, with their state files in it. What comes in is checked field by field, because anybody may have written it.

import { FileProblem, list, name, number, object, optional, present, text, values } from "../conversations/transfer.js";
import { MAX_STOP, MAX_STOPS, SETTINGS, allowed } from "../settings.js";
import { hex, stateOf } from "./store.js";

/** @typedef {import("./types.js").Persona} Persona */
/** @typedef {import("./types.js").SharedPersona} SharedPersona */
/** @typedef {import("./types.js").StateRow} StateRow */
/** @typedef {import("../types.js").Sampling} Sampling */

export const MOST_BYTES = 400e6;
export const NAME = 100;
export const TEXT = 20_000;
export const SUGGESTIONS = 8;
export const SUGGESTION = 300;
const PERSONAS = 1000;
const PATTERNS = ["name", "preamble", "system", "user", "cue", "answer", "clean", "clean_answer"];

/**
 * @param {Persona[]} personas
 * @param {(key: string) => Promise<StateRow | undefined>} stateFile
 */
export async function toJson(personas, stateFile) {
  /** @type {SharedPersona[]} */
  const shared = [];
  for (const { builtin: _, ...persona } of personas) {
    const { state: _state, ...prompt } = persona.prompt;
    const ref = stateOf(persona.prompt);
    const row = ref && (await stateFile(ref.key));
    shared.push({
      ...persona,
      prompt,
      ...(ref && row ? { state: { name: ref.name, sha256: ref.key, data: await base64(row.blob) } } : {}),
    });
  }
  return `${JSON.stringify({ format: "rwkv-personas", version: 1, personas: shared }, null, 1)}\n`;
}

/**
 * What a file says; fields that this version does not know are left out.
 * @param {string} json
 * @returns {Promise<{persona: Persona, state?: {name: string, blob: Blob}}[]>}
 * @throws {FileProblem}
 */
export async function fromJson(json) {
  let file;
  try {
    file = JSON.parse(json);
  } catch (thrown) {
    throw new FileProblem("", "json", thrown instanceof Error ? thrown.message : json.slice(0, 40));
  }
  const { format, version, personas } = object("", file);
  if (format !== "rwkv-personas") throw new FileProblem("format", "value", format, { value: "rwkv-personas" });
  if (version !== 1) throw new FileProblem("version", "value", version, { value: 1 });
  const all = [];
  for (const [i, value] of list("personas", personas, PERSONAS).entries()) all.push(await one(`personas[${i}]`, value));
  return all;
}

/** @param {string} where @param {unknown} value */
async function one(where, value) {
  const from = object(where, value);
  const title = text(`${where}.name`, from.name, NAME).trim();
  if (!title) throw new FileProblem(`${where}.name`, "name", from.name);
  const state = from.state === undefined ? undefined : await stateFile(`${where}.state`, from.state);
  /** @type {Persona} */
  const persona = present({
    id: name(`${where}.id`, from.id),
    name: title,
    system: optional(from.system, (v) => text(`${where}.system`, v, TEXT)),
    prompt: { ...prompt(`${where}.prompt`, from.prompt), ...(state ? { state: { key: state.key, name: state.name } } : {}) },
    sampling: sampling(`${where}.sampling`, from.sampling),
    greeting: optional(from.greeting, (v) => text(`${where}.greeting`, v, TEXT)),
    suggestions: optional(from.suggestions, (v) =>
      list(`${where}.suggestions`, v, SUGGESTIONS).map((each, i) => text(`${where}.suggestions[${i}]`, each, SUGGESTION)),
    ),
    created: number(`${where}.created`, from.created),
  });
  if (persona.id.startsWith("builtin-")) throw new FileProblem(`${where}.id`, "others", persona.id);
  return { persona, ...(state ? { state: { name: state.name, blob: state.blob } } : {}) };
}

/**
 * Template and thinking; Python checks the patterns when they are used.
 * @param {string} where @param {unknown} value @returns {import("../conversations/types.js").Values}
 */
function prompt(where, value) {
  const { template, thinking } = values(where, value);
  if (template !== undefined && typeof template !== "string") {
    const from = object(`${where}.template`, template);
    for (const [key, each] of Object.entries(from))
      if (PATTERNS.includes(key)) text(`${where}.template.${key}`, each, TEXT);
      else if (key !== "stops" && key !== "thinking")
        throw new FileProblem(`${where}.template.${key}`, "value", each, { value: [...PATTERNS, "stops", "thinking"].join(" / ") });
  }
  if (thinking !== undefined) text(`${where}.thinking`, thinking, NAME);
  return /** @type {import("../conversations/types.js").Values} */ (present({ template, thinking }));
}

/** @param {string} where @param {unknown} value @returns {Sampling} */
function sampling(where, value) {
  const from = value === undefined ? {} : object(where, value);
  /** @type {Sampling} */
  const out = {};
  for (const setting of SETTINGS) {
    const found = from[setting.name];
    if (found === undefined) continue;
    if (typeof found !== "number" || !allowed(setting, found))
      throw new FileProblem(`${where}.${setting.name}`, setting.whole ? "whole" : "range", found, { min: setting.min, max: setting.max });
    out[setting.name] = found;
  }
  if (from.stop !== undefined) {
    out.stop = list(`${where}.stop`, from.stop, MAX_STOPS).map((stop, i) => text(`${where}.stop[${i}]`, stop, MAX_STOP));
    if (out.stop.includes("")) throw new FileProblem(`${where}.stop`, "filled", out.stop);
  }
  return out;
}

/** The bytes must be those that the hash was made of. @param {string} where @param {unknown} value */
async function stateFile(where, value) {
  const from = object(where, value);
  const title = text(`${where}.name`, from.name, 200);
  const data = text(`${where}.data`, from.data, MOST_BYTES);
  let bytes;
  try {
    bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  } catch {
    throw new FileProblem(`${where}.data`, "base64", data);
  }
  const key = hex(await crypto.subtle.digest("SHA-256", bytes));
  if (key !== from.sha256) throw new FileProblem(`${where}.sha256`, "value", from.sha256, { value: key });
  return { key, name: title, blob: new Blob([bytes]) };
}

/** @param {Blob} blob @returns {Promise<string>} */
function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
