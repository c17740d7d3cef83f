// @ts-check
// Follows a growing conversation, but only while the reader is near its end. Moving up lets go at once, coming back near the end follows again.

import { byId } from "./dom.js";

const NEAR = 96; // px from the end that still count as "at the end"
const UPWARD = new Set(["ArrowUp", "PageUp", "Home"]);

export class Scroller {
  following = true;
  last = 0;

  /** @param {HTMLElement} [element] @param {HTMLElement} [button] to the end */
  constructor(element = byId("scroller"), button = byId("latest")) {
    this.element = element;
    this.button = button;
    // The intention counts, not only the position: a wheel moves by small steps, and text that arrives between them would take the reader back.
    this.element.addEventListener("wheel", ({ deltaY }) => void (deltaY < 0 && this.#letGo()), { passive: true });
    this.element.addEventListener("keydown", ({ key }) => void (UPWARD.has(key) && this.#letGo()));
    this.element.addEventListener("scroll", () => this.#moved(), { passive: true });
    this.button.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.follow()).observe(this.element); // the keyboard of a phone opens
  }

  /** @param {number} distance */
  #near(distance) {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    return scrollHeight - scrollTop - clientHeight < distance;
  }

  #letGo() {
    if (this.element.scrollTop > 0) this.following = false;
  }

  /** Take in where the reader is now. */
  #moved() {
    const { scrollTop } = this.element;
    if (scrollTop < this.last - 1)
      this.following &&= this.#near(2); // still at the end: the content has become shorter
    else if (scrollTop > this.last + 1 && this.#near(NEAR)) this.following = true;
    this.last = scrollTop;
    this.draw();
  }

  /** The content grew. */
  follow() {
    this.#moved(); // a finger may have moved it since the last event
    if (this.following) this.element.scrollTop = this.element.scrollHeight;
    this.last = this.element.scrollTop;
    this.draw();
  }

  /** Change an element without moving what is read. @param {HTMLElement} element @param {() => void} change */
  keep(element, change) {
    const { scrollHeight, scrollTop } = this.element;
    const above = element.getBoundingClientRect().top < this.element.getBoundingClientRect().top;
    change();
    if (!this.following && above) this.element.scrollTop = scrollTop + this.element.scrollHeight - scrollHeight;
    this.follow();
  }

  toEnd() {
    this.following = true;
    this.last = this.element.scrollTop;
    this.follow();
  }

  draw() {
    this.element.classList.toggle("free", !this.following);
    this.button.hidden = this.following || this.#near(NEAR);
  }
}
