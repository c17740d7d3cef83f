// @ts-check
// The token view: an answer as a row of boxes, coloured by how likely each token was or how unsure the model was before it; the alternatives of one of
// them, each a way to another answer.

import { h } from "../dom.js";
import { asPageError, errorText, number, t } from "../i18n.js";
import { beginning } from "./probabilities.js";
import { percent, quoted, uncertainty, visible } from "./words.js";

/** @typedef {import("../conversations/types.js").Message} Message */
/** @typedef {import("../types.js").TokenLogprob} TokenLogprob */
/** @typedef {import("../types.js").TokenChoice} TokenChoice */

const LIKELY = [0.9, 0.6, 0.3, 0.1, 0.01]; // below each begins a stronger colour
const UNSURE = [0.1, 0.5, 1, 2, 3.5]; // nats; from each on

/** 0 (nothing to see) … 5. @param {TokenLogprob} entry @param {"probability" | "entropy"} by */
const level = ({ logprob, entropy }, by) =>
  by === "entropy" ? UNSURE.filter((least) => entropy >= least).length : LIKELY.filter((least) => Math.exp(logprob) < least).length;

/** What is behind a token, in words. @param {TokenLogprob} entry */
const probability = ({ logprob, rare }) => (rare ? t("inside.atmost", { p: percent(Math.exp(logprob)) }) : percent(Math.exp(logprob)));

export class TokenView {
  /** @type {"probability" | "entropy"} */
  by = "probability";
  /** @type {TokenLogprob[]} */
  entries = [];
  /** Whose details stay. @type {number | undefined} */
  chosen;
  /** @type {Message | undefined} */
  message;
  /** @type {AbortController | undefined} */
  #reading;

  /**
   * @param {import("./probabilities.js").Probabilities} probabilities
   * @param {{busy: () => boolean, branch: (message: Message, beginning: {content: string, reasoning?: string}) => void}} around
   */
  constructor(probabilities, around) {
    this.probabilities = probabilities;
    this.around = around;
    this.boxes = h("div", { class: "tokens", "data-testid": "tokens", role: "group" });
    this.summary = h("p", { class: "fine", "data-testid": "tokens-summary", role: "status" });
    this.detail = h("div", { class: "token-detail", "data-testid": "token-detail" });
    this.element = h("div", { class: "token-view" });
    this.boxes.addEventListener("keydown", (event) => this.#onKey(event));
    const look = (/** @type {number | undefined} */ at) => !this.detail.contains(document.activeElement) && this.#drawDetail(at);
    this.boxes.addEventListener("mouseover", ({ target }) => this.#at(target) !== undefined && look(this.#at(target)));
    this.boxes.addEventListener("mouseleave", () => look(this.chosen));
    this.boxes.addEventListener("focusin", ({ target }) => this.#choose(this.#at(target)));
    this.boxes.addEventListener("click", ({ target }) => this.#choose(this.#at(target)));
  }

  /** @param {Message} message */
  async show(message) {
    this.close();
    const reading = (this.#reading = new AbortController());
    Object.assign(this, { message, entries: [], chosen: undefined });
    this.boxes.replaceChildren();
    this.draw();
    this.summary.textContent = t("inside.reading");
    let due = 0;
    try {
      await this.probabilities.of(
        message,
        (entries) => {
          if (reading.signal.aborted) return;
          this.entries = entries;
          due ||= setTimeout(() => {
            due = 0;
            if (!reading.signal.aborted && this.#reading === reading) this.#grow();
          }, 60);
        },
        reading.signal,
      );
      clearTimeout(due);
      if (this.#reading !== reading) return;
      this.#reading = undefined;
      this.draw();
    } catch (thrown) {
      clearTimeout(due);
      if (this.#reading !== reading) return;
      this.#reading = undefined;
      this.draw();
      this.summary.textContent = errorText(asPageError(thrown)).message;
    }
  }

  close() {
    this.#reading?.abort();
    this.#reading = undefined;
  }

  /** All of it, as after a change of language or colour. */
  draw() {
    const box = h("input", { type: "checkbox", id: "record", "data-testid": "record" });
    box.checked = this.probabilities.recording;
    box.addEventListener("change", () => this.probabilities.record(box.checked));
    this.element.replaceChildren(
      h("div", { class: "inside-bar" }, this.#chooser()),
      this.summary,
      this.boxes,
      this.#legend(),
      this.detail,
      h("p", { class: "fine", text: t("inside.tokens.note") }),
      h("div", { class: "inside-check" }, box, h("label", { for: "record", text: t("inside.record") })),
    );
    this.boxes.setAttribute("aria-label", t("inside.tokens.label"));
    this.boxes.replaceChildren();
    this.#grow();
    this.#drawDetail(this.chosen);
  }

  #chooser() {
    const names = /** @type {const} */ (["probability", "entropy"]);
    return h(
      "div",
      { class: "segments", role: "group", "aria-label": t("inside.colour") },
      ...names.map((name) =>
        h("button", {
          type: "button",
          "data-testid": `by-${name}`,
          "aria-pressed": String(this.by === name),
          text: t(`inside.${name}`),
          onclick: () => {
            this.by = name;
            this.draw();
            /** @type {HTMLElement | null} */ (this.element.querySelector(`[data-testid="by-${name}"]`))?.focus();
          },
        }),
      ),
    );
  }

  #legend() {
    const levels = Array.from({ length: LIKELY.length + 1 }, (_, i) => h("span", { class: "token", "data-level": i }, "\u2002"));
    const [low, high] = this.by === "entropy" ? ["inside.sure", "inside.unsure"] : ["inside.likely", "inside.unlikely"];
    return h(
      "p",
      { class: `legend ${this.by}`, "aria-hidden": "true" },
      h("span", { text: t(low) }),
      ...levels,
      h("span", { text: t(high) }),
    );
  }

  /** Add the boxes that are not there yet. */
  #grow() {
    this.boxes.className = `tokens ${this.by}`;
    for (let i = this.boxes.querySelectorAll("button").length; i < this.entries.length; i++) {
      const entry = this.entries[i];
      const { token } = entry;
      this.boxes.append(
        h("button", {
          type: "button",
          class: "token",
          tabindex: i === (this.chosen ?? 0) ? 0 : -1,
          "data-testid": "token",
          "data-at": i,
          "data-id": entry.id,
          "data-level": level(entry, this.by),
          "aria-label": t("inside.token.label", { token: visible(entry), p: probability(entry), entropy: uncertainty(entry.entropy) }),
          text: visible(entry),
        }),
      );
      if (token.includes("\n") && i + 1 < this.entries.length) this.boxes.append(h("br"));
    }
    this.boxes.dataset.state = this.#reading ? "reading" : "done";
    if (this.#reading) this.summary.textContent = t("inside.reading");
    else if (this.entries.length) {
      const mean = this.entries.reduce((sum, { logprob }) => sum + logprob, 0) / this.entries.length;
      const facts = { n: number(this.entries.length), p: percent(Math.exp(mean)), perplexity: number(Math.exp(-mean), 2) };
      this.summary.textContent = t("inside.tokens.summary", facts);
    } else this.summary.textContent = t("inside.nothing");
  }

  /** @param {EventTarget | null} target */
  #at(target) {
    const at = target instanceof Element ? target.closest("[data-at]")?.getAttribute("data-at") : undefined;
    return at ? Number(at) : undefined;
  }

  /** @param {number | undefined} at */
  #choose(at) {
    if (at === undefined || at === this.chosen) return;
    this.chosen = at;
    for (const box of this.boxes.querySelectorAll("button")) {
      const here = Number(box.dataset.at) === at;
      box.tabIndex = here ? 0 : -1;
      if (here) box.setAttribute("aria-current", "true");
      else box.removeAttribute("aria-current");
    }
    this.#drawDetail(at);
  }

  /** Arrow keys move along the answer. @param {KeyboardEvent} event */
  #onKey(event) {
    const at = this.#at(event.target) ?? 0;
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: this.entries.length - 1 }[
      event.key
    ];
    if (to === undefined) return;
    event.preventDefault();
    /** @type {HTMLElement | null} */ (this.boxes.querySelector(`[data-at="${to}"]`))?.focus();
  }

  /** @param {number | undefined} at */
  #drawDetail(at) {
    const entry = at === undefined ? undefined : this.entries[at];
    this.detail.classList.toggle("none", !entry);
    if (!entry || at === undefined) {
      this.detail.replaceChildren(h("p", { class: "fine", text: t("inside.choose") }));
      return;
    }
    const facts = [
      ["inside.probability", probability(entry)],
      ["inside.entropy", uncertainty(entry.entropy)],
      ["inside.number", `${number(at + 1)} / ${number(this.entries.length)} · #${entry.id}`],
    ];
    this.detail.replaceChildren(
      h("h3", { text: quoted(entry) }),
      h("dl", { class: "info" }, ...facts.flatMap(([key, value]) => [h("dt", { text: t(key) }), h("dd", { text: value })])),
      h("h4", { id: "alternatives-title", text: t("inside.alternatives") }),
      h(
        "ol",
        { class: "alternatives", "aria-labelledby": "alternatives-title" },
        ...entry.top_logprobs.map((one) => this.#alternative(entry, at, one)),
      ),
    );
  }

  /** @param {TokenLogprob} entry @param {number} at @param {TokenChoice} one */
  #alternative(entry, at, one) {
    const taken = one.id === entry.id;
    const p = percent(Math.exp(one.logprob));
    const start = this.message && !taken ? beginning(this.message, this.entries, at, one) : undefined;
    const bar = h("span", { class: "bar-of", "aria-hidden": "true" });
    bar.style.setProperty("--part", `${100 * Math.exp(one.logprob)}%`);
    const button = h(
      "button",
      {
        type: "button",
        class: taken ? "alternative taken" : "alternative",
        "data-testid": "alternative",
        "data-id": one.id,
        "aria-label": t(taken ? "inside.taken" : start ? "inside.branch" : "inside.unsayable", { token: visible(one), p }),
      },
      h("span", { class: "alternative-text", text: visible(one) }),
      bar,
      h("span", { class: "alternative-p", text: p }),
    );
    button.disabled = !start || this.around.busy();
    button.title = button.getAttribute("aria-label") ?? "";
    button.addEventListener("click", () => {
      if (this.message && start && !this.around.busy()) this.around.branch(this.message, start);
    });
    return h("li", {}, button);
  }

  /** Alternatives can be taken, or no longer. */
  refresh() {
    if (this.chosen !== undefined) this.#drawDetail(this.chosen);
  }
}
