// @ts-check
// Puts the parts of prompting together: the values and their panel, personas, raw text.

import { Completion } from "../completion.js";
import { byId } from "../dom.js";
import { Personas } from "../personas.js";
import { Prompting } from "../prompting.js";
import { registerShortcut } from "../shortcuts.js";
import { panel } from "../slots.js";
import { PersonaStore } from "./store.js";

/** @typedef {import("../chat.js").Chat} Chat */
/** @typedef {import("../conversations/library.js").Library} Library */

/** @param {import("../types.js").PageEngine} engine @param {Library} library */
export function startPrompting(engine, library) {
  const store = new PersonaStore();
  const prompting = new Prompting(engine, library, store, {
    manage: () => personas.open(),
    create: (persona) => personas.edit(persona),
    chosen: () => personas.drawStart(),
  });
  const personas = new Personas(engine, store, {
    begin: async (persona) => {
      await prompting.chat?.open(undefined);
      prompting.use(persona);
    },
    chosen: () => prompting.fresh.persona,
    choose: (persona) => prompting.use(persona),
    templates: () => prompting.prompt.known,
    defaults: () => prompting.sampling.defaults,
  });
  /** Once there is a chat. @param {Chat} chat @param {() => void} closeDrawer */
  const follow = (chat, closeDrawer) => {
    prompting.follow(chat);
    const completion = new Completion(engine, library, {
      sampling: () => prompting.text.sampling,
      entered: (raw) => {
        prompting.raw = raw;
        closeDrawer();
        if (panel.owner && panel.owner !== "prompting" && raw) panel.close();
        prompting.draw(true);
      },
    });
    chat.addEventListener("open", () => completion.show(false));
    const available = () => completion.setAvailable(["ready", "busy"].includes(engine.status().state));
    engine.addEventListener("state", available);
    available();
    registerShortcut({ id: "raw", keys: "mod+shift+U", label: "shortcuts.raw", run: () => byId("raw-open").click() });
    registerShortcut({ id: "raw-continue", keys: "mod+Enter", label: "shortcuts.raw.continue" });
    void store.open().then(() => {
      chat.draw();
      void store.sweep(library.headers.values()).catch(() => undefined);
    });
  };
  return { prompting, follow };
}
