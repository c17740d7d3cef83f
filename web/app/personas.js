// @ts-check
// The list of personas: use one, make, change, copy, delete (and take that back), share as a file; and the row of them on an empty page.

import { newId } from "./conversations/tree.js";
import { FileProblem, fileName } from "./conversations/transfer.js";
import { byId, h, icon } from "./dom.js";
import { fileProblem } from "./conversations/file_problem.js";
import { onLanguage, t, translate } from "./i18n.js";
import { PersonaEditor, dropped } from "./prompting/editor.js";
import { MOST_BYTES, fromJson, toJson } from "./prompting/file.js";
import { stateOf } from "./prompting/store.js";

/** @typedef {import("./prompting/types.js").Persona} Persona */
/** @typedef {import("./prompting/template.js").PromptFields} PromptFields */
/** @typedef {import("./settings.js").SamplingFields} SamplingFields */
/** @typedef {import("./types.js").PageEngine} PageEngine */

const CHIPS = 6; // personas on the empty page

export class Personas {
  /** What was deleted last, while the dialog is open. @type {Persona | undefined} */
  #deleted;

  /**
   * @param {PageEngine} engine
   * @param {import("./prompting/store.js").PersonaStore} store
   * @param {{begin: (persona: Persona | undefined) => void, chosen: () => string | undefined, choose: (persona: Persona | undefined) => void,
   *   templates: () => PromptFields["known"], defaults: () => SamplingFields["defaults"]}} options
   *   begin: a new chat with it; chosen, choose: of a chat that has not begun; templates, defaults: of the model that is loaded
   */
  constructor(engine, store, options) {
    this.store = store;
    this.options = options;
    this.editor = new PersonaEditor(engine, store, (saved) => void this.#edited(saved));
    this.list = h("ul", { class: "personas", "data-testid": "personas" });
    this.status = h("p", { class: "notice", role: "status", "data-testid": "personas-status", hidden: true });
    this.input = h("input", {
      type: "file",
      accept: ".json,application/json",
      hidden: true,
      multiple: true,
      "data-testid": "personas-file",
      "data-t-label": "personas.import",
    });
    this.input.addEventListener("change", () => {
      const files = [...(this.input.files ?? [])];
      this.input.value = "";
      void this.import(files);
    });
    const button = (/** @type {string} */ name, /** @type {string} */ sign, /** @type {() => void} */ run) => {
      const text = h("span", { "data-t": `personas.${name}` });
      return h("button", { type: "button", class: "button small", "data-testid": `personas-${name}`, onclick: run }, icon(sign), text);
    };
    this.exportAll = button("export.all", "download", () => void this.export(this.store.own()));
    const actions = h("div", { class: "persona-actions" });
    actions.append(
      button("new", "new", () => this.edit()),
      button("import", "upload", () => this.input.click()),
      this.exportAll,
      this.input,
    );
    this.overview = h("div", {}, h("p", { class: "fine", "data-t": "personas.help" }), this.status, this.list, actions);
    this.title = h("h2", { id: "personas-title", tabindex: -1 });
    const close = h("button", { type: "button", class: "tool", "data-close": true, "data-t-label": "close" }, icon("close"));
    const head = h("header", {}, this.title, close);
    this.dialog = h("dialog", {
      class: "dialog wide",
      id: "personas-dialog",
      "data-testid": "personas-dialog",
      "aria-labelledby": "personas-title",
    });
    this.dialog.append(head, h("div", {}, this.overview, this.editor.element));
    document.body.append(this.dialog);
    this.row = h("div", { class: "chips persona-row", role: "group", "data-t-label": "personas.choose", "data-testid": "persona-row" });
    this.greeting = h("p", { class: "greeting", dir: "auto", "data-testid": "greeting" });
    byId("empty-note").before(this.greeting);
    byId("chips").before(this.row);
    translate(this.dialog);
    translate(byId("empty"));
    store.onChange(() => this.draw());
    onLanguage(() => this.draw());
    this.draw();
  }

  /** The persona of a chat that has not begun. */
  get chosen() {
    return this.store.get(this.options.chosen());
  }

  open() {
    this.#deleted = undefined;
    this.#say("");
    this.#show(false);
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** Change a persona; a new one, begun with these values, if it has no id. @param {Partial<Persona>} [persona] */
  edit(persona = {}) {
    this.editor.prompt.known = this.options.templates();
    this.editor.sampling.defaults = this.options.defaults();
    this.editor.open({ id: "", name: "", prompt: {}, sampling: {}, created: 0, ...persona });
    this.#show(true);
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    byId("persona-name").focus();
  }

  /** @param {Persona | undefined} saved */
  async #edited(saved) {
    this.#show(false);
    const persona = saved && { ...saved, id: saved.id || newId(), created: saved.created || Date.now() };
    if (persona) {
      await this.#keep(persona);
      if (this.options.chosen() === persona.id) this.options.choose(persona);
    }
    /** @type {HTMLElement} */ (this.list.querySelector(`[data-persona="${CSS.escape(persona?.id ?? "")}"] button`) ?? this.title).focus();
  }

  /** @param {Persona} persona */
  async #keep(persona) {
    await this.store.put(persona).catch(() => this.#say(t("personas.unstored")));
  }

  /** @param {boolean} editing */
  #show(editing) {
    this.overview.hidden = editing;
    this.editor.element.hidden = !editing;
    this.draw();
  }

  /** @param {string} text @param {() => void} [undo] */
  #say(text, undo) {
    this.status.hidden = !text;
    this.status.replaceChildren(text);
    if (undo)
      this.status.append(
        " ",
        h("button", { type: "button", class: "button small", "data-testid": "personas-undo", text: t("undo"), onclick: undo }),
      );
  }

  /** @param {Persona} persona */
  async #delete(persona) {
    this.#deleted = persona;
    await this.store.delete(persona.id);
    this.#say(t("personas.deleted", { name: persona.name }), () => {
      const back = this.#deleted;
      this.#deleted = undefined;
      if (back) void this.#keep(back);
      this.#say("");
      this.title.focus();
    });
    /** @type {HTMLElement | null} */ (this.status.querySelector("button"))?.focus();
  }

  /** @param {Persona} persona */
  async #copy({ builtin: _, ...persona }) {
    const copy = { ...structuredClone(persona), id: newId(), name: t("personas.copy.name", { name: persona.name }), created: Date.now() };
    await this.#keep(copy);
    this.edit(copy);
  }

  /** @param {Persona[]} personas */
  async export(personas) {
    const json = await toJson(personas, (key) => this.store.state(key));
    const url = URL.createObjectURL(new Blob([json], { type: "application/json" }));
    const link = h("a", { href: url, download: fileName(personas.length === 1 ? personas[0].name : "personas", "json") });
    this.dialog.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  /** @param {File[]} files */
  async import(files) {
    let count = 0;
    for (const file of files) {
      try {
        if (file.size > MOST_BYTES) throw new FileProblem("", "bytes", file.size, { most: MOST_BYTES });
        for (const { persona, state } of await fromJson(await file.text())) {
          if (state) await this.store.keepState(state.blob, state.name);
          const here = this.store.get(persona.id);
          const same = here && JSON.stringify(plain(here)) === JSON.stringify(plain(persona));
          if (!same) await this.#keep(here ? { ...persona, id: newId() } : persona);
          count++;
        }
      } catch (thrown) {
        return this.#say(t("conversations.import.bad", { name: file.name, reason: fileProblem(thrown) }));
      }
    }
    if (files.length) this.#say(t("personas.imported", { n: count }));
  }

  draw() {
    this.title.textContent = t(
      this.editor.element.hidden ? "personas.title" : this.editor.draft.id ? "personas.edit.title" : "personas.new",
    );
    this.exportAll.hidden = !this.store.own().length;
    this.list.replaceChildren(...this.store.list().map((persona) => this.#item(persona)));
    this.drawStart();
  }

  /** @param {Persona} persona */
  #item(persona) {
    const action = (/** @type {string} */ name, /** @type {string} */ sign, /** @type {() => void} */ run) => {
      const button = h("button", { type: "button", class: "tool small", "data-testid": `persona-${name}`, onclick: run }, icon(sign));
      button.title = t(`personas.${name}`);
      button.setAttribute("aria-label", `${t(`personas.${name}`)}: ${persona.name}`);
      return button;
    };
    const use = h("button", {
      type: "button",
      class: "button small",
      "data-testid": "persona-use",
      text: t("personas.use"),
      "aria-label": `${t("personas.use")}: ${persona.name}`,
    });
    use.addEventListener("click", () => {
      this.dialog.close();
      this.options.begin(persona);
    });
    const about = persona.system || persona.greeting || persona.suggestions?.join(" · ") || "";
    const state = stateOf(persona.prompt);
    const item = h(
      "li",
      { class: "persona", "data-testid": "persona", "data-persona": persona.id },
      h(
        "div",
        { class: "persona-text" },
        h("strong", { text: persona.name, dir: "auto" }),
        h("p", { class: "fine clipped", text: about, dir: "auto" }),
        ...(state ? [h("p", { class: "fine", text: t("personas.state.has", { name: state.name }) })] : []),
        ...(persona.builtin ? [h("p", { class: "fine", text: t("personas.builtin") })] : []),
      ),
      h("div", { class: "persona-tools" }, use),
    );
    dropped(item, async (file) => {
      await (persona.builtin ? this.#copy(persona) : this.edit(persona));
      await this.editor.take(file);
    });
    const tools = /** @type {HTMLElement} */ (item.lastElementChild);
    if (!persona.builtin) tools.append(action("edit", "pencil", () => this.edit(persona)));
    tools.append(
      action("copy", "copy", () => void this.#copy(persona)),
      action("export", "download", () => void this.export([persona])),
    );
    if (!persona.builtin) tools.append(action("delete", "trash", () => void this.#delete(persona)));
    return item;
  }

  /** The row on an empty page, and what the chosen one says there. */
  drawStart() {
    const focused = document.activeElement?.getAttribute("data-chip");
    const chosen = this.chosen;
    const own = this.store.list();
    const shown = own.slice(0, CHIPS);
    if (chosen && !shown.some(({ id }) => id === chosen.id)) shown.push(chosen);
    const chip = (/** @type {string} */ id, /** @type {string} */ text, /** @type {() => void} */ run, pressed = false) =>
      h("button", {
        type: "button",
        class: "chip small",
        "data-chip": id,
        "data-testid": "persona-chip",
        "aria-pressed": String(pressed),
        text,
        dir: "auto",
        onclick: run,
      });
    const more = h("button", {
      type: "button",
      class: "chip small",
      "data-chip": "more",
      "data-testid": "persona-more",
      text: t("personas.more"),
      onclick: () => this.open(),
    });
    this.row.replaceChildren(
      chip("", t("personas.none"), () => this.options.choose(undefined), !chosen),
      ...shown.map((one) => chip(one.id, one.name, () => this.options.choose(one), one.id === chosen?.id)),
      more,
    );
    if (focused != null) /** @type {HTMLElement | null} */ (this.row.querySelector(`[data-chip="${CSS.escape(focused)}"]`))?.focus();
    this.greeting.hidden = !chosen?.greeting;
    this.greeting.textContent = chosen?.greeting ?? "";
    byId("empty").classList.toggle("greeted", Boolean(chosen?.greeting));
  }
}

/** With the keys in one order, to compare. @param {Persona} persona */
const plain = ({ id, name, system, prompt, sampling, greeting, suggestions, created }) => [
  id,
  name,
  system,
  prompt,
  sampling,
  greeting,
  suggestions,
  created,
];
