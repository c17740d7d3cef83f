// @ts-check
// "What the model sees": the exact text of the next request, as Python makes it, and how many tokens that is. Asks only while somebody looks.

import { copyText, h, icon } from "../dom.js";
import { asPageError, errorText, label, number, t, translate } from "../i18n.js";

/** @typedef {import("../types.js").PageEngine} PageEngine */

const PAUSE = 200; // ms after the last change
const SHOWN = 40_000; // characters; of a longer text its end
const SIGNS = /** @type {Record<string, string>} */ ({ " ": "·", "\n": "↵\n", "\t": "⇥\t", "\r": "␍" });

export class Preview {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #asked = 0;
  #text = "";

  /** @param {PageEngine} engine @param {() => Parameters<PageEngine["render"]>[0]} request */
  constructor(engine, request) {
    this.engine = engine;
    this.request = request;
    this.count = h("span", { class: "fine", "data-testid": "preview-tokens", role: "status" });
    this.signs = h("input", { type: "checkbox", id: "preview-signs", "data-testid": "preview-signs" });
    this.signs.addEventListener("change", () => this.#draw());
    const copy = h("button", { type: "button", class: "tool small" }, icon("copy"));
    label(copy, "copy");
    copy.addEventListener("click", () => void copyText(this.#text));
    this.pre = h("pre", {
      class: "preview",
      "data-testid": "preview",
      role: "group",
      tabindex: 0,
      dir: "auto",
      "data-t-label": "prompting.preview",
    });
    this.element = h(
      "details",
      { class: "more", "data-testid": "preview-details" },
      h("summary", { "data-t": "prompting.preview" }),
      h("p", { class: "fine", "data-t": "prompting.preview.help" }),
      h(
        "div",
        { class: "preview-head" },
        this.count,
        h("label", { class: "check" }, this.signs, h("span", { "data-t": "prompting.preview.signs" })),
        copy,
      ),
      this.pre,
    );
    this.element.addEventListener("toggle", () => this.schedule());
    translate(this.element);
  }

  /** Something that the text depends on has changed. */
  schedule() {
    if (!this.element.open || !this.element.isConnected) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#ask(), PAUSE);
  }

  async #ask() {
    const asked = ++this.#asked;
    try {
      const { text, tokens } = await this.engine.render(this.request());
      if (asked !== this.#asked) return;
      this.#text = text;
      this.count.textContent = t(tokens === 1 ? "chat.token" : "chat.tokens", { n: number(tokens) });
    } catch (thrown) {
      if (asked !== this.#asked) return;
      this.#text = "";
      this.count.textContent = errorText(asPageError(thrown)).message;
    }
    this.#draw();
  }

  #draw() {
    const cut = this.#text.length - SHOWN;
    const text = cut > 0 ? this.#text.slice(cut) : this.#text;
    const pieces = this.signs.checked ? text.split(/([ \n\t\r])/).filter(Boolean) : [text];
    this.pre.replaceChildren(
      ...(cut > 0 ? [h("span", { class: "sign", text: `${t("prompting.preview.cut", { n: number(cut) })}\n` })] : []),
      ...pieces.map((piece) => (this.signs.checked && piece in SIGNS ? h("span", { class: "sign", text: SIGNS[piece] }) : piece)),
    );
    this.pre.scrollTop = this.pre.scrollHeight;
  }
}
