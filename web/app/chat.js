// @ts-check
// The conversation that is shown: asks the engine, shows the answers as they grow, moves between branches. Which conversations there are is the library's
// matter; how a message looks is message.js's. Answers of conversations that are not shown go on.
// Events: "open" (a person went to a conversation), "show" (another conversation, branch or title), "begin", "chunk", "end" (of an answer; detail {message, chunk?, conversation?}).

import { beginAnswer, endAnswer, keptError, takeChunk } from "./answer.js";
import { Composer } from "./composer.js";
import { Tree, newId, titleOf } from "./conversations/tree.js";
import { byId, copyText, h, remember } from "./dom.js";
import { asPageError, duration, onLanguage, t } from "./i18n.js";
import { MessageView } from "./message.js";
import { Scroller } from "./scroller.js";
import { prepared, requestFor } from "./slots.js";
import { toast } from "./toast.js";

/** @typedef {import("./conversations/library.js").Library} Library */
/** @typedef {import("./conversations/types.js").Header} Header */
/** @typedef {import("./conversations/types.js").Message} Message */
/** @typedef {import("./types.js").PageEngine} PageEngine */
/** @typedef {import("./answer.js").Run} Run */

const SUGGESTIONS = 4; // keys suggestion.1 … suggestion.4
const AT_ONCE = 4; // messages drawn before the first paint; others when they come near the screen
const SAVE = 1000; // ms between two saves of a growing answer

export class Chat extends EventTarget {
  /** The conversation that is shown; undefined: one that has not begun. @type {string | undefined} */
  id;
  tree = new Tree();
  /** @type {string | null} */
  leaf = null;
  /** @type {Map<string, MessageView>} */
  views = new Map();
  /** Answers under way, by message. @type {Map<string, Run>} */
  runs = new Map();
  available = false;
  /** The model that answers. @type {string | undefined} */
  model;
  /** Counts what was opened, so that a slow one does not overtake a later one. */
  #opened = 0;

  /**
   * @param {PageEngine} engine
   * @param {Library} library
   * @param {{sampling: () => import("./types.js").Sampling, fresh: () => Partial<Header>, suggestions: () => string[] | undefined, recover: () => Promise<boolean>}} options
   *   sampling: what a new conversation begins with, and what the shown one has now; fresh: what else a new one begins with;
   *   suggestions: questions to begin with, the page's own if undefined;
   *   recover: make the engine ready again (it may have lost its device); false when that failed
   */
  constructor(engine, library, options) {
    super();
    this.engine = engine;
    this.library = library;
    this.options = options;
    this.log = byId("log");
    this.scroller = new Scroller();
    /** Messages that are not drawn yet, and come near the screen. */
    this.near = new IntersectionObserver((entries) => this.#reach(entries), { root: this.scroller.element, rootMargin: "1000px 0px" });
    this.composer = new Composer(
      (text) => void this.ask(text),
      () => this.stop(),
      (text) => this.library.keepDraft(this.id, text),
    );
    library.onChange((ids, elsewhere) => this.#changed(ids, elsewhere));
    onLanguage(() => {
      for (const view of this.views.values()) {
        if (!view.drawn) continue;
        view.drawThinking();
        view.draw();
      }
      this.draw();
    });
    setInterval(() => this.#tick(), 1000);
    this.draw();
  }

  /** The header of what is shown. */
  get header() {
    return this.library.get(this.id);
  }

  /** The branch that is shown, from the first message. */
  path() {
    return this.tree.path(this.leaf);
  }

  /** @param {string | undefined} [id] a conversation; the shown one if not given */
  busy(id = this.id) {
    return [...this.runs.values()].some(({ conversation }) => conversation === id);
  }

  /** Whether a question can be sent now. @param {boolean} available */
  setAvailable(available) {
    this.available = available;
    this.drawStatus();
    this.composer.setState(this.busy() ? "busy" : available ? "ready" : "off");
  }

  // What is shown

  /**
   * Show a conversation, at the branch that was shown last.
   * @param {string | undefined} id undefined: begin a new one
   * @param {{message?: string, focus?: boolean}} [options] message: the branch with this message instead, scrolled to it
   */
  async open(id, { message, focus = true } = {}) {
    const opened = ++this.#opened;
    const header = this.library.get(id);
    const [tree, draft] = await Promise.all([header ? this.library.tree(header.id) : new Tree(), this.library.draft(header?.id)]);
    if (opened !== this.#opened) return;
    const other = this.id !== header?.id;
    Object.assign(this, { id: header?.id, tree });
    this.leaf = message ? tree.newestLeaf(message) : tree.get(header?.leaf) ? (header?.leaf ?? null) : tree.newestLeaf(null);
    if (other) {
      this.views.clear();
      this.near.disconnect();
    }
    this.#remember();
    this.library.release(new Set([this.id ?? "", ...[...this.runs.values()].map(({ conversation }) => conversation)]));
    if (focus) this.dispatchEvent(new CustomEvent("open"));
    this.composer.setText(draft);
    this.render();
    if (message) this.reveal(message);
    else this.scroller.toEnd();
    if (focus && matchMedia("(pointer: fine)").matches) this.composer.focus(); // on a phone the keyboard would cover half of the page
    this.#show();
  }

  /** Which conversation a reload of this tab, or the next visit, opens. */
  #remember() {
    remember("conversation", this.id ?? null);
    try {
      sessionStorage.setItem("rwkv.conversation", this.id ?? "");
    } catch {
      // storage is forbidden: the next visit begins a new one
    }
  }

  /** What was shown before the reload, or in the visit before. */
  static remembered() {
    try {
      return sessionStorage.getItem("rwkv.conversation") ?? remember("conversation") ?? undefined;
    } catch {
      return undefined;
    }
  }

  #show() {
    this.#drawTitle();
    this.dispatchEvent(new CustomEvent("show"));
  }

  /** The library changed, maybe by another tab. @param {string[]} ids @param {boolean} elsewhere */
  #changed(ids, elsewhere) {
    for (const id of ids) if (!this.library.get(id)) this.stopAll(id); // it was deleted
    if (!this.id || !ids.includes(this.id)) return;
    const { header } = this;
    if (!header) return void this.open(undefined, { focus: false });
    if (elsewhere && !this.busy()) {
      const forward = header.leaf && this.tree.get(header.leaf) && this.tree.isBelow(header.leaf, this.leaf); // the other tab went on from here
      if (forward || !this.tree.get(this.leaf)) this.leaf = this.tree.get(header.leaf) ? header.leaf : this.tree.newestLeaf(null);
      this.render();
    }
    this.#show();
  }

  /** Make the page show the branch. Messages that are there already stay as they are. */
  render() {
    const path = this.path();
    const elements = path.map((message) => this.#view(message).element);
    const kept = elements.findIndex((element, i) => this.log.children[i] !== element);
    if (kept >= 0 || this.log.children.length > elements.length) {
      const from = kept < 0 ? elements.length : kept;
      while (this.log.children.length > from) this.log.lastElementChild?.remove();
      this.log.append(...elements.slice(from));
    }
    for (const message of path.slice(-AT_ONCE)) this.#fill(this.#view(message));
    for (const message of path) if (this.#view(message).drawn) this.#view(message).draw();
    this.draw();
    this.composer.setState(this.busy() ? "busy" : this.available ? "ready" : "off");
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #reach(entries) {
    for (const { target, isIntersecting } of entries) {
      const view = isIntersecting && this.views.get(target.getAttribute("data-id") ?? "");
      if (view && view.element === target) this.scroller.keep(view.element, () => this.#fill(view));
    }
  }

  /** @param {MessageView} view */
  #fill(view) {
    if (view.drawn) return;
    this.near.unobserve(view.element);
    if (this.runs.has(view.message.id)) view.begin();
    else view.fill();
    view.draw();
  }

  /** @param {Message} message */
  #view(message) {
    let view = this.views.get(message.id);
    if (view && view.message !== message) {
      view.element.remove(); // another tab wrote another version of it
      view = undefined;
    }
    if (!view) {
      view = new MessageView(message, {
        siblings: (one) => this.tree.siblings(one),
        select: (one) => this.select(one),
        retry: (one) => void this.retry(one),
        edit: (one, text) => void this.edit(one, text),
        busy: () => this.busy(),
        thinkingSince: (one) => this.runs.get(one.id)?.thinking,
        model: () => this.model,
        grown: () => this.scroller.follow(),
      });
      this.views.set(message.id, view);
      this.near.observe(view.element);
    }
    return view;
  }

  /** Show the newest branch below a version of a message. @param {Message} message */
  select(message) {
    const at = this.views.get(this.path().find(({ parent }) => parent === message.parent)?.id ?? "")?.element.getBoundingClientRect().top;
    this.#setLeaf(this.tree.newestLeaf(message.id));
    this.render();
    this.scroller.following = false;
    const { element } = this.#view(message);
    if (at !== undefined) this.scroller.element.scrollTop += element.getBoundingClientRect().top - at; // the versions stand in the same place
    /** @type {HTMLElement | null} */ (
      element.querySelector('[data-testid="version-next"]:enabled, [data-testid="version-previous"]')
    )?.focus();
    this.#show();
  }

  /** Show the branch with a message, and the message. @param {string} id */
  jump(id) {
    if (!this.path().some((message) => message.id === id)) this.#setLeaf(this.tree.newestLeaf(id));
    this.render();
    this.reveal(id);
    this.#show();
  }

  /** @param {string} id */
  reveal(id) {
    const view = this.views.get(id);
    if (!view) return;
    this.#fill(view);
    this.scroller.following = false;
    view.element.scrollIntoView({ block: "start" });
    requestAnimationFrame(() => view.element.scrollIntoView({ block: "start" })); // what came near was drawn meanwhile
    view.element.classList.add("found");
    setTimeout(() => view.element.classList.remove("found"), 1600);
  }

  /** @param {string | null} leaf */
  #setLeaf(leaf) {
    this.leaf = leaf;
    if (this.id) this.library.patch(this.id, { leaf });
  }

  // What a person does

  /** @param {string} question */
  async ask(question) {
    if (this.busy()) return;
    const header = this.header ?? this.#begin(question);
    this.library.keepDraft(header.id, "");
    const message = this.#add({ role: "user", content: question, parent: this.leaf });
    await this.#answer(message.id);
  }

  /** The first question makes a conversation of what was only a draft. @param {string} question */
  #begin(question) {
    this.library.keepDraft(undefined, "");
    const header = this.library.create({
      title: titleOf(question),
      ...this.options.fresh(),
      sampling: { ...this.options.sampling() },
      model: this.model,
    });
    this.id = header.id;
    this.#opened++;
    this.#remember();
    // The tree that the library keeps is the one to grow.
    this.tree = new Tree();
    this.library.adopt(header.id, this.tree);
    return header;
  }

  /** @param {Partial<Message> & Pick<Message, "role" | "content" | "parent">} fields @returns {Message} */
  #add(fields) {
    const latest = this.tree.get(fields.parent)?.created ?? 0;
    /** @type {Message} */
    const message = { id: newId(), state: "done", created: Math.max(Date.now(), latest + 1), ...fields };
    this.tree.put(message);
    const id = /** @type {string} */ (this.id);
    this.library.put(id, message);
    this.library.patch(id, { leaf: message.id, updated: message.created });
    this.leaf = message.id;
    return message;
  }

  /** Ask for another answer beside the ones there are; one that failed before it said anything is replaced. @param {Message} message an answer */
  async retry(message) {
    if (this.busy() || (!this.available && !(await this.options.recover()))) return;
    if (message.state !== "error" || message.content) return this.#answer(message.parent);
    this.#setLeaf(message.id);
    await this.#run(message, false);
  }

  /** A question with other words gets its own branch, and an answer; an answer with other words just stands there. @param {Message} message @param {string} text */
  async edit(message, text) {
    if (this.busy()) return;
    if (message.role === "user") {
      if (!this.available && !(await this.options.recover())) return;
      return this.#answer(this.#add({ role: "user", content: text, parent: message.parent }).id);
    }
    this.#add({
      role: "assistant",
      content: text,
      parent: message.parent,
      edited: true,
      model: message.model,
      reasoning: message.reasoning,
    });
    this.render();
    this.#show();
  }

  /** Go on with an answer that was stopped, or cut at its longest. @param {Message} message */
  async continue(message) {
    if (this.busy() || (!this.available && !(await this.options.recover()))) return;
    if (this.leaf !== message.id) this.#setLeaf(message.id);
    message.content = message.content.trimEnd();
    await this.#run(message, true);
  }

  /**
   * A new branch whose answer begins with these words (and this thought) and goes on from there.
   * @param {Message} message an answer @param {string} beginning @param {string} [reasoning] @returns {Promise<Message | undefined>} the new answer, as it ended
   */
  async branchFrom(message, beginning, reasoning = message.reasoning) {
    if (this.busy() || (!this.available && !(await this.options.recover()))) return undefined;
    const { parent, thinking } = message;
    const begun = { ...(reasoning ? { reasoning } : {}), ...(thinking ? { thinking } : {}) };
    const branch = this.#add({ role: "assistant", content: beginning, parent, state: "stopped", ...begun });
    await this.#run(branch, true);
    return branch;
  }

  /** A new conversation with everything up to a message. @param {Message} message */
  async fork(message) {
    const { header } = this;
    if (!header) return;
    const { id: _, created: _c, updated: _u, named: _n, ...rest } = header;
    const path = this.tree.path(message.id).map((one) => structuredClone(one));
    const title = t("conversations.fork.title", { title: header.title });
    await this.open(this.library.create({ ...rest, title, named: true, leaf: message.id }, path).id);
  }

  /** Take a message and what follows it away, for as long as nobody brings it back. @param {Message} message */
  remove(message) {
    if (this.busy() || !this.id) return;
    const { id, tree, leaf: before } = this;
    const { removed, leaf } = tree.remove(message.id);
    this.library.drop(id, removed);
    this.#setLeaf(leaf);
    this.render();
    this.#show();
    toast(t(removed.length === 1 ? "conversations.branch.deleted.one" : "conversations.branch.deleted", { n: removed.length }), {
      action: "undo",
      seconds: 8,
      run: () => {
        for (const one of removed) {
          tree.put(one);
          void this.library.put(id, one);
        }
        this.library.patch(id, { leaf: before });
        if (this.id === id) void this.open(id, { focus: false });
      },
    });
  }

  /** Edit the last question, as ↑ in an empty field does. */
  editLast() {
    const last = this.path().findLast(({ role }) => role === "user");
    if (last && !this.busy()) this.views.get(last.id)?.edit();
  }

  async copyLast() {
    const last = this.path().findLast(({ role, content }) => role === "assistant" && content);
    if (last && (await copyText(last.content))) toast(t("copied"), { seconds: 2 });
  }

  /** Stop the answer that is shown; what is there stays. */
  stop() {
    for (const { conversation, abort } of this.runs.values()) if (conversation === this.id) abort.abort();
    this.composer.focus();
  }

  /** Stop all answers, or those of one conversation. @param {string} [id] */
  stopAll(id) {
    for (const { conversation, abort } of this.runs.values()) if (!id || conversation === id) abort.abort();
  }

  // Answers

  /** @param {string | null} parent the question */
  #answer(parent) {
    return this.#run(this.#add({ role: "assistant", content: "", parent, state: "stopped" }), false);
  }

  /** Let the engine write a message, or go on with it. @param {Message} message @param {boolean} continuing */
  async #run(message, continuing) {
    const id = /** @type {string} */ (this.id);
    const header = /** @type {Header} */ (this.header);
    const { tree, library } = this;
    const path = tree.path(message.id);
    /** @type {Run} */
    const run = { conversation: id, abort: new AbortController(), started: performance.now(), saved: 0 };
    const settings = { ...this.options.sampling() };
    if (JSON.stringify(settings) !== JSON.stringify(header.sampling)) library.patch(id, { sampling: settings });
    const request = requestFor(header, continuing ? path : path.slice(0, -1));
    const thinking = typeof request.thinking === "string" ? request.thinking : undefined;
    const before = beginAnswer(message, { model: this.model, sampling: settings, thinking }, continuing);
    this.runs.set(message.id, run);
    library.writing.add(message);
    this.#began(message);
    try {
      const chunks = await this.engine.chat.completions.create({ ...request, ...(await prepared(header)), signal: run.abort.signal });
      for await (const chunk of chunks) {
        if (takeChunk(message, run, chunk, before)) this.views.get(message.id)?.grow();
        if (performance.now() - run.saved > SAVE) {
          run.saved = performance.now();
          void library.put(id, message);
        }
        this.dispatchEvent(new CustomEvent("chunk", { detail: { message, chunk, conversation: id } }));
      }
      message.state = run.abort.signal.aborted ? "stopped" : "done";
    } catch (thrown) {
      const error = asPageError(thrown);
      if (!run.abort.signal.aborted && error.code !== "cancelled") Object.assign(message, { state: "error", error: keptError(error) });
    } finally {
      endAnswer(message, run);
      this.runs.delete(message.id);
      library.writing.delete(message);
      if (library.get(id)) {
        void library.put(id, message);
        library.patch(id, { updated: Date.now(), model: this.model });
        void library.store?.flush();
      }
      this.#ended(message, id);
    }
  }

  /** @param {Message} message */
  #began(message) {
    this.log.setAttribute("aria-live", "off"); // a screen reader would stumble over every few letters
    this.log.setAttribute("aria-busy", "true");
    this.render();
    this.views.get(message.id)?.begin();
    this.composer.setState("busy");
    this.scroller.toEnd();
    this.#tick();
    this.#show();
    this.dispatchEvent(new CustomEvent("begin", { detail: { message } }));
  }

  /** @param {Message} message @param {string} id */
  #ended(message, id) {
    if (this.id === id) {
      this.log.removeAttribute("aria-busy"); // it is drawn for the last time: now it may be read out, once and whole
      this.log.setAttribute("aria-live", "polite");
      this.views.get(message.id)?.end();
      for (const view of this.views.values()) if (view.drawn) view.draw();
      this.scroller.follow();
    } else if (this.library.get(id))
      toast(t("conversations.answered", { title: this.library.get(id)?.title ?? "" }), {
        action: "conversations.show",
        run: () => void this.open(id),
      });
    this.draw();
    this.setAvailable(this.available);
    this.#show();
    this.dispatchEvent(new CustomEvent("end", { detail: { message, conversation: id } }));
  }

  /** Seconds go by. */
  #tick() {
    const run = [...this.runs.values()].find(({ conversation }) => conversation === this.id);
    const text = run ? duration(Math.floor((performance.now() - run.started) / 1000)) : "";
    const elapsed = byId("elapsed");
    if (elapsed.textContent !== text) elapsed.textContent = text;
    for (const [id, { thinking }] of this.runs) if (thinking !== undefined) this.views.get(id)?.drawThinking();
  }

  draw() {
    const empty = !this.path().length;
    byId("empty").hidden = !empty;
    byId("talk-heading").hidden = empty;
    byId("talk-heading").textContent = this.header?.title ?? "";
    this.log.hidden = empty;
    if (empty) this.#drawSuggestions();
    byId("chat-menu").hidden = !this.header;
    this.#drawTitle();
    this.#tick();
    this.drawStatus();
  }

  #drawTitle() {
    document.title = this.header?.title ? `${this.header.title} · RWKV` : t("title");
  }

  #drawSuggestions() {
    const texts = this.options.suggestions() ?? Array.from({ length: SUGGESTIONS }, (_, i) => t(`suggestion.${i + 1}`));
    const pick = (/** @type {string} */ text) => void (this.available && this.ask(text));
    byId("chips").replaceChildren(
      ...texts.map((text) => h("button", { type: "button", class: "chip", "data-testid": "suggestion", text, onclick: () => pick(text) })),
    );
  }

  /** The polite line under the composer: what happens now, or what the last answer took. */
  drawStatus() {
    const last = this.tree.get(this.leaf);
    let text = this.available ? t("status.ready") : "";
    if (this.busy()) text = t("status.writing");
    else if (last?.error) text = t("status.failed");
    else if (last?.role === "assistant" && this.views.has(last.id)) {
      const summary = this.views
        .get(last.id)
        ?.summary()
        .replace(`${t("chat.stopped")} · `, "");
      text = [t(last.state === "stopped" ? "status.stopped" : "status.done"), summary].filter(Boolean).join(" · ");
    }
    const line = byId("status");
    if (line.textContent !== text) line.textContent = text;
  }

  /** Whether a conversation itself is showing what went wrong. */
  get showsError() {
    return this.runs.size > 0;
  }
}
