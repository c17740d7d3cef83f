// @ts-check
// The models on this device: start or continue, check, save as files, delete (after a question), and the room they take.

import { byId, h, icon } from "../dom.js";
import { asPageError, bytes, errorText, language, number, t } from "../i18n.js";
import { canWriteFolders, folderName, save, tar, writeFolder } from "./export.js";
import { promiseText, usageText } from "./storage.js";

/** @typedef {import("../types.js").StoredModel} StoredModel */
/** @typedef {import("../types.js").PageEngine} PageEngine */

export class StoredList {
  /** @type {StoredModel[]} */
  models = [];
  /** What was last said about a model, by its id. @type {Map<string, {text: string, bad: boolean}>} */
  #notes = new Map();
  /** The model whose deletion, or saving, is being asked about. */
  #asking = { id: "", what: "" };

  /**
   * @param {PageEngine} engine
   * @param {{start: (model: StoredModel) => void, onChange: () => void, say: (text: string) => void}} options onChange: there are fewer models, or one is no longer whole
   */
  constructor(engine, { start, onChange, say }) {
    this.engine = engine;
    this.start = start;
    this.onChange = onChange;
    this.say = say;
    this.list = byId("stored");
  }

  async refresh() {
    this.models = await this.engine.models().catch(() => this.models);
    this.draw();
    const [usage, promise] = await Promise.all([usageText(), promiseText()]);
    byId("storage-use").textContent = usage;
    byId("storage-promise").textContent = promise;
  }

  draw() {
    const held = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key;
    byId("stored-none").hidden = this.models.length > 0;
    this.list.replaceChildren(...this.models.map((model) => this.#item(model)));
    if (held) /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-key="${CSS.escape(held)}"]`))?.focus();
  }

  /** @param {StoredModel} model */
  #item(model) {
    const { id, name, complete } = model;
    const note = this.#notes.get(id);
    const label = `stored-${this.models.indexOf(model)}`;
    return h(
      "li",
      { class: "stored", "data-testid": "stored-model", "data-id": id, "data-complete": String(complete), "aria-labelledby": label },
      h("strong", { id: label, text: name }),
      h("span", { class: "fine", text: facts(model) }),
      ...(complete ? [] : [h("span", { class: "part" }, meter(model.done), h("span", { class: "fine", text: progress(model) }))]),
      this.#asking.id === id ? this.#question(model) : this.#actions(model),
      h("p", {
        class: note?.bad ? "fine bad" : "fine",
        "data-testid": "stored-note",
        role: "status",
        text: note?.text ?? "",
        hidden: !note,
      }),
    );
  }

  /** @param {StoredModel} model */
  #actions(model) {
    const { id, complete, origin } = model;
    const again = complete || origin?.source; // files that were dropped have to be chosen again
    return h(
      "div",
      { class: "stored-actions" },
      ...(again
        ? [this.#button(id, complete ? "start" : "continue", complete ? "play" : "download", () => this.start(model), "primary")]
        : []),
      ...(complete
        ? [
            this.#button(id, "check", "check", () => void this.#check(model)),
            this.#button(id, "export", "download", () => (canWriteFolders ? this.#ask(id, "export") : void this.#save(model, false))),
          ]
        : []),
      this.#button(id, "delete", "close", () => this.#ask(id, "delete")),
    );
  }

  /** @param {StoredModel} model */
  #question(model) {
    const { id, bytes: size } = model;
    const deleting = this.#asking.what === "delete";
    const answers = deleting
      ? [this.#button(id, "delete.yes", "close", () => void this.#delete(model), "danger")]
      : [
          this.#button(id, "export.tar", "file", () => void this.#save(model, false)),
          this.#button(id, "export.folder", "store", () => void this.#save(model, true)),
        ];
    const text = deleting ? t("models.delete.ask", { size: bytes(size) }) : t("models.export.ask");
    return h(
      "div",
      { class: "stored-actions", role: "group", "aria-label": text },
      h("span", { class: "fine question", text }),
      ...answers,
      this.#button(id, "keep", "again", () => this.#ask("", "")),
    );
  }

  /** @param {string} id @param {string} name @param {string} symbol @param {() => void} run @param {string} [kind] */
  #button(id, name, symbol, run, kind = "") {
    const { name: model } = this.models.find((m) => m.id === id) ?? { name: "" };
    const text = t(`models.do.${name}`);
    return h(
      "button",
      {
        type: "button",
        class: `button small ${kind}`,
        "data-testid": `stored-${name}`,
        "data-key": `${name} ${id}`,
        "aria-label": `${text}: ${model}`,
        onclick: run,
      },
      icon(symbol),
      h("span", { text }),
    );
  }

  /** @param {string} id @param {string} what */
  #ask(id, what) {
    const before = this.#asking;
    this.#asking = { id, what };
    this.draw();
    const key = id ? `${what === "delete" ? "keep" : "export.tar"} ${id}` : `${before.what} ${before.id}`;
    /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-key="${CSS.escape(key)}"]`))?.focus();
  }

  /** @param {string} id @param {string} text @param {boolean} [bad] */
  #note(id, text, bad = false) {
    this.#notes.set(id, { text, bad });
    const place = this.list.querySelector(`[data-id="${CSS.escape(id)}"] [data-testid=stored-note]`);
    if (!(place instanceof HTMLElement)) return;
    place.hidden = false;
    place.textContent = text;
    place.classList.toggle("bad", bad);
  }

  /** @param {StoredModel} model */
  async #check({ id }) {
    this.#note(id, t("models.check.running", { done: number(0) }));
    try {
      const onProgress = (/** @type {import("../types.js").Progress} */ { phase, done, total }) =>
        this.#note(
          id,
          t(phase === "download" ? "models.check.repairing" : "models.check.running", { done: number((100 * done) / Math.max(1, total)) }),
        );
      const { files, bad, repaired } = await this.engine.check(id, { repair: true, onProgress });
      if (!bad.length) this.#note(id, t("models.check.good", { files: number(files) }));
      else this.#note(id, t(repaired ? "models.check.repaired" : "models.check.bad", { bad: number(bad.length) }), !repaired);
      if (bad.length && !repaired) this.onChange();
    } catch (thrown) {
      const { message, hint } = errorText(asPageError(thrown));
      this.#note(id, `${message} ${hint}`, true);
      this.onChange();
    }
    await this.refresh();
  }

  /** @param {StoredModel} model @param {boolean} folder */
  async #save({ id, name }, folder) {
    this.#ask("", "");
    const files = await this.engine.files(id);
    if (!files.length) return this.#note(id, t("models.export.none"), true);
    const target = folderName(name);
    if (!folder) {
      save(`${target}.tar`, tar(target, files));
      return this.#note(id, t("models.export.tar.done", { folder: target }));
    }
    try {
      const done = await writeFolder(target, files, (n, of) =>
        this.#note(id, t("models.export.running", { n: number(n), of: number(of) })),
      );
      if (done) this.#note(id, t("models.export.done", { folder: target }));
    } catch (thrown) {
      this.#note(id, t("models.export.failed", { reason: String(thrown) }), true);
    }
  }

  /** @param {StoredModel} model */
  async #delete({ id, name }) {
    this.#asking = { id: "", what: "" };
    this.#notes.delete(id);
    await this.engine.forget(id);
    await this.refresh();
    this.say(t("models.deleted", { name }));
    byId("stored-title").focus();
    this.onChange();
  }
}

/** @param {StoredModel} model */
function facts({ version, quantization, bytes: size, complete, added, used }) {
  const day = (/** @type {number} */ time) => new Date(time).toLocaleDateString(language(), { dateStyle: "medium" });
  return [
    version && `RWKV-${version}`,
    quantization,
    complete && bytes(size),
    t("models.added", { date: day(added) }),
    used && t("models.used", { date: day(used) }),
  ]
    .filter(Boolean)
    .join(" · ");
}

/** @param {StoredModel} model */
function progress({ done, stored, origin }) {
  const share = t("models.part", { part: number(100 * done), stored: bytes(stored) });
  return origin?.source === ""
    ? `${share} ${t("models.part.file", { name: origin.files?.[0] ?? "" })}`
    : `${share} ${t("models.part.kept")}`;
}

/** @param {number} part 0..1 */
function meter(part) {
  const fill = h("span", { class: "meter-fill" });
  fill.style.setProperty("--done", `${100 * part}%`);
  return h("span", { class: "meter", "aria-hidden": "true" }, fill);
}
