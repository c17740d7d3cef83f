// @ts-check
// One question and its answer, as data and as two messages on the page.

import { h, icon } from "./dom.js";
import { asPageError, errorText, label, number, t } from "./i18n.js";
import { copyButton, liveMarkdown } from "./markdown.js";
import { errorReport } from "./problem.js";

/** @typedef {import("./types.js").Chunk} Chunk */
/** @typedef {"streaming" | "done" | "stopped" | "error"} TurnState */

export class Turn {
  answer = "";
  /** @type {TurnState} */
  state = "streaming";
  /** @type {import("./types.js").PageError | undefined} */
  error;
  tokens = 0;
  speed = 0;

  /**
   * @param {string} question
   * @param {{onGrow: () => void, onRetry: (turn: Turn) => void}} on
   */
  constructor(question, on) {
    this.question = question;
    this.on = on;
    this.asked = h(
      "article",
      { class: "message user", "data-testid": "message", "data-role": "user" },
      h("div", { class: "bubble", text: question }),
      h(
        "div",
        { class: "actions" },
        copyButton(() => this.question, "copy"),
      ),
    );
    label(this.asked, "chat.you");
    this.body = h("div", { class: "body markdown", dir: "auto" });
    this.note = h("span", { class: "note" });
    const again = h(
      "button",
      { type: "button", class: "tool small", "data-testid": "again", onclick: () => on.onRetry(this) },
      icon("again"),
    );
    label(again, "chat.again");
    this.problem = h("div", { class: "turn-error", "data-testid": "message-error", hidden: true });
    this.actions = h(
      "div",
      { class: "actions" },
      copyButton(() => this.answer, "copy"),
      again,
      this.note,
    );
    this.answered = h(
      "article",
      { class: "message assistant", "data-testid": "message", "data-role": "assistant" },
      this.body,
      this.problem,
      this.actions,
    );
    label(this.answered, "chat.assistant");
    this.live = liveMarkdown(this.body, on.onGrow);
    this.reset();
  }

  /** Forget the answer: it is about to be asked for again. */
  reset() {
    Object.assign(this, { answer: "", error: undefined, tokens: 0, speed: 0 });
    this.setState("streaming");
    this.body.replaceChildren(h("span", { class: "waiting", "aria-hidden": "true" }, h("i"), h("i"), h("i")));
  }

  /** @param {Chunk} chunk */
  take(chunk) {
    const text = chunk.choices[0]?.delta?.content;
    if (text) {
      this.answer += text;
      this.live.set(this.answer);
    }
    if (chunk.usage) this.tokens = chunk.usage.completion_tokens;
    if (chunk.timings?.decode_tokens_per_second) this.speed = chunk.timings.decode_tokens_per_second;
  }

  /**
   * @param {TurnState} state
   * @param {unknown} [thrown]
   */
  finish(state, thrown) {
    this.error = thrown === undefined ? undefined : asPageError(thrown);
    this.answer = this.answer.trim();
    this.live.set(this.answer);
    this.live.finish();
    this.setState(state);
  }

  /** @param {TurnState} state */
  setState(state) {
    this.state = state;
    this.answered.dataset.state = state;
    this.draw();
  }

  /** What was measured: "42 tokens · 118 tokens/s"; empty when the engine did not tell. */
  summary() {
    const parts = [];
    if (this.state === "stopped") parts.push(t("chat.stopped"));
    if (this.tokens) parts.push(t(this.tokens === 1 ? "chat.token" : "chat.tokens", { n: number(this.tokens) }));
    if (this.speed) parts.push(t("chat.speed", { n: number(this.speed, this.speed < 10 ? 1 : 0) }));
    return parts.join(" · ");
  }

  draw() {
    const streaming = this.state === "streaming";
    this.actions.hidden = streaming || this.state === "error";
    this.note.textContent = streaming ? "" : this.summary();
    this.problem.hidden = !this.error;
    if (!streaming && !this.answer && !this.error) this.body.replaceChildren(h("p", { class: "fine", text: t("chat.nothing") }));
    if (!this.error) return;
    const { message, hint } = errorText(this.error);
    const retry = h("button", { type: "button", class: "button small", text: t("error.retry"), onclick: () => this.on.onRetry(this) });
    const copy = copyButton(() => (this.error ? errorReport(this.error) : ""), "copy-error");
    this.problem.replaceChildren(
      icon("alert"),
      h("div", { role: "alert", "data-code": this.error.code }, h("strong", { text: message }), h("p", { text: hint })),
      h("div", { class: "turn-error-actions" }, retry, copy),
    );
  }
}
