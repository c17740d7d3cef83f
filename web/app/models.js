// @ts-check
// "Load another model": from the catalogue, from an address, from a file that is picked or dropped.

import { byId, h } from "./dom.js";
import { bytes, language, onLanguage, t } from "./i18n.js";

/** @typedef {import("./types.js").CatalogueEntry} CatalogueEntry */

export class ModelsDialog {
  /** @type {CatalogueEntry[]} */
  catalogue = [];
  /** @type {Record<string, boolean>} */
  stored = {};

  /** @param {(source: string | File) => void} onLoad */
  constructor(onLoad) {
    this.dialog = /** @type {HTMLDialogElement} */ (byId("models-dialog"));
    this.url = /** @type {HTMLInputElement} */ (byId("model-url"));
    this.load = (/** @type {string | File} */ source) => {
      this.dialog.close();
      onLoad(source);
    };
    byId("url-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const address = this.#address();
      if (address) this.load(address);
    });
    this.url.addEventListener("input", () => this.#complain(""));
    const file = /** @type {HTMLInputElement} */ (byId("model-file"));
    file.addEventListener("change", () => {
      const chosen = file.files?.[0];
      file.value = ""; // so that the same file can be chosen again
      if (chosen) this.load(chosen);
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
      const file = event.dataTransfer?.files[0];
      if (file) this.load(file);
    });
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
