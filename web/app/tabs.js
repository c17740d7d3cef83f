// @ts-check
// Says when this tab uses the model through another one, and lets a person load it here.

import { byId, h, icon } from "./dom.js";
import { label, onLanguage, t } from "./i18n.js";
import { notify, withdraw } from "./notices.js";

const SECONDS = 12; // after which the notice leaves the place to the conversation; the badge in the bar brings it back

/** @param {import("./types.js").PageEngine} engine */
export function startTabs(engine) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let leaving;
  const tell = () => {
    clearTimeout(leaving);
    leaving = setTimeout(() => withdraw("tab"), SECONDS * 1000);
    const own = { label: () => t("tabs.own"), run: () => void engine.own(), testid: "own" };
    notify("tab", { text: () => t("tabs.shared"), actions: [own] });
  };
  const words = h("span", { "data-t": "tabs.badge" });
  const badge = h(
    "button",
    { type: "button", class: "tab-badge", "data-testid": "tab-badge", "data-when": "chat", onclick: tell },
    icon("copy"),
    words,
  );
  badge.hidden = true;
  byId("model-chip").after(badge);
  const draw = () => {
    words.textContent = t("tabs.badge");
    label(badge, "tabs.badge");
  };
  onLanguage(draw);
  draw();
  let before = false;
  engine.addEventListener("state", () => {
    const shared = engine.status().shared === true;
    if (shared === before) return;
    before = shared;
    badge.hidden = !shared;
    if (shared) tell();
    else withdraw("tab");
  });
}
