// @ts-check
/** What an element consists of: the parts of the page's chat (web/index.html) by their names for `::part()`, and their labels. */

import { h, icon } from "../app/dom.js";
import { speak, t } from "../app/i18n.js";

export function skeleton() {
  const status = h("span", { part: "status", role: "status" });
  const numbers = h("span", { "aria-hidden": "true" });
  const latest = h("button", { type: "button", class: "tool latest", "data-t-label": "chat.latest", hidden: true }, icon("down"));
  const area = h("textarea", { part: "input", rows: 1, enterkeyhint: "send", autocomplete: "off", "data-t-label": "chat.placeholder" });
  const send = h("button", { type: "submit", class: "round", part: "send", "data-t-label": "chat.send" }, icon("up"));
  const stop = h("button", { type: "button", class: "round stop", part: "stop", "data-t-label": "chat.stop", hidden: true }, icon("stop"));
  const form = h("form", { class: "composer", part: "composer" }, area, send, stop);
  const line = h("p", { class: "statusline" }, status, numbers);
  const unless = h("slot", {}, h("h2", { "data-t": "embed.empty" }), h("p", { "data-t": "embed.private" }));
  return {
    scroller: h("div", { class: "scroller", part: "log", tabindex: -1 }),
    empty: h("div", { class: "empty", part: "empty" }, unless),
    log: h("div", { class: "log", role: "log", "aria-live": "off", "data-t-label": "chat.log" }),
    foot: h("div", { class: "foot", part: "foot" }, latest, form, line),
    ...{ status, numbers, latest, area, send, stop, form },
  };
}

/**
 * What other modules put in here and label, they label in the language of the document: say it in that of the element.
 * @param {HTMLElement} root @param {() => string} language
 */
export function keepLabels(root, language) {
  const fix = (/** @type {Element} */ element) => {
    const text = speak(language(), () => t(element.getAttribute("data-t-label") ?? ""));
    element.setAttribute("aria-label", text);
    if (element instanceof HTMLButtonElement) element.title = text;
  };
  const observer = new MutationObserver((records) => {
    for (const { type, target, addedNodes } of records)
      if (type === "attributes") fix(/** @type {Element} */ (target));
      else
        for (const node of addedNodes)
          if (node instanceof Element)
            for (const each of [node, ...node.querySelectorAll("[data-t-label]")]) if (each.hasAttribute("data-t-label")) fix(each);
  });
  observer.observe(root, { subtree: true, childList: true, attributeFilter: ["data-t-label"] });
}
