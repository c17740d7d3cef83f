// @ts-check
// Keyboard shortcuts: who wants one registers it, `?` shows them all. "mod" is Ctrl, on a Mac ⌘.

import { byId, h } from "./dom.js";
import { onLanguage, t } from "./i18n.js";

/** @typedef {{id: string, keys: string, label: string, run?: () => void}} Shortcut keys: "mod+shift+O"; without `run` it is only listed */

const MAC = /Mac|iP(hone|ad|od)/.test(navigator.platform);
const SHOWN = /** @type {Record<string, string>} */ ({
  mod: MAC ? "⌘" : "Ctrl",
  shift: MAC ? "⇧" : "Shift",
  Escape: "Esc",
  Enter: "↵",
  ArrowUp: "↑",
});

/** @type {Shortcut[]} */
let all = [];

/** @param {Shortcut} shortcut */
export function registerShortcut(shortcut) {
  all = [...all.filter(({ id }) => id !== shortcut.id), shortcut];
}

/** @param {KeyboardEvent} event @param {string} keys */
function pressed(event, keys) {
  const parts = keys.split("+");
  const key = parts.pop() ?? "";
  const mod = MAC ? event.metaKey : event.ctrlKey;
  const same = event.key.toLowerCase() === key.toLowerCase() || event.code === key || event.code === `Key${key}`;
  return same && mod === parts.includes("mod") && (key === "?" || event.shiftKey === parts.includes("shift")) && !event.altKey;
}

/** @param {EventTarget | null} target */
const writes = (target) =>
  target instanceof Element && Boolean(target.closest("input:not([type=range]), textarea, select, [contenteditable]"));

/** Listen, and wire the dialog. @param {() => boolean} active whether the shortcuts mean anything on this screen */
export function startShortcuts(active) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("shortcuts-dialog"));
  registerShortcut({ id: "help", keys: "?", label: "shortcuts.help", run: () => openShortcuts() });
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229 || event.defaultPrevented || !active()) return;
    if (document.querySelector("dialog[open], [popover]:popover-open")) return;
    const hit = all.find(({ keys, run }) => run && pressed(event, keys));
    if (!hit?.run || (!hit.keys.includes("mod") && writes(event.target))) return;
    event.preventDefault();
    hit.run();
  });
  onLanguage(() => dialog.open && draw());
}

export function openShortcuts() {
  draw();
  /** @type {HTMLDialogElement} */ (byId("shortcuts-dialog")).showModal();
}

function draw() {
  byId("shortcuts").replaceChildren(
    ...all.map(({ keys, label }) =>
      h(
        "div",
        { class: "shortcut" },
        h("dt", { text: t(label) }),
        h("dd", {}, ...keys.split("+").map((key) => h("kbd", { text: SHOWN[key] ?? key.replace("Semicolon", ";") }))),
      ),
    ),
  );
}
