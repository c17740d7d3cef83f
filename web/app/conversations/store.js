// @ts-check
// Conversations in IndexedDB, a database of their own. Headers, messages and drafts are rows of their own, and a header is changed field by field within a
// transaction: two tabs that write to the same conversation lose nothing of each other. Writes are collected and go out together.

import { openDB } from "../../vendor/idb/index.js";

/** @typedef {import("./types.js").Header} Header */
/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").MessageRow} MessageRow */
/** @typedef {import("./types.js").Conversation} Conversation */
/** @typedef {{headers: Map<string, Partial<Header>>, messages: Map<string, MessageRow>, gone: Map<string, [string, string]>, drafts: Map<string, string>}} Batch */

const DELAY = 400; // ms that writes wait for others
export const NEW = "new"; // whose draft belongs to a conversation that has not begun

/** @param {string} conversation all keys [conversation, …] */
const within = (conversation) => IDBKeyRange.bound([conversation], [conversation, []]);

/** @returns {Batch} */
const emptyBatch = () => ({ headers: new Map(), messages: new Map(), gone: new Map(), drafts: new Map() });

export class Store {
  /** @type {Batch} */
  #waiting = emptyBatch();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** The writes before; they go one after the other. @type {Promise<void>} */
  #written = Promise.resolve();

  /**
   * @param {import("../../vendor/idb/index.js").IDBPDatabase} db
   * @param {(ids: string[]) => void} onWritten told after each write which conversations it changed
   * @param {(error: unknown) => void} onProblem a write failed; what was to be written stays in memory
   */
  constructor(db, onWritten, onProblem) {
    this.db = db;
    this.onWritten = onWritten;
    this.onProblem = onProblem;
    const leaving = () => void this.flush();
    addEventListener("pagehide", leaving);
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && leaving());
  }

  /** @param {Store["onWritten"]} onWritten @param {Store["onProblem"]} onProblem */
  static async open(onWritten, onProblem) {
    const db = await openDB("rwkv-conversations", 1, {
      upgrade(db) {
        db.createObjectStore("conversations", { keyPath: "id" });
        db.createObjectStore("messages", { keyPath: ["conversation", "id"] });
        db.createObjectStore("drafts");
      },
      blocking: (_, __, event) => void (/** @type {IDBDatabase} */ (event.target).close()), // another tab has a newer page
    });
    return new Store(db, onWritten, onProblem);
  }

  /** @returns {Promise<Header[]>} */
  headers() {
    return this.db.getAll("conversations");
  }

  /** @param {string} id @returns {Promise<Header | undefined>} */
  header(id) {
    return this.db.get("conversations", id);
  }

  /** @param {string} conversation @returns {Promise<Message[]>} */
  async messages(conversation) {
    /** @type {MessageRow[]} */
    const rows = await this.db.getAll("messages", within(conversation));
    return rows.map(({ conversation: _, ...message }) => message);
  }

  /** @param {string} conversation @returns {Promise<string>} */
  async draft(conversation) {
    return this.#waiting.drafts.get(conversation) ?? (await this.db.get("drafts", conversation)) ?? "";
  }

  /** Change fields of a header; undefined takes a field away. @param {string} id @param {Partial<Header>} fields */
  patch(id, fields) {
    this.#waiting.headers.set(id, { ...this.#waiting.headers.get(id), ...fields });
    this.#schedule();
  }

  /** @param {string} conversation @param {Message} message */
  put(conversation, message) {
    const key = `${conversation} ${message.id}`;
    this.#waiting.gone.delete(key);
    this.#waiting.messages.set(key, { ...structuredClone(message), conversation });
    this.#schedule();
  }

  /** @param {string} conversation @param {string} message */
  drop(conversation, message) {
    const key = `${conversation} ${message}`;
    this.#waiting.messages.delete(key);
    this.#waiting.gone.set(key, [conversation, message]);
    this.#schedule();
  }

  /** @param {string} conversation @param {string} text */
  keepDraft(conversation, text) {
    this.#waiting.drafts.set(conversation, text);
    this.#schedule();
  }

  #schedule() {
    this.#timer ??= setTimeout(() => void this.flush(), DELAY);
  }

  /** Write now what waits. @returns {Promise<void>} when everything so far is written */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#waiting;
    this.#waiting = emptyBatch();
    if (batch.headers.size + batch.messages.size + batch.gone.size + batch.drafts.size)
      this.#written = this.#written.then(() => this.#write(batch)).catch(this.onProblem);
    return this.#written;
  }

  /** @param {Batch} batch */
  async #write({ headers, messages, gone, drafts }) {
    const work = this.db.transaction(["conversations", "messages", "drafts"], "readwrite");
    const [conversations, rows, texts] = ["conversations", "messages", "drafts"].map((name) => work.objectStore(name));
    /** @type {Promise<unknown>[]} */
    const all = [];
    for (const [id, fields] of headers)
      all.push(
        conversations.get(id).then((before) => {
          const after = Object.entries({ ...before, ...fields, id }).filter(([, value]) => value !== undefined);
          if (before || fields.created !== undefined) return conversations.put(Object.fromEntries(after)); // else another tab removed it
        }),
      );
    for (const row of messages.values()) all.push(rows.put(row));
    for (const key of gone.values()) all.push(rows.delete(key));
    for (const [id, text] of drafts) all.push(text ? texts.put(text, id) : texts.delete(id));
    await Promise.all([...all, work.done]);
    const changed = [...headers.keys(), ...[...messages.values()].map((row) => row.conversation), ...[...gone.values()].map(([id]) => id)];
    if (changed.length) this.onWritten([...new Set(changed)]);
  }

  /** Forget conversations for good. @param {string[]} ids */
  async purge(ids) {
    await this.flush();
    const work = this.db.transaction(["conversations", "messages", "drafts"], "readwrite");
    for (const id of ids) {
      void work.objectStore("conversations").delete(id);
      void work.objectStore("messages").delete(within(id));
      void work.objectStore("drafts").delete(id);
    }
    await work.done;
    this.onWritten(ids);
  }
}
