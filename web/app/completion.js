// @ts-check
// Raw text instead of messages: the model goes on with what stands in the editor, in the editor. What it wrote is marked, and can be taken back piece by piece.

import { byId, h, icon, remember } from "./dom.js";
import { asPageError, errorText, number, onLanguage, t, translate } from "./i18n.js";

/** @typedef {import("./types.js").PageEngine} PageEngine */
/** A part of the text that the model wrote. @typedef {{from: number, to: number, run: number}} Piece */

const DRAFT = "completion"; // its key among the drafts
const SAVE = 1000; // ms between two saves while text comes

/**
 * Where the pieces are after a person changed the text.
 * @param {Piece[]} pieces
 * @param {string} before
 * @param {string} after
 */
export function moved(pieces, before, after) {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start++;
  let same = 0;
  while (same < most - start && before[before.length - 1 - same] === after[after.length - 1 - same]) same++;
  const end = before.length - same;
  const by = after.length - before.length;
  return pieces.flatMap(({ from, to, run }) =>
    [
      { from, to: Math.min(to, start), run },
      { from: Math.max(from, end) + by, to: to + by, run },
    ].filter((piece) => piece.from < piece.to),
  );
}

export class Completion {
  text = "";
  /** @type {Piece[]} */
  pieces = [];
  available = false;
  /** @type {AbortController | undefined} */
  running;
  /** What the line below says: a key and its fields, or a text. @type {() => string} */
  #said = () => "";
  #drawing = 0;

  /**
   * @param {PageEngine} engine
   * @param {import("./conversations/library.js").Library} library
   * @param {{sampling: () => import("./types.js").Sampling, entered: (raw: boolean) => void}} options
   */
  constructor(engine, library, options) {
    this.engine = engine;
    this.library = library;
    this.options = options;
    this.back = h("div", { class: "paper-back", "aria-hidden": "true" });
    this.area = h("textarea", {
      class: "paper",
      id: "raw",
      "data-testid": "raw",
      spellcheck: "false",
      "data-t-label": "completion.text",
      "data-t-placeholder": "completion.placeholder",
    });
    this.status = h("span", { role: "status", "data-testid": "raw-status" });
    const button = (/** @type {string} */ name, /** @type {string} */ sign, /** @type {() => void} */ run, kind = "") =>
      h(
        "button",
        { type: "button", class: `button small ${kind}`, "data-testid": `raw-${name}`, onclick: run },
        icon(sign),
        h("span", { "data-t": `completion.${name}` }),
      );
    this.go = button("continue", "play", () => void this.continue(), "primary");
    this.end = button("stop", "stop", () => this.stop());
    this.undo = button("undo", "previous", () => this.undoLast());
    this.again = button("again", "again", () => {
      this.undoLast();
      void this.continue();
    });
    this.element = h(
      "section",
      { class: "screen completion", "data-screen": "chat", "data-testid": "completion", "data-t-label": "completion.title", hidden: true },
      h("header", {}, h("h1", { "data-t": "completion.title" }), h("p", { class: "fine", "data-t": "completion.help" })),
      h("div", { class: "paper-stack" }, this.back, this.area),
      h("div", { class: "paper-foot" }, this.go, this.end, this.again, this.undo, h("span", { class: "fine" }, this.status)),
    );
    byId("main").append(this.element);
    this.switch = h(
      "button",
      { type: "button", class: "sidebar-new", id: "raw-open", "data-testid": "raw-open" },
      icon("pencil"),
      h("span", { "data-t": "completion.title" }),
    );
    this.switch.addEventListener("click", () => this.show(true));
    byId("new-chat").after(this.switch);
    byId("conversations").addEventListener(
      "click",
      ({ target }) => target instanceof Element && target.closest(".talk-open") && this.show(false),
    );
    this.area.addEventListener("input", () => {
      this.pieces = moved(this.pieces, this.text, this.area.value);
      this.text = this.area.value;
      this.#keep();
      this.draw();
    });
    this.area.addEventListener("scroll", () => this.#follow());
    this.element.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void this.continue();
      else if (event.key === "Escape" && this.running) this.stop();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    translate(this.element);
    translate(this.switch.parentElement ?? document);
    onLanguage(() => this.draw());
    void this.#restore();
  }

  async #restore() {
    try {
      const { text, pieces } = JSON.parse((await this.library.draft(DRAFT)) || '{"text": "", "pieces": []}');
      if (typeof text !== "string" || this.text) return;
      this.text = this.area.value = text;
      const good = (/** @type {Piece} */ { from, to, run }) =>
        [from, to, run].every(Number.isInteger) && from >= 0 && from < to && to <= text.length;
      this.pieces = pieces.filter(good);
    } catch {
      // what cannot be read is not there
    }
    if (remember("mode") === "raw") this.show(true, false);
    this.draw();
  }

  #keep() {
    this.library.keepDraft(DRAFT, this.text ? JSON.stringify({ text: this.text, pieces: this.pieces }) : "");
  }

  /** Raw text, or the chat. @param {boolean} raw @param {boolean} [focus] */
  show(raw, focus = true) {
    remember("mode", raw ? "raw" : null);
    const root = document.documentElement;
    if ((root.dataset.mode === "raw") !== raw) {
      if (raw) root.dataset.mode = "raw";
      else delete root.dataset.mode;
      this.options.entered(raw);
    }
    this.switch.setAttribute("aria-current", raw ? "page" : "false");
    this.draw();
    if (raw && focus && matchMedia("(pointer: fine)").matches) this.area.focus();
  }

  /** @param {boolean} available whether the engine can answer */
  setAvailable(available) {
    this.available = available;
    this.draw();
  }

  /** Let the model go on from the end of the text. */
  async continue() {
    if (this.running || !this.available || !this.text) return;
    const abort = (this.running = new AbortController());
    const run = 1 + Math.max(0, ...this.pieces.map((piece) => piece.run));
    /** @type {Piece} */
    const piece = { from: this.text.length, to: this.text.length, run };
    let saved = performance.now();
    this.#said = () => t("status.writing");
    this.draw();
    this.area.scrollTop = this.area.scrollHeight;
    this.area.focus();
    try {
      const request = { prompt: this.text, stream: /** @type {const} */ (true), ...this.options.sampling(), signal: abort.signal };
      for await (const { choices, usage, timings } of await this.engine.completions.create(request)) {
        const added = choices[0]?.text ?? "";
        if (added) {
          if (piece.from === piece.to) this.pieces.push(piece);
          this.text += added;
          piece.to = this.text.length;
          this.#drawSoon();
        }
        if (performance.now() - saved > SAVE) {
          saved = performance.now();
          this.#keep();
        }
        if (usage) {
          const [n, speed] = [usage.completion_tokens, timings?.decode_tokens_per_second ?? 0];
          this.#said = () =>
            [t(n === 1 ? "chat.token" : "chat.tokens", { n }), speed ? t("chat.speed", { n: number(speed, 1) }) : ""]
              .filter(Boolean)
              .join(" · ");
        }
      }
    } catch (thrown) {
      const error = asPageError(thrown);
      const stopped = abort.signal.aborted || error.code === "cancelled";
      this.#said = stopped ? () => t("status.stopped") : () => Object.values(errorText(error)).join(" ");
    }
    this.running = undefined;
    this.#keep();
    this.draw();
  }

  stop() {
    this.running?.abort();
  }

  /** Take back what the model wrote last, as far as it is still there. */
  undoLast() {
    if (this.running) return;
    const last = Math.max(0, ...this.pieces.map(({ run }) => run));
    for (const { from, to } of this.pieces.filter(({ run }) => run === last).sort((a, b) => b.from - a.from)) {
      const text = this.text.slice(0, from) + this.text.slice(to);
      this.pieces = this.pieces
        .filter((piece) => piece.from !== from)
        .map((piece) => (piece.from >= to ? { ...piece, from: piece.from - (to - from), to: piece.to - (to - from) } : piece));
      this.text = text;
    }
    this.#said = () => "";
    this.#keep();
    this.draw();
    this.area.focus();
  }

  #drawSoon() {
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      this.draw();
    });
  }

  draw() {
    const { area } = this;
    const follow = this.running && area.scrollHeight - area.scrollTop - area.clientHeight < 60;
    if (area.value !== this.text) area.value = this.text;
    area.readOnly = Boolean(this.running);
    area.setAttribute("aria-busy", String(Boolean(this.running)));
    const parts = [];
    let at = 0;
    for (const { from, to } of [...this.pieces].sort((a, b) => a.from - b.from)) {
      parts.push(this.text.slice(at, from), h("mark", { text: this.text.slice(from, to) }));
      at = to;
    }
    this.back.replaceChildren(...parts, `${this.text.slice(at)}\n`); // the line end gives the last line its height
    if (follow) area.scrollTop = area.scrollHeight;
    this.#follow();
    const focused = document.activeElement;
    this.go.hidden = Boolean(this.running);
    this.end.hidden = !this.running;
    this.go.disabled = !this.available || !this.text;
    this.undo.disabled = this.again.disabled = Boolean(this.running) || !this.pieces.length;
    if (focused instanceof HTMLElement && this.element.contains(focused) && (focused.hidden || /** @type {any} */ (focused).disabled))
      area.focus();
    const said = this.#said();
    if (this.status.textContent !== said) this.status.textContent = said;
  }

  #follow() {
    this.back.scrollTop = this.area.scrollTop;
  }
}
