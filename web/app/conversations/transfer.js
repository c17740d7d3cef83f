// @ts-check
// Conversations as files. JSON goes out and comes back exactly the same; what comes in is checked field by field, because anybody may have written it.
// Markdown is for reading. Pure: knows no page and no storage.

/** @typedef {import("./types.js").Conversation} Conversation */
/** @typedef {import("./types.js").ExportFile} ExportFile */
/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").SettingValue} SettingValue */

export const MOST_BYTES = 256e6;
const [CONVERSATIONS, MESSAGES, TEXT, NAME] = [10_000, 100_000, 10_000_000, 500];

/** What is wrong with a file, and where: "conversations[0].messages[3].parent", or "" for all of it. A person is told by `fileProblem`. */
export class FileProblem extends Error {
  /** @param {string} where @param {string} expected a key of the texts `file.expected.…` @param {unknown} [found] @param {Record<string, string | number>} [fields] of that text */
  constructor(where, expected, found, fields = {}) {
    const shown = JSON.stringify(found) ?? "";
    const short = shown.length > 80 ? `${shown.slice(0, 80)}…` : shown;
    super(`${where || "file"}: expected ${[expected, ...Object.values(fields)].join(" ")}, found ${short}`);
    this.where = where;
    this.expected = expected;
    this.found = short;
    this.fields = fields;
  }
}

/** @param {Conversation[]} conversations */
export function toJson(conversations) {
  /** @type {ExportFile} */
  const file = { format: "rwkv-conversations", version: 1, conversations };
  return `${JSON.stringify(file, null, 1)}\n`;
}

/**
 * What a file says. Fields that this version does not know are left out.
 * @param {string} text
 * @returns {Conversation[]}
 * @throws {FileProblem}
 */
export function fromJson(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch (thrown) {
    throw new FileProblem("", "json", thrown instanceof Error ? thrown.message : text.slice(0, 40));
  }
  const { format, version, conversations } = object("", file);
  if (format !== "rwkv-conversations") throw new FileProblem("format", "value", format, { value: "rwkv-conversations" });
  if (version !== 1) throw new FileProblem("version", "value", version, { value: 1 });
  const all = list("conversations", conversations, CONVERSATIONS).map((value, i) => conversation(`conversations[${i}]`, value));
  const ids = new Set();
  for (const [i, { id }] of all.entries()) {
    if (ids.has(id)) throw new FileProblem(`conversations[${i}].id`, "unique", id);
    ids.add(id);
  }
  return all;
}

/** @param {string} where @param {unknown} value @returns {Conversation} */
function conversation(where, value) {
  const from = object(where, value);
  const messages = list(`${where}.messages`, from.messages, MESSAGES).map((one, i) => message(`${where}.messages[${i}]`, one));
  checkTree(where, messages);
  const leaf = from.leaf === null ? null : text(`${where}.leaf`, from.leaf, NAME);
  if (leaf !== null && !messages.some(({ id }) => id === leaf)) throw new FileProblem(`${where}.leaf`, "member", leaf);
  return present({
    id: name(`${where}.id`, from.id),
    title: text(`${where}.title`, from.title, NAME),
    named: optional(from.named, (v) => flag(`${where}.named`, v)),
    leaf,
    model: optional(from.model, (v) => text(`${where}.model`, v, NAME)),
    system: optional(from.system, (v) => text(`${where}.system`, v, TEXT)),
    persona: optional(from.persona, (v) => text(`${where}.persona`, v, NAME)),
    sampling: values(`${where}.sampling`, from.sampling),
    prompt: values(`${where}.prompt`, from.prompt),
    created: number(`${where}.created`, from.created),
    updated: number(`${where}.updated`, from.updated),
    draft: optional(from.draft, (v) => text(`${where}.draft`, v, TEXT)),
    messages,
  });
}

/** @param {string} where @param {unknown} value @returns {Message} */
function message(where, value) {
  const from = object(where, value);
  return present({
    id: name(`${where}.id`, from.id),
    parent: from.parent === null ? null : name(`${where}.parent`, from.parent),
    role: choice(`${where}.role`, from.role, /** @type {const} */ (["user", "assistant", "system"])),
    content: text(`${where}.content`, from.content, TEXT),
    reasoning: optional(from.reasoning, (v) => text(`${where}.reasoning`, v, TEXT)),
    reasoningSeconds: optional(from.reasoningSeconds, (v) => number(`${where}.reasoningSeconds`, v)),
    state: choice(`${where}.state`, from.state, /** @type {const} */ (["done", "stopped", "error"])),
    finish: optional(from.finish, (v) => choice(`${where}.finish`, v, /** @type {const} */ (["stop", "length"]))),
    error: optional(from.error, (v) => problem(`${where}.error`, v)),
    usage: optional(from.usage, (v) => {
      const { prompt_tokens, completion_tokens, cached_tokens } = object(`${where}.usage`, v);
      return present({
        prompt_tokens: number(`${where}.usage.prompt_tokens`, prompt_tokens),
        completion_tokens: number(`${where}.usage.completion_tokens`, completion_tokens),
        cached_tokens: optional(cached_tokens, (n) => number(`${where}.usage.cached_tokens`, n)),
      });
    }),
    timings: optional(from.timings, (v) => {
      const { prefill, decode } = object(`${where}.timings`, v);
      return present({
        prefill: optional(prefill, (n) => number(`${where}.timings.prefill`, n)),
        decode: optional(decode, (n) => number(`${where}.timings.decode`, n)),
      });
    }),
    model: optional(from.model, (v) => text(`${where}.model`, v, NAME)),
    sampling: optional(from.sampling, (v) => values(`${where}.sampling`, v)),
    thinking: optional(from.thinking, (v) => text(`${where}.thinking`, v, NAME)),
    edited: optional(from.edited, (v) => flag(`${where}.edited`, v)),
    created: number(`${where}.created`, from.created),
  });
}

/** @param {string} where @param {unknown} value */
function problem(where, value) {
  const from = object(where, value);
  const details = Object.entries(from.details === undefined ? {} : object(`${where}.details`, from.details));
  const kept = details.filter(([, v]) => ["string", "number", "boolean"].includes(typeof v)).slice(0, 50);
  return {
    code: text(`${where}.code`, from.code, NAME),
    message: text(`${where}.message`, from.message, TEXT),
    hint: text(`${where}.hint`, from.hint, TEXT),
    details: Object.fromEntries(kept),
  };
}

/** Ids are unique, parents exist, and nothing is its own ancestor. @param {string} where @param {Message[]} messages */
function checkTree(where, messages) {
  const parents = new Map(messages.map(({ id, parent }) => [id, parent]));
  const sound = new Set();
  const seen = new Set();
  for (const [i, { id, parent }] of messages.entries()) {
    const here = `${where}.messages[${i}]`;
    if (seen.has(id)) throw new FileProblem(`${here}.id`, "unique", id);
    seen.add(id);
    if (parent !== null && !parents.has(parent)) throw new FileProblem(`${here}.parent`, "member", parent);
    const way = new Set();
    for (let at = /** @type {string | null} */ (id); at !== null && !sound.has(at); at = parents.get(at) ?? null) {
      if (way.has(at)) throw new FileProblem(`${here}.parent`, "above", parent);
      way.add(at);
    }
    for (const one of way) sound.add(one);
  }
}

/** @param {string} where @param {unknown} value @returns {Record<string, unknown>} */
export function object(where, value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new FileProblem(where, "object", value);
  return /** @type {Record<string, unknown>} */ (value);
}

/** @param {string} where @param {unknown} value @param {number} most */
export function list(where, value, most) {
  if (!Array.isArray(value) || value.length > most) throw new FileProblem(where, "list", value, { most });
  return value;
}

/** @param {string} where @param {unknown} value @param {number} most characters */
export function text(where, value, most) {
  if (typeof value !== "string" || value.length > most) throw new FileProblem(where, "text", value, { most });
  return value;
}

/** @param {string} where @param {unknown} value */
export function name(where, value) {
  if (typeof value !== "string" || !/^[\w.:-]{1,100}$/.test(value)) throw new FileProblem(where, "id", value);
  return value;
}

/** @param {string} where @param {unknown} value */
export function number(where, value) {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0 || value > 1e15) throw new FileProblem(where, "number", value);
  return value;
}

/** @param {string} where @param {unknown} value */
function flag(where, value) {
  if (typeof value !== "boolean") throw new FileProblem(where, "flag", value);
  return value;
}

/** @template {string} T @param {string} where @param {unknown} value @param {readonly T[]} known @returns {T} */
function choice(where, value, known) {
  const found = known.find((one) => one === value);
  if (!found) throw new FileProblem(where, "value", value, { value: known.join(" / ") });
  return found;
}

/** Names and plain values. @param {string} where @param {unknown} value @returns {Record<string, SettingValue>} */
export function values(where, value) {
  const from = value === undefined ? {} : object(where, value);
  let left = 2000;
  /** @param {string} at @param {unknown} one @param {number} depth */
  const check = (at, one, depth) => {
    if (--left < 0 || depth > 6) throw new FileProblem(where, "small", one);
    if (one === null || typeof one === "boolean" || (typeof one === "number" && Number.isFinite(one))) return;
    if (typeof one === "string") return void text(at, one, TEXT);
    if (Array.isArray(one)) return one.forEach((each, i) => check(`${at}[${i}]`, each, depth + 1));
    for (const [key, each] of Object.entries(object(at, one))) {
      if (!/^[\w-]{1,60}$/.test(key) || key === "__proto__") throw new FileProblem(at, "names", key);
      check(`${at}.${key}`, each, depth + 1);
    }
  };
  check(where, from, 0);
  return /** @type {Record<string, SettingValue>} */ (from);
}

/** @template T @param {unknown} value @param {(value: unknown) => T} check @returns {T | undefined} */
export function optional(value, check) {
  return value === undefined ? undefined : check(value);
}

/** Without the fields that are undefined. @template {object} T @param {T} value @returns {T} */
export function present(value) {
  return /** @type {T} */ (Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)));
}

/**
 * One branch of a conversation for reading.
 * @param {{title: string, system?: string}} header
 * @param {Message[]} path
 * @param {Record<import("./types.js").Role | "thinking", string>} names how the roles are called
 */
export function toMarkdown({ title, system }, path, names) {
  const parts = [`# ${title.replace(/\s+/g, " ").trim()}`];
  if (system) parts.push(`## ${names.system}`, system.trim());
  for (const { role, content, reasoning } of path) {
    parts.push(`## ${names[role]}`);
    if (reasoning) parts.push(`<details>\n<summary>${names.thinking}</summary>\n\n${reasoning.trim()}\n\n</details>`);
    parts.push(content.trim());
  }
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

/** A file name for a title, on any system. @param {string} title @param {string} extension */
export function fileName(title, extension) {
  const clean = [...title.normalize("NFC")]
    .filter((character) => character >= " " && !'<>:"/\\|?*\u007f'.includes(character))
    .slice(0, 60)
    .join("")
    .replace(/^[\s.]+|[\s.]+$/g, "");
  return `${clean || "conversation"}.${extension}`;
}
