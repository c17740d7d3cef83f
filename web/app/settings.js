// @ts-check
// Sampling settings. Whatever is not set here is left to the model's own defaults and not sent at all.

import { byId, h } from "./dom.js";
import { number, onLanguage, t, translate } from "./i18n.js";

/** @typedef {import("./types.js").SettingName} SettingName */
/** @typedef {import("./types.js").Sampling} Sampling */

/** @type {{name: SettingName, min: number, max: number, step: number, start: number, kind: "range" | "number"}[]} */
const SETTINGS = [
  { name: "temperature", min: 0, max: 2, step: 0.05, start: 1, kind: "range" },
  { name: "top_p", min: 0, max: 1, step: 0.01, start: 0.5, kind: "range" },
  { name: "max_tokens", min: 1, max: 100000, step: 1, start: 512, kind: "number" },
  { name: "seed", min: 0, max: 4294967295, step: 1, start: 0, kind: "number" },
];

export class Settings {
  /** @type {Sampling} */
  chosen = {};
  /** @type {Partial<Record<SettingName, number | null>>} */
  defaults = {};

  constructor() {
    byId("settings").replaceChildren(...SETTINGS.map((setting) => this.#field(setting)));
    byId("settings-reset").addEventListener("click", () => {
      this.chosen = {};
      this.draw();
    });
    translate(byId("settings"));
    onLanguage(() => this.draw());
  }

  /** @param {typeof SETTINGS[number]} setting */
  #field({ name, min, max, step, kind }) {
    const input = h("input", {
      id: `set-${name}`,
      "data-testid": `set-${name}`,
      type: kind,
      min,
      max,
      step,
      "aria-describedby": `help-${name}`,
    });
    if (kind === "number") input.inputMode = "numeric";
    input.addEventListener("input", () => {
      const ok = input.value !== "" && input.validity.valid;
      if (ok) this.chosen[name] = Number(input.value);
      else delete this.chosen[name];
      this.#drawValue(name);
    });
    return h(
      "div",
      { class: "setting" },
      h("label", { for: input.id, "data-t": `settings.${name}` }),
      h("output", { id: `out-${name}`, for: input.id }),
      input,
      h("p", { id: `help-${name}`, class: "fine", "data-t": `settings.${name}.help` }),
    );
  }

  /** The defaults of the model that is loaded now; what was chosen for another model is forgotten. @param {Settings["defaults"] | undefined} defaults */
  setModel(defaults) {
    this.defaults = defaults ?? {};
    this.chosen = {};
    this.draw();
  }

  /** What a request should carry. @returns {Sampling} */
  values() {
    return { ...this.chosen };
  }

  draw() {
    for (const { name, start, kind } of SETTINGS) {
      const input = /** @type {HTMLInputElement} */ (byId(`set-${name}`));
      const value = this.chosen[name] ?? this.defaults[name] ?? undefined;
      if (kind === "range") input.value = String(value ?? start);
      else {
        input.value = String(this.chosen[name] ?? "");
        input.placeholder = name === "seed" ? t("settings.random") : String(this.defaults[name] ?? "");
      }
      this.#drawValue(name);
    }
  }

  /** @param {SettingName} name */
  #drawValue(name) {
    const chosen = this.chosen[name];
    const standard = this.defaults[name];
    const output = byId(`out-${name}`);
    output.classList.toggle("chosen", chosen !== undefined);
    if (chosen !== undefined) output.textContent = SETTINGS.find((s) => s.name === name)?.kind === "range" ? number(chosen, 2) : "";
    else
      output.textContent = typeof standard === "number" ? t("settings.default", { n: number(standard, 2) }) : t("settings.default.unknown");
    if (name === "seed" && chosen === undefined) output.textContent = "";
    /** @type {HTMLButtonElement} */ (byId("settings-reset")).disabled = !Object.keys(this.chosen).length;
  }
}
