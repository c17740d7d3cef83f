// @ts-check
// One model before it is loaded: what it is, how its weights are to be stored and what that takes, and the button that begins.

import { byId, h, icon } from "../dom.js";
import { asPageError, bytes, errorText, language, number, t } from "../i18n.js";
import { Choice } from "./choice.js";
import { obstacle } from "./fit.js";

/** @typedef {import("../types.js").Inspection} Inspection */
/** @typedef {import("../types.js").Size} Size */

export class Offer {
  /** @type {AbortController | undefined} */
  #reading;

  /**
   * @param {import("../types.js").PageEngine} engine
   * @param {{load: (source: string | File[], conversion: import("../types.js").Conversion) => void, room: () => import("./fit.js").Room, mirror: import("./mirror.js").Mirror}} options
   */
  constructor(engine, { load, room, mirror }) {
    this.engine = engine;
    this.load = load;
    this.room = room;
    this.mirror = mirror;
    this.root = byId("offer");
    byId("offer-back").addEventListener("click", () => this.close());
  }

  get open() {
    return !this.root.hidden;
  }

  close() {
    if (!this.open) return;
    this.#reading?.abort();
    this.root.hidden = true;
    byId("models-main").hidden = false;
    this.opener?.focus();
  }

  /** @param {string} title */
  #show(title) {
    this.#reading?.abort();
    if (!this.open) this.opener = document.activeElement instanceof HTMLElement ? document.activeElement : undefined;
    byId("models-main").hidden = true;
    this.root.hidden = false;
    byId("offer-title").textContent = title;
    byId("offer-body").replaceChildren();
    byId("offer-title").focus();
  }

  /** A model of the catalogue: all is known. @param {import("../types.js").CatalogueEntry} entry */
  entry(entry) {
    this.#show(entry.name);
    this.#fill(entry.id, entry, "");
  }

  /** An address, or files: their header is read first. @param {string | File[]} source @param {string} name */
  async read(source, name) {
    this.#show(name);
    const reading = (this.#reading = new AbortController());
    const waiting = h("p", { class: "fine", role: "status", text: t("models.reading") });
    byId("offer-body").replaceChildren(waiting);
    try {
      const found = await this.engine.inspect(source, {
        mirror: this.mirror.prefix,
        signal: reading.signal,
        name: typeof source === "string" ? "" : name,
      });
      if (reading.signal.aborted) return;
      byId("offer-title").textContent = found.name || name;
      this.#fill(source, found, name);
    } catch (thrown) {
      if (reading.signal.aborted) return;
      const error = asPageError(thrown);
      if (error.code === "no-ranges") return this.#fill(source, { name }, name);
      const { message, hint } = errorText(error);
      byId("offer-body").replaceChildren(
        h("p", { class: "fine bad", role: "alert", "data-testid": "offer-error", "data-code": error.code, text: message }),
        h("p", { class: "fine", text: hint }),
      );
    }
  }

  /** @param {string | File[]} source @param {Inspection} about @param {string} name */
  #fill(source, about, name) {
    const { sizes, parameters = 0, config, packed, path } = about;
    const fixed = packed || path !== undefined; // it is in its one form already
    const given =
      sizes ?? Object.fromEntries(["int8", "nf4", "int4", "f16"].map((strategy) => [strategy, { disk: 0, gpu: 0, binding: 0 }]));
    const room = this.room();
    const button = h("button", { type: "button", class: "button primary", "data-testid": "offer-start" }, icon("download"), h("span"));
    const choice = new Choice(given, {
      obstacle: (size) => obstacle(size, room, parameters),
      plan: fixed || !config ? undefined : (strategy) => this.#plan(source, strategy),
      onChange: () => draw(),
    });
    const draw = () => {
      const chosen = choice.value;
      const reason = chosen && obstacle(chosen.size, room, parameters);
      button.disabled = Boolean(reason);
      const size = about.bytes ? bytes(about.bytes) : "";
      const key = typeof source !== "string" ? "models.begin.file" : size ? "models.begin" : "models.begin.unknown";
      /** @type {HTMLElement} */ (button.lastElementChild).textContent = t(key, { size });
    };
    button.addEventListener("click", async () => {
      button.disabled = true;
      const chosen = await choice.settle();
      button.disabled = false;
      if (chosen)
        this.load(source, { quantization: chosen.strategy, name: typeof source === "string" ? "" : name, mirror: this.mirror.prefix });
      else choice.input.focus();
    });
    draw();
    if (!sizes) for (const line of choice.root.querySelectorAll(".choice-row .fine")) line.remove();
    const kept = typeof source !== "string" ? "models.kept.file" : fixed ? "models.kept.shards" : "models.kept.stream";
    byId("offer-body").replaceChildren(
      ...(about.description ? [h("p", { text: about.description[language()] ?? about.description.en ?? "" })] : []),
      this.#facts(about),
      ...(sizes ? [] : [h("p", { class: "fine", text: t("models.unknown") })]),
      choice.root,
      button,
      h("p", { class: "fine", text: t(kept) }),
    );
  }

  /** @param {string | File[]} source @param {string} strategy @returns {Promise<Size>} */
  async #plan(source, strategy) {
    const { sizes } = await this.engine.inspect(source, { strategies: [strategy], mirror: this.mirror.prefix });
    return /** @type {Size} */ (sizes?.[strategy]);
  }

  /** @param {Inspection} about */
  #facts({ config, parameters, bytes: size, licence, languages, url }) {
    const names = new Intl.DisplayNames(language(), { type: "language" });
    /** @type {[string, string | Node | undefined][]} */
    const rows = [
      [
        "models.fact.version",
        config && `RWKV-${config.version} · ${t("info.shape.value", { layers: number(config.layers), embd: number(config.embd) })}`,
      ],
      ["models.fact.parameters", parameters ? count(parameters) : undefined],
      ["models.fact.download", size ? bytes(size) : undefined],
      ["models.fact.licence", licence],
      ["models.fact.languages", languages?.map((code) => names.of(code) ?? code).join(language() === "zh" ? "、" : ", ")],
      ["models.fact.source", url ? sourceLink(this.mirror.applied(url)) : undefined],
    ];
    return h(
      "dl",
      { class: "info facts-list" },
      ...rows.filter(([, value]) => value).flatMap(([key, value]) => [h("dt", { text: t(key) }), h("dd", {}, value ?? "")]),
    );
  }
}

/** "1.5 billion" as the language says it. @param {number} value */
export function count(value) {
  return new Intl.NumberFormat(language(), { notation: "compact", maximumSignificantDigits: 2 }).format(value);
}

/** Where a file comes from: its site and its name, as a link. @param {string} url */
function sourceLink(url) {
  const { host, pathname } = new URL(url);
  const text = `${host}${pathname.replace(/\/resolve\/main\//, "/")}`;
  return h("a", {
    href: url.replace("/resolve/", "/blob/"),
    target: "_blank",
    rel: "noopener noreferrer",
    "data-testid": "offer-source",
    text,
  });
}
