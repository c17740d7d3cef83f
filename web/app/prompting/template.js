// @ts-check
// The fields of a prompt: the system prompt, the template, how it thinks, and the patterns of one's own, which Python checks while they are written.

import { h, icon } from "../dom.js";
import { asPageError, errorText, label, t, translate } from "../i18n.js";
import { escaped, fromLines, toLines, unescaped } from "./escape.js";

/** @typedef {import("../types.js").PageEngine} PageEngine */
/** @typedef {import("../types.js").Template} Template */
/** @typedef {import("../conversations/types.js").Values} Values */
/** @typedef {{system?: string, prompt: Values}} Prompt */

const PATTERNS = /** @type {const} */ (["preamble", "system", "user", "cue", "answer"]);
const CLEANING = ["lines", "paragraphs", "verbatim"];
const MODES = 8;
const PAUSE = 250; // ms after the last key before Python is asked

/** A template's name as people know it. @param {string} name */
export function templateName(name) {
  const key = `prompting.template.${name}`;
  const text = t(key);
  return text === key ? name : text;
}

/** @param {string} name */
export function modeName(name) {
  const key = `prompting.thinking.${name}`;
  const text = t(key);
  return text === key ? name : text;
}

export class PromptFields {
  element = h("div", { class: "prompt-fields" });
  /** The templates of the model that is loaded. @type {{default: string, templates: Required<Template>[]}} */
  known = { default: "", templates: [] };
  /** Counts what Python was asked, so that only the latest answer counts. */
  #asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} prefix of ids
   * @param {PageEngine} engine
   * @param {() => Prompt} get
   * @param {(fields: Partial<Prompt>) => void} set
   */
  constructor(prefix, engine, get, set) {
    this.prefix = prefix;
    this.engine = engine;
    this.get = get;
    this.set = set;
    this.system = h("textarea", {
      id: `${prefix}system`,
      "data-testid": `${prefix}system`,
      rows: 3,
      "aria-describedby": `help-${prefix}system`,
    });
    this.system.setAttribute("data-t-placeholder", "prompting.system.none");
    this.system.addEventListener("input", () => this.set({ system: this.system.value || undefined }));
    this.template = this.#select("template", () => this.#choose());
    this.thinking = this.#select("thinking", () =>
      this.#put({ thinking: this.thinking.value === "none" ? undefined : this.thinking.value }),
    );
    this.custom = h("div", { class: "custom", hidden: true, role: "group", "data-t-label": "prompting.template.custom" });
    this.thinkingRow = this.#row("thinking", this.thinking);
    this.element.append(this.#row("system", this.system), this.#row("template", this.template), this.thinkingRow, this.custom);
    this.#buildCustom();
    translate(this.element);
  }

  /** @param {string} name @param {() => void} run */
  #select(name, run) {
    const id = `${this.prefix}${name}`;
    const select = h("select", { id, "data-testid": id, "aria-describedby": `help-${id}` });
    select.addEventListener("change", run);
    return select;
  }

  /** @param {string} name @param {HTMLElement} field */
  #row(name, field) {
    const help = h("p", { id: `help-${field.id}`, class: "fine", "data-t": `prompting.${name}.help` });
    return h("div", { class: "setting" }, h("label", { for: field.id, "data-t": `prompting.${name}` }), field, help);
  }

  /** Change keys of the prompt; undefined takes one away. @param {Record<string, any>} fields */
  #put(fields) {
    const kept = Object.entries({ ...this.get().prompt, ...fields }).filter(([, value]) => value !== undefined);
    this.set({ prompt: Object.fromEntries(kept) });
    this.draw();
  }

  /** The template that counts now. @returns {Template | undefined} */
  get effective() {
    const { template } = this.get().prompt;
    if (template && typeof template === "object") return /** @type {Template} */ (/** @type {unknown} */ (template));
    return this.known.templates.find(({ name }) => name === (template ?? this.known.default));
  }

  #choose() {
    const { value } = this.template;
    const before = this.effective;
    const chosen = value === "custom" ? { ...before, name: "custom" } : value || undefined;
    const modes = Object.keys(
      (typeof chosen === "object" ? chosen : this.known.templates.find(({ name }) => name === (value || this.known.default)))?.thinking ??
        {},
    );
    const { thinking } = this.get().prompt;
    this.#put({ template: chosen, thinking: typeof thinking === "string" && modes.includes(thinking) ? thinking : undefined });
    this.#fill();
  }

  // A template of one's own

  #buildCustom() {
    this.custom.append(h("p", { class: "fine", "data-t": "prompting.custom.help" }));
    for (const name of PATTERNS)
      this.#customField(name, h("input", { type: "text", class: "mono", spellcheck: "false", autocomplete: "off" }));
    this.#customField("stops", h("textarea", { class: "mono", rows: 2, spellcheck: "false" }));
    for (const name of ["clean", "clean_answer"])
      this.#customField(name, h("select", {}, ...CLEANING.map((value) => h("option", { value, "data-t": `prompting.clean.${value}` }))));
    this.modes = h("div", { class: "modes" });
    const id = `${this.prefix}custom-thinking`;
    const add = h("button", { type: "button", class: "button small", "data-t": "prompting.modes.add", "data-testid": `${id}-add` });
    add.addEventListener("click", () => {
      this.modes?.append(this.#mode("", "", " <think"));
      this.modes?.querySelector("div:last-child input")?.dispatchEvent(new Event("input", { bubbles: true }));
      /** @type {HTMLElement | null} */ (this.modes?.querySelector("div:last-child input"))?.focus();
    });
    this.addMode = add;
    this.custom.append(
      h(
        "div",
        { class: "setting", role: "group", "data-t-label": "prompting.modes" },
        h("span", { class: "as-label", "data-t": "prompting.modes" }),
        h("p", { class: "fine", "data-t": "prompting.modes.help" }),
        this.modes,
        h("p", { id: `error-${id}`, class: "fine bad", role: "alert" }),
        add,
      ),
    );
    this.custom.addEventListener("input", () => this.#edited());
  }

  /** @param {string} name @param {HTMLElement} field */
  #customField(name, field) {
    const id = `${this.prefix}custom-${name}`;
    for (const [key, value] of Object.entries({ id, "data-testid": id, "data-name": name, "aria-describedby": `error-${id}` }))
      field.setAttribute(key, value);
    const error = h("p", { id: `error-${id}`, class: "fine bad", role: "alert", "data-testid": `error-${id}` });
    this.custom.append(h("div", { class: "setting" }, h("label", { for: id, "data-t": `prompting.custom.${name}` }), field, error));
  }

  /** @param {string} name @param {string} user @param {string} cue */
  #mode(name, user, cue) {
    const field = (/** @type {string} */ part, /** @type {string} */ value) => {
      const input = h("input", { type: "text", class: "mono", "data-part": part, spellcheck: "false", autocomplete: "off" });
      input.value = value;
      input.setAttribute("data-t-placeholder", `prompting.modes.${part}`);
      label(input, `prompting.modes.${part}`);
      return input;
    };
    const remove = h("button", { type: "button", class: "tool small" }, icon("trash"));
    label(remove, "prompting.modes.remove");
    const row = h("div", { class: "mode" }, field("name", name), field("user", escaped(user)), field("cue", escaped(cue)), remove);
    remove.addEventListener("click", () => {
      row.remove();
      this.#edited();
      this.addMode?.focus();
    });
    translate(row);
    return row;
  }

  /** @param {string} name @returns {HTMLInputElement} */
  #part(name) {
    return /** @type {HTMLInputElement} */ (this.custom.querySelector(`[data-name="${name}"]`));
  }

  /** Show the patterns of the template that counts. */
  #fill() {
    const template = this.effective;
    if (!template || this.template.value !== "custom") return;
    for (const name of PATTERNS) this.#part(name).value = escaped(template[name] ?? "");
    this.#part("stops").value = toLines(template.stops ?? []);
    for (const name of /** @type {const} */ (["clean", "clean_answer"])) this.#part(name).value = template[name] ?? "paragraphs";
    const modes = Object.entries(template.thinking ?? {}).map(([name, mode]) =>
      typeof mode === "string" ? this.#mode(name, "", mode) : this.#mode(name, mode.user ?? "", mode.cue ?? ""),
    );
    this.modes?.replaceChildren(...modes.filter((row) => /** @type {HTMLInputElement} */ (row.firstElementChild).value !== "none"));
    this.#complain(undefined);
  }

  /** What stands in the fields. @returns {Template} */
  #written() {
    const texts = Object.fromEntries(PATTERNS.map((name) => [name, unescaped(this.#part(name).value)]));
    const rows = [...(this.modes?.children ?? [])].map((row) => [...row.querySelectorAll("input")].map(({ value }) => value));
    const modes = rows.filter(([name]) => name).map(([name, user, cue]) => [name, { user: unescaped(user), cue: unescaped(cue) }]);
    return /** @type {Template} */ ({
      name: "custom",
      ...texts,
      stops: fromLines(this.#part("stops").value),
      clean: this.#part("clean").value,
      clean_answer: this.#part("clean_answer").value,
      thinking: { none: { user: "", cue: "" }, ...Object.fromEntries(modes) },
    });
  }

  #edited() {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    this.#timer = setTimeout(async () => {
      const template = this.#written();
      try {
        await this.engine.render({ messages: [{ role: "user", content: "?" }], template });
      } catch (thrown) {
        if (asked === this.#asked) this.#complain(asPageError(thrown));
        return;
      }
      if (asked !== this.#asked) return;
      this.#complain(undefined);
      this.#put({ template });
    }, PAUSE);
    if (this.addMode && this.modes) this.addMode.disabled = this.modes.children.length >= MODES - 1;
  }

  /** Say what is wrong where it is wrong; the last good template stays in use. @param {import("../types.js").PageError | undefined} error */
  #complain(error) {
    const name = String(error?.details.name ?? "").split(".")[1];
    const known = this.custom.querySelector(`#error-${this.prefix}custom-${CSS.escape(name ?? "")}`) ? name : PATTERNS[0];
    for (const line of this.custom.querySelectorAll(".bad")) {
      const at = line.id.replace(`error-${this.prefix}custom-`, "");
      const own = `prompting.bad.${at}`;
      const text =
        !error || at !== known
          ? ""
          : t(own) === own || name !== at
            ? errorText(error).message
            : t(own, { found: String(error.details.found) });
      if (line.textContent !== text) line.textContent = text;
      this.custom.querySelector(`[data-name="${at}"]`)?.setAttribute("aria-invalid", String(Boolean(text)));
    }
  }

  /** Show the values. @param {boolean} [all] also in the field that a person is writing in, and in the patterns */
  draw(all = false) {
    const { system, prompt } = this.get();
    if (all || this.system !== document.activeElement) this.system.value = system ?? "";
    const own = typeof prompt.template === "object";
    const standard = this.known.default
      ? t("prompting.template.model", { name: templateName(this.known.default) })
      : t("prompting.template.unknown");
    const names = this.known.templates.map(({ name }) => name);
    if (typeof prompt.template === "string" && !names.includes(prompt.template)) names.push(prompt.template);
    const options = [["", standard], ...names.map((name) => [name, templateName(name)]), ["custom", t("prompting.template.custom")]];
    this.template.replaceChildren(...options.map(([value, text]) => h("option", { value, text })));
    this.template.value = own ? "custom" : String(prompt.template ?? "");
    const modes = Object.entries(this.effective?.thinking ?? {});
    const thinks = modes.some(([, mode]) => (typeof mode === "string" ? mode : (mode.cue ?? mode.user)) !== "");
    this.thinkingRow.hidden = !thinks;
    this.thinking.replaceChildren(...modes.map(([value]) => h("option", { value, text: modeName(value) })));
    this.thinking.value = String(prompt.thinking ?? "none");
    const before = this.custom.hidden;
    this.custom.hidden = !own;
    if (own && (all || before)) this.#fill();
  }
}
