// @ts-check
// The messages of a conversation as a tree: branches, siblings, paths. Pure: knows no page and no storage.

/** @typedef {import("./types.js").Message} Message */

/** An id that no other message or conversation has; also on pages that are not secure, where randomUUID is missing. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {Message} a @param {Message} b */
const older = (a, b) => a.created - b.created || (a.id < b.id ? -1 : 1);

export class Tree {
  /** @type {Map<string, Message>} */
  byId = new Map();
  /** Oldest first; null: the first messages. @type {Map<string | null, Message[]>} */
  below = new Map();

  /** @param {Iterable<Message>} [messages] in any order */
  constructor(messages = []) {
    for (const message of messages) this.byId.set(message.id, message);
    for (const message of this.byId.values()) this.#hang(message);
    for (const siblings of this.below.values()) siblings.sort(older);
  }

  /** @param {Message} message */
  #hang(message) {
    const siblings = this.below.get(message.parent);
    if (siblings) siblings.push(message);
    else this.below.set(message.parent, [message]);
  }

  /** @param {string | null | undefined} id */
  get(id) {
    return id ? this.byId.get(id) : undefined;
  }

  get size() {
    return this.byId.size;
  }

  /** Add a message, or put another version in the place of one. @param {Message} message @returns {Message} */
  put(message) {
    const before = this.byId.get(message.id);
    this.byId.set(message.id, message);
    if (before) {
      const siblings = this.children(before.parent);
      siblings[siblings.indexOf(before)] = message;
    } else {
      this.#hang(message);
      this.children(message.parent).sort(older);
    }
    return message;
  }

  /** @param {string | null} id @returns {Message[]} */
  children(id) {
    return this.below.get(id) ?? [];
  }

  /** All versions of a message, itself included. @param {Message} message */
  siblings(message) {
    return this.children(message.parent);
  }

  /** From the first message to this one. @param {string | null | undefined} id @returns {Message[]} */
  path(id) {
    const path = [];
    for (let message = this.get(id); message; message = this.get(message.parent)) path.push(message);
    return path.reverse();
  }

  /** The end of the newest branch below a message. @param {string | null} id @returns {string | null} */
  newestLeaf(id) {
    for (;;) {
      const next = this.children(id).at(-1);
      if (!next) return id;
      id = next.id;
    }
  }

  /** A message and everything below it, parents first. @param {string} id @returns {Message[]} */
  branch(id) {
    const found = this.get(id);
    const all = found ? [found] : [];
    for (let i = 0; i < all.length; i++) all.push(...this.children(all[i].id));
    return all;
  }

  /** Whether `id` is `ancestor` or comes after it. @param {string | null} id @param {string | null} ancestor */
  isBelow(id, ancestor) {
    return ancestor === null || this.path(id).some((message) => message.id === ancestor);
  }

  /**
   * Take a branch away. What to show instead is the newest sibling's newest end, else what comes before.
   * @param {string} id
   * @returns {{removed: Message[], leaf: string | null}}
   */
  remove(id) {
    const top = this.get(id);
    if (!top) return { removed: [], leaf: this.newestLeaf(null) };
    const removed = this.branch(id);
    for (const message of removed) {
      this.byId.delete(message.id);
      this.below.delete(message.id);
    }
    const rest = this.siblings(top).filter((message) => message !== top);
    if (rest.length) this.below.set(top.parent, rest);
    else this.below.delete(top.parent);
    const sibling = rest.findLast((message) => older(message, top) < 0) ?? rest.at(-1);
    return { removed, leaf: sibling ? this.newestLeaf(sibling.id) : top.parent };
  }

  /** Every message, parents first. @returns {Message[]} */
  all() {
    return this.children(null).flatMap((message) => this.branch(message.id));
  }
}

/**
 * What a conversation is called until somebody names it: the first line of its first question.
 * @param {string} question
 */
export function titleOf(question) {
  const line = question
    .replace(/```[^\n]*\n?|[*_`#>]+/g, " ")
    .split("\n")
    .map((text) => text.replace(/\s+/g, " ").trim())
    .find(Boolean);
  const characters = [...(line ?? "")];
  if (characters.length <= 60) return line ?? "";
  const cut = characters.slice(0, 59).join("");
  return `${/\s/.test(cut.slice(36)) ? cut.slice(0, cut.lastIndexOf(" ")) : cut}…`;
}
