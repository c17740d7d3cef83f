// @ts-check
// One message on the page: its text, its thinking, what went wrong, and what can be done with it. Knows no engine and no storage.

import { h, icon } from "./dom.js";
import { duration, errorText, label, number, t } from "./i18n.js";
import { copyButton, liveMarkdown } from "./markdown.js";
import { openMenu } from "./menu.js";
import { errorReport } from "./problem.js";
import { messageActions } from "./slots.js";

/** @typedef {import("./conversations/types.js").Message} Message */
/**
 * @typedef {{
 *   siblings: (message: Message) => Message[],
 *   select: (message: Message) => void,
 *   retry: (message: Message) => void,
 *   edit: (message: Message, text: string) => void,
 *   busy: () => boolean,
 *   thinkingSince: (message: Message) => number | undefined,
 *   model: () => string | undefined,
 *   grown: () => void,
 * }} Surroundings what a message needs of the conversation around it
 */

export class MessageView {
  streaming = false;
  /** Whether its text has been drawn; long conversations are drawn from the end. */
  drawn = false;
  /** @type {HTMLElement | undefined} */
  editor;

  /** @param {Message} message @param {Surroundings} around */
  constructor(message, around) {
    this.message = message;
    this.around = around;
    const { role } = message;
    this.body = role === "user" ? h("div", { class: "bubble", dir: "auto" }) : h("div", { class: "body markdown", dir: "auto" });
    this.actions = h("div", { class: "actions" });
    this.problem = h("div", { class: "turn-error", "data-testid": "message-error", hidden: true });
    this.element = h(
      "article",
      { class: `message ${role}`, "data-testid": "message", "data-role": role, "data-id": message.id },
      this.body,
    );
    if (role === "assistant") this.element.append(this.problem);
    this.element.append(this.actions);
    label(this.element, role === "user" ? "chat.you" : "chat.assistant");
    this.body.textContent = message.content; // until it is drawn: for the size, and for the browser's search
    this.live = role === "user" ? undefined : liveMarkdown(this.body, () => this.around.grown());
  }

  /** The text, all of it, at once. */
  fill() {
    this.drawn = true;
    const { content, error } = this.message;
    if (!this.live) {
      this.body.textContent = content;
      return;
    }
    this.drawThinking();
    if (content || !error) this.live.set(content);
    this.live.finish();
    if (!content && !error && !this.streaming) this.body.replaceChildren(h("p", { class: "fine", text: t("chat.nothing") }));
    if (!content && this.streaming && !this.message.reasoning) this.#wait();
  }

  #wait() {
    this.body.replaceChildren(h("span", { class: "waiting", "aria-hidden": "true" }, h("i"), h("i"), h("i")));
  }

  /** The answer is about to grow. */
  begin() {
    this.streaming = true;
    this.drawn = true;
    this.closeEditor();
    this.live?.reset();
    if (this.message.content) this.live?.set(this.message.content);
    else this.#wait();
    this.drawThinking();
    this.draw();
  }

  /** The message has grown. */
  grow() {
    if (this.message.content) this.live?.set(this.message.content);
    this.drawThinking();
  }

  /** The answer is as long as it gets. */
  end() {
    this.streaming = false;
    this.fill();
    this.draw();
  }

  /** "Thought for 3.2 s", folded. */
  drawThinking() {
    const { reasoning, reasoningSeconds, content } = this.message;
    if (!reasoning) {
      this.thinking?.remove();
      this.thinking = undefined;
      return;
    }
    if (!this.thinking) {
      this.thought = h("div", { class: "thought", dir: "auto" });
      this.thoughtTime = h("span", {});
      this.thinking = h(
        "details",
        { class: "thinking", "data-testid": "thinking" },
        h("summary", {}, icon("thought"), this.thoughtTime),
        this.thought,
      );
      this.thinking.addEventListener("toggle", () => this.around.grown());
      this.body.before(this.thinking);
    }
    const since = this.around.thinkingSince(this.message);
    const active = this.streaming && !content && since !== undefined;
    const seconds = active ? (performance.now() - since) / 1000 : reasoningSeconds;
    const text =
      seconds === undefined
        ? t("chat.thought")
        : t(active ? "chat.thinking" : "chat.thought.time", { time: duration(active ? Math.floor(seconds) : seconds) });
    if (this.thoughtTime && this.thoughtTime.textContent !== text) this.thoughtTime.textContent = text;
    this.thinking.classList.toggle("active", active);
    if (this.thought && this.thought.textContent?.length !== reasoning.trim().length) this.thought.textContent = reasoning.trim();
    if (active && !content) this.body.replaceChildren();
  }

  /** What was measured: "42 tokens · 118 tokens/s · 90 of 120 prompt tokens reused". */
  summary() {
    const { message } = this;
    const { usage, timings } = message;
    const parts = [];
    if (message.state === "stopped") parts.push(t("chat.stopped"));
    else if (message.finish === "length") parts.push(t("chat.length"));
    if (message.edited) parts.push(t("chat.edited"));
    if (usage?.completion_tokens)
      parts.push(t(usage.completion_tokens === 1 ? "chat.token" : "chat.tokens", { n: number(usage.completion_tokens) }));
    if (timings?.decode) parts.push(t("chat.speed", { n: number(timings.decode, timings.decode < 10 ? 1 : 0) }));
    if (usage?.cached_tokens) parts.push(t("chat.cached", { cached: number(usage.cached_tokens), n: number(usage.prompt_tokens) }));
    if (message.model && message.model !== this.around.model()) parts.push(message.model);
    return parts.join(" · ");
  }

  /** Everything but the text: state, actions, problem. */
  draw() {
    const { message } = this;
    if (message.role === "assistant") this.element.dataset.state = this.streaming ? "streaming" : message.state;
    this.actions.hidden = this.streaming || Boolean(this.editor);
    this.actions.replaceChildren(...(this.streaming ? [] : this.#actionButtons()));
    this.#drawProblem();
  }

  #actionButtons() {
    const { message } = this;
    const busy = this.around.busy();
    const parts = [];
    const switcher = this.#switcher(busy);
    if (message.content) parts.push(copyButton(() => message.content, "copy"));
    for (const action of messageActions(message, "row", busy)) {
      const button = h("button", { type: "button", class: "tool small", "data-testid": action.id }, icon(action.icon));
      button.addEventListener("click", () => action.run(message, button));
      label(button, action.label);
      parts.push(button);
    }
    const more = messageActions(message, "menu", busy);
    if (more.length) {
      const button = h("button", { type: "button", class: "tool small", "data-testid": "more", "aria-haspopup": "menu" }, icon("more"));
      label(button, "chat.more");
      button.addEventListener("click", () =>
        openMenu(
          button,
          more.map(({ id, label: key, icon: name, run }) => ({
            id,
            text: t(key),
            icon: name,
            danger: id.startsWith("delete"),
            run: () => run(message, button),
          })),
        ),
      );
      parts.push(button);
    }
    if (switcher && message.role === "user") parts.push(switcher);
    else if (switcher) parts.unshift(switcher);
    if (message.role === "assistant") parts.push(h("span", { class: "note", "data-testid": "note", text: this.summary() }));
    return parts;
  }

  /** ‹ 2/3 › @param {boolean} busy */
  #switcher(busy) {
    const all = this.around.siblings(this.message);
    if (all.length < 2) return undefined;
    const at = all.findIndex(({ id }) => id === this.message.id);
    const step = (/** @type {number} */ by, /** @type {string} */ name) => {
      const button = h("button", { type: "button", class: "tool small", "data-testid": `version-${name}` }, icon(name));
      label(button, `chat.version.${name}`);
      button.disabled = busy || !all[at + by];
      button.addEventListener("click", () => this.around.select(all[at + by]));
      return button;
    };
    const count = h("span", { class: "count", "data-testid": "version", text: `${number(at + 1)}/${number(all.length)}` });
    count.setAttribute("aria-label", t("chat.version", { i: at + 1, n: all.length }));
    count.setAttribute("role", "img");
    return h("span", { class: "switcher" }, step(-1, "previous"), count, step(1, "next"));
  }

  #drawProblem() {
    const { error } = this.message;
    this.problem.hidden = !error || this.streaming;
    if (!error || this.streaming) return;
    const { message, hint } = errorText(error);
    const retry = h("button", {
      type: "button",
      class: "button small",
      text: t("error.retry"),
      onclick: () => this.around.retry(this.message),
    });
    this.problem.replaceChildren(
      icon("alert"),
      h("div", { role: "alert", "data-code": error.code }, h("strong", { text: message }), h("p", { text: hint })),
      h(
        "div",
        { class: "turn-error-actions" },
        retry,
        copyButton(() => errorReport(error), "copy-error"),
      ),
    );
  }

  /** Turn the message into a field; Enter (of a question) or Ctrl+Enter keeps the text, Escape leaves it. */
  edit() {
    if (this.editor) return;
    const { message } = this;
    const asks = message.role === "user";
    const area = h("textarea", { class: "edit-text", "data-testid": "edit-text", rows: 1, dir: "auto" });
    area.value = message.content;
    area.setAttribute("aria-label", t(asks ? "chat.edit.question" : "chat.edit.answer"));
    const fit = () => {
      area.style.setProperty("height", "auto");
      area.style.setProperty("height", `${area.scrollHeight + 2}px`);
    };
    const keep = () => {
      const text = area.value.trim();
      if (!text) return;
      this.closeEditor();
      if (text !== message.content.trim() || asks) this.around.edit(message, text);
    };
    const leave = () => {
      this.closeEditor();
      /** @type {HTMLElement | null} */ (this.actions.querySelector('[data-testid="edit"]'))?.focus();
    };
    area.addEventListener("input", fit);
    area.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Escape") {
        event.stopPropagation();
        leave();
      } else if (event.key === "Enter" && (asks ? !event.shiftKey : event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        keep();
      }
    });
    this.editor = h(
      "div",
      { class: "editor" },
      area,
      h(
        "div",
        { class: "editor-buttons" },
        h("button", { type: "button", class: "button small", "data-testid": "edit-cancel", text: t("chat.edit.cancel"), onclick: leave }),
        h("button", {
          type: "button",
          class: "button small primary",
          "data-testid": "edit-keep",
          text: t(asks ? "chat.send" : "chat.edit.keep"),
          onclick: keep,
        }),
      ),
    );
    this.body.hidden = true;
    this.body.after(this.editor);
    this.element.classList.add("editing");
    this.draw();
    fit();
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  closeEditor() {
    if (!this.editor) return;
    this.editor.remove();
    this.editor = undefined;
    this.body.hidden = false;
    this.element.classList.remove("editing");
    this.draw();
  }
}
