// @ts-check
// A short note at the bottom that goes by itself, with at most one thing to do about it (Undo).

import { byId, h } from "./dom.js";
import { t } from "./i18n.js";

const SECONDS = 5;

/**
 * @param {string} text
 * @param {{action?: string, run?: () => void, seconds?: number, onGone?: () => void}} [options]
 *   action: key of the button's text; run: what it does; onGone: the note went without it
 */
export function toast(text, { action, run, seconds = SECONDS, onGone } = {}) {
  let done = false;
  const end = (/** @type {boolean} */ used) => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    note.remove();
    if (used) run?.();
    else onGone?.();
  };
  const note = h("div", { class: "toast", "data-testid": "toast" }, h("span", { text }));
  if (action)
    note.append(
      h("button", { type: "button", class: "toast-action", "data-testid": "toast-action", text: t(action), onclick: () => end(true) }),
    );
  const timer = setTimeout(() => end(false), seconds * 1000);
  const all = byId("toasts");
  all.append(note);
  while (all.children.length > 3) all.firstElementChild?.remove();
  return () => end(false);
}
