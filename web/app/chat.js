// @ts-check
// The conversation: asks the engine, shows the answers as they grow, stops, starts over. Owns the list of turns; the composer and the scroller are its hands.

import { byId, h } from "./dom.js";
import { asPageError, duration, onLanguage, t } from "./i18n.js";
import { Composer } from "./composer.js";
import { Scroller } from "./scroller.js";
import { Turn } from "./turn.js";

/** @typedef {import("./types.js").PageEngine} PageEngine */
/** @typedef {import("./types.js").ChatMessage} ChatMessage */

const SUGGESTIONS = 4; // keys suggestion.1 … suggestion.4

export class Chat {
  /** @type {Turn[]} */
  turns = [];
  /** @type {AbortController | undefined} */
  running;
  available = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  clock;

  /**
   * @param {PageEngine} engine
   * @param {{sampling: () => import("./types.js").Sampling, recover: () => Promise<boolean>}} options
   *   recover: make the engine ready again (it may have lost its device); false when that failed
   */
  constructor(engine, options) {
    this.engine = engine;
    this.options = options;
    this.log = byId("log");
    this.scroller = new Scroller();
    this.composer = new Composer(
      (text) => this.ask(text),
      () => this.stop(),
    );
    byId("new-chat").addEventListener("click", () => this.clear());
    onLanguage(() => {
      for (const turn of this.turns) turn.draw();
      this.draw();
    });
    this.draw();
  }

  /** Whether a question can be sent now. @param {boolean} available */
  setAvailable(available) {
    this.available = available;
    this.drawStatus();
    this.composer.setState(this.running ? "busy" : available ? "ready" : "off");
  }

  /** Turns that were answered, as the model should see them again, and then the new question. @param {Turn} turn @returns {ChatMessage[]} */
  #messages(turn) {
    const before = this.turns.slice(0, this.turns.indexOf(turn)).filter(({ answer }) => answer);
    return [
      ...before.flatMap(
        ({ question, answer }) =>
          /** @type {ChatMessage[]} */ ([
            { role: "user", content: question },
            { role: "assistant", content: answer },
          ]),
      ),
      { role: "user", content: turn.question },
    ];
  }

  /** @param {string} question */
  async ask(question) {
    const turn = new Turn(question, { onGrow: () => this.scroller.follow(), onRetry: (again) => this.retry(again) });
    this.turns.push(turn);
    this.log.append(turn.asked, turn.answered);
    await this.#run(turn);
  }

  /** Ask a turn's question again; later turns are dropped, as their context changes. @param {Turn} turn */
  async retry(turn) {
    if (this.running) return;
    for (const later of this.turns.splice(this.turns.indexOf(turn) + 1)) {
      later.asked.remove();
      later.answered.remove();
    }
    if (!this.available && !(await this.options.recover())) return;
    turn.reset();
    await this.#run(turn);
  }

  /** @param {Turn} turn */
  async #run(turn) {
    const running = (this.running = new AbortController());
    this.#begin();
    try {
      const request = {
        messages: this.#messages(turn),
        stream: /** @type {const} */ (true),
        signal: running.signal,
        ...this.options.sampling(),
      };
      for await (const chunk of await this.engine.chat.completions.create(request)) turn.take(chunk);
      this.#speak();
      turn.finish(running.signal.aborted ? "stopped" : "done");
    } catch (thrown) {
      this.#speak();
      if (running.signal.aborted || asPageError(thrown).code === "cancelled") turn.finish("stopped");
      else turn.finish("error", thrown);
    } finally {
      if (this.running === running) this.running = undefined;
      this.#end();
    }
  }

  #begin() {
    const started = performance.now();
    const elapsed = byId("elapsed");
    clearInterval(this.clock);
    this.clock = setInterval(() => (elapsed.textContent = duration(Math.floor((performance.now() - started) / 1000))), 1000);
    this.log.setAttribute("aria-live", "off"); // a screen reader would stumble over every few letters
    this.log.setAttribute("aria-busy", "true");
    this.draw();
    this.composer.setState("busy");
    this.scroller.toEnd();
  }

  /** The answer is about to be drawn for the last time: now it may be read out, once and whole. */
  #speak() {
    this.log.removeAttribute("aria-busy");
    this.log.setAttribute("aria-live", "polite");
  }

  #end() {
    clearInterval(this.clock);
    byId("elapsed").textContent = "";
    this.draw();
    this.setAvailable(this.available);
    this.scroller.follow();
  }

  /** Stop the answer; what is there stays. */
  stop() {
    this.running?.abort();
    this.composer.focus();
  }

  /** A new conversation. */
  clear() {
    this.running?.abort();
    this.turns = [];
    this.log.replaceChildren();
    this.scroller.toEnd();
    this.draw();
    this.composer.focus();
  }

  draw() {
    byId("empty").hidden = this.turns.length > 0;
    this.log.hidden = !this.turns.length;
    const chips = Array.from({ length: SUGGESTIONS }, (_, i) => t(`suggestion.${i + 1}`));
    const pick = (/** @type {string} */ text) => void (this.available && !this.running && this.ask(text));
    byId("chips").replaceChildren(
      ...chips.map((text) => h("button", { type: "button", class: "chip", "data-testid": "suggestion", text, onclick: () => pick(text) })),
    );
    this.drawStatus();
  }

  /** The polite line under the composer: what happens now, or what the last answer took. */
  drawStatus() {
    const last = this.turns.at(-1);
    let text = this.available ? t("status.ready") : "";
    if (this.running) text = t("status.writing");
    else if (last?.error) text = t("status.failed");
    else if (last)
      text = [t(last.state === "stopped" ? "status.stopped" : "status.done"), last.summary().replace(`${t("chat.stopped")} · `, "")]
        .filter(Boolean)
        .join(" · ");
    const line = byId("status");
    if (line.textContent !== text) line.textContent = text;
  }

  /** Whether the conversation itself is showing what went wrong. */
  get showsError() {
    return Boolean(this.running);
  }
}
