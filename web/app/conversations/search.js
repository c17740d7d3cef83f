// @ts-check
// Finding conversations by words: all words have to occur, in the title or in the messages. Pure.

const AROUND = 48; // characters of context on each side of a hit

/** @typedef {{text: string, hit: boolean}[]} Marked a text in pieces, the hits marked */

/** @param {string} text */
const escape = (text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

export class Query {
  /** @param {string} text as typed; words are separated by spaces, "two words" stay together */
  constructor(text) {
    this.words = [...text.matchAll(/"([^"]+)"|(\S+)/g)].map(([, together, word]) => (together ?? word).replace(/"/g, "")).filter(Boolean);
    this.each = this.words.map((word) => new RegExp(escape(word), "iu"));
    this.any = new RegExp(
      [...this.words]
        .sort((a, b) => b.length - a.length)
        .map(escape)
        .join("|") || "(?!)",
      "giu",
    );
  }

  get empty() {
    return !this.words.length;
  }

  /** Whether every word occurs in one of these texts. @param {string[]} texts */
  matches(texts) {
    return this.each.every((word) => texts.some((text) => word.test(text)));
  }

  /** The text in pieces. @param {string} text @returns {Marked} */
  mark(text) {
    const pieces = [];
    let end = 0;
    for (const hit of text.matchAll(this.any)) {
      if (hit.index > end) pieces.push({ text: text.slice(end, hit.index), hit: false });
      pieces.push({ text: hit[0], hit: true });
      end = hit.index + hit[0].length;
    }
    if (end < text.length) pieces.push({ text: text.slice(end), hit: false });
    return pieces;
  }

  /** The surroundings of the first hit in these texts; undefined if there is none (the title has it). @param {string[]} texts @returns {Marked | undefined} */
  snippet(texts) {
    for (const text of texts) {
      const at = text.search(this.any);
      this.any.lastIndex = 0;
      if (at < 0) continue;
      const from = at <= AROUND ? 0 : at - AROUND + Math.max(0, text.slice(at - AROUND, at).search(/\s/));
      const part = text
        .slice(from, at + AROUND * 2)
        .replace(/\s+/g, " ")
        .trim();
      return this.mark(`${from ? "…" : ""}${part}${at + AROUND * 2 < text.length ? "…" : ""}`);
    }
    return undefined;
  }
}
