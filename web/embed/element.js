// @ts-check
/**
 * `<rwkv-chat model system lang theme>`: a chat for any page. Nothing heavy is fetched before the first message (or `load()`); elements that want the same model
 * share one engine. docs/embed.md describes attributes, methods, events, parts and properties.
 *
 *   <script type="module" src="https://HOST/embed/element.js"></script>
 *   <rwkv-chat model="demo" system="You are a friendly guide."></rwkv-chat>
 */

import { Composer } from "../app/composer.js";
import { h } from "../app/dom.js";
import { errorText, speak, t, translate } from "../app/i18n.js";
import { Scroller } from "../app/scroller.js";
import { RwkvError } from "../engine/errors.js";
import { engines, Lease } from "./engines.js";
import { look } from "./look.js";
import { keepLabels, skeleton } from "./skeleton.js";

/** @typedef {import("../engine/client.js").Engine} Engine */
/** @typedef {"idle" | "loading" | "ready" | "busy" | "recovering" | "error"} ChatState */
/** What `rwkv-message` tells and `messages` has. @typedef {{role: "user" | "assistant", content: string, state: "done" | "stopped" | "error", finish?: "stop" | "length"}} ChatMessage */

/** Attributes that are numbers of the request. */
const SAMPLING = { temperature: "temperature", "top-p": "top_p", "max-tokens": "max_tokens", seed: "seed" };
const MOST = 32_000; // characters of a message
const dark = matchMedia("(prefers-color-scheme: dark)");
/** @type {Set<RwkvChat>} */
const connected = new Set();

export class RwkvChat extends HTMLElement {
  static {
    dark.addEventListener("change", () => {
      for (const chat of connected) chat.#theme();
    });
  }
  static observedAttributes = ["model", "device", "lang", "theme", "placeholder"];
  #shadow = this.attachShadow({ mode: "open" });
  #root = h("div", { class: "root", part: "root" });
  /** @type {Promise<void> | undefined} */
  #building;
  /** @type {ReturnType<typeof skeleton> | undefined} */
  #parts;
  /** @type {Scroller | undefined} */
  #scroller;
  /** @type {Composer | undefined} */
  #composer;
  /** @type {import("./talk.js").Talk | undefined} */
  #talk;
  /** @type {Lease | undefined} */
  #lease;
  /** @type {AbortController | undefined} */
  #run;
  /** Of the engine, as far as this element is concerned. @type {ChatState} */
  #state = "idle";
  /** @type {{phase: string, done: number, total: number} | undefined} */
  #progress;
  /** Why the last question has no answer. @type {RwkvError | undefined} */
  #fault;
  #told = "";

  /** How many elements are on the page, and how many engines they have: both are 0 a moment after the last element is gone. */
  static count() {
    return { elements: connected.size, engines: engines() };
  }

  connectedCallback() {
    connected.add(this);
    this.#build().catch(() => {});
  }

  disconnectedCallback() {
    connected.delete(this);
    queueMicrotask(() => {
      if (this.isConnected) return; // it was only moved
      this.stop();
      this.#leave();
    });
  }

  /** @param {string} name */
  attributeChangedCallback(name) {
    if (name === "model" || name === "device") {
      this.stop();
      this.#leave();
    }
    if (name === "lang" && this.#parts)
      void look(this.language).then(
        () => this.#translate(),
        () => {},
      );
    if (name === "theme") this.#theme();
    if (name === "placeholder" && this.#parts) this.#translate();
  }

  /** "en" or "zh": of the attribute, else of what is around it, else of the browser. */
  get language() {
    const found = this.getAttribute("lang") || this.closest("[lang]")?.getAttribute("lang") || navigator.language;
    return found.toLowerCase().startsWith("zh") ? "zh" : "en";
  }

  /** @returns {ChatState} */
  get state() {
    if (this.#state === "ready" || this.#state === "busy") return this.#run ? "busy" : "ready";
    return this.#state;
  }

  /** The messages so far, the answer under way included. @returns {ChatMessage[]} */
  get messages() {
    return (this.#talk?.messages ?? []).map(({ role, content, state, finish }) => {
      return { role: role === "user" ? role : "assistant", content, state, ...(finish ? { finish } : {}) };
    });
  }

  /** What the element would need to show everything, in px. */
  get contentHeight() {
    if (!this.#parts) return 0;
    const { empty, log, foot, scroller } = this.#parts;
    const { paddingTop, paddingBottom } = getComputedStyle(scroller);
    const { borderTopWidth, borderBottomWidth } = getComputedStyle(this.#root);
    const around = [paddingTop, paddingBottom, borderTopWidth, borderBottomWidth].reduce((sum, px) => sum + parseFloat(px), 0);
    return Math.ceil(Math.max(empty.offsetHeight, log.offsetHeight) + foot.offsetHeight + around);
  }

  /** Start the engine and load the model now, not with the first message. @returns {Promise<Engine>} */
  async load() {
    if (!this.isConnected) throw new RwkvError("embed-removed");
    const device = this.getAttribute("device") === "numpy" ? "numpy" : "webgpu";
    this.#lease ??= new Lease({ model: this.getAttribute("model") || "demo", device }, (event) => this.#heard(event));
    const lease = this.#lease;
    if (this.#state === "idle" || this.#state === "error") this.#setState("loading");
    try {
      const engine = await lease.load();
      if (lease === this.#lease) this.#setState(engine.status().state);
      return engine;
    } catch (e) {
      if (lease === this.#lease) this.#setState("error");
      throw e;
    }
  }

  /**
   * Ask what a person could type; resolves to the answer (as far as it came, if it was stopped). Rejects with an RwkvError, `chat-busy` while an answer is written.
   * @param {string} text @returns {Promise<string>}
   */
  async ask(text) {
    const found = typeof text === "string" ? text.trim() : "";
    if (!found || found.length > MOST)
      throw new RwkvError("bad-setting", {
        name: "text",
        expected: `a text of 1 to ${MOST} characters`,
        found: `${typeof text} of ${found.length}`,
      });
    if (this.#run) throw new RwkvError("chat-busy");
    return this.#write(found);
  }

  /** End the answer under way; what is there stays. */
  stop() {
    this.#run?.abort();
  }

  /** Forget the conversation. */
  clear() {
    this.stop();
    this.#talk?.clear();
    this.#draw();
  }

  /** @param {string | undefined} question undefined: answer again what the last message failed to @returns {Promise<string>} */
  async #write(question) {
    const run = (this.#run = new AbortController());
    this.#fault = undefined;
    this.#draw();
    try {
      await this.#build();
      const { Talk } = await import("./talk.js");
      this.#talk ??= new Talk(/** @type {HTMLElement} */ (this.#parts?.log), {
        language: () => this.language,
        busy: () => Boolean(this.#run),
        grown: () => this.#scroller?.follow(),
        retry: () => {
          if (!this.#run) void this.#write(undefined).catch(() => {});
        },
        chunk: (content) => content && this.#tell("rwkv-chunk", { content }),
      });
      const talk = this.#talk;
      if (question === undefined) talk.pop();
      else {
        talk.add("user", question);
        this.#tell("rwkv-message", this.messages.at(-1));
      }
      const answer = talk.add("assistant", "");
      this.#draw();
      this.#scroller?.toEnd();
      const how = { system: this.getAttribute("system") ?? "", sampling: this.#sampling() };
      await talk.answer(answer, () => this.load(), how, run.signal);
      if (talk.messages.at(-1) === answer) this.#tell("rwkv-message", this.messages.at(-1));
      return answer.content;
    } catch (e) {
      const error = (this.#fault = RwkvError.from(e));
      this.#tell("rwkv-error", error);
      throw error;
    } finally {
      this.#run = undefined;
      this.#talk?.draw();
      this.#draw();
    }
  }

  #sampling() {
    /** @type {Record<string, number>} */
    const found = {};
    for (const [attribute, name] of Object.entries(SAMPLING)) {
      const value = Number.parseFloat(this.getAttribute(attribute) ?? "");
      if (Number.isFinite(value)) found[name] = value;
    }
    return found;
  }

  /** Everything that is seen, once. */
  #build() {
    this.#building ??= this.#make().catch((e) => {
      this.#building = undefined;
      this.#shadow.replaceChildren(h("p", { role: "alert", text: RwkvError.from(e).message })); // without its looks
      this.#tell("rwkv-error", RwkvError.from(e));
      throw e;
    });
    return this.#building;
  }

  async #make() {
    const sheets = await look(this.language);
    this.#shadow.adoptedStyleSheets = sheets;
    const parts = (this.#parts = skeleton());
    const { log, empty, foot, latest, form, area, send, stop, scroller } = parts;
    scroller.append(empty, log);
    this.#root.append(h("div", { class: "chat", role: "group", "data-t-label": "embed.title" }, scroller, foot));
    this.#shadow.replaceChildren(this.#root);
    this.#scroller = new Scroller(scroller, latest);
    this.#composer = new Composer(
      (text) => void this.ask(text).catch(() => {}),
      () => this.stop(),
      () => {},
      { form, area, send, stop, scope: this.#root },
    );
    keepLabels(log, () => this.language);
    const sizes = new ResizeObserver(() => this.#tell("rwkv-resize", { height: this.contentHeight }));
    for (const part of [empty, log, foot]) sizes.observe(part);
    this.#theme();
    this.#translate();
  }

  /** Light or dark: of the attribute, else of the system. */
  #theme() {
    const wanted = this.getAttribute("theme") ?? "";
    this.#root.dataset.theme = ["light", "dark"].includes(wanted) ? wanted : dark.matches ? "dark" : "light";
  }

  #translate() {
    if (!this.#parts) return;
    this.#root.lang = this.language;
    speak(this.language, () => translate(this.#shadow));
    const placeholder = this.getAttribute("placeholder") || speak(this.language, () => t("chat.placeholder"));
    this.#parts.area.setAttribute("placeholder", placeholder);
    this.#talk?.draw();
    this.#draw();
  }

  /** @param {CustomEvent} event of the engine */
  #heard({ type, detail }) {
    if (type === "state") {
      if (detail.state !== "loading") this.#progress = undefined;
      this.#setState(detail.state);
    } else if (type === "progress" && typeof detail.phase === "string") {
      this.#progress = detail;
      this.#tell("rwkv-progress", detail);
      this.#draw();
    }
  }

  /** @param {ChatState} state */
  #setState(state) {
    this.#state = state;
    this.#draw();
  }

  #leave() {
    this.#lease?.release();
    this.#lease = undefined;
    this.#progress = undefined;
    this.#setState("idle");
  }

  /** State, buttons and the line below. */
  #draw() {
    const { state } = this;
    if (state !== this.#told) {
      this.#told = state;
      this.#tell("rwkv-state", { state });
    }
    if (!this.#parts) return;
    const { empty, log, status, numbers } = this.#parts;
    const any = log.childElementCount > 0;
    empty.hidden = any;
    this.#composer?.setState(this.#run ? "busy" : "ready");
    speak(this.language, () => {
      const text = this.#status(state);
      if (status.textContent !== text) status.textContent = text; // a polite live region: only touched when it really changes
      numbers.textContent = state === "loading" ? this.#percent() : state === "ready" && any ? (this.#talk?.summary() ?? "") : "";
    });
    this.#scroller?.draw();
  }

  /** @param {ChatState} state */
  #status(state) {
    const last = this.#talk?.messages.at(-1);
    if (state === "loading") return t("embed.loading", { phase: t(`phase.${this.#progress?.phase ?? "python"}`) });
    if (state === "recovering") return t("embed.recovering");
    if (this.#run) return t("status.writing");
    if (last?.role === "assistant" && last.state !== "done") return t(last.state === "stopped" ? "status.stopped" : "status.failed");
    if (this.#fault && !last) return errorText(this.#fault).message; // no message could say so
    if (state === "idle") return t("embed.idle");
    return t(last ? "status.done" : "embed.ready");
  }

  #percent() {
    const { done = 0, total = 0 } = this.#progress ?? {};
    return total > 1 && done < total ? `${Math.round((100 * done) / total)}%` : "";
  }

  /** @param {string} name @param {unknown} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}

if (!customElements.get("rwkv-chat")) customElements.define("rwkv-chat", RwkvChat);
