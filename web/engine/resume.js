// @ts-check
/** What has come of an answer so far, so that one that was lost with its device, its worker or its tab goes on where it was. */

export class Heard {
  #text = "";
  #thought = "";
  #chunks = 0; // about as many as tokens
  #again = false;
  /** Chunks of earlier attempts. */
  #before = 0;

  /** @param {any} request */
  constructor(request) {
    this.request = request;
  }

  /** Note a chunk, and put right what a continuation says differently. Returns nothing for one that was there already. @param {any} chunk */
  take(chunk) {
    const choice = chunk?.choices?.[0];
    if (!choice) return chunk;
    if (this.#again && choice.delta?.role) return undefined; // who speaks was said before
    const text = choice.delta?.content ?? choice.text ?? "";
    const thought = choice.delta?.reasoning_content ?? "";
    const { usage } = chunk;
    if (this.#again && usage) {
      const completion_tokens = usage.completion_tokens + this.#before; // what came before was read again as a part of the prompt
      return { ...chunk, usage: { ...usage, completion_tokens, prompt_tokens: usage.total_tokens - completion_tokens } };
    }
    this.#text += text;
    this.#thought += thought;
    if (text || thought) this.#chunks++;
    return chunk;
  }

  /** The request for the rest; the same request if nothing came. */
  rest() {
    this.#before = this.#chunks;
    const { messages, prompt, seed, max_tokens } = this.request;
    if (!this.#text && !this.#thought) return this.request;
    this.#again = true;
    const rest = { ...this.request };
    if (max_tokens !== undefined) rest.max_tokens = Math.max(1, max_tokens - this.#chunks);
    if (seed !== undefined) rest.seed = seed + this.#chunks; // else the same random numbers would come again
    if (!messages) return { ...rest, prompt: prompt + this.#text };
    const goesOn = this.request.continue ? messages.at(-1) : { role: "assistant", content: "", thinking: this.request.thinking };
    const answer = { ...goesOn, content: goesOn.content + this.#text };
    if (this.#thought) answer.reasoning_content = (goesOn.reasoning_content ?? "") + this.#thought;
    return { ...rest, messages: [...(this.request.continue ? messages.slice(0, -1) : messages), answer], continue: true };
  }
}
