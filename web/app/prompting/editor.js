// @ts-check
// The form of one persona. Nothing counts before it is saved.

import { byId, h, icon } from "../dom.js";
import { asPageError, bytes, errorText, label, t, translate } from "../i18n.js";
import { SamplingFields } from "../settings.js";
import { NAME, SUGGESTION, SUGGESTIONS, TEXT } from "./file.js";
import { stateOf } from "./store.js";
import { PromptFields } from "./template.js";

/** @typedef {import("./types.js").Persona} Persona */
/** @typedef {import("../types.js").PageEngine} PageEngine */

export class PersonaEditor {
  /** @type {Persona} */
  draft = { id: "", name: "", prompt: {}, sampling: {}, created: 0 };

  /**
   * @param {PageEngine} engine
   * @param {import("./store.js").PersonaStore} store
   * @param {(saved: Persona | undefined) => void} onEnd
   */
  constructor(engine, store, onEnd) {
    this.engine = engine;
    this.store = store;
    this.name = h("input", {
      id: "persona-name",
      "data-testid": "persona-name",
      type: "text",
      maxlength: NAME,
      required: true,
      autocomplete: "off",
      "aria-describedby": "persona-error",
    });
    this.greeting = h("textarea", {
      id: "persona-greeting",
      "data-testid": "persona-greeting",
      rows: 2,
      maxlength: TEXT,
      "aria-describedby": "help-persona-greeting",
    });
    this.suggestions = h("textarea", {
      id: "persona-suggestions",
      "data-testid": "persona-suggestions",
      rows: 3,
      "aria-describedby": "help-persona-suggestions",
    });
    this.error = h("p", { id: "persona-error", class: "fine bad", role: "alert", "data-testid": "persona-error" });
    this.prompt = new PromptFields(
      "persona-",
      engine,
      () => this.draft,
      (fields) => Object.assign(this.draft, fields),
    );
    this.sampling = new SamplingFields(
      "persona-set-",
      () => this.draft.sampling,
      (sampling) => void (this.draft.sampling = sampling),
    );
    const cancel = h("button", {
      type: "button",
      class: "button",
      "data-t": "personas.cancel",
      "data-testid": "persona-cancel",
      onclick: () => onEnd(undefined),
    });
    this.element = h(
      "form",
      { class: "persona-form", "data-testid": "persona-form", novalidate: true },
      row("personas.name", this.name),
      this.error,
      this.prompt.element,
      row("personas.greeting", this.greeting, true),
      row("personas.suggestions", this.suggestions, true),
      this.#stateField(),
      h("details", { class: "more" }, h("summary", { "data-t": "settings.sampling" }), this.sampling.element),
      h(
        "footer",
        {},
        h("button", { type: "submit", class: "button primary", "data-t": "personas.save", "data-testid": "persona-save" }),
        cancel,
      ),
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      const saved = this.#finished();
      if (saved) onEnd(saved);
    });
    translate(this.element);
  }

  #stateField() {
    this.file = h("input", {
      id: "persona-file",
      "data-testid": "persona-file",
      class: "covered",
      type: "file",
      "aria-describedby": "persona-state-error",
    });
    this.drop = h(
      "label",
      { class: "drop small", "data-testid": "persona-drop" },
      icon("file"),
      h("span", { "data-t": "personas.state.drop" }),
      this.file,
    );
    this.stateName = h("span", { "data-testid": "persona-state" });
    const remove = h("button", { type: "button", class: "tool small", "data-testid": "persona-state-remove" }, icon("trash"));
    label(remove, "personas.state.remove");
    remove.addEventListener("click", () => {
      const { state: _, ...prompt } = this.draft.prompt;
      this.draft.prompt = prompt;
      this.#drawState();
      this.file?.focus();
    });
    this.stateRow = h("p", { class: "state-row" }, this.stateName, remove);
    this.stateError = h("p", { id: "persona-state-error", class: "fine bad", role: "alert", "data-testid": "persona-state-error" });
    this.file.addEventListener("change", () => {
      const file = this.file?.files?.[0];
      if (this.file) this.file.value = "";
      if (file) void this.take(file);
    });
    dropped(this.drop, (file) => void this.take(file));
    const help = h("p", { class: "fine", "data-t": "personas.state.help" });
    return h(
      "div",
      { class: "setting" },
      h("span", { class: "as-label", "data-t": "personas.state" }),
      this.stateRow,
      this.drop,
      this.stateError,
      help,
    );
  }

  /** Try the file with the model that is loaded; one that does not fit is refused with the reason. @param {File} file */
  async take(file) {
    const { draft } = this;
    if (this.stateError) this.stateError.textContent = "";
    this.drop?.classList.add("busy");
    try {
      await this.engine.states.load(file, file.name);
      const state = await this.store.keepState(file, file.name);
      draft.prompt = { ...draft.prompt, state: { ...state } };
    } catch (thrown) {
      if (this.stateError) this.stateError.textContent = Object.values(errorText(asPageError(thrown))).join(" ");
    }
    this.drop?.classList.remove("busy");
    if (draft === this.draft) this.#drawState();
  }

  #drawState() {
    const state = stateOf(this.draft.prompt);
    if (!this.stateRow || !this.stateName) return;
    this.stateRow.hidden = !state;
    this.stateName.textContent = state?.name ?? "";
    if (state)
      void this.store.state(state.key).then((row) => {
        if (this.stateName)
          this.stateName.textContent = row ? `${state.name} · ${bytes(row.blob.size)}` : t("personas.state.lost", { name: state.name });
      });
  }

  /** @param {Persona} persona */
  open(persona) {
    this.draft = structuredClone(persona);
    this.name.value = persona.name;
    this.greeting.value = persona.greeting ?? "";
    this.suggestions.value = (persona.suggestions ?? []).join("\n");
    this.error.textContent = "";
    if (this.stateError) this.stateError.textContent = "";
    this.#drawState();
    this.prompt.draw(true);
    this.sampling.draw(true);
  }

  /** What is to be saved, or nothing if something is missing. @returns {Persona | undefined} */
  #finished() {
    const name = this.name.value.trim();
    const suggestions = this.suggestions.value
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
    const wrong = this.element.querySelector('[aria-invalid="true"]:not(#persona-name)');
    const tooMany = suggestions.length > SUGGESTIONS || suggestions.some((line) => line.length > SUGGESTION);
    this.error.textContent = !name
      ? t("personas.name.missing")
      : tooMany
        ? t("personas.suggestions.bad", { n: SUGGESTIONS, length: SUGGESTION })
        : "";
    this.name.setAttribute("aria-invalid", String(!name));
    if (!name) byId("persona-name").focus();
    else if (tooMany) this.suggestions.focus();
    else if (wrong instanceof HTMLElement) {
      wrong.closest("details")?.setAttribute("open", "");
      wrong.focus();
    } else {
      const { greeting: _, suggestions: _s, builtin: _b, ...rest } = this.draft;
      const greeting = this.greeting.value.trim();
      return { ...rest, name, ...(greeting ? { greeting } : {}), ...(suggestions.length ? { suggestions } : {}) };
    }
    return undefined;
  }
}

/** @param {string} key @param {HTMLElement} field @param {boolean} [help] */
function row(key, field, help = false) {
  const note = help ? [h("p", { id: `help-${field.id}`, class: "fine", "data-t": `${key}.help` })] : [];
  return h("div", { class: "setting" }, h("label", { for: field.id, "data-t": key }), field, ...note);
}

/** Take a file that is dropped on an element. @param {HTMLElement} element @param {(file: File) => void} take */
export function dropped(element, take) {
  const over = (/** @type {boolean} */ on) => element.classList.toggle("over", on);
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  element.addEventListener("dragleave", () => over(false));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    over(false);
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
}
