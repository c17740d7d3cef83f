// @ts-check
// Follows a growing conversation, but only while the reader is near its end.

import { byId } from "./dom.js";

const NEAR = 96; // px from the end that still count as "at the end"

export class Scroller {
  following = true;

  constructor() {
    this.element = byId("scroller");
    this.button = byId("latest");
    let last = 0;
    this.element.addEventListener(
      "scroll",
      () => {
        const { scrollTop } = this.element;
        if (scrollTop < last - 2)
          this.following = this.#near(8); // moved up: let go at once
        else if (this.#near(NEAR)) this.following = true;
        last = scrollTop;
        this.draw();
      },
      { passive: true },
    );
    this.button.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.follow()).observe(this.element); // the keyboard of a phone opens
  }

  /** @param {number} distance */
  #near(distance) {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    return scrollHeight - scrollTop - clientHeight < distance;
  }

  /** The content grew. */
  follow() {
    if (this.following) this.element.scrollTop = this.element.scrollHeight;
    this.draw();
  }

  toEnd() {
    this.following = true;
    this.follow();
  }

  draw() {
    this.button.hidden = this.following || this.#near(NEAR);
  }
}
