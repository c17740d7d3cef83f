// @ts-check
/**
 * What the page that shows embed.html in a frame and that frame say to each other: small messages `{rwkv: 1, type, …}`. What comes in is believed only after it was
 * checked here: who sent it, how often, how long, what shape. docs/embed.md lists the messages.
 */

export const VERSION = 1;
/** `text`: characters of a question; `burst`, `second`: messages at once, and per second from then on. */
export const LIMITS = { text: 16_000, burst: 30, second: 10 };

/** @typedef {{type: "ask", id: string, text: string} | {type: "stop"} | {type: "clear"} | {type: "load"} | {type: "state"} | {type: "set", theme?: string, lang?: string}} Command */

/** Fields by type: whether a value is one. @type {Record<string, Record<string, (value: unknown) => boolean>>} */
const SHAPES = {
  ask: { id: (value) => short(value, 64), text: (value) => short(value, LIMITS.text) && String(value).trim() !== "" },
  stop: {},
  clear: {},
  load: {},
  state: {},
  set: {
    theme: (value) => value === undefined || ["light", "dark", "auto"].includes(String(value)),
    lang: (value) => value === undefined || ["en", "zh"].includes(String(value)),
  },
};

/** @param {unknown} value @param {number} most */
const short = (value, most) => typeof value === "string" && value.length <= most;

/** A message that came in; undefined unless it is one of ours. @param {unknown} data @returns {Command | undefined} */
export function parse(data) {
  if (typeof data !== "object" || data === null || Object.getPrototypeOf(data) !== Object.prototype) return undefined;
  const { rwkv, type, ...fields } = /** @type {Record<string, unknown>} */ (data);
  const shape = typeof type === "string" && Object.hasOwn(SHAPES, type) ? SHAPES[type] : undefined;
  if (rwkv !== VERSION || !shape) return undefined;
  if (type === "ask") fields.id ??= "";
  if (Object.keys(fields).some((name) => !Object.hasOwn(shape, name))) return undefined;
  if (Object.entries(shape).some(([name, fits]) => !fits(fields[name]))) return undefined;
  return /** @type {Command} */ ({ type, ...fields });
}

/** The origins of a list "https://a.example,https://b.example:8443"; whatever is no origin is left out. @param {string | null} list @returns {Set<string>} */
export function originsOf(list) {
  const found = new Set();
  for (const part of (list ?? "").split(",").slice(0, 20)) {
    const { origin, protocol } = URL.parse?.(part.trim()) ?? fallback(part.trim());
    if (/^https?:$/.test(protocol) && origin === part.trim()) found.add(origin);
  }
  return found;
}

/** @param {string} text */
function fallback(text) {
  try {
    return new URL(text);
  } catch {
    return { origin: "", protocol: "" };
  }
}

/** Lets so many through at once, and so many per second from then on. */
export class Sluice {
  #left;
  #at = performance.now();

  /** @param {number} [burst] @param {number} [second] */
  constructor(burst = LIMITS.burst, second = LIMITS.second) {
    this.burst = burst;
    this.second = second;
    this.#left = burst;
  }

  pass() {
    const now = performance.now();
    this.#left = Math.min(this.burst, this.#left + ((now - this.#at) / 1000) * this.second);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
