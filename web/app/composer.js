// @ts-check
// The text field with its send and stop buttons. Enter sends, Shift+Enter breaks the line, Enter that ends an IME composition does neither.

import { byId } from "./dom.js";

export class Composer {
  /** @type {"off" | "ready" | "busy"} */
  state = "off";

  /**
   * @param {(text: string) => void} onSend
   * @param {() => void} onStop
   * @param {(text: string) => void} onDraft the text changed
   * @param {{form: HTMLElement, area: HTMLElement, send: HTMLElement, stop: HTMLElement, scope: Document | HTMLElement}} [parts] scope: where Escape stops
   */
  constructor(onSend, onStop, onDraft, parts) {
    const { form, area, send, stop, scope } = parts ?? {
      form: byId("composer-form"),
      area: byId("composer"),
      send: byId("send"),
      stop: byId("stop"),
      scope: document,
    };
    this.onSend = onSend;
    this.area = /** @type {HTMLTextAreaElement} */ (area);
    this.sendButton = /** @type {HTMLButtonElement} */ (send);
    this.stopButton = /** @type {HTMLButtonElement} */ (stop);
    this.area.addEventListener("input", () => {
      this.draw();
      onDraft(this.area.value);
    });
    this.area.addEventListener("keydown", (event) => {
      const composing = event.isComposing || event.keyCode === 229; // Safari ends the composition before it tells of the Enter
      if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.altKey || event.metaKey || composing) return;
      event.preventDefault();
      this.send();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.stopButton.addEventListener("click", onStop);
    scope.addEventListener("keydown", (event) => {
      const { key, shiftKey, isComposing } = /** @type {KeyboardEvent} */ (event);
      const elsewhere = document.querySelector("dialog[open], [popover]:popover-open, [data-drawer]");
      if (key === "Escape" && !shiftKey && this.state === "busy" && !isComposing && !elsewhere) onStop();
    });
  }

  /** What was written here before. @param {string} text */
  setText(text) {
    this.area.value = text;
    this.draw();
  }

  get empty() {
    return !this.area.value;
  }

  send() {
    const text = this.area.value.trim();
    if (!text || this.state !== "ready") return;
    this.area.value = "";
    this.draw();
    this.onSend(text);
    this.focus();
  }

  /** @param {"off" | "ready" | "busy"} state */
  setState(state) {
    const { activeElement } = /** @type {Document | ShadowRoot} */ (this.area.getRootNode());
    const hadFocus = [this.sendButton, this.stopButton].some((button) => button === activeElement);
    this.state = state;
    this.draw();
    if (hadFocus) this.focus(); // a button that goes away must not take the keyboard with it
  }

  focus() {
    this.area.focus({ preventScroll: true });
  }

  draw() {
    const busy = this.state === "busy";
    this.sendButton.hidden = busy;
    this.stopButton.hidden = !busy;
    this.sendButton.disabled = this.state !== "ready" || !this.area.value.trim();
    this.area.style.setProperty("height", "auto");
    if (this.area.value)
      this.area.style.setProperty("height", `${this.area.scrollHeight}px`); // CSS limits it
    else this.area.style.removeProperty("height");
  }
}
