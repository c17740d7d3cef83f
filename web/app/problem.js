// @ts-check
// The two screens on which nothing runs: an error while loading, and a browser without WebGPU.

import { byId, copyText, h } from "./dom.js";
import { bytes, errorText, onLanguage, t } from "./i18n.js";

/** @typedef {import("./types.js").PageError} PageError */
/** @typedef {import("./types.js").Probe} Probe */

/**
 * Everything about an error that is worth sending to somebody who can help.
 * @param {PageError} error
 */
export function errorReport(error) {
  const { message, hint } = errorText(error);
  const details = Object.keys(error.details).length ? JSON.stringify(error.details, null, 2) : "";
  return [`[${error.code}] ${message}`, hint, details, error.stack ?? "", navigator.userAgent].filter(Boolean).join("\n\n");
}

export class ErrorView {
  /** @type {PageError | undefined} */
  error;
  /** What may work instead. @type {import("./notices.js").Action[]} */
  choices = [];
  #choices = h("div", { class: "choices", "data-testid": "choices" });

  constructor() {
    byId("error-hint").after(this.#choices);
    onLanguage(() => this.draw());
    byId("error-copy").addEventListener("click", async ({ currentTarget }) => {
      const button = /** @type {HTMLElement} */ (currentTarget);
      if (!this.error || !(await copyText(errorReport(this.error)))) return;
      button.textContent = t("copied");
      setTimeout(() => (button.textContent = t("error.copy")), 1600);
    });
  }

  /** @param {PageError} error @param {import("./notices.js").Action[]} [choices] */
  show(error, choices = []) {
    this.error = error;
    this.choices = choices;
    this.draw();
  }

  draw() {
    if (!this.error) return;
    const { message, hint } = errorText(this.error);
    byId("error-title").textContent = message;
    byId("error-title").dataset.code = this.error.code;
    const offline = this.error.code === "fetch-failed" && !navigator.onLine;
    byId("error-hint").textContent = offline ? t("faults.offline") : hint;
    this.#choices.replaceChildren(
      ...this.choices.map(({ label, run, testid }) =>
        h("button", { type: "button", class: "button", "data-testid": testid, text: label(), onclick: run }),
      ),
    );
    byId("error-details").textContent = errorReport(this.error);
  }
}

/** The browsers we have advice for; the reader's own comes first and is open. */
const BROWSERS = /** @type {const} */ (["chrome", "edge", "safari", "firefox", "android"]);

/** @returns {string} */
function ownBrowser() {
  const agent = navigator.userAgent;
  if (/Android/.test(agent)) return "android";
  if (/Edg\//.test(agent)) return "edge";
  if (/Firefox\//.test(agent)) return "firefox";
  if (/Chrome\//.test(agent)) return "chrome";
  return /Safari\//.test(agent) ? "safari" : "chrome";
}

export class NoWebgpuView {
  /** @type {Probe["webgpu"] | undefined} */
  webgpu;
  size = 0;
  stored = false;

  constructor() {
    onLanguage(() => this.draw());
  }

  /**
   * @param {Probe["webgpu"]} webgpu
   * @param {number} size bytes to download for the fallback
   * @param {boolean} stored nothing left to download
   */
  show(webgpu, size, stored) {
    Object.assign(this, { webgpu, size, stored });
    this.draw();
  }

  draw() {
    if (!this.webgpu) return;
    byId("fallback-text").textContent = this.stored ? t("nogpu.fallback.stored") : t("nogpu.fallback", { size: bytes(this.size) });
    const { code, details, reason: said = "" } = this.webgpu;
    const known = code && details ? errorText({ code, details, message: said, hint: "" }).message : said;
    const reason = isSecureContext ? known : t("nogpu.insecure");
    byId("no-webgpu-reason").textContent = reason;
    byId("no-webgpu-reason").hidden = !reason;
    const own = ownBrowser();
    const order = [own, ...BROWSERS.filter((name) => name !== own)];
    byId("browsers").replaceChildren(
      ...order.map((name) =>
        h("details", { open: name === own }, h("summary", { text: t(`nogpu.${name}`) }), h("p", { text: t(`nogpu.${name}.how`) })),
      ),
    );
  }
}
