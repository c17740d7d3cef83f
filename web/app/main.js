// @ts-check
// Starts the page: one engine (window.rwkv), the parts of the page, and which screen is shown. Knows the engine only through engine/client.js.

import { creating } from "./engine.js"; // first: what follows is read while its worker starts
import { Chat } from "./chat.js";
import { Actions } from "./conversations/actions.js";
import { Library } from "./conversations/library.js";
import { Overview } from "./conversations/overview.js";
import { Sidebar } from "./conversations/sidebar.js";
import { byId } from "./dom.js";
import { choices, Faults } from "./faults.js";
import { asPageError, bytes, language, onLanguage, startLanguage, t } from "./i18n.js";
import { InfoPanel } from "./info.js";
import { startInside } from "./inside/start.js";
import { LoaderView } from "./loader.js";
import { ModelsDialog } from "./models.js";
import { ErrorView, NoWebgpuView } from "./problem.js";
import { startPrompting } from "./prompting/start.js";
import { registerShortcut, startShortcuts } from "./shortcuts.js";
import { panel, startTools } from "./slots.js";
import { startOffline } from "./offline.js";
import { startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";
import { toast } from "./toast.js";

/** @typedef {import("./types.js").PageEngine} PageEngine */
/** @typedef {import("./types.js").LoadSource} LoadSource */
/** @typedef {import("./types.js").Conversion} Conversion */
/** @typedef {"boot" | "welcome" | "loading" | "no-webgpu" | "error" | "chat"} Screen */

const DEMO = "demo";

class Page {
  /** @type {import("./types.js").Probe} */
  probe = { webgpu: { available: true }, stored: {} };
  /** @type {import("./types.js").CatalogueEntry[]} */
  catalogue = [];
  /** The load that this page began. @type {AbortController | undefined} */
  loading;
  /** Resolves when that load is over, however it ended. @type {Promise<void>} */
  settled = Promise.resolve();
  /** What to load again after an error. @type {{source: LoadSource, device?: "numpy", conversion?: Conversion}} */
  last = { source: DEMO };
  /** @type {Screen} */
  screen = "boot";
  /** Which model answers. @type {string | undefined} */
  talking;

  /** @param {PageEngine} engine @param {Library} library */
  constructor(engine, library) {
    this.engine = engine;
    this.loader = new LoaderView(engine);
    this.errors = new ErrorView();
    this.noWebgpu = new NoWebgpuView();
    this.panel = new InfoPanel(engine);
    this.models = new ModelsDialog(engine, (source, conversion) => void this.load(source, undefined, conversion));
    this.prompts = startPrompting(engine, library);
    const { prompting } = this.prompts;
    this.chat = new Chat(engine, library, {
      sampling: () => prompting.answering,
      fresh: () => prompting.begin(),
      suggestions: () => prompting.suggestions,
      recover: () => this.again(),
    });
    this.#arrangeConversations(library);
    startInside(engine, this.chat, library, this.panel);
    this.faults = new Faults(engine, () => ({ what: this.last, name: this.nameOf(this.last.source) }));
    engine.addEventListener("state", () => this.onState());
    engine.addEventListener("progress", (event) => this.loader.update(/** @type {CustomEvent} */ (event).detail));
    engine.addEventListener("error", (event) => this.onError(/** @type {CustomEvent} */ (event).detail));
    byId("start").addEventListener("click", () => void this.load(DEMO));
    byId("fallback").addEventListener("click", () => void this.load(DEMO, "numpy"));
    for (const button of ["cancel", "chat-cancel"]) byId(button).addEventListener("click", () => this.cancel());
    byId("error-retry").addEventListener("click", () => void this.again());
    byId("error-home").addEventListener("click", () => this.home());
    onLanguage(() => this.drawWelcome());
    wireDialogs(this.models);
  }

  /** The list beside the chat, the tree of branches, what can be done by menu and by keyboard. @param {Library} library */
  #arrangeConversations(library) {
    const overview = new Overview(this.chat);
    /** @type {Sidebar} */
    let sidebar; // the actions are part of it, and it is part of the actions
    const actions = new Actions(this.chat, library, { rename: (id) => sidebar.rename(id), overview: () => overview.open() });
    sidebar = new Sidebar(library, this.chat, (button, id) => actions.menu(button, id));
    actions.registerShortcuts({ search: () => sidebar.search(), toggle: () => sidebar.toggle() });
    registerShortcut({ id: "settings", keys: "mod+shift+E", label: "shortcuts.settings", run: () => byId("settings-open").click() });
    startShortcuts(() => this.screen === "chat");
    startTools();
    byId("panel-close").addEventListener("click", () => panel.close());
    this.prompts.follow(this.chat, () => sidebar.closeDrawer());
  }

  /** Ask what this browser can do, and show the first screen; a model that is already here starts by itself. */
  async start() {
    try {
      [this.probe, this.catalogue] = await Promise.all([this.engine.probe(), this.engine.catalogue()]);
    } catch (thrown) {
      return this.fail(thrown);
    }
    await this.models.set(this.catalogue, this.probe);
    const ended = await Faults.ended();
    if (ended) Faults.tell(this.#situation(ended.what, ended.name));
    // Nothing is awaited from here on: somebody may have called window.rwkv.load() meanwhile, which a load of the page's own would cancel.
    if (this.engine.status().state !== "idle") return this.onState();
    if (ended) return this.home();
    if (this.probe.webgpu.available && this.models.latest) {
      const { source, conversion } = this.models.latest;
      return void this.load(source, undefined, conversion);
    }
    this.home();
  }

  /** @param {Page["last"]} what @param {string} name @returns {import("./faults.js").Situation} */
  #situation(what, name) {
    const again = (/** @type {Page["last"]} */ { source, device, conversion }) => void this.load(source, device, conversion);
    return { what, name, again, catalogue: this.catalogue };
  }

  again() {
    const { source, device, conversion } = this.last;
    return this.load(source, device, conversion);
  }

  /**
   * @param {LoadSource} source
   * @param {"numpy"} [device]
   * @param {Conversion} [conversion]
   * @returns {Promise<boolean>} whether the engine is ready
   */
  load(source, device, conversion) {
    const before = this.settled;
    const result = this.#load({ source, device, conversion }, before);
    this.settled = result.then(() => undefined);
    return result;
  }

  /**
   * @param {Page["last"]} what
   * @param {Promise<void>} before the load before this one, which has to be over first
   */
  async #load(what, before) {
    const { source, device, conversion } = what;
    this.loading?.abort();
    const loading = (this.loading = new AbortController());
    this.last = what;
    this.chat.answers.stop();
    this.loader.start(conversion?.name || this.nameOf(source), device === "numpy");
    this.show("loading");
    try {
      await before;
      await this.engine.load(source, { signal: loading.signal, device, share: true, ...conversion });
      if (this.loading !== loading) return false; // another load took its place
      this.loading = undefined;
      this.onState();
      return true;
    } catch (thrown) {
      if (this.loading !== loading) return false;
      this.loading = undefined;
      if (loading.signal.aborted || asPageError(thrown).code === "cancelled") await this.returnHome();
      else this.fail(thrown);
      return false;
    }
  }

  cancel() {
    if (this.loading) this.loading.abort();
    else this.engine.unload(); // a load that was begun from outside the page
  }

  /** After a cancelled load: part of the model may be stored by now. */
  async returnHome() {
    this.probe = await this.engine.probe().catch(() => this.probe);
    this.models.set(this.catalogue, this.probe);
    this.home();
  }

  home() {
    const { webgpu, stored } = this.probe;
    if (this.engine.status().state === "ready") return this.show("chat");
    if (webgpu.available) {
      this.drawWelcome();
      return this.show("welcome");
    }
    this.noWebgpu.show(webgpu, this.catalogue.find(({ id }) => id === DEMO)?.bytes ?? 0, stored[DEMO] ?? false);
    this.show("no-webgpu");
  }

  /** The engine went from one state to another, whoever caused it. */
  onState() {
    const { state, model } = this.engine.status();
    this.chat.setAvailable(state === "ready" || state === "busy"); // several conversations can be answered at a time
    if (state === "loading" && this.screen !== "loading") {
      if (!this.loading) this.loader.start(model?.name ?? this.nameOf(DEMO), false);
      this.show("loading");
    } else if (state === "ready" && !this.loading && this.screen !== "chat") {
      this.show("chat");
      void this.arrive();
    } else if (state === "idle" && !this.loading && this.screen !== "boot" && this.screen !== "error") this.home();
    this.mirror();
  }

  /** A model has just become ready. */
  async arrive() {
    if (matchMedia("(pointer: fine)").matches) this.chat.composer.focus(); // on a phone the keyboard would cover half of the page
    const info = await this.panel.refresh();
    void this.models.arrived(info);
    const identity = info && `${info.model.name} ${info.model.bytes}`;
    if (this.talking !== identity) {
      this.chat.model = info?.model.name;
      void this.prompts.prompting.setModel(info?.model.sampling);
      this.talking = identity;
      this.chat.render();
    }
    this.drawWelcome();
  }

  /** @param {unknown} thrown */
  onError(thrown) {
    if (this.loading || this.chat.showsError) return; // shown by whoever waits for it
    this.fail(thrown);
  }

  /** @param {unknown} thrown */
  fail(thrown) {
    const error = asPageError(thrown);
    this.errors.show(error, choices(error, this.#situation(this.last, this.nameOf(this.last.source))));
    this.show("error");
    byId("error-title").focus();
  }

  /** @param {Screen} screen */
  show(screen) {
    const before = this.screen;
    this.screen = screen;
    const reading = screen === "loading" && this.chat.path().length > 0; // what was said can be read while the model loads
    const shown = reading ? "chat" : screen;
    for (const section of document.querySelectorAll("section[data-screen]"))
      /** @type {HTMLElement} */ (section).hidden = section.getAttribute("data-screen") !== shown;
    byId("chat-loading").hidden = !reading;
    document.documentElement.dataset.screen = shown;
    this.mirror();
    const focusLost = !document.activeElement || document.activeElement === document.body;
    if (before !== screen && before !== "boot" && focusLost && screen !== "chat") byId("main").focus({ preventScroll: true });
  }

  /** data-state on <html>: the engine's state, or what keeps the engine from having one. */
  mirror() {
    const { state } = this.engine.status();
    const blocked = this.screen === "no-webgpu" || this.screen === "error";
    document.documentElement.dataset.state = blocked && state === "idle" ? this.screen : state;
  }

  /** @param {LoadSource} source */
  nameOf(source) {
    if (source instanceof Object) return [source].flat()[0]?.name ?? "";
    return this.catalogue.find(({ id }) => id === (source ?? DEMO))?.name ?? source?.split("/").filter(Boolean).at(-1) ?? "";
  }

  drawWelcome() {
    const demo = this.catalogue.find(({ id }) => id === DEMO);
    if (!demo) return;
    const stored = this.probe.stored[DEMO];
    byId("start-text").textContent = stored ? t("welcome.start.stored") : t("welcome.start", { size: bytes(demo.bytes) });
    const description = demo.description[language()] ?? demo.description.en ?? "";
    byId("start-note").textContent = t("welcome.note", { name: demo.name, description, licence: demo.licence });
    byId("software-note").hidden = !this.probe.webgpu.software;
    const small = this.talking === undefined || this.engine.status().model?.name === demo.name;
    byId("empty-note").textContent = small ? t("chat.empty.demo") : t("chat.empty.note");
  }
}

/** @param {ModelsDialog} models */
function wireDialogs(models) {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // the backdrop: the content covers the dialog itself completely
    });
  }
  document.addEventListener("click", (event) => {
    const action = event.target instanceof Element ? event.target.closest("[data-action]")?.getAttribute("data-action") : null;
    if (action === "reload") location.reload();
    if (action !== "models") return;
    const panel = byId("device-panel");
    if (panel.matches(":popover-open")) panel.hidePopover();
    models.open();
  });
}

const language_ = startLanguage();
const library_ = new Library(() => toast(t("conversations.unstored"), { seconds: 12 })).open();
startTheme();
try {
  const engine = await creating;
  Object.assign(window, { rwkv: engine });
  document.documentElement.dataset.state = engine.status().state; // from here on it can be told what the engine does
  await language_;
  startTabs(engine);
  startOffline(engine);
  const page = new Page(engine, await library_);
  await page.chat.open(Chat.remembered(), { focus: false });
  await page.start();
} catch (thrown) {
  await language_.catch(() => undefined);
  document.documentElement.dataset.state = "error";
  const errors = new ErrorView();
  errors.show(asPageError(thrown));
  for (const section of document.querySelectorAll("section[data-screen]"))
    /** @type {HTMLElement} */ (section).hidden = section.getAttribute("data-screen") !== "error";
  byId("error-retry").addEventListener("click", () => location.reload());
  byId("error-home").hidden = true;
}
