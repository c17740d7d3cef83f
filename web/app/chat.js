// @ts-check
// The conversation that is shown: its questions, its branches, and its answers as they grow (answers.js has them written, also those of conversations that
// are not shown). Which conversations there are is the library's matter; how a message looks is message.js's.
// Events: "open" (a person went to a conversation), "show" (another conversation, branch or title), "begin", "chunk", "end" (of an answer; detail {message, chunk?, conversation?}).

import { Answers } from "./answers.js";
import { Composer } from "./composer.js";
import { Tree, newId, titleOf } from "./conversations/tree.js";
import { Log } from "./log.js";
import { byId, copyText, h, remember } from "./dom.js";
import { duration, onLanguage, t } from "./i18n.js";
import { toast } from "./toast.js";

/** @typedef {import("./conversations/library.js").Library} Library */
/** @typedef {import("./conversations/types.js").Header} Header */
/** @typedef {import("./conversations/types.js").Message} Message */
/** @typedef {import("./types.js").PageEngine} PageEngine */

const SUGGESTIONS = 4; // keys suggestion.1 … suggestion.4

export class Chat extends EventTarget {
  /** The conversation that is shown; undefined: one that has not begun. @type {string | undefined} */
  id;
  tree = new Tree();
  /** @type {string | null} */
  leaf = null;
  available = false;
  /** The model that answers. @type {string | undefined} */
  model;
  /** Counts what was opened, so that a slow one does not overtake a later one. */
  #opened = 0;
  /** What is being opened: what is written meanwhile belongs there. @type {{id: string | undefined, loaded: Promise<void>} | undefined} */
  #next;

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
    this.library = library;
    this.options = options;
    this.answers = new Answers(engine, library, (message, chunk, conversation, grown) => {
      if (grown) this.log.views.get(message.id)?.grow();
      this.dispatchEvent(new CustomEvent("chunk", { detail: { message, chunk, conversation } }));
    });
    this.log = new Log({
      siblings: (one) => this.tree.siblings(one),
      select: (one) => this.select(one),
      retry: (one) => void this.retry(one),
      edit: (one, text) => void this.edit(one, text),
      busy: () => this.busy(),
      writing: (one) => this.answers.runs.get(one.id),
      model: () => this.model,
    });
    this.composer = new Composer(
      (text) => void this.ask(text),
      () => this.stop(),
      (text) => this.library.keepDraft(this.#next ? this.#next.id : this.id, text),
    );
    library.onChange((ids, elsewhere) => this.#changed(ids, elsewhere));
    onLanguage(() => {
      this.log.draw(true);
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
    return Boolean(this.answers.of(id));
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
    const other = this.id !== header?.id;
    if (other) this.composer.setText("");
    const loading = Promise.all([header ? this.library.tree(header.id) : new Tree(), this.library.draft(header?.id)]);
    const done = () => {
      if (opened === this.#opened) this.#next = undefined;
    };
    this.#next = { id: header?.id, loaded: loading.then(done, done) };
    const [tree, draft] = await loading;
    if (opened !== this.#opened) return;
    Object.assign(this, { id: header?.id, tree });
    this.leaf = message ? tree.newestLeaf(message) : tree.get(header?.leaf) ? (header?.leaf ?? null) : tree.newestLeaf(null);
    if (other) this.log.clear();
    this.#remember();
    this.library.release(new Set([this.id ?? "", ...this.answers.conversations()]));
    if (focus) this.dispatchEvent(new CustomEvent("open"));
    if (this.composer.empty) this.composer.setText(draft);
    this.render();
    if (message) this.log.reveal(message);
    else this.log.toEnd();
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
    for (const id of ids) if (!this.library.get(id)) this.answers.stop(id); // it was deleted
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

  /** Make the page show the branch. */
  render() {
    this.log.show(this.path());
    this.draw();
    this.composer.setState(this.busy() ? "busy" : this.available ? "ready" : "off");
  }

  /** Show the newest branch below a version of a message. @param {Message} message */
  select(message) {
    const at = this.log.placeOf(this.path().find(({ parent }) => parent === message.parent)?.id);
    this.#setLeaf(this.tree.newestLeaf(message.id));
    this.render();
    const { element } = this.log.view(message);
    this.log.place(element, at); // the versions stand in the same place
    /** @type {HTMLElement | null} */ (
      element.querySelector('[data-testid="version-next"]:enabled, [data-testid="version-previous"]')
    )?.focus();
    this.#show();
  }

  /** Show the branch with a message, and the message. @param {string} id */
  jump(id) {
    if (!this.path().some((message) => message.id === id)) this.#setLeaf(this.tree.newestLeaf(id));
    this.render();
    this.log.reveal(id);
    this.#show();
  }

  /** @param {string | null} leaf */
  #setLeaf(leaf) {
    this.leaf = leaf;
    if (this.id) this.library.patch(this.id, { leaf });
  }

  // What a person does

  /** @param {string} question */
  async ask(question) {
    while (this.#next) await this.#next.loaded;
    if (this.busy()) return this.composer.setText(question);
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
    if (last && !this.busy()) this.log.views.get(last.id)?.edit();
  }

  async copyLast() {
    const last = this.path().findLast(({ role, content }) => role === "assistant" && content);
    if (last && (await copyText(last.content))) toast(t("copied"), { seconds: 2 });
  }

  /** Stop the answer that is shown; what is there stays. */
  stop() {
    this.answers.stop(this.id);
    this.composer.focus();
  }

  // Answers

  /** @param {string | null} parent the question */
  #answer(parent) {
    return this.#run(this.#add({ role: "assistant", content: "", parent, state: "stopped" }), false);
  }

  /** Let the engine write a message, or go on with it. @param {Message} message @param {boolean} continuing */
  async #run(message, continuing) {
    const { tree, model } = this;
    const header = /** @type {Header} */ (this.header);
    const settings = { ...this.options.sampling() };
    if (JSON.stringify(settings) !== JSON.stringify(header.sampling)) this.library.patch(header.id, { sampling: settings });
    const written = this.answers.write(message, { header, tree, model, settings, continuing });
    this.#began(message);
    await written;
    this.#ended(message, header.id);
  }

  /** @param {Message} message */
  #began(message) {
    this.log.setBusy(true);
    this.render();
    this.log.views.get(message.id)?.begin();
    this.composer.setState("busy");
    this.log.toEnd();
    this.#tick();
    this.#show();
    this.dispatchEvent(new CustomEvent("begin", { detail: { message } }));
  }

  /** @param {Message} message @param {string} id */
  #ended(message, id) {
    if (this.id === id) {
      this.log.setBusy(false);
      this.log.views.get(message.id)?.end();
      this.log.draw();
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
    const run = this.answers.of(this.id);
    const text = run ? duration(Math.floor((performance.now() - run.started) / 1000)) : "";
    const elapsed = byId("elapsed");
    if (elapsed.textContent !== text) elapsed.textContent = text;
    for (const [id, { thinking }] of this.answers.runs) if (thinking !== undefined) this.log.views.get(id)?.drawThinking();
  }

  draw() {
    const empty = !this.path().length;
    byId("empty").hidden = !empty;
    byId("talk-heading").hidden = empty;
    byId("talk-heading").textContent = this.header?.title ?? "";
    this.log.element.hidden = empty;
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
    else if (last?.role === "assistant" && this.log.views.has(last.id)) {
      const summary = this.log.views
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
    return this.answers.runs.size > 0;
  }
}
