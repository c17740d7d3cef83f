// @ts-check
// The answers under way, of the conversation that is shown and of others: asks the engine, grows the messages, keeps them. Knows no page.

import { beginAnswer, endAnswer, keptError, takeChunk } from "./answer.js";
import { asPageError } from "./i18n.js";
import { prepared, requestFor } from "./slots.js";

/** @typedef {import("./answer.js").Run} Run */
/** @typedef {import("./conversations/library.js").Library} Library */
/** @typedef {import("./conversations/tree.js").Tree} Tree */
/** @typedef {import("./conversations/types.js").Header} Header */
/** @typedef {import("./conversations/types.js").Message} Message */

const SAVE = 1000; // ms between two saves of a growing answer

export class Answers {
  /** By message. @type {Map<string, Run>} */
  runs = new Map();

  /**
   * @param {import("./types.js").PageEngine} engine
   * @param {Library} library
   * @param {(message: Message, chunk: import("./types.js").Chunk, conversation: string, grown: boolean) => void} heard every chunk
   */
  constructor(engine, library, heard) {
    this.engine = engine;
    this.library = library;
    this.heard = heard;
  }

  /** The answer of a conversation. @param {string | undefined} id */
  of(id) {
    return [...this.runs.values()].find(({ conversation }) => conversation === id);
  }

  conversations() {
    return [...this.runs.values()].map(({ conversation }) => conversation);
  }

  /** Stop the answers of a conversation, or all; what is there stays. @param {string} [id] */
  stop(id) {
    for (const { conversation, abort } of this.runs.values()) if (!id || conversation === id) abort.abort();
  }

  /**
   * Write a message, or go on with it; what goes wrong is noted in the message.
   * @param {Message} message
   * @param {{header: Header, tree: Tree, model: string | undefined, settings: import("./types.js").Sampling, continuing: boolean}} how
   */
  async write(message, { header, tree, model, settings, continuing }) {
    const { library } = this;
    const { id } = header;
    const path = tree.path(message.id);
    /** @type {Run} */
    const run = { conversation: id, abort: new AbortController(), started: performance.now(), saved: 0 };
    const request = requestFor(header, continuing ? path : path.slice(0, -1));
    const thinking = typeof request.thinking === "string" ? request.thinking : undefined;
    const before = beginAnswer(message, { model, sampling: settings, thinking }, continuing);
    this.runs.set(message.id, run);
    library.writing.add(message);
    try {
      const chunks = await this.engine.chat.completions.create({ ...request, ...(await prepared(header)), signal: run.abort.signal });
      for await (const chunk of chunks) {
        const grown = takeChunk(message, run, chunk, before);
        if (performance.now() - run.saved > SAVE) {
          run.saved = performance.now();
          void library.put(id, message);
        }
        this.heard(message, chunk, id, grown);
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
        library.patch(id, { updated: Date.now(), model });
        void library.store?.flush();
      }
    }
  }
}
