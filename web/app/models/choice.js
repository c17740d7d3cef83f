// @ts-check
// How the weights are to be stored: a list of encodings with what each takes, and a strategy text of one's own, which Python checks.

import { h } from "../dom.js";
import { asPageError, bytes, errorText, t } from "../i18n.js";

/** @typedef {import("../types.js").Size} Size */

const OWN = "own";
let groups = 0;

export class Choice {
  /** What was last checked. @type {{text: string, size: Size} | undefined} */
  #own;
  #chosen = "";

  /**
   * @param {Record<string, Size>} sizes what is offered
   * @param {{obstacle: (size: Size) => string, plan?: (strategy: string) => Promise<Size>, preferred?: string, onChange?: () => void}} options plan: sizes of another strategy; without it there is none of one's own
   */
  constructor(sizes, { obstacle, plan, preferred = "int8", onChange }) {
    Object.assign(this, { sizes, obstacle, plan, onChange });
    this.sizes = sizes;
    this.obstacle = obstacle;
    this.plan = plan;
    this.onChange = onChange;
    this.group = `strategy-${++groups}`;
    this.input = h("input", {
      type: "text",
      "data-testid": "strategy",
      id: `${this.group}-text`,
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      placeholder: "nf4, head=int8",
      "aria-describedby": `${this.group}-help`,
    });
    this.help = h("p", { class: "fine", id: `${this.group}-help`, "data-testid": "strategy-help" });
    this.field = h(
      "div",
      { class: "own-strategy", hidden: true },
      h("label", { for: this.input.id, text: t("models.own.label") }),
      this.input,
      this.help,
    );
    this.input.addEventListener("change", () => void this.#check());
    this.input.addEventListener("input", () => {
      this.#own = undefined;
      this.#say("");
      this.onChange?.();
    });
    const fitting = Object.keys(sizes).filter((name) => !obstacle(sizes[name]));
    this.#chosen = fitting.includes(preferred) ? preferred : (fitting[0] ?? Object.keys(sizes)[0]);
    const rows = Object.keys(sizes).map((name) => this.#row(name, sizes[name]));
    if (plan) rows.push(this.#row(OWN));
    this.root = h("fieldset", { class: "choice" }, h("legend", { text: t("models.quantization") }), ...rows, this.field);
  }

  /** @param {string} name @param {Size} [size] */
  #row(name, size) {
    const reason = size ? this.obstacle(size) : "";
    const id = `${this.group}-${name.replace(/\W+/g, "-")}`;
    const radio = h("input", {
      type: "radio",
      name: this.group,
      id,
      value: name,
      checked: name === this.#chosen,
      disabled: Boolean(reason),
      "data-testid": `quantization-${name}`,
      "aria-describedby": `${id}-size`,
    });
    radio.addEventListener("change", () => {
      this.#chosen = name;
      this.field.hidden = name !== OWN;
      if (name === OWN) this.input.focus();
      this.onChange?.();
    });
    const known = ["int8", "nf4", "int4", "f16"].includes(name);
    return h(
      "div",
      { class: reason ? "choice-row off" : "choice-row" },
      radio,
      h("label", { for: id, text: name === OWN ? t("models.own") : known ? t(`models.${name}`) : name }),
      h("span", { class: "fine", id: `${id}-size`, text: reason || (size ? sizeText(size) : t("models.own.help")) }),
    );
  }

  /** What is chosen, and what it takes; undefined: the strategy of one's own is not checked yet. @returns {{strategy: string, size: Size} | undefined} */
  get value() {
    if (this.#chosen !== OWN) return { strategy: this.#chosen, size: this.sizes[this.#chosen] };
    return this.#own && { strategy: this.#own.text, size: this.#own.size };
  }

  /** The value, after a check if that is still to be done. */
  async settle() {
    if (this.#chosen === OWN && !this.#own) await this.#check();
    return this.value;
  }

  async #check() {
    const text = this.input.value.trim();
    if (!text || !this.plan) return;
    this.#say(t("models.own.checking"));
    try {
      const size = await this.plan(text);
      if (this.input.value.trim() !== text) return; // another one by now
      const reason = this.obstacle(size);
      this.#say(reason || sizeText(size), Boolean(reason));
      if (!reason) this.#own = { text, size };
    } catch (thrown) {
      const { message, hint } = errorText(asPageError(thrown));
      this.#say(`${message} ${hint}`, true);
    }
    this.onChange?.();
  }

  /** @param {string} text @param {boolean} [bad] */
  #say(text, bad = false) {
    this.help.textContent = text;
    this.help.classList.toggle("bad", bad);
    this.help.setAttribute("role", bad ? "alert" : "note");
    this.input.setAttribute("aria-invalid", String(bad));
  }
}

/** @param {Size} size */
export function sizeText({ disk, gpu }) {
  return t("models.takes", { disk: bytes(disk), gpu: bytes(gpu) });
}
