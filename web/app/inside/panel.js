// @ts-check
// "Look inside": the panel with the token view and the state view, where a person opens it, and what of it follows the conversation.

import { h } from "../dom.js";
import { onLanguage, t } from "../i18n.js";
import { registerShortcut } from "../shortcuts.js";
import { panel, registerMenuItem, registerMessageAction } from "../slots.js";
import { Probabilities } from "./probabilities.js";
import { StateView } from "./state.js";
import { TokenView } from "./tokens.js";

/** @typedef {import("../chat.js").Chat} Chat */
/** @typedef {import("../conversations/types.js").Message} Message */
/** @typedef {import("../types.js").PageEngine} PageEngine */
/** @typedef {"tokens" | "state"} View */

const OWNER = "inside";

export class Inside {
  /** @type {View} */
  view = "tokens";
  /** The message that is looked into. @type {Message | undefined} */
  message;
  /** Where the focus was. @type {HTMLElement | undefined} */
  #from;
  #branching = false;

  /** @param {PageEngine} engine @param {Chat} chat */
  constructor(engine, chat) {
    this.chat = chat;
    const probabilities = new Probabilities(engine, chat);
    this.tokens = new TokenView(probabilities, {
      busy: () => chat.busy() || !chat.available,
      branch: (message, { content, reasoning = "" }) => void this.#branch(message, content, reasoning),
    });
    this.state = new StateView(engine, chat);
    this.body = h("div", { id: "inside-body", role: "tabpanel", class: "inside-body" });
    const has = (/** @type {Message} */ { role, content, reasoning }) => role === "assistant" && Boolean(content || reasoning);
    registerMessageAction({
      id: "tokens",
      label: "inside.open.tokens",
      icon: "tokens",
      order: 34,
      when: has,
      run: (message, button) => this.open("tokens", message, button),
    });
    registerMessageAction({
      id: "state",
      label: "inside.open.state",
      icon: "state",
      order: 36,
      place: "menu",
      run: (message, button) => this.open("state", message, button),
    });
    const last = () => chat.path().findLast(has);
    const open = (/** @type {HTMLElement} */ button) => {
      const message = last();
      if (message) this.open(this.view, message, button);
    };
    registerMenuItem({ id: "inside", label: "inside.title", icon: "state", order: 15, when: () => Boolean(last()), run: open });
    const toggle = () => (panel.owner === OWNER ? panel.close() : open(/** @type {HTMLElement} */ (document.activeElement)));
    registerShortcut({ id: "inside", keys: "mod+shift+F", label: "inside.title", run: toggle });
    chat.addEventListener("show", () => this.#follow());
    for (const name of ["begin", "end"]) chat.addEventListener(name, () => this.#shown("tokens") && this.tokens.refresh());
    engine.addEventListener("state", () => {
      if (engine.status().state === "loading" && this.#shown())
        panel.close(); // another model
      else if (this.#shown("tokens")) this.tokens.refresh();
    });
    onLanguage(() => this.#redraw());
    new MutationObserver(() => this.#redraw()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    new ResizeObserver(() => this.#shown("state") && this.state.draw()).observe(this.body);
  }

  /** @param {View} [view] */
  #shown(view) {
    return panel.owner === OWNER && (!view || this.view === view);
  }

  /** @param {View} view @param {Message} message @param {HTMLElement} [button] where the focus goes back to */
  open(view, message, button) {
    if (button && !this.body.contains(button)) this.#from = button;
    Object.assign(this, { view, message });
    this.tokens.close();
    this.state.close();
    const all = h("div", { class: "inside", "data-testid": "inside" }, this.#tabs(), this.body);
    all.addEventListener("keydown", ({ key, isComposing }) => key === "Escape" && !isComposing && panel.close());
    const focus = button || !document.activeElement?.closest("#composer-form");
    panel.open(OWNER, "inside.title", all, () => this.#closed());
    const shown = this[view];
    this.body.setAttribute("aria-labelledby", `inside-tab-${view}`);
    this.body.replaceChildren(shown.element);
    void shown.show(message);
    if (focus) document.getElementById(`inside-tab-${view}`)?.focus();
  }

  #closed() {
    this.tokens.close();
    this.state.close();
    this.message = undefined;
    if (this.#from?.isConnected) this.#from.focus();
    else this.chat.composer.focus();
  }

  #tabs() {
    const tab = (/** @type {View} */ name) =>
      h("button", {
        type: "button",
        role: "tab",
        id: `inside-tab-${name}`,
        "data-testid": `tab-${name}`,
        "aria-selected": String(this.view === name),
        "aria-controls": "inside-body",
        tabindex: this.view === name ? 0 : -1,
        text: t(`inside.${name}`),
        onclick: () => this.message && this.open(name, this.message),
      });
    const list = h("div", { class: "segments tabs", role: "tablist", "aria-label": t("inside.title") }, tab("tokens"), tab("state"));
    list.addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key) || !this.message) return;
      event.preventDefault();
      this.open(this.view === "tokens" ? "state" : "tokens", this.message);
    });
    return list;
  }

  #redraw() {
    if (!this.#shown()) return;
    document.querySelector(".inside > .tabs")?.replaceWith(this.#tabs());
    this[this.view].draw();
  }

  /** The conversation shows something else: another one, or a branch without the message. */
  #follow() {
    if (!this.#shown() || !this.message || this.#branching) return;
    const { id } = this.message;
    if (!this.chat.path().some((message) => message.id === id) && !this.chat.busy()) panel.close();
  }

  /** @param {Message} message @param {string} content @param {string} reasoning */
  async #branch(message, content, reasoning) {
    this.#branching = true; // the panel stays for the new answer
    const branch = await this.chat.branchFrom(message, content, reasoning).finally(() => void (this.#branching = false));
    if (branch && this.#shown("tokens") && this.chat.leaf === branch.id) this.open("tokens", branch);
    else this.#follow();
  }
}
