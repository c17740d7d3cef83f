// @ts-check
// The dialog of the models: those on this device, the catalogue, and one's own, from an address or from files that are picked or dropped. What is chosen is
// shown with what it takes (models/offer.js) before anything is downloaded.

import { byId, h } from "./dom.js";
import { bytes, language, number, onLanguage, t } from "./i18n.js";
import { entryObstacle, roomOf } from "./models/fit.js";
import { Mirror } from "./models/mirror.js";
import { count, Offer } from "./models/offer.js";
import { askToKeep } from "./models/storage.js";
import { StoredList } from "./models/stored.js";

/** @typedef {import("./types.js").CatalogueEntry} CatalogueEntry */
/** @typedef {import("./types.js").Conversion} Conversion */
/** @typedef {import("./types.js").Probe} Probe */
/** @typedef {import("./types.js").StoredModel} StoredModel */

const OF_A_MODEL = /^[^.].*\.(pth|pt|bin|st|safetensors|gguf|json|txt)$/i; // what is taken out of a dropped folder
const FAMILIES = ["demo", "g1", "world7", "world6"];

export class ModelsDialog {
  /** @type {CatalogueEntry[]} */
  catalogue = [];
  /** @type {import("./models/fit.js").Room} */
  room = { webgpu: true, binding: Infinity };

  /** @param {import("./types.js").PageEngine} engine @param {(source: string | File[], conversion: Conversion) => void} onLoad */
  constructor(engine, onLoad) {
    this.engine = engine;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("models-dialog"));
    this.url = /** @type {HTMLInputElement} */ (byId("model-url"));
    this.load = (/** @type {string | File[]} */ source, /** @type {Conversion} */ conversion) => {
      this.dialog.close();
      onLoad(source, conversion);
    };
    this.mirror = new Mirror();
    this.offer = new Offer(engine, { load: this.load, room: () => this.room, mirror: this.mirror });
    this.stored = new StoredList(engine, {
      start: (model) => this.#start(model),
      onChange: () => void this.refresh(),
      say: (text) => void (byId("models-status").textContent = text),
    });
    byId("url-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const address = this.#address();
      if (address) void this.offer.read(address, address.split("/").filter(Boolean).at(-1) ?? "");
    });
    this.url.addEventListener("input", () => this.#complain(""));
    const file = /** @type {HTMLInputElement} */ (byId("model-file"));
    file.addEventListener("change", () => {
      const chosen = [...(file.files ?? [])];
      file.value = ""; // so that the same file can be chosen again
      if (chosen.length) this.#read(chosen);
    });
    byId("resume").addEventListener("click", () => this.interrupted && this.#start(this.interrupted));
    this.dialog.addEventListener("close", () => this.offer.close());
    this.#acceptDrops();
    onLanguage(() => {
      this.#complain("");
      this.offer.close();
      this.mirror.draw();
      this.draw();
    });
  }

  /** @param {CatalogueEntry[]} catalogue @param {Probe} probe */
  set(catalogue, probe) {
    this.catalogue = catalogue;
    return this.refresh(probe);
  }

  /** Ask again what there is here. @param {Probe} [known] */
  async refresh(known) {
    const probe = known ?? (await this.engine.probe().catch(() => undefined));
    if (probe) this.room = await roomOf(probe);
    await this.stored.refresh();
    this.draw();
  }

  open() {
    this.offer.close();
    this.draw();
    this.dialog.showModal();
    void this.refresh();
  }

  /** A model has just become ready. @param {{kept?: boolean} | undefined} info */
  async arrived(info) {
    byId("memory-only").hidden = info?.kept !== false;
    if (info?.kept !== false) await askToKeep();
    await this.refresh();
  }

  /** The download that an earlier visit did not finish, the latest. */
  get interrupted() {
    return this.stored.models.find(({ complete, origin }) => !complete && origin?.source);
  }

  /** The model that was used last, if it is whole: what to load, and how. @returns {{source: string, conversion: Conversion} | undefined} */
  get latest() {
    const found = this.stored.models.find(({ complete }) => complete);
    return found && this.#loading(found);
  }

  /** @param {StoredModel} model */
  #start(model) {
    const { source, conversion } = this.#loading(model);
    this.load(source, conversion);
  }

  /** @param {StoredModel} model */
  #loading({ id, name, complete, origin, quantization }) {
    const mirror = this.mirror.prefix;
    if (!complete && origin) return { source: origin.source, conversion: { quantization: origin.quantization, name: origin.name, mirror } };
    const known = origin?.base || this.catalogue.some((entry) => entry.id === id);
    return { source: known ? (origin?.source ?? id) : `stored:${id}`, conversion: { name, quantization, mirror } };
  }

  /** @param {File[]} files @param {string} [name] */
  #read(files, name = "") {
    if (!this.dialog.open) this.open();
    const only = files.length === 1 ? files[0].name.replace(/\.\w+$/, "") : "";
    void this.offer.read(files, name || only);
  }

  /** The address typed, absolute; undefined (and a complaint at the field) when it is none. */
  #address() {
    const typed = this.url.value.trim();
    try {
      const url = new URL(typed, location.href);
      if (typed && /^https?:$/.test(url.protocol)) return url.href;
    } catch {
      // told below
    }
    this.#complain(t("models.url.bad"));
    this.url.focus();
    return undefined;
  }

  /** @param {string} text */
  #complain(text) {
    const help = byId("url-help");
    help.textContent = text || t("models.url.help");
    help.classList.toggle("bad", Boolean(text));
    help.setAttribute("role", text ? "alert" : "note");
    this.url.setAttribute("aria-invalid", String(Boolean(text)));
  }

  #acceptDrops() {
    const zone = byId("drop");
    const carriesFile = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    // Anywhere on the page: a file dropped beside the zone must not make the browser leave the page.
    addEventListener("dragover", (event) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      if (!this.dialog.open) this.open();
      zone.classList.add("over");
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) zone.classList.remove("over");
    });
    addEventListener("drop", (event) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      zone.classList.remove("over");
      if (event.dataTransfer) void this.#drop(event.dataTransfer);
    });
  }

  /** Files, or a folder with a model's files. @param {DataTransfer} transfer */
  async #drop({ items, files }) {
    const loose = [...files]; // the transfer is empty as soon as this waits for something
    const entries = [...items].map((item) => item.webkitGetAsEntry?.());
    const folder = /** @type {FileSystemDirectoryEntry | undefined} */ (entries.find((entry) => entry?.isDirectory));
    const found = folder ? await filesIn(folder) : loose;
    if (found.length) this.#read(found, folder?.name);
  }

  draw() {
    const rows = this.stored.models;
    const here = (/** @type {CatalogueEntry} */ { id }) => rows.some((row) => row.complete && (row.id === id || row.origin?.source === id));
    byId("catalogue").replaceChildren(
      ...FAMILIES.map((family) => ({ family, entries: this.catalogue.filter((entry) => (entry.family ?? "demo") === family) }))
        .filter(({ entries }) => entries.length)
        .map(({ family, entries }) =>
          h(
            "section",
            { class: "family", "aria-labelledby": `family-${family}` },
            h("h4", { id: `family-${family}`, text: t(`models.family.${family}`) }),
            ...entries.map((entry) => this.#entry(entry, here(entry))),
          ),
        ),
    );
    this.stored.draw();
    const { interrupted } = this;
    byId("resume-note").hidden = !interrupted;
    if (interrupted)
      byId("resume-text").textContent = t("models.interrupted", { name: interrupted.name, part: number(100 * interrupted.done) });
  }

  /** @param {CatalogueEntry} entry @param {boolean} here */
  #entry(entry, here) {
    const reason = here ? "" : entryObstacle(entry, this.room);
    const open = () => reason || this.offer.entry(entry);
    const line = [t("models.parameters", { n: count(entry.parameters ?? 0) }), entry.licence, ...sizes(entry)].filter(Boolean).join(" · ");
    return h(
      "button",
      {
        type: "button",
        class: reason ? "entry off" : "entry",
        "data-testid": `model-${entry.id}`,
        "aria-disabled": reason ? "true" : undefined,
        onclick: open,
      },
      h("strong", { text: entry.name }),
      h("span", { class: "entry-size", text: here ? t("models.stored") : bytes(entry.bytes) }),
      h("span", { class: "fine", text: reason || (entry.family === "demo" ? (entry.description[language()] ?? "") : line) }),
    );
  }
}

/** The smallest and the largest form. @param {CatalogueEntry} entry */
function sizes({ sizes: all = {} }) {
  const stored = Object.values(all).map(({ disk }) => disk);
  return stored.length ? [t("models.between", { low: bytes(Math.min(...stored)), high: bytes(Math.max(...stored)) })] : [];
}

/** The files of a model that lie in a dropped folder, not those in folders below it. @param {FileSystemDirectoryEntry} folder @returns {Promise<File[]>} */
async function filesIn(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const entries = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) break;
    entries.push(...some);
  }
  const wanted = entries.filter((entry) => entry.isFile && OF_A_MODEL.test(entry.name));
  return Promise.all(
    wanted.map((entry) => new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject))),
  );
}
