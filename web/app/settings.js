// @ts-check
// The fields of sampling: what each may be, what the model recommends, how to go back to it. What is not set is left to the model and not sent at all.

import { h, icon } from "./dom.js";
import { number, t, translate } from "./i18n.js";
import { fromLines, toLines } from "./prompting/escape.js";

/** @typedef {import("./types.js").SettingName} SettingName */
/** @typedef {import("./types.js").Sampling} Sampling */
/** What the model's author recommends; null: nothing. @typedef {Partial<Record<SettingName, number | null>>} Defaults */
/** `slide`: the part of the range that a slider covers. @typedef {{name: SettingName, min: number, max: number, whole?: boolean, slide?: [number, number, number], more?: boolean}} Setting */

/** The bounds are those of py_rwkv/runtime/sampling.py. @type {Setting[]} */
export const SETTINGS = [
  { name: "temperature", min: 0, max: 10, slide: [0, 2, 0.05] },
  { name: "top_p", min: 0, max: 1, slide: [0, 1, 0.01] },
  { name: "max_tokens", min: 1, max: 1 << 24, whole: true },
  { name: "top_k", min: 0, max: 1 << 24, whole: true, more: true },
  { name: "presence_penalty", min: -10, max: 10, slide: [0, 2, 0.05], more: true },
  { name: "frequency_penalty", min: -10, max: 10, slide: [0, 2, 0.05], more: true },
  { name: "penalty_decay", min: 0, max: 1, slide: [0.9, 1, 0.001], more: true },
  { name: "seed", min: 0, max: Number.MAX_SAFE_INTEGER, whole: true, more: true },
];
export const MAX_STOPS = 16;
export const MAX_STOP = 200;

/** @param {Setting} setting @param {number} value */
export const allowed = ({ min, max, whole }, value) => value >= min && value <= max && (!whole || Number.isInteger(value));

export class SamplingFields {
  element = h("div", { class: "sampling" });
  /** @type {Defaults} */
  defaults = {};

  /**
   * @param {string} prefix of ids
   * @param {() => Sampling} get
   * @param {(values: Sampling) => void} set
   */
  constructor(prefix, get, set) {
    this.prefix = prefix;
    this.get = get;
    this.set = set;
    const more = h("details", { class: "more" }, h("summary", { "data-t": "settings.more" }));
    for (const setting of SETTINGS) (setting.more ? more : this.element).append(this.#field(setting));
    more.append(this.#stops());
    this.resetAll = h("button", { type: "button", class: "button small", "data-t": "settings.reset", "data-testid": `${prefix}reset-all` });
    this.resetAll.addEventListener("click", () => {
      this.set({});
      this.draw(true);
    });
    this.element.append(more, this.resetAll);
    translate(this.element);
  }

  /** @param {string} name @param {HTMLElement} field @param {() => void} reset */
  #frame(name, field, reset) {
    const id = `${this.prefix}${name}`;
    const back = h("button", { type: "button", class: "reset", "data-testid": `${this.prefix}reset-${name}` }, icon("again"), h("span"));
    back.addEventListener("click", () => {
      reset();
      this.draw(true);
      this.#input(name).focus();
    });
    return h(
      "div",
      { class: "setting", "data-setting": name },
      h("label", { for: id, "data-t": `settings.${name}` }),
      h("span", { class: "advice" }, h("span", { class: "fine" }), back),
      field,
      h("p", { id: `error-${id}`, class: "fine bad", role: "alert", "data-testid": `error-${id}` }),
      h("p", { id: `help-${id}`, class: "fine", "data-t": `settings.${name}.help` }),
    );
  }

  /** @param {Setting} setting */
  #field(setting) {
    const { name, slide } = setting;
    const id = `${this.prefix}${name}`;
    const described = `error-${id} help-${id}`;
    const input = h("input", { id, "data-testid": id, type: "number", step: "any", "aria-describedby": described, autocomplete: "off" });
    input.inputMode = setting.whole ? "numeric" : "decimal";
    const pair = h("div", { class: "pair" }, input);
    const slider = slide && h("input", { type: "range", min: slide[0], max: slide[1], step: slide[2], "data-t-label": `settings.${name}` });
    if (slider) {
      slider.addEventListener("input", () => {
        input.value = slider.value;
        this.#take(setting);
      });
      pair.prepend(slider);
    }
    input.addEventListener("input", () => this.#take(setting));
    return this.#frame(name, pair, () => this.#put(name, undefined));
  }

  #stops() {
    const id = `${this.prefix}stop`;
    const area = h("textarea", {
      id,
      "data-testid": id,
      class: "mono",
      rows: 2,
      "aria-describedby": `error-${id} help-${id}`,
      spellcheck: "false",
    });
    area.addEventListener("input", () => {
      const stops = fromLines(area.value);
      const bad = stops.length > MAX_STOPS || stops.some((stop) => stop.length > MAX_STOP);
      this.#complain("stop", bad ? t("settings.stop.bad", { n: MAX_STOPS, length: MAX_STOP }) : "");
      if (!bad) this.#put("stop", stops.length ? stops : undefined);
      this.#advise("stop");
    });
    return this.#frame("stop", area, () => this.#put("stop", undefined));
  }

  /** @param {string} name @returns {HTMLInputElement} */
  #input(name) {
    return /** @type {HTMLInputElement} */ (this.element.querySelector(`#${this.prefix}${name}`));
  }

  /** @param {string} name @param {string} problem */
  #complain(name, problem) {
    const input = this.#input(name);
    input.setAttribute("aria-invalid", String(Boolean(problem)));
    const line = /** @type {HTMLElement} */ (this.element.querySelector(`#error-${input.id}`));
    if (line.textContent !== problem) line.textContent = problem;
  }

  /** What stands in a field becomes the value, if it may be one; until then the last good one stays. @param {Setting} setting */
  #take(setting) {
    const { name } = setting;
    const input = this.#input(name);
    const value = input.value.trim() === "" && !input.validity.badInput ? undefined : Number(input.value || NaN);
    const good = value === undefined || allowed(setting, value);
    const what = setting.whole ? "settings.bad.whole" : "settings.bad";
    this.#complain(name, good ? "" : t(what, { min: number(setting.min), max: number(setting.max) }));
    if (good) this.#put(name, value);
    this.#slide(setting);
    this.#advise(name);
  }

  /** @param {SettingName | "stop"} name @param {number | string[] | undefined} value */
  #put(name, value) {
    const { [name]: _, ...rest } = this.get();
    this.set(value === undefined ? rest : { ...rest, [name]: value });
  }

  /** @param {Setting} setting */
  #slide({ name, slide }) {
    if (!slide) return;
    const slider = /** @type {HTMLInputElement} */ (this.#input(name).parentElement?.firstElementChild);
    slider.value = String(this.get()[name] ?? this.defaults[name] ?? slide[0]);
  }

  /** What the model recommends, and the way back to it. @param {SettingName | "stop"} name */
  #advise(name) {
    const chosen = this.get()[name] !== undefined;
    const standard = name === "stop" ? undefined : this.defaults[name];
    const value = typeof standard === "number" ? number(standard, 3) : t(`settings.${name === "seed" ? "random" : "default.unknown"}`);
    const [text, back] = /** @type {HTMLElement[]} */ ([
      ...(this.element.querySelector(`[data-setting="${name}"] .advice`)?.children ?? []),
    ]);
    text.hidden = chosen;
    text.textContent = t("settings.default", { value });
    back.hidden = !chosen;
    /** @type {HTMLElement} */ (back.lastElementChild).textContent = value;
    back.setAttribute("aria-label", t("settings.back", { name: t(`settings.${name}`), value }));
    back.title = t("settings.back", { name: t(`settings.${name}`), value });
    this.resetAll.disabled = !Object.keys(this.get()).length;
  }

  /** Show the values. @param {boolean} [all] also in the field that a person is writing in */
  draw(all = false) {
    const values = this.get();
    for (const setting of SETTINGS) {
      const input = this.#input(setting.name);
      if (all || input !== document.activeElement) {
        input.value = values[setting.name] === undefined ? "" : String(values[setting.name]);
        this.#complain(setting.name, "");
      }
      const standard = this.defaults[setting.name];
      input.placeholder = setting.name === "seed" ? t("settings.random") : typeof standard === "number" ? String(standard) : "";
      this.#slide(setting);
      this.#advise(setting.name);
    }
    const area = this.#input("stop");
    if (all || area !== document.activeElement) {
      area.value = toLines(values.stop ?? []);
      this.#complain("stop", "");
    }
    this.#advise("stop");
  }
}
