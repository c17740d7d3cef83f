// @ts-check
// An answer while it is written: what the chunks of the engine make of a message. Knows no page and no storage.

/** @typedef {import("./conversations/types.js").Message} Message */
/** @typedef {import("./types.js").Chunk} Chunk */
/** started, thinking (since when), saved: of performance.now(). @typedef {{conversation: string, abort: AbortController, started: number, thinking?: number, saved: number}} Run */

/**
 * The message forgets what the answer before left in it. Until it is done it counts as stopped.
 * @param {Message} message
 * @param {Pick<Message, "model" | "sampling" | "thinking">} asked
 * @param {boolean} continuing
 * @returns {number} tokens that are there already
 */
export function beginAnswer(message, { model, sampling, thinking }, continuing) {
  const before = continuing ? (message.usage?.completion_tokens ?? 0) : 0;
  for (const field of /** @type {const} */ (["error", "finish", "usage", "timings", "model"])) delete message[field];
  if (!continuing) for (const field of /** @type {const} */ (["reasoning", "reasoningSeconds", "thinking"])) delete message[field];
  Object.assign(message, { state: "stopped", sampling }, model ? { model } : {});
  if (!continuing && thinking !== undefined) message.thinking = thinking;
  return before;
}

/**
 * @param {Message} message @param {Run} run @param {Chunk} chunk @param {number} before what beginAnswer said
 * @returns {boolean} whether there is more to read
 */
export function takeChunk(message, run, chunk, before) {
  const { delta, finish_reason: finish } = chunk.choices[0] ?? {};
  if (delta?.reasoning_content) {
    run.thinking ??= performance.now();
    message.reasoning = (message.reasoning ?? "") + delta.reasoning_content;
  }
  if (delta?.content) {
    endThought(message, run);
    message.content += delta.content;
  }
  if (finish === "stop" || finish === "length") message.finish = finish;
  if (chunk.usage) {
    const cached = chunk.usage.prompt_tokens_details?.cached_tokens;
    message.usage = {
      prompt_tokens: chunk.usage.prompt_tokens,
      completion_tokens: before + chunk.usage.completion_tokens,
      ...(cached === undefined ? {} : { cached_tokens: cached }),
    };
  }
  if (chunk.timings)
    message.timings = { prefill: chunk.timings.prefill_tokens_per_second ?? 0, decode: chunk.timings.decode_tokens_per_second ?? 0 };
  return Boolean(delta?.content || delta?.reasoning_content);
}

/** @param {Message} message @param {Run} run */
export function endAnswer(message, run) {
  const whole = message.state === "done" && message.finish !== "length"; // what goes on may need the space at its end
  message.content = whole ? message.content.trim() : message.content.trimStart();
  endThought(message, run);
}

/** @param {Message} message @param {Run} run */
function endThought(message, run) {
  if (run.thinking === undefined) return;
  message.reasoningSeconds = (message.reasoningSeconds ?? 0) + (performance.now() - run.thinking) / 1000;
  run.thinking = undefined;
}

/** What of an error is worth keeping with a message. @param {import("./types.js").PageError} error */
export function keptError({ code, message, hint, details }) {
  const simple = Object.entries(details).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  return { code, message, hint, details: Object.fromEntries(simple) };
}
