// @ts-check
// The messages of a branch on the page: made as they come near the screen, kept when another branch shares them, scrolled to.

import { byId } from "./dom.js";
import { MessageView } from "./message.js";
import { Scroller } from "./scroller.js";

/** @typedef {import("./conversations/types.js").Message} Message */
/** What a message asks the conversation for (message.js); writing: its answer under way. @typedef {Omit<ConstructorParameters<typeof MessageView>[1], "grown" | "thinkingSince"> & {writing: (message: Message) => import("./answer.js").Run | undefined}} Asked */

const AT_ONCE = 4; // messages drawn before the first paint

export class Log {
  /** @type {Map<string, MessageView>} */
  views = new Map();
  element = byId("log");
  #scroller = new Scroller();
  /** Messages that are not drawn yet, and come near the screen. */
  #near = new IntersectionObserver((entries) => this.#reach(entries), { root: this.#scroller.element, rootMargin: "1000px 0px" });

  /** @param {Asked} asked */
  constructor(asked) {
    this.asked = asked;
  }

  /** Show a branch. Messages that are there already stay as they are. @param {Message[]} path */
  show(path) {
    const elements = path.map((message) => this.view(message).element);
    const kept = elements.findIndex((element, i) => this.element.children[i] !== element);
    if (kept >= 0 || this.element.children.length > elements.length) {
      const from = kept < 0 ? elements.length : kept;
      while (this.element.children.length > from) this.element.lastElementChild?.remove();
      this.element.append(...elements.slice(from));
    }
    for (const message of path.slice(-AT_ONCE)) this.#fill(this.view(message));
    for (const message of path) if (this.view(message).drawn) this.view(message).draw();
  }

  /** Draw what is drawn once more. @param {boolean} [words] the language has changed */
  draw(words = false) {
    for (const view of this.views.values()) {
      if (!view.drawn) continue;
      if (words) view.drawThinking();
      view.draw();
    }
    this.#scroller.follow();
  }

  /** Another conversation comes. */
  clear() {
    this.views.clear();
    this.#near.disconnect();
  }

  /** While an answer is written a screen reader would stumble over every few letters; then it may read it out, once and whole. @param {boolean} busy */
  setBusy(busy) {
    this.element.setAttribute("aria-live", busy ? "off" : "polite");
    if (busy) this.element.setAttribute("aria-busy", "true");
    else this.element.removeAttribute("aria-busy");
  }

  /** @param {Message} message */
  view(message) {
    let view = this.views.get(message.id);
    if (view && view.message !== message) {
      view.element.remove(); // another tab wrote another version of it
      view = undefined;
    }
    if (!view) {
      const { writing, ...asked } = this.asked;
      view = new MessageView(message, {
        ...asked,
        thinkingSince: (one) => writing(one)?.thinking,
        grown: () => this.#scroller.follow(),
      });
      this.views.set(message.id, view);
      this.#near.observe(view.element);
    }
    return view;
  }

  toEnd() {
    this.#scroller.toEnd();
  }

  /** How far from the top of the page a message stands. @param {string | undefined} id */
  placeOf(id) {
    return this.views.get(id ?? "")?.element.getBoundingClientRect().top;
  }

  /** Scroll so that an element stands there. @param {HTMLElement} element @param {number | undefined} at */
  place(element, at) {
    this.#scroller.following = false;
    if (at !== undefined) this.#scroller.element.scrollTop += element.getBoundingClientRect().top - at;
  }

  /** Scroll to a message. @param {string} id */
  reveal(id) {
    const view = this.views.get(id);
    if (!view) return;
    this.#fill(view);
    this.#scroller.following = false;
    view.element.scrollIntoView({ block: "start" });
    requestAnimationFrame(() => view.element.scrollIntoView({ block: "start" })); // what came near was drawn meanwhile
    view.element.classList.add("found");
    setTimeout(() => view.element.classList.remove("found"), 1600);
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #reach(entries) {
    for (const { target, isIntersecting } of entries) {
      const view = isIntersecting && this.views.get(target.getAttribute("data-id") ?? "");
      if (view && view.element === target) this.#scroller.keep(view.element, () => this.#fill(view));
    }
  }

  /** @param {MessageView} view */
  #fill(view) {
    if (view.drawn) return;
    this.#near.unobserve(view.element);
    if (this.asked.writing(view.message)) view.begin();
    else view.fill();
    view.draw();
  }
}
