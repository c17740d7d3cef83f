// @ts-check
// What the tokens of an answer competed with: recorded while it is written, if a person wants that, or found out afterwards by reading it again.

import { remember } from "../dom.js";
import { registerRequestPart, requestFor } from "../slots.js";

/** @typedef {import("../chat.js").Chat} Chat */
/** @typedef {import("../conversations/types.js").Message} Message */
/** @typedef {import("../types.js").PageEngine} PageEngine */
/** @typedef {import("../types.js").TokenChoice} TokenChoice */
/** @typedef {import("../types.js").TokenLogprob} TokenLogprob */

const TOP = 8; // alternatives
const MOST = 30; // answers that are remembered

export class Probabilities {
  recording = remember("probabilities") === "yes";
  /** By message, the latest last. @type {Map<string, TokenLogprob[]>} */
  #known = new Map();
  /** Of answers under way. @type {Map<string, TokenLogprob[]>} */
  #coming = new Map();

  /** @param {PageEngine} engine @param {Chat} chat */
  constructor(engine, chat) {
    this.engine = engine;
    this.chat = chat;
    engine.addEventListener("state", () => engine.status().state === "loading" && this.#known.clear()); // another model says something else
    registerRequestPart(() => (this.recording ? { logprobs: true, top_logprobs: TOP } : {}));
    const on = (/** @type {string} */ name, /** @type {(detail: {message: Message, chunk?: any}) => void} */ run) =>
      chat.addEventListener(name, (event) => run(/** @type {CustomEvent} */ (event).detail));
    on("begin", ({ message }) => {
      this.#known.delete(message.id);
      if (this.recording && !message.content && !message.reasoning) this.#coming.set(message.id, []); // one that goes on is read again
    });
    on("chunk", ({ message, chunk }) => void this.#coming.get(message.id)?.push(...(chunk.choices[0]?.logprobs?.content ?? [])));
    on("end", ({ message }) => {
      const entries = this.#coming.get(message.id);
      this.#coming.delete(message.id);
      if (entries?.length && message.state !== "error") this.#keep(message.id, entries);
    });
  }

  /** @param {boolean} recording */
  record(recording) {
    this.recording = recording;
    remember("probabilities", recording ? "yes" : null);
  }

  /** @param {string} id @param {TokenLogprob[]} entries */
  #keep(id, entries) {
    this.#known.delete(id);
    this.#known.set(id, entries);
    if (this.#known.size > MOST) this.#known.delete([...this.#known.keys()][0]);
  }

  /**
   * Of an answer, as far as it is known: `tell` gets the tokens known by now, the same array each time.
   * @param {Message} message @param {(entries: TokenLogprob[]) => void} tell @param {AbortSignal} signal
   */
  async of(message, tell, signal) {
    const known = this.#known.get(message.id);
    if (known) {
      tell(known);
      return known;
    }
    const { header, tree } = this.chat;
    if (!header) return [];
    /** @type {TokenLogprob[]} */
    const entries = [];
    const { stream: _, ...request } = requestFor(header, tree.path(message.id));
    const { content, reasoning } = message;
    await this.engine.score(
      { ...request, top_logprobs: TOP },
      {
        signal,
        onToken: ({ index, ...entry }) => {
          entries[index] = entry; // after a loss of the device they come again
          tell(entries);
        },
      },
    );
    if (message.content === content && message.reasoning === reasoning) this.#keep(message.id, entries);
    return entries;
  }
}

/**
 * The answer that begins with the tokens before the `at`-th and goes on with an alternative to it; undefined where text cannot say it: a token that
 * ends the answer, or a part of a character.
 * @param {Message} message @param {TokenLogprob[]} entries @param {number} at @param {TokenChoice} alternative
 * @returns {{content: string, reasoning?: string} | undefined}
 */
export function beginning({ reasoning }, entries, at, alternative) {
  if (!alternative.bytes.length) return undefined;
  const bytes = [...entries.slice(0, at).flatMap((entry) => entry.bytes), ...alternative.bytes];
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
  if (reasoning === undefined && !/^\s*<think/.test(text)) return { content: text.trimStart() };
  const [thought, ...rest] = text.replace(/^\s*(<think)?>?/, "").split("</think>");
  return { content: rest.join("</think>").trimStart(), ...(thought ? { reasoning: thought } : {}) };
}
