// @ts-check
// What answers are asked for with: system prompt, template, thinking, state, sampling. A conversation has its own values; a chat that has not begun and raw
// text have theirs, remembered from visit to visit. Shows them in the panel on the right; what is changed there counts from the next message on.

import { byId, h, icon, remember } from "./dom.js";
import { label, onLanguage, t, translate } from "./i18n.js";
import { Preview } from "./prompting/preview.js";
import { stateOf } from "./prompting/store.js";
import { PromptFields } from "./prompting/template.js";
import { SamplingFields } from "./settings.js";
import { panel, registerMenuItem, registerPreparation, registerRequestPart, requestFor } from "./slots.js";
import { toast } from "./toast.js";

/** @typedef {import("./chat.js").Chat} Chat */
/** @typedef {import("./conversations/types.js").Header} Header */
/** @typedef {import("./conversations/types.js").Message} Message */
/** @typedef {import("./prompting/types.js").Persona} Persona */
/** @typedef {import("./types.js").Sampling} Sampling */
/** @typedef {{persona?: string, system?: string, prompt: import("./conversations/types.js").Values, sampling: Sampling}} Preset */

const OWNER = "prompting";

export class Prompting {
  /** What a new conversation begins with. @type {Preset} */
  fresh = remembered("fresh");
  /** What raw text is continued with. @type {Preset} */
  text = remembered("text");
  /** Raw text is what is shown. */
  raw = false;
  /** Ids of state files that the loaded model has. @type {Map<string, Promise<string>>} */
  #states = new Map();
  /** @type {Map<string, string>} */
  #ids = new Map();
  /** @type {Chat | undefined} */
  chat;
  #shown = "";

  /**
   * @param {import("./types.js").PageEngine} engine
   * @param {import("./conversations/library.js").Library} library
   * @param {import("./prompting/store.js").PersonaStore} store
   * @param {{manage: () => void, create: (persona: Partial<Persona>) => void, chosen: () => void}} personas
   */
  constructor(engine, library, store, personas) {
    this.engine = engine;
    this.library = library;
    this.store = store;
    this.personas = personas;
    const change = (/** @type {Partial<Preset>} */ fields) => this.change(fields);
    this.prompt = new PromptFields("set-", engine, () => this.values, change);
    this.sampling = new SamplingFields(
      "set-",
      () => this.values.sampling,
      (sampling) => this.change({ sampling }),
    );
    this.preview = new Preview(engine, () => this.#request());
    this.element = this.#build();
    byId("settings-open").addEventListener("click", () => this.toggle());
    byId("composer").addEventListener("input", () => this.preview.schedule());
    store.onChange(() => this.draw());
    onLanguage(() => this.draw());
    engine.addEventListener("state", () => {
      if (["ready", "busy", "recovering"].includes(engine.status().state)) return;
      this.#states.clear(); // another model will need them again
      this.#ids.clear();
    });
    registerRequestPart(({ prompt }) => (prompt.state ? { state: this.#ids.get(stateOf(prompt)?.key ?? "") } : {}));
    registerPreparation(async ({ prompt }) => {
      const ref = stateOf(prompt);
      return ref ? { state: await this.#state(ref) } : {};
    });
    registerMenuItem({
      id: "persona",
      label: "personas.create",
      icon: "person",
      order: 50,
      run: () => this.#createPersona(),
      when: () => Boolean(this.chat?.header),
    });
  }

  /** The chat whose values these are. @param {Chat} chat */
  follow(chat) {
    this.chat = chat;
    chat.addEventListener("show", () => this.draw());
    chat.addEventListener("end", () => this.preview.schedule());
  }

  /** The model that is loaded now. @param {import("./settings.js").Defaults | undefined} defaults */
  async setModel(defaults) {
    this.sampling.defaults = defaults ?? {};
    this.prompt.known = await this.engine.templates().catch(() => this.prompt.known);
    this.draw();
  }

  /** The values of what is shown. @returns {Preset} */
  get values() {
    return this.raw ? this.text : (this.chat?.header ?? this.fresh);
  }

  /** What the chat that is shown is answered with; undefined has never been set. */
  get answering() {
    return (this.chat?.header ?? this.fresh).sampling;
  }

  /** What a new conversation begins with. */
  begin() {
    const { persona, system, prompt } = this.fresh;
    return structuredClone({ ...(persona ? { persona } : {}), ...(system ? { system } : {}), prompt });
  }

  /** Questions to begin with. @returns {string[] | undefined} undefined: the page's own */
  get suggestions() {
    return this.store.get(this.fresh.persona)?.suggestions;
  }

  /** @param {Partial<Preset>} fields undefined takes one away */
  change(fields) {
    const header = this.raw ? undefined : this.chat?.header;
    if (header) this.library.patch(header.id, fields);
    else {
      const name = this.raw ? "text" : "fresh";
      this[name] = { ...this[name], ...fields };
      remember(name, JSON.stringify(this[name]));
    }
    this.preview.schedule();
    this.#drawNotes();
  }

  /** Take over all values of a persona, or none. @param {Persona | undefined} persona */
  use(persona) {
    this.change({ persona: persona?.id, system: persona?.system, prompt: { ...persona?.prompt }, sampling: { ...persona?.sampling } });
    this.draw(true);
    if (!this.chat?.header) {
      this.chat?.draw();
      this.personas.chosen();
    }
  }

  /** @param {import("./prompting/types.js").StateRef} ref @returns {Promise<string>} */
  #state({ key, name }) {
    let id = this.#states.get(key);
    if (!id) {
      id = this.store.state(key).then(async (row) => {
        if (!row) throw { code: "unknown-state", message: name, details: { name } };
        const found = await this.engine.states.load(row.blob, name);
        this.#ids.set(key, found);
        return found;
      });
      this.#states.set(key, id);
      id.catch(() => this.#states.delete(key));
    }
    return id;
  }

  /** The next request, with what stands in the text field. */
  #request() {
    const { chat } = this;
    /** @type {Header} */
    const header = chat?.header ?? { id: "", title: "", leaf: null, created: 0, updated: 0, ...this.fresh };
    const path = chat?.path() ?? [];
    const typed = chat?.composer.area.value.trim();
    const asked = !typed && path.at(-1)?.role === "user";
    /** @type {Message} */
    const next = { id: "", parent: null, role: "user", content: typed || t("prompting.preview.message"), state: "done", created: 0 };
    return requestFor(header, asked ? path : [...path, next]);
  }

  #createPersona() {
    const { system, prompt, sampling } = structuredClone(this.values);
    this.personas.create({ ...(system ? { system } : {}), prompt, sampling });
  }

  /** New conversations begin as the one that is shown is now. */
  #keepForNew() {
    const { persona, system, prompt, sampling } = structuredClone(this.values);
    this.fresh = { persona, system, prompt, sampling };
    remember("fresh", JSON.stringify(this.fresh));
    this.personas.chosen();
    toast(t("settings.kept"));
  }

  // The panel

  #build() {
    this.scope = h("p", { class: "fine", "data-testid": "settings-scope" });
    this.persona = h("select", { id: "set-persona", "data-testid": "set-persona" });
    this.persona.addEventListener("change", () => this.use(this.store.get(this.persona?.value)));
    const manage = h("button", {
      type: "button",
      class: "button small",
      "data-t": "personas.manage",
      "data-testid": "personas-manage",
      onclick: () => this.personas.manage(),
    });
    const create = h("button", {
      type: "button",
      class: "button small",
      "data-t": "personas.create",
      "data-testid": "personas-create",
      onclick: () => this.#createPersona(),
    });
    this.keep = h("button", { type: "button", class: "button small", "data-t": "settings.keep", "data-testid": "settings-keep" });
    this.keep.addEventListener("click", () => this.#keepForNew());
    this.stateName = h("span", {});
    const remove = h("button", { type: "button", class: "tool small" }, icon("trash"));
    label(remove, "personas.state.remove");
    remove.addEventListener("click", () => {
      const { state: _, ...prompt } = this.values.prompt;
      this.change({ prompt });
      this.prompt.system.focus();
    });
    this.stateRow = h("p", { class: "state-row", hidden: true }, this.stateName, remove);
    this.chatPart = h(
      "div",
      {},
      h(
        "div",
        { class: "setting" },
        h("label", { for: "set-persona", "data-t": "personas.one" }),
        this.persona,
        h("div", { class: "persona-actions" }, create, manage, this.keep),
      ),
      this.prompt.element,
      this.stateRow,
      this.preview.element,
      h("h3", { "data-t": "settings.sampling" }),
    );
    const element = h("div", { class: "prompting", "data-testid": "prompting" }, this.scope, this.chatPart, this.sampling.element);
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.stopPropagation(); // it does not stop the answer
      panel.close();
    });
    translate(element);
    return element;
  }

  toggle() {
    if (panel.owner === OWNER) return panel.close();
    this.draw(true);
    panel.open(OWNER, "settings.title", this.element, () => {
      if (byId("panel").contains(document.activeElement)) byId("settings-open").focus();
      byId("settings-open").setAttribute("aria-expanded", "false");
    });
    translate(this.element);
    byId("settings-open").setAttribute("aria-expanded", "true");
    (this.raw ? this.sampling.element.querySelector("input") : this.persona)?.focus();
    this.preview.schedule();
  }

  /** Show the values, if they are seen. @param {boolean} [all] also in fields that are being written in */
  draw(all = false) {
    const shown = this.raw ? "raw" : (this.chat?.id ?? "fresh");
    const other = all || shown !== this.#shown;
    this.#shown = shown;
    this.prompt.draw(other);
    this.sampling.draw(other);
    this.#drawNotes();
    this.preview.schedule();
  }

  #drawNotes() {
    if (!this.scope || !this.persona || !this.chatPart || !this.stateRow || !this.stateName) return;
    this.chatPart.hidden = this.raw;
    if (this.keep) this.keep.hidden = !this.chat?.header;
    this.scope.textContent = t(this.raw ? "settings.scope.text" : this.chat?.header ? "settings.scope.chat" : "settings.scope.new");
    const { persona, prompt } = this.values;
    const options = [["", t("personas.none")], ...this.store.list().map(({ id, name }) => [id, name])];
    const key = JSON.stringify(options);
    if (this.persona.dataset.options !== key) {
      this.persona.dataset.options = key;
      this.persona.replaceChildren(...options.map(([value, text]) => h("option", { value, text })));
    }
    this.persona.value = this.store.get(persona) ? (persona ?? "") : "";
    const state = prompt && stateOf(prompt);
    this.stateRow.hidden = !state;
    this.stateName.textContent = state ? t("personas.state.has", { name: state.name }) : "";
  }
}

/** @param {string} name @returns {Preset} */
function remembered(name) {
  try {
    const { persona, system, prompt, sampling } = JSON.parse(remember(name) ?? "{}");
    return { persona, system, prompt: { ...prompt }, sampling: { ...sampling } };
  } catch {
    return { prompt: {}, sampling: {} };
  }
}
