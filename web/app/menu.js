// @ts-check
// One menu for the page: opens at a button, arrow keys move in it, Escape or a click beside it closes it and gives the focus back.

import { byId, h, icon } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {{id: string, text: string, icon: string, danger?: boolean, run: () => void}} Item */

/** @param {HTMLElement} button @param {Item[]} items */
export function openMenu(button, items) {
  const menu = byId("menu");
  if (menu.matches(":popover-open")) menu.hidePopover();
  menu.replaceChildren(
    ...items.map(({ id, text, icon: name, danger, run }) =>
      h(
        "button",
        {
          type: "button",
          role: "menuitem",
          tabindex: -1,
          class: danger ? "menu-item danger" : "menu-item",
          "data-testid": `menu-${id}`,
          onclick: () => {
            menu.hidePopover();
            run();
          },
        },
        icon(name),
        h("span", { text }),
      ),
    ),
  );
  menu.setAttribute("aria-label", button.getAttribute("aria-label") ?? t("menu"));
  button.setAttribute("aria-expanded", "true");
  menu.addEventListener(
    "toggle",
    (event) => {
      if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
      button.setAttribute("aria-expanded", "false");
      if (menu.contains(document.activeElement) || document.activeElement === document.body) button.focus();
    },
    { signal: closing(menu) },
  );
  menu.showPopover();
  place(menu, button);
  /** @type {HTMLElement | null} */ (menu.firstElementChild)?.focus();
}

/** Aborts what belongs to the menu that was open before. @type {AbortController | undefined} */
let before;

/** @param {HTMLElement} menu */
function closing(menu) {
  before?.abort();
  before = new AbortController();
  const { signal } = before;
  menu.addEventListener(
    "keydown",
    (event) => {
      const items = /** @type {HTMLElement[]} */ ([...menu.children]);
      const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
      if (event.key === "Tab") menu.hidePopover();
      if (to === undefined) return;
      event.preventDefault();
      items.at(to % items.length)?.focus();
    },
    { signal },
  );
  return signal;
}

/** Below the button, or above where there is no room; never beyond the edge. @param {HTMLElement} menu @param {HTMLElement} button */
function place(menu, button) {
  const at = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const left = at.left + width > innerWidth - 8 ? at.right - width : at.left;
  const top = at.bottom + height + 8 > innerHeight ? at.top - height - 4 : at.bottom + 4;
  menu.style.setProperty("left", `${Math.max(8, left)}px`);
  menu.style.setProperty("top", `${Math.max(8, top)}px`);
}
