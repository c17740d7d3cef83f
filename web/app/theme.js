// @ts-check
// Light and dark. The page follows the system until someone chooses otherwise; choosing what the system has makes it follow again.

import { byId, remember } from "./dom.js";
import { label, onLanguage } from "./i18n.js";

const system = matchMedia("(prefers-color-scheme: dark)");
const systemTheme = () => (system.matches ? "dark" : "light");

/** @param {string} theme "light" | "dark" */
function apply(theme) {
  document.documentElement.dataset.theme = theme;
  const bar = getComputedStyle(document.documentElement).getPropertyValue("--page").trim();
  document.querySelector('meta[name="theme-color"]')?.setAttribute("content", bar);
  label(byId("theme"), theme === "dark" ? "theme.light" : "theme.dark");
}

/** Wire the button and follow the system. */
export function startTheme() {
  const current = () => remember("theme") ?? systemTheme();
  apply(current());
  onLanguage(() => apply(document.documentElement.dataset.theme ?? current()));
  system.addEventListener("change", () => apply(current()));
  byId("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    remember("theme", next === systemTheme() ? null : next);
    apply(next);
  });
}
