// @ts-check
// All branches of a conversation at a glance. A chain of messages stands straight; where it branches, each version opens a level of its own.

import { byId, h, icon } from "../dom.js";
import { number, onLanguage, t } from "../i18n.js";
import { titleOf } from "./tree.js";

/** @typedef {import("../chat.js").Chat} Chat */
/** @typedef {import("./types.js").Message} Message */

export class Overview {
  /** @param {Chat} chat */
  constructor(chat) {
    this.chat = chat;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("tree-dialog"));
    onLanguage(() => this.dialog.open && this.draw());
  }

  open() {
    this.draw();
    this.dialog.showModal();
    const current = /** @type {HTMLElement | undefined} */ ([...this.dialog.querySelectorAll(".node.here")].at(-1));
    current?.focus();
    current?.scrollIntoView({ block: "center" });
  }

  draw() {
    const { tree } = this.chat;
    const here = new Set(this.chat.path().map(({ id }) => id));
    const leaves = tree.all().filter(({ id }) => !tree.children(id).length).length;
    byId("tree-count").textContent = t(leaves === 1 ? "tree.count.one" : "tree.count", { n: number(tree.size), branches: number(leaves) });
    byId("tree").replaceChildren(...this.#level(tree.children(null), here));
  }

  /**
   * Messages below one message: one goes on in line, several open a level each.
   * @param {Message[]} messages
   * @param {Set<string>} here
   * @returns {HTMLElement[]}
   */
  #level(messages, here) {
    const { tree } = this.chat;
    /** @type {HTMLElement[]} */
    const rows = [];
    while (messages.length === 1) {
      rows.push(h("li", {}, this.#node(messages[0], here)));
      messages = tree.children(messages[0].id);
    }
    for (const message of messages) {
      const rest = this.#level(tree.children(message.id), here);
      rows.push(
        h("li", { class: here.has(message.id) ? "branch here" : "branch" }, h("ul", {}, h("li", {}, this.#node(message, here)), ...rest)),
      );
    }
    return rows;
  }

  /** @param {Message} message @param {Set<string>} here */
  #node(message, here) {
    const { id, role, content } = message;
    const classes = ["node", role, ...(here.has(id) ? ["here"] : [])];
    const text = titleOf(content) || t("chat.nothing");
    const node = h(
      "button",
      { type: "button", class: classes.join(" "), "data-testid": "node", "aria-current": id === this.chat.leaf && "true" },
      icon(role === "user" ? "person" : "spark"),
      h("span", { class: "visually-hidden", text: `${t(role === "user" ? "chat.you" : "chat.assistant")}: ` }),
      h("span", { class: "node-text", dir: "auto", text }),
    );
    node.addEventListener("click", () => {
      this.dialog.close();
      this.chat.jump(id);
    });
    return node;
  }
}
