// @ts-check
// Where official models are downloaded from: the hub, or a mirror that has the same paths. Remembered.

import { byId, remember } from "../dom.js";
import { t } from "../i18n.js";

const CUSTOM = "custom";
const HUB = "https://huggingface.co/";

export class Mirror {
  constructor() {
    this.select = /** @type {HTMLSelectElement} */ (byId("mirror"));
    this.input = /** @type {HTMLInputElement} */ (byId("mirror-custom"));
    const kept = remember("mirror") ?? "";
    const known = [...this.select.options].some((option) => option.value === kept && kept !== CUSTOM);
    this.select.value = known ? kept : CUSTOM;
    if (!known) this.input.value = kept;
    this.select.addEventListener("change", () => this.#changed(true));
    this.input.addEventListener("change", () => this.#changed());
    this.input.addEventListener("input", () => this.#complain(false));
    this.#changed();
  }

  /** What stands for https://huggingface.co/; empty: that itself. */
  get prefix() {
    if (this.select.value !== CUSTOM) return this.select.value;
    return valid(this.input.value) ? this.input.value.trim().replace(/\/*$/, "/") : "";
  }

  /** Where a file is really fetched from. @param {string} url */
  applied(url) {
    return this.prefix && url.startsWith(HUB) ? this.prefix + url.slice(HUB.length) : url;
  }

  #changed(focus = false) {
    const custom = this.select.value === CUSTOM;
    this.input.hidden = byId("mirror-help").hidden = !custom;
    if (custom && focus) this.input.focus();
    this.#complain(custom && this.input.value !== "" && !this.prefix);
    if (!custom || this.prefix) remember("mirror", this.prefix || null);
  }

  /** @param {boolean} bad */
  #complain(bad) {
    const help = byId("mirror-help");
    help.textContent = bad ? t("models.url.bad") : t("models.mirror.help");
    help.classList.toggle("bad", bad);
    this.input.setAttribute("aria-invalid", String(bad));
  }

  draw() {
    this.#complain(false);
  }
}

/** @param {string} text */
function valid(text) {
  try {
    return /^https?:$/.test(new URL(text.trim()).protocol);
  } catch {
    return false;
  }
}
