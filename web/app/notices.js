// @ts-check
// Notices that stay until they are no longer true or somebody closes them, with what can be done about it. (What goes by itself is a toast.)

import { h, icon } from "./dom.js";
import { label, onLanguage } from "./i18n.js";

/** @typedef {{label: () => string, run: () => void, testid?: string}} Action */
/** `kind`: "busy" for something under way. `close`: whether it can be put away. @typedef {{text: () => string, kind?: "info" | "warn" | "busy", actions?: Action[], close?: boolean, onClose?: () => void}} Notice */

/** By their name; one of a name at a time. @type {Map<string, Notice>} */
const shown = new Map();
/** @type {HTMLElement | undefined} */
let area;

/** @param {string} name @param {Notice} notice */
export function notify(name, notice) {
  shown.set(name, notice);
  draw();
}

/** @param {string} name */
export function withdraw(name) {
  if (shown.delete(name)) draw();
}

function draw() {
  if (!area) {
    area = h("div", { class: "notices", role: "status" });
    document.body.append(area);
    onLanguage(draw);
  }
  area.replaceChildren(...[...shown].map(([name, notice]) => one(name, notice)));
}

/** @param {string} name @param {Notice} notice */
function one(name, { text, kind = "info", actions = [], close = true, onClose }) {
  const away = h("button", { type: "button", class: "tool small", "data-testid": `notice-${name}-close`, onclick: put }, icon("close"));
  label(away, "close");
  function put() {
    withdraw(name);
    onClose?.();
  }
  const buttons = actions.map((action) =>
    h("button", {
      type: "button",
      class: "button small",
      "data-testid": action.testid ?? `notice-${name}-action`,
      text: action.label(),
      onclick: () => {
        withdraw(name);
        action.run();
      },
    }),
  );
  return h(
    "div",
    { class: "notice-card", "data-testid": `notice-${name}`, "data-kind": kind },
    h("p", { text: text() }),
    ...(close ? [away] : []),
    ...(buttons.length ? [h("div", { class: "notice-actions" }, ...buttons)] : []),
  );
}
