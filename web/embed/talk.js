// @ts-check
/** The conversation of an element: its messages, how they are shown (as the page shows them), and the answer under way. Loaded with the first message. */

import { beginAnswer, endAnswer, keptError, takeChunk } from "../app/answer.js";
import { asPageError, speak } from "../app/i18n.js";
import { renderMarkdown } from "../app/markdown.js";
import { MessageView } from "../app/message.js";
import { requestFor } from "../app/slots.js";
import { RwkvError } from "../engine/errors.js";

/** @typedef {import("../app/conversations/types.js").Message} Message */
/** @typedef {import("../engine/client.js").Engine} Engine */
/** @typedef {{language: () => string, busy: () => boolean, grown: () => void, retry: () => void, chunk: (text: string) => void}} Around what a conversation needs of its element */

export class Talk {
  /** @type {Message[]} */
  messages = [];
  /** @type {Map<Message, MessageView>} */
  #views = new Map();
  #last = 0;

  /** @param {HTMLElement} log @param {Around} around */
  constructor(log, around) {
    this.log = log;
    this.around = around;
    try {
      renderMarkdown("");
    } catch {
      const needed = "trusted-types dompurify 'allow-duplicates'"; // the sanitizer may not parse
      throw new RwkvError("embed-refused", { needed, blocked: "dompurify", directive: "trusted-types" });
    }
  }

  /** @param {"user" | "assistant"} role @param {string} content */
  add(role, content) {
    const parent = this.messages.at(-1)?.id ?? null;
    /** @type {Message} */
    const message = { id: `m${++this.#last}`, parent, role, content, state: "done", created: Date.now() };
    const { busy, grown, retry } = this.around;
    const view = new MessageView(message, {
      siblings: () => [message],
      select() {},
      retry,
      edit() {},
      busy,
      thinkingSince: () => this.run?.thinking,
      model: () => message.model,
      grown,
    });
    this.messages.push(message);
    this.#views.set(message, view);
    view.element.setAttribute("part", `message ${role}`);
    this.#draw(() => view.fill());
    this.#draw(() => view.draw());
    this.log.append(view.element);
    return message;
  }

  /**
   * Write the answer that is the last message; what goes wrong is noted in it, and thrown.
   * @param {Message} message @param {() => Promise<Engine>} load @param {{system: string, sampling: Record<string, any>}} how @param {AbortSignal} signal
   */
  async answer(message, load, { system, sampling }, signal) {
    const view = /** @type {MessageView} */ (this.#views.get(message));
    const header = /** @type {any} */ ({ system, sampling, prompt: {} });
    const request = requestFor(header, this.messages.slice(0, -1));
    const before = beginAnswer(message, {}, false);
    /** @type {import("../app/answer.js").Run} */
    const run = (this.run = { conversation: "", abort: new AbortController(), started: performance.now(), saved: 0 });
    this.#draw(() => view.begin());
    try {
      const engine = await orAborted(load(), signal);
      message.model = engine.status().model?.name;
      for await (const chunk of await engine.chat.completions.create(/** @type {any} */ ({ ...request, signal }))) {
        if (takeChunk(message, run, chunk, before)) this.#draw(() => view.grow());
        this.around.chunk(chunk.choices[0]?.delta.content ?? "");
      }
      message.state = signal.aborted ? "stopped" : "done";
    } catch (thrown) {
      if (signal.aborted) return;
      message.state = "error";
      message.error = keptError(asPageError(thrown));
      throw thrown;
    } finally {
      endAnswer(message, run);
      this.run = undefined;
      this.#draw(() => view.end());
      this.around.grown();
    }
  }

  /** "42 tokens · 118 tokens/s", of the last answer. */
  summary() {
    const last = this.messages.at(-1);
    return last?.role === "assistant" ? this.#draw(() => this.#views.get(last)?.summary() ?? "") : "";
  }

  /** Take the last message away. */
  pop() {
    const message = this.messages.pop();
    if (message) this.#views.get(message)?.element.remove();
    if (message) this.#views.delete(message);
  }

  clear() {
    while (this.messages.length) this.pop();
  }

  /** Everything again, in another language. */
  draw() {
    for (const view of this.#views.values()) this.#draw(() => view.draw());
  }

  /** @template T @param {() => T} work @returns {T} */
  #draw(work) {
    return speak(this.around.language(), work);
  }
}

/** @template T @param {Promise<T>} work @param {AbortSignal} signal @returns {Promise<T>} */
function orAborted(work, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => reject(new DOMException("stopped", "AbortError"));
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    work.then(resolve, reject);
  });
}
