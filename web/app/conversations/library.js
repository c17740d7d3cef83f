// @ts-check
// All conversations: the list in memory, one store behind it, and the other tabs beside it. Without storage (a private window, a full disk) everything
// goes on in memory. Tells listeners which conversations changed, and whether another tab did it.

import { remember } from "../dom.js";
import { Tree, newId } from "./tree.js";
import { NEW, Store } from "./store.js";

/** @typedef {import("./types.js").Header} Header */
/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").Conversation} Conversation */
/** @typedef {(ids: string[], elsewhere: boolean) => void} Listener */

export const UNDO_SECONDS = 8;
const KEPT = 60_000; // ms after which what was deleted (by a tab that was closed meanwhile) cannot come back

export class Library {
  /** @type {Map<string, Header>} */
  headers = new Map();
  /** Conversations that were opened here: the same tree for everyone who asks. @type {Map<string, Promise<Tree>>} */
  #trees = new Map();
  /** @type {Map<string, string>} */
  #drafts = new Map();
  /** What a search read. @type {Map<string, string[]>} */
  #texts = new Map();
  /** Answers that grow in this tab: nobody else's version of them counts. @type {Set<Message>} */
  writing = new Set();
  /** Whether conversations survive this tab. */
  stored = false;
  /** @type {Listener[]} */
  #listeners = [];
  #channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("rwkv-conversations");
  /** @type {Store | undefined} */
  store;

  /** @param {(error: unknown) => void} onProblem storage is missing, or a write failed */
  constructor(onProblem) {
    this.onProblem = onProblem;
  }

  /** Read the list. Never fails: without storage it is empty. */
  async open() {
    this.#recallDraft();
    try {
      this.store = await Store.open(
        (ids) => this.#channel?.postMessage(ids),
        (error) => this.onProblem(error),
      );
      const old = Date.now() - KEPT;
      const all = await this.store.headers();
      const expired = all.filter(({ deleted }) => deleted !== undefined && deleted < old).map(({ id }) => id);
      if (expired.length) void this.store.purge(expired).catch(this.onProblem);
      this.headers = new Map(all.filter(({ id }) => !expired.includes(id)).map((header) => [header.id, header]));
      this.stored = true;
    } catch (error) {
      this.store = undefined;
      this.onProblem(error);
    }
    this.#channel?.addEventListener("message", ({ data }) => void this.#changedElsewhere(data));
    return this;
  }

  /** What was written last, maybe too late for the store. */
  #recallDraft() {
    try {
      const [id, text] = JSON.parse(remember("draft") ?? "[]");
      if (typeof id === "string" && typeof text === "string") this.#drafts.set(id, text);
    } catch {
      // then it is not there
    }
  }

  /** @param {Listener} listener */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** @param {string[]} ids @param {boolean} [elsewhere] */
  #tell(ids, elsewhere = false) {
    for (const id of ids) this.#texts.delete(id);
    for (const listener of this.#listeners) listener(ids, elsewhere);
  }

  /** @param {string[]} ids */
  async #changedElsewhere(ids) {
    if (!this.store || !Array.isArray(ids)) return;
    await this.store.flush(); // what the store says next contains what this tab wrote
    for (const id of ids) {
      const [header, opened] = await Promise.all([this.store.header(id), this.#trees.get(id)]);
      if (header) this.headers.set(id, header);
      else this.headers.delete(id);
      if (opened && header) await this.#mergeInto(opened, id);
    }
    this.#tell(ids, true);
  }

  /** Messages that another tab wrote or took away. Objects that did not change stay the same ones. @param {Tree} tree @param {string} id */
  async #mergeInto(tree, id) {
    const before = tree.all();
    await this.store?.flush();
    const theirs = new Map((await this.store?.messages(id))?.map((message) => [message.id, message]));
    for (const message of theirs.values()) {
      const ours = tree.get(message.id);
      if (!ours || (!this.writing.has(ours) && JSON.stringify(ours) !== JSON.stringify(message))) tree.put(message);
    }
    for (const ours of before) if (!theirs.has(ours.id) && tree.get(ours.id)) tree.remove(ours.id);
  }

  /** The list, the latest first, without what was deleted. @returns {Header[]} */
  list() {
    return [...this.headers.values()].filter(({ deleted }) => deleted === undefined).sort((a, b) => b.updated - a.updated);
  }

  /** @param {string | null | undefined} id */
  get(id) {
    const header = id ? this.headers.get(id) : undefined;
    return header?.deleted === undefined ? header : undefined;
  }

  /** The messages of a conversation. @param {string} id @returns {Promise<Tree>} */
  tree(id) {
    let tree = this.#trees.get(id);
    if (!tree) {
      tree = this.store ? this.store.messages(id).then((messages) => new Tree(messages)) : Promise.resolve(new Tree());
      this.#trees.set(id, tree);
      tree.catch(() => this.#trees.delete(id));
    }
    return tree;
  }

  /** Forget in memory what the store has, except for these. @param {Set<string>} needed */
  release(needed) {
    if (this.stored) for (const id of this.#trees.keys()) if (!needed.has(id)) this.#trees.delete(id);
  }

  /** All texts of a conversation, for the search, which asks again with every letter. @param {string} id @returns {Promise<string[]>} */
  async texts(id) {
    const opened = await this.#trees.get(id);
    if (opened) return opened.all().map(({ content }) => content);
    const known = this.#texts.get(id);
    if (known) return known;
    const texts = ((await this.store?.messages(id)) ?? []).map(({ content }) => content);
    this.#texts.set(id, texts);
    return texts;
  }

  /** Forget the texts that a search needed. */
  releaseTexts() {
    this.#texts.clear();
  }

  /**
   * @param {Partial<Header>} fields
   * @param {Iterable<Message>} [messages]
   * @returns {Header}
   */
  create(fields, messages = []) {
    const now = Date.now();
    /** @type {Header} */
    const header = { id: newId(), title: "", leaf: null, sampling: {}, prompt: {}, created: now, updated: now, ...fields };
    const tree = new Tree(messages);
    this.headers.set(header.id, header);
    this.#trees.set(header.id, Promise.resolve(tree));
    this.store?.patch(header.id, header);
    for (const message of tree.byId.values()) this.store?.put(header.id, message);
    this.#tell([header.id]);
    return header;
  }

  /** From now on this is the tree of a conversation that was just created. @param {string} id @param {Tree} tree */
  adopt(id, tree) {
    this.#trees.set(id, Promise.resolve(tree));
  }

  /** @param {string} id @param {Partial<Header>} fields */
  patch(id, fields) {
    const header = this.headers.get(id);
    if (!header) return;
    Object.assign(header, fields);
    this.store?.patch(id, fields);
    this.#tell([id]);
  }

  /** Keep a message that is new or has changed. @param {string} id @param {Message} message */
  async put(id, message) {
    this.store?.put(id, message);
    const tree = await this.tree(id);
    if (tree.get(message.id) !== message) tree.put(message);
  }

  /** @param {string} id @param {Message[]} messages */
  drop(id, messages) {
    for (const message of messages) this.store?.drop(id, message.id);
  }

  /** @param {string} id */
  delete(id) {
    this.patch(id, { deleted: Date.now() });
  }

  /** @param {string} id */
  restore(id) {
    this.patch(id, { deleted: undefined });
  }

  /** For good. @param {string[]} ids */
  async purge(ids) {
    for (const id of ids) {
      this.headers.delete(id);
      this.#trees.delete(id);
      this.#drafts.delete(id);
    }
    await this.store?.purge(ids).catch(this.onProblem);
  }

  /** @param {string | undefined} id undefined: of a conversation that has not begun @returns {Promise<string>} */
  async draft(id = NEW) {
    return this.#drafts.get(id) ?? (await this.store?.draft(id).catch(() => "")) ?? "";
  }

  /** @param {string | undefined} id @param {string} text */
  keepDraft(id = NEW, text) {
    this.#drafts.set(id, text);
    remember("draft", JSON.stringify([id, text])); // a page that goes away has no time for the store
    this.store?.keepDraft(id, text);
  }

  /** Everything of one conversation. @param {string} id @returns {Promise<Conversation | undefined>} */
  async whole(id) {
    const header = this.get(id);
    if (!header) return undefined;
    const [tree, draft] = await Promise.all([this.tree(id), this.draft(id)]);
    return { ...header, ...(draft ? { draft } : {}), messages: tree.all() };
  }

  /**
   * Take in conversations of a file. One that is here already is skipped; one whose id is taken by another gets a new id.
   * @param {Conversation[]} conversations
   * @returns {Promise<{added: string[], skipped: number}>}
   */
  async take(conversations) {
    const added = [];
    let skipped = 0;
    for (const [i, { draft, messages, ...header }] of conversations.entries()) {
      if (i % 20 === 19) await new Promise((resolve) => setTimeout(resolve)); // a long file must not freeze the page
      const here = await this.whole(header.id);
      if (here && JSON.stringify(sorted(here)) === JSON.stringify(sorted({ ...header, ...(draft ? { draft } : {}), messages }))) {
        skipped++;
        continue;
      }
      const id = this.headers.has(header.id) ? newId() : header.id;
      this.create({ ...header, id }, messages);
      if (draft) this.keepDraft(id, draft);
      added.push(id);
    }
    await this.store?.flush();
    return { added, skipped };
  }
}

/** The same value with its keys in order. @param {any} value @returns {any} */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}
