// @ts-check
// "Load another model": from the catalogue, from an address, from files that are picked or dropped.

import { byId, h } from "./dom.js";
import { bytes, language, onLanguage, t } from "./i18n.js";

/** @typedef {import("./types.js").CatalogueEntry} CatalogueEntry */
/** @typedef {import("./types.js").Conversion} Conversion */

const OF_A_MODEL = /^[^.].*\.(pth|pt|bin|st|safetensors|gguf|json|txt)$/i; // what is taken out of a dropped folder

export class ModelsDialog {
  /** @type {CatalogueEntry[]} */
  catalogue = [];
  /** @type {Record<string, boolean>} */
  stored = {};

  /** @param {(source: string | File[], conversion: Conversion) => void} onLoad */
  constructor(onLoad) {
    this.dialog = /** @type {HTMLDialogElement} */ (byId("models-dialog"));
    this.url = /** @type {HTMLInputElement} */ (byId("model-url"));
    const quantization = /** @type {HTMLSelectElement} */ (byId("model-quantization"));
    this.load = (/** @type {string | File[]} */ source, name = "") => {
      this.dialog.close();
      onLoad(source, { quantization: quantization.value, name });
    };
    byId("url-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const address = this.#address();
      if (address) this.load(address);
    });
    this.url.addEventListener("input", () => this.#complain(""));
    const file = /** @type {HTMLInputElement} */ (byId("model-file"));
    file.addEventListener("change", () => {
      const chosen = [...(file.files ?? [])];
      file.value = ""; // so that the same file can be chosen again
      if (chosen.length) this.load(chosen);
    });
    this.#acceptDrops();
    onLanguage(() => {
      this.#complain("");
      this.draw();
    });
  }

  /** @param {CatalogueEntry[]} catalogue @param {Record<string, boolean>} stored */
  set(catalogue, stored) {
    this.catalogue = catalogue;
    this.stored = stored;
    this.draw();
  }

  open() {
    this.draw();
    this.dialog.showModal();
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
    if (found.length) this.load(found, folder?.name);
  }

  draw() {
    byId("catalogue").replaceChildren(
      ...this.catalogue.map((entry) =>
        h(
          "button",
          { type: "button", class: "entry", "data-testid": `model-${entry.id}`, onclick: () => this.load(entry.id) },
          h("strong", { text: entry.name }),
          h("span", { class: "entry-size", text: this.stored[entry.id] ? t("models.stored") : bytes(entry.bytes) }),
          h("span", { class: "fine", text: entry.description[language()] ?? entry.description.en ?? "" }),
        ),
      ),
    );
  }
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
