// @ts-check
// The dialog behind "What happened": the journal as a list, and as text or JSON for a report.

import { byId, copyText, h, icon } from "../dom.js";
import { label, language, onLanguage, t } from "../i18n.js";
import { registerMenuItem } from "../slots.js";

/** @typedef {import("../journal.js").Entry} Entry */
/** @typedef {import("../journal.js").Journal} Journal */
/** @typedef {import("../conversations/library.js").Library} Library */
/** An entry with what was written, if a person wants that. @typedef {Entry & {content?: {question?: string, answer: string, reasoning?: string}}} Told */

export class LogDialog {
  content = h("input", { type: "checkbox", id: "log-content", "data-testid": "log-content" });
  list = h("ol", { class: "log-list", "data-testid": "log-list", tabindex: 0 });
  status = h("p", { class: "fine", role: "status" });
  /** Counts what was drawn, so that a slow one does not overtake a later one. */
  #drawn = 0;

  /** @param {Journal} journal @param {Library} library */
  constructor(journal, library) {
    this.journal = journal;
    this.library = library;
    const close = h("button", { type: "button", class: "tool", "data-testid": "log-close" }, icon("close"));
    label(close, "close");
    const title = h("h2", { id: "log-title", "data-t": "log.title" });
    const button = (/** @type {string} */ name, /** @type {() => void} */ run) =>
      h("button", { type: "button", class: "button small", "data-testid": `log-${name}`, "data-t": `log.${name}`, onclick: run });
    this.dialog = h(
      "dialog",
      { class: "dialog wide", "data-testid": "log-dialog", "aria-labelledby": "log-title" },
      h("header", {}, title, close),
      h("p", { class: "fine", "data-t": "log.lead" }),
      h("div", { class: "inside-check" }, this.content, h("label", { for: "log-content", "data-t": "log.content" })),
      this.list,
      h(
        "footer",
        { class: "log-actions" },
        button("text", () => void this.#copy(this.text())),
        button("json", () => void this.#copy(this.json())),
        button("clear", () => this.journal.clear()),
        this.status,
      ),
    );
    label(this.list, "log.title");
    document.body.append(this.dialog);
    close.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.content.addEventListener("change", () => void this.draw());
    journal.addEventListener("entry", () => this.dialog.open && void this.draw());
    onLanguage(() => this.dialog.open && void this.draw());
    registerMenuItem({ id: "log", label: "log.title", icon: "journal", order: 60, run: () => this.open() });
    for (const place of [byId("error-copy"), ...byId("device-panel").querySelectorAll('[data-testid="bench"]')])
      place.after(
        h("button", {
          type: "button",
          class: "button small",
          "data-testid": "log-open",
          "data-t": "log.title",
          text: t("log.title"),
          onclick: () => this.open(),
        }),
      );
  }

  open() {
    const info = byId("device-panel");
    if (info.matches(":popover-open")) info.hidePopover();
    this.content.checked = false; // asked for each time
    for (const element of this.dialog.querySelectorAll("[data-t]")) element.textContent = t(element.getAttribute("data-t") ?? "");
    this.status.textContent = "";
    this.dialog.showModal();
    void this.draw();
  }

  async draw() {
    const drawn = ++this.#drawn;
    const told = await this.#told();
    if (drawn !== this.#drawn) return;
    const time = new Intl.DateTimeFormat(language(), { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
    this.list.replaceChildren(
      ...told.map((entry) =>
        h(
          "li",
          { "data-kind": entry.kind },
          h("time", { text: time.format(entry.at), datetime: new Date(entry.at).toISOString() }),
          h("strong", { text: t(`log.kind.${entry.kind}`) }),
          h("span", { class: "entry-facts", text: facts(entry) }),
          ...(entry.content ? [h("q", { text: [entry.content.question, entry.content.answer].filter(Boolean).join(" → ") })] : []),
        ),
      ),
    );
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** The entries, with what was written only if the box is ticked. @returns {Promise<Told[]>} */
  async #told() {
    const { entries } = this.journal;
    if (!this.content.checked) return entries;
    return Promise.all(
      entries.map(async (entry) => {
        const { conversation = "", id = "" } = entry.message ?? {};
        const tree = this.library.get(conversation) && (await this.library.tree(conversation));
        const message = tree?.get(id);
        if (!message) return entry;
        const { content: answer, reasoning } = message;
        const question = tree?.get(message.parent)?.content;
        return { ...entry, content: { ...(question ? { question } : {}), answer, ...(reasoning ? { reasoning } : {}) } };
      }),
    );
  }

  /** What everything ran on. */
  async #surroundings() {
    const build = await fetch(new URL("../../build.json", import.meta.url)).then(
      (response) => response.json(),
      () => ({}),
    );
    return {
      page: String(build.id ?? "unknown"),
      version: String(build.py_rwkv ?? "unknown"),
      pyodide: String(build.pyodide?.version ?? "unknown"),
      browser: navigator.userAgent,
      languages: navigator.languages.join(", "),
      screen: `${innerWidth}x${innerHeight} @${devicePixelRatio}`,
      cores: navigator.hardwareConcurrency,
      webgpu: "gpu" in navigator,
      secure: isSecureContext,
    };
  }

  async text() {
    const about = Object.entries(await this.#surroundings()).map(([name, value]) => `${name}: ${value}`);
    const lines = (await this.#told()).map((entry) => {
      const { question, answer, reasoning } = entry.content ?? { answer: undefined };
      const written = [question, reasoning, answer].filter((text) => text !== undefined).map((text) => `\n    ${JSON.stringify(text)}`);
      return `${new Date(entry.at).toISOString()} ${entry.kind} ${facts(entry)}${written.join("")}`;
    });
    return [...about, "", ...lines].join("\n");
  }

  async json() {
    const events = (await this.#told()).map(({ at, kind, facts: known, content }) => ({
      at: new Date(at).toISOString(),
      kind,
      ...known,
      ...(content ? { content } : {}),
    }));
    return JSON.stringify({ ...(await this.#surroundings()), events }, null, 2);
  }

  /** @param {Promise<string>} text */
  async #copy(text) {
    this.status.textContent = ""; // what an earlier copy said would be taken for this one's
    this.status.textContent = (await copyText(await text)) ? t("copied") : t("log.uncopied");
  }
}

/** @param {Entry} entry */
const facts = (entry) =>
  Object.entries(entry.facts)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
