// @ts-check
// What can be done with a message, with a conversation, and by keyboard: everything that the chat and the library can do, where a person finds it.

import { byId, h } from "../dom.js";
import { t } from "../i18n.js";
import { fileProblem } from "./file_problem.js";
import { openMenu } from "../menu.js";
import { openShortcuts, registerShortcut } from "../shortcuts.js";
import { menuItems, registerMenuItem, registerMessageAction } from "../slots.js";
import { toast } from "../toast.js";
import { FileProblem, MOST_BYTES, fileName, fromJson, toJson, toMarkdown } from "./transfer.js";
import { UNDO_SECONDS } from "./library.js";

/** @typedef {import("../chat.js").Chat} Chat */
/** @typedef {import("./library.js").Library} Library */
/** @typedef {import("./types.js").Message} Message */

/** @param {Chat} chat */
export function registerMessageActions(chat) {
  const answer = (/** @type {Message} */ { role }) => role === "assistant";
  registerMessageAction({
    id: "again",
    label: "chat.again",
    icon: "again",
    order: 10,
    when: (message) => answer(message) && (message.state !== "error" || message.content !== ""),
    run: (message) => void chat.retry(message),
  });
  registerMessageAction({
    id: "edit",
    label: "chat.edit",
    icon: "pencil",
    order: 20,
    when: ({ content }) => content !== "",
    run: ({ id }) => chat.log.views.get(id)?.edit(),
  });
  registerMessageAction({
    id: "continue",
    label: "chat.continue",
    icon: "forward",
    order: 30,
    when: (message) =>
      answer(message) &&
      Boolean(message.content || message.reasoning) &&
      (message.state === "stopped" || message.finish === "length" || Boolean(message.edited)),
    run: (message) => void chat.continue(message),
  });
  registerMessageAction({
    id: "fork",
    label: "chat.fork",
    icon: "fork",
    order: 40,
    place: "menu",
    run: (message) => void chat.fork(message),
  });
  registerMessageAction({
    id: "delete-branch",
    label: "chat.delete",
    icon: "trash",
    order: 90,
    place: "menu",
    run: (message) => chat.remove(message),
  });
}

export class Actions {
  /** @param {Chat} chat @param {Library} library @param {{rename: (id: string) => void, overview: () => void}} views */
  constructor(chat, library, views) {
    this.chat = chat;
    this.library = library;
    this.views = views;
    registerMessageActions(chat);
    const here = (/** @type {(id: string) => void} */ run) => () => void (chat.id && run(chat.id));
    const item = (/** @type {string} */ id, /** @type {string} */ icon, /** @type {number} */ order, /** @type {() => void} */ run) =>
      registerMenuItem({ id, label: `conversations.${id}`, icon, order, run, when: () => Boolean(chat.header) });
    item("tree", "tree", 10, () => views.overview());
    item("rename", "pencil", 20, here(views.rename));
    item(
      "export",
      "download",
      30,
      here((id) => void this.export([id])),
    );
    item(
      "markdown",
      "file",
      40,
      here((id) => void this.exportMarkdown(id)),
    );
    item(
      "delete",
      "trash",
      90,
      here((id) => this.delete(id)),
    );
    byId("chat-menu").addEventListener("click", () => this.menu(byId("chat-menu")));
    byId("manage").addEventListener("click", () => this.#manage(byId("manage")));
    byId("import").addEventListener("change", ({ target }) => {
      const input = /** @type {HTMLInputElement} */ (target);
      const files = [...(input.files ?? [])];
      input.value = ""; // so that the same file can be chosen again
      void this.import(files);
    });
    byId("shortcuts-open").addEventListener("click", () => openShortcuts());
    byId("new-chat").addEventListener("click", () => void chat.open(undefined));
    byId("new-chat-bar").addEventListener("click", () => void chat.open(undefined));
  }

  /** Shortcuts of the conversation. @param {{search: () => void, toggle: () => void}} sidebar */
  registerShortcuts(sidebar) {
    const { chat } = this;
    registerShortcut({ id: "new", keys: "mod+shift+O", label: "shortcuts.new", run: () => void chat.open(undefined) });
    registerShortcut({ id: "search", keys: "mod+K", label: "shortcuts.search", run: () => sidebar.search() });
    registerShortcut({ id: "sidebar", keys: "mod+shift+S", label: "shortcuts.sidebar", run: () => sidebar.toggle() });
    registerShortcut({ id: "write", keys: "shift+Escape", label: "shortcuts.write", run: () => chat.composer.focus() });
    registerShortcut({ id: "send", keys: "Enter", label: "shortcuts.send" });
    registerShortcut({ id: "line", keys: "shift+Enter", label: "shortcuts.line" });
    registerShortcut({ id: "stop", keys: "Escape", label: "shortcuts.stop" });
    registerShortcut({ id: "edit", keys: "ArrowUp", label: "shortcuts.edit" });
    registerShortcut({ id: "copy", keys: "mod+shift+Semicolon", label: "shortcuts.copy", run: () => void chat.copyLast() });
    registerShortcut({ id: "tree", keys: "mod+shift+L", label: "shortcuts.tree", run: () => chat.header && this.views.overview() });
    registerShortcut({ id: "delete", keys: "mod+shift+Backspace", label: "shortcuts.delete", run: () => chat.id && this.delete(chat.id) });
    chat.composer.area.addEventListener("keydown", (event) => {
      const plain = !(event.shiftKey || event.ctrlKey || event.altKey || event.metaKey || event.isComposing);
      if (event.key !== "ArrowUp" || !plain || !chat.composer.empty || chat.busy()) return;
      event.preventDefault();
      chat.editLast();
    });
  }

  /** What can be done with all of them. @param {HTMLElement} button */
  #manage(button) {
    const all = this.library.list().map(({ id }) => id);
    openMenu(button, [
      { id: "import", text: t("conversations.import"), icon: "upload", run: () => byId("import").click() },
      ...(all.length
        ? [{ id: "export-all", text: t("conversations.export.all"), icon: "download", run: () => void this.export(all) }]
        : []),
    ]);
  }

  /** What can be done with a conversation. @param {HTMLElement} button @param {string} [id] the shown one if not given */
  menu(button, id) {
    if (!id || id === this.chat.id) {
      const items = menuItems().map(({ id: name, label, icon, run }) => ({
        id: name,
        text: t(label),
        icon,
        danger: name === "delete",
        run: () => run(button),
      }));
      return openMenu(button, id ? items.filter((item) => item.id !== "shortcuts") : items);
    }
    const entry = (/** @type {string} */ name, /** @type {string} */ icon, /** @type {() => void} */ run) => ({
      id: name,
      text: t(`conversations.${name}`),
      icon,
      danger: name === "delete",
      run,
    });
    openMenu(button, [
      entry("rename", "pencil", () => this.views.rename(id)),
      entry("export", "download", () => void this.export([id])),
      entry("markdown", "file", () => void this.exportMarkdown(id)),
      entry("delete", "trash", () => this.delete(id)),
    ]);
  }

  /** @param {string} id */
  delete(id) {
    const title = this.library.get(id)?.title ?? "";
    const shown = this.chat.id === id;
    this.library.delete(id);
    toast(t("conversations.deleted", { title }), {
      action: "undo",
      seconds: UNDO_SECONDS,
      run: () => {
        this.library.restore(id);
        if (shown && !this.chat.id) void this.chat.open(id);
      },
      onGone: () => void this.library.purge([id]),
    });
  }

  /** @param {string[]} ids */
  async export(ids) {
    const found = (await Promise.all(ids.map((id) => this.library.whole(id)))).filter((one) => one !== undefined);
    if (!found.length) return void toast(t("conversations.none"));
    save(
      toJson(found),
      fileName(found.length === 1 ? found[0].title : `rwkv ${new Date().toISOString().slice(0, 10)}`, "json"),
      "application/json",
    );
  }

  /** @param {string} id */
  async exportMarkdown(id) {
    const header = this.library.get(id);
    if (!header) return;
    const tree = await this.library.tree(id);
    const leaf = this.chat.id === id ? this.chat.leaf : header.leaf;
    const names = { user: t("chat.you"), assistant: t("chat.assistant"), system: t("chat.system"), thinking: t("chat.thought") };
    save(toMarkdown(header, tree.path(leaf ?? tree.newestLeaf(null)), names), fileName(header.title, "md"), "text/markdown");
  }

  /** @param {File[]} files */
  async import(files) {
    const added = [];
    let skipped = 0;
    for (const file of files) {
      try {
        if (file.size > MOST_BYTES) throw new FileProblem("", "bytes", file.size, { most: MOST_BYTES });
        const done = await this.library.take(fromJson(await file.text()));
        added.push(...done.added);
        skipped += done.skipped;
      } catch (thrown) {
        toast(t("conversations.import.bad", { name: file.name, reason: fileProblem(thrown) }), { seconds: 15 });
        continue;
      }
    }
    if (added.length + skipped === 0) return;
    toast(t(skipped ? "conversations.imported.some" : "conversations.imported", { n: added.length, skipped }));
    if (added.length === 1) await this.chat.open(added[0]);
  }
}

/** Give a text to the person as a file. @param {string} text @param {string} name @param {string} type */
function save(text, name, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
