// @ts-check
// The list of conversations: by day, searched, renamed in place. A column beside the chat, or a drawer over it where there is no room.

import { byId, h, icon, remember } from "../dom.js";
import { label, language, onLanguage, t } from "../i18n.js";
import { Query } from "./search.js";

/** @typedef {import("../chat.js").Chat} Chat */
/** @typedef {import("./library.js").Library} Library */
/** @typedef {import("./types.js").Header} Header */
/** @typedef {import("./search.js").Marked} Marked */
/** @typedef {{id: string, group: string, item: HTMLElement}} Shown */

const DAY = 86_400_000;
const AT_ONCE = 25; // conversations that a search reads together
const LISTED = 80; // entries on the page; as many again whenever the last of them comes near. Hundreds would take time from every frame
const narrow = matchMedia("(max-width: 840px)");
/** By language. @type {Record<string, Intl.DateTimeFormat>} */
const months = {};

export class Sidebar {
  /** The conversation whose title is being written. @type {string | undefined} */
  renaming;
  /** What the search found: conversations and where. @type {Map<string, Marked | undefined> | undefined} */
  found;
  query = new Query("");
  /** What is listed, by conversation. @type {Map<string, {says: string, item: HTMLElement}>} */
  #items = new Map();
  /** What is on the page, in this order. @type {Shown[]} */
  #shown = [];
  #most = LISTED;
  #end = h("div", { "aria-hidden": "true" });
  #searches = 0;
  #drawing = 0;

  /** @param {Library} library @param {Chat} chat @param {(button: HTMLElement, id: string) => void} openMenuOf */
  constructor(library, chat, openMenuOf) {
    this.library = library;
    this.chat = chat;
    this.openMenuOf = openMenuOf;
    this.element = byId("sidebar");
    this.list = byId("conversations");
    this.input = /** @type {HTMLInputElement} */ (byId("search"));
    this.opened = remember("sidebar") !== "closed";
    this.drawer = false;
    byId("sidebar-open").addEventListener("click", () => this.toggle());
    byId("sidebar-close").addEventListener("click", () => this.toggle());
    byId("drawer-shade").addEventListener("click", () => this.closeDrawer());
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("[popover]:popover-open")) return;
      event.preventDefault();
      if (this.input.value) this.clear();
      else if (this.drawer) this.closeDrawer();
      else chat.composer.focus();
    });
    this.input.addEventListener("input", () => void this.#search());
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        const first = /** @type {HTMLElement | null} */ (this.list.querySelector(".talk-open"));
        if (event.key === "Enter") first?.click();
        else first?.focus();
      }
    });
    this.list.addEventListener("keydown", (event) => this.#move(event));
    byId("search-clear").addEventListener("click", () => this.clear());
    for (const name of ["language", "theme"]) byId(`${name}-drawer`).addEventListener("click", () => byId(name).click()); // no room for them in a phone's bar
    narrow.addEventListener("change", () => this.arrange());
    library.onChange(() => (this.query.empty ? this.schedule() : void this.#search())); // what came meanwhile may be what is sought
    chat.addEventListener("show", () => this.schedule());
    onLanguage(() => this.draw());
    setInterval(() => this.schedule(), 15 * 60_000); // midnight moves groups
    new IntersectionObserver(
      ([{ isIntersecting }]) => {
        if (!isIntersecting || this.#end.hidden) return;
        this.#most += LISTED;
        this.draw();
      },
      { root: this.list, rootMargin: "0px 0px 600px" },
    ).observe(this.#end);
    this.arrange();
    this.draw();
  }

  toggle() {
    if (narrow.matches) {
      if (this.drawer) return this.closeDrawer();
      this.drawer = true;
    } else {
      this.opened = !this.opened;
      remember("sidebar", this.opened ? null : "closed");
    }
    this.arrange();
    const shown = narrow.matches ? this.drawer : this.opened;
    byId(shown ? "sidebar-close" : "sidebar-open").focus();
  }

  closeDrawer() {
    if (!this.drawer) return;
    const inside = this.element.contains(document.activeElement);
    this.drawer = false;
    this.arrange();
    if (inside) byId("sidebar-open").focus();
  }

  /** Put the column, or the drawer, where it belongs. */
  arrange() {
    if (!narrow.matches) this.drawer = false;
    const shown = narrow.matches ? this.drawer : this.opened;
    const root = document.documentElement;
    root.toggleAttribute("data-drawer", this.drawer);
    root.dataset.sidebar = shown ? "open" : "closed";
    this.element.inert = !shown;
    for (const id of ["bar", "main", "panel"]) byId(id).inert = this.drawer;
    byId("sidebar-open").setAttribute("aria-expanded", String(shown));
  }

  /** Put the cursor into the search. */
  search() {
    if (!(narrow.matches ? this.drawer : this.opened)) this.toggle();
    this.input.focus();
    this.input.select();
  }

  clear() {
    this.input.value = "";
    void this.#search();
    this.input.focus();
  }

  async #search() {
    const search = ++this.#searches;
    this.#most = LISTED;
    this.query = new Query(this.input.value);
    byId("search-clear").hidden = !this.input.value;
    if (this.query.empty) {
      this.found = undefined;
      this.library.releaseTexts();
      return this.draw();
    }
    await new Promise((resolve) => setTimeout(resolve, 120)); // while a person types
    /** @type {Map<string, Marked | undefined>} */
    const found = new Map();
    const all = this.library.list();
    for (let i = 0; i < all.length; i += AT_ONCE) {
      const some = all.slice(i, i + AT_ONCE);
      const texts = await Promise.all(some.map(({ id }) => this.library.texts(id).catch(() => [])));
      if (search !== this.#searches) return;
      for (const [k, { id, title }] of some.entries())
        if (this.query.matches([title, ...texts[k]])) found.set(id, this.query.snippet(texts[k]));
    }
    this.found = found;
    this.draw();
  }

  /** @param {string} id */
  rename(id) {
    if (!(narrow.matches ? this.drawer : this.opened)) this.toggle();
    this.renaming = id;
    this.draw();
    const input = /** @type {HTMLInputElement | null} */ (this.list.querySelector(".talk-name"));
    input?.scrollIntoView({ block: "nearest" });
    input?.focus();
    input?.select();
  }

  /** Draw before the next frame, however often something changes until then. */
  schedule() {
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      if (!this.renaming) this.draw();
    });
  }

  draw() {
    const focused = document.activeElement?.closest?.("[data-conversation]")?.getAttribute("data-conversation");
    const all = this.library.list().filter(({ id }) => !this.found || this.found.has(id));
    if (this.#items.size > 2 * this.#most) this.#items.clear(); // most of them are gone
    /** @type {Shown[]} */
    const shown = all.slice(0, this.#most).map((header) => ({ id: header.id, group: groupOf(header.updated), item: this.#item(header) }));
    const before = this.#shown;
    this.#shown = shown;
    if (shown.length === before.length && shown.every(({ id, group }, i) => id === before[i].id && group === before[i].group)) {
      for (const [i, { item }] of shown.entries()) if (item !== before[i].item) before[i].item.replaceWith(item);
    } else this.list.replaceChildren(...sections(shown), this.#end);
    this.#end.hidden = shown.length === all.length;
    const count = byId("search-count");
    count.textContent = this.found
      ? t(all.length === 1 ? "search.one" : all.length ? "search.some" : "search.none", { n: all.length })
      : "";
    byId("conversations-none").hidden = all.length > 0 || this.found !== undefined;
    if (focused)
      /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-conversation="${CSS.escape(focused)}"] .talk-open`))?.focus();
  }

  /** The entry as it is, if it says the same as before: a change of one of hundreds must not be felt. @param {Header} header */
  #item(header) {
    const { id } = header;
    const found = this.found && [this.query.words, this.found.get(id)];
    const says = JSON.stringify([header.title, id === this.chat.id, this.renaming === id, this.chat.busy(id), language(), found]);
    const known = this.#items.get(id);
    if (known?.says === says) return known.item;
    const item = this.#made(header);
    this.#items.set(id, { says, item });
    return item;
  }

  /** @param {Header} header */
  #made(header) {
    const { id } = header;
    const current = id === this.chat.id;
    const title = header.title || t("conversations.untitled");
    const item = h("li", { class: current ? "talk current" : "talk", "data-testid": "conversation", "data-conversation": id });
    if (this.renaming === id) {
      item.append(this.#nameField(header));
      return item;
    }
    const snippet = this.found?.get(id);
    const open = h(
      "button",
      { type: "button", class: "talk-open", "aria-current": current && "page", title },
      h("span", { class: "talk-title", dir: "auto" }, ...(this.found ? marked(this.query.mark(title)) : [title])),
      ...(snippet ? [h("span", { class: "talk-snippet", dir: "auto", "data-testid": "snippet" }, ...marked(snippet))] : []),
    );
    open.addEventListener("click", () => void this.#open(id));
    open.addEventListener("dblclick", () => this.rename(id));
    if (this.chat.busy(id)) open.append(h("span", { class: "dot", title: t("status.writing") }));
    const more = h(
      "button",
      { type: "button", class: "tool small talk-more", "data-testid": "conversation-more", "aria-haspopup": "menu" },
      icon("more"),
    );
    label(more, "conversations.more");
    more.setAttribute("aria-label", `${t("conversations.more")}: ${title}`);
    more.addEventListener("click", () => this.openMenuOf(more, id));
    item.append(open, more);
    return item;
  }

  /** @param {string} id */
  async #open(id) {
    const { query } = this;
    if (!query.empty) {
      const tree = await this.library.tree(id);
      const messages = tree.all();
      const hit = messages.find(({ content }) => query.matches([content])) ?? messages.find(({ content }) => query.each[0].test(content));
      const shown = hit && tree.path(this.library.get(id)?.leaf).some((message) => message.id === hit.id);
      await this.chat.open(id);
      if (hit && shown) this.chat.log.reveal(hit.id);
      else if (hit) this.chat.jump(hit.id);
    } else if (id !== this.chat.id) await this.chat.open(id);
    this.closeDrawer();
  }

  /** @param {Header} header */
  #nameField({ id, title }) {
    const input = h("input", { class: "talk-name", type: "text", maxlength: 200, "data-testid": "rename" });
    input.value = title;
    input.setAttribute("aria-label", t("conversations.rename"));
    const end = (/** @type {boolean} */ keep) => {
      if (this.renaming !== id) return;
      this.renaming = undefined;
      const text = input.value.trim();
      if (keep && text && text !== title) this.library.patch(id, { title: text, named: true });
      this.draw();
      /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-conversation="${CSS.escape(id)}"] .talk-open`))?.focus();
    };
    input.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229 || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    });
    input.addEventListener("blur", () => end(true));
    return input;
  }

  /** Arrow keys go from one conversation to the next. @param {KeyboardEvent} event */
  #move(event) {
    const all = /** @type {HTMLElement[]} */ ([...this.list.querySelectorAll(".talk-open")]);
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (at < 0) return;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (event.key === "F2") this.rename(all[at].closest("[data-conversation]")?.getAttribute("data-conversation") ?? "");
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0) this.input.focus();
    else all[Math.min(to, all.length - 1)].focus();
  }
}

/** @param {Marked} pieces */
const marked = (pieces) => pieces.map(({ text, hit }) => (hit ? h("mark", { text }) : text));

/** "Today", "Yesterday", "Last 7 days", "Last 30 days", or the month. @param {number} time */
function groupOf(time) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (time >= midnight) return t("group.today");
  if (time >= midnight - DAY) return t("group.yesterday");
  if (time >= midnight - 7 * DAY) return t("group.week");
  if (time >= midnight - 30 * DAY) return t("group.month");
  months[language()] ??= new Intl.DateTimeFormat(language(), { month: "long", year: "numeric" }); // making one takes longer than using it
  return months[language()].format(time);
}

/** @param {Shown[]} shown */
function sections(shown) {
  /** @type {Map<string, HTMLElement[]>} */
  const groups = new Map();
  for (const { group, item } of shown) {
    const items = groups.get(group);
    if (items) items.push(item);
    else groups.set(group, [item]);
  }
  return [...groups].map(([name, items]) => h("section", {}, h("h2", { text: name }), h("ul", {}, ...items)));
}
