// @ts-check
// What happened: a bounded list of events (loads and their phases, errors, requests with counts and speeds, storage), kept for this tab. Never what was
// written: a report that is to have that takes it from the conversations when it is made.

import { asPageError } from "./i18n.js";

/** @typedef {import("./types.js").PageEngine} PageEngine */
/** @typedef {import("./types.js").PageError} PageError */
/** @typedef {import("./conversations/types.js").Message} Message */
/** @typedef {string | number | boolean} Plain */
/** `at`: ms since 1970. @typedef {{at: number, kind: string, facts: Record<string, Plain>, message?: {conversation: string, id: string}}} Entry */

const MOST = 300;
const KEY = "rwkv.journal";
const LATER = 500; // ms between an event and its place in sessionStorage
const SAYING = new Set(["kernel", "adapter", "feature", "where", "status", "phase", "limit", "needed", "tokens"]); // details that are no content

export class Journal extends EventTarget {
  /** @type {Entry[]} */
  entries = read();
  #saving = 0;
  /** What is being loaded. @type {{phases: Set<string>, began: number} | undefined} */
  #load;
  /** @type {Map<string, number>} */
  #asked = new Map();

  /** @param {string} kind @param {Record<string, unknown>} [facts] only what is plain is kept @param {Entry["message"]} [message] */
  add(kind, facts = {}, message) {
    this.entries.push({ at: Date.now(), kind, facts: plain(facts), ...(message ? { message } : {}) });
    if (this.entries.length > MOST) this.entries.splice(0, this.entries.length - MOST);
    this.#saving ||= setTimeout(() => this.#save(), LATER);
    this.dispatchEvent(new CustomEvent("entry"));
  }

  clear() {
    this.entries = [];
    this.#save();
    this.dispatchEvent(new CustomEvent("entry"));
  }

  #save() {
    clearTimeout(this.#saving);
    this.#saving = 0;
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.entries));
    } catch {
      // full or forbidden: it stays in memory
    }
  }

  /** Errors name themselves by code; their texts may quote what somebody wrote. @param {unknown} thrown @param {string} [kind] */
  error(thrown, kind = "error") {
    const { code, details = {}, message } = asPageError(thrown);
    const said = Object.fromEntries(Object.entries(details).filter(([name, value]) => SAYING.has(name) || typeof value !== "string"));
    const reason = ["internal", "device-lost", "worker-crashed", "python-failed"].includes(code) ? { reason: bare(message) } : {};
    this.add(kind, { code, ...reason, ...said });
  }

  /** @param {PageEngine} engine @param {EventTarget} chat */
  watch(engine, chat) {
    this.add("page", {
      language: document.documentElement.lang,
      online: navigator.onLine,
      visible: document.visibilityState === "visible",
    });
    const on = (/** @type {EventTarget} */ from, /** @type {string} */ name, /** @type {(detail: any) => void} */ run) =>
      from.addEventListener(name, (event) => run(/** @type {CustomEvent} */ (event).detail));
    on(engine, "state", () => this.#state(engine));
    on(engine, "progress", ({ phase, done, total, unit, fromCache, waiting }) => {
      if (waiting) return this.add("waiting", { reason: waiting.reason });
      if (!this.#load || !phase || this.#load.phases.has(phase)) return;
      this.#load.phases.add(phase);
      const bytes = unit === "bytes" && total ? { bytes: total } : {};
      this.add("phase", {
        phase,
        after: since(this.#load.began),
        ...bytes,
        ...(fromCache ? { stored: true } : {}),
        ...(done ? { done } : {}),
      });
    });
    on(engine, "error", (error) => this.error(error));
    on(engine, "recovering", (error) => this.error(error ?? { code: "tab-closed", details: {} }, "lost"));
    on(engine, "recovered", () => this.add("recovered"));
    on(chat, "begin", ({ message }) => this.#asked.set(message.id, performance.now()));
    on(chat, "end", ({ message, conversation }) => this.#answer(message, conversation));
    addEventListener("error", ({ message, filename = "", lineno }) =>
      this.add("error", { code: "uncaught", reason: bare(String(message)), file: filename.split("/").at(-1) ?? "", line: lineno }),
    );
    addEventListener("unhandledrejection", ({ reason }) => this.error(reason));
    addEventListener("online", () => this.add("online"));
    addEventListener("offline", () => this.add("offline"));
    document.addEventListener("visibilitychange", () => this.add(document.visibilityState));
    addEventListener("pagehide", () => this.#save());
  }

  /** @param {PageEngine} engine */
  #state(engine) {
    const { state } = engine.status();
    if ((state === "loading" || state === "recovering") && !this.#load) {
      this.#load = { phases: new Set(), began: performance.now() };
      this.add("load", { again: state === "recovering" });
    }
    if (state === "ready" && this.#load) {
      const { began } = this.#load;
      this.#load = undefined;
      void this.#ready(engine, since(began));
    }
    if ((state === "idle" || state === "error") && this.#load) {
      this.add("load-ended", { state, after: since(this.#load.began) });
      this.#load = undefined;
    }
  }

  /** @param {PageEngine} engine @param {number} ms */
  async #ready(engine, ms) {
    const info = await engine.info().catch(() => undefined);
    if (!info) return;
    const { model, device, memory, timings = {}, start, kept, tuning } = info;
    const { name, version, quantization, bytes } = model;
    this.add("ready", {
      ms,
      model: name,
      version,
      quantization,
      bytes,
      device: device.kind,
      adapter: device.adapter,
      gpu: memory?.gpuBytes ?? 0,
    });
    this.add("timings", { ...timings, snapshot: String(start?.snapshot ?? "") });
    if (tuning) this.add("tuning", tuning);
    const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.().catch(() => undefined)) ?? {};
    const promised = (await navigator.storage?.persisted?.().catch(() => false)) ?? false;
    this.add("storage", { kept: kept !== false, promised, used: usage, quota });
  }

  /** @param {Message} message @param {string} conversation */
  #answer(message, conversation) {
    const ms = since(this.#asked.get(message.id) ?? performance.now());
    this.#asked.delete(message.id);
    const { usage, timings, finish, state, error } = message;
    const facts = {
      ms,
      state,
      ...(finish ? { finish } : {}),
      prompt: usage?.prompt_tokens,
      cached: usage?.cached_tokens,
      tokens: usage?.completion_tokens,
      prefill: timings?.prefill && Math.round(timings.prefill),
      decode: timings?.decode && Math.round(10 * timings.decode) / 10,
      ...(error ? { code: error.code } : {}),
    };
    this.add("answer", facts, { conversation, id: message.id });
  }
}

/** What an exception says, without what it quotes and without addresses. @param {string} text */
const bare = (text) => text.replace(/"[^"]*"|'[^']*'|`[^`]*`|“[^”]*”|\w+:\/\/\S+/g, "…").slice(0, 200);

/** @param {number} began */
const since = (began) => Math.round(performance.now() - began);

/** @param {Record<string, unknown>} facts @returns {Record<string, Plain>} */
function plain(facts) {
  const simple = (/** @type {unknown} */ value) => ["string", "number", "boolean"].includes(typeof value) && value !== "";
  return /** @type {Record<string, Plain>} */ (Object.fromEntries(Object.entries(facts).filter(([, value]) => simple(value))));
}

/** What an earlier page of this tab left. @returns {Entry[]} */
function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((entry) => entry && typeof entry.kind === "string" && typeof entry.at === "number") : [];
  } catch {
    return [];
  }
}
