// @ts-check
// Several answers asked for at once through engine.chat.completions, as a page with many users of one engine does: what all of them get together, and what each waits.

/** @typedef {import("../engine/client.js").Engine} Engine */
/** `tok_s`: of all together; `first_ms`: until an answer begins, the median. @typedef {{requests: number, tokens: number, tok_s: number, first_ms: number}} Together */

const THINGS = [
  "fox",
  "tree",
  "river",
  "teacher",
  "boat",
  "cat",
  "king",
  "garden",
  "train",
  "star",
  "dog",
  "cook",
  "bird",
  "city",
  "doctor",
  "horse",
];

/**
 * The median of some rounds, after one that warms up (its prompts are kept, so later rounds only write).
 * @param {Engine} engine @param {number} count @param {number} tokens at most, of each answer @param {number} rounds @param {AbortSignal} signal @returns {Promise<Together>}
 */
export async function together(engine, count, tokens, rounds, signal) {
  const all = [];
  for (let i = 0; i <= rounds; i++) all.push(await round(engine, count, tokens, signal));
  return all.slice(1).sort((a, b) => a.tok_s - b.tok_s)[Math.floor((all.length - 1) / 2)];
}

/** @param {Engine} engine @param {number} count @param {number} tokens @param {AbortSignal} signal @returns {Promise<Together>} */
async function round(engine, count, tokens, signal) {
  const start = performance.now();
  const answers = await Promise.all(Array.from({ length: count }, (_, i) => answer(engine, i, tokens, signal)));
  const seconds = (performance.now() - start) / 1e3;
  const written = answers.reduce((sum, one) => sum + one.tokens, 0);
  const first = answers.map((one) => one.first - start).sort((a, b) => a - b)[count >> 1];
  return { requests: count, tokens: written, tok_s: written / seconds, first_ms: first };
}

/** @param {Engine} engine @param {number} index @param {number} tokens @param {AbortSignal} signal */
async function answer(engine, index, tokens, signal) {
  const content = `Tell me a story about a ${THINGS[index % THINGS.length]} (${index + 1}).`;
  /** @type {any} */
  const request = {
    messages: [{ role: "user", content }],
    seed: index,
    max_tokens: tokens,
    stream: true,
    stream_options: { include_usage: true },
  };
  let [first, written] = [0, 0];
  for await (const chunk of await engine.chat.completions.create({ ...request, signal })) {
    if (chunk.choices[0]?.delta?.content) first ||= performance.now();
    written = chunk.usage?.completion_tokens ?? written;
  }
  signal.throwIfAborted(); // a stream that was stopped ends like any other
  return { tokens: written, first: first || performance.now() };
}
