// @ts-check
/** What has come of an answer so far, so that one that was lost with its device, its worker or its tab goes on where it was. */

export class Heard {
  #text = "";
  #thought = "";
  #chunks = 0; // about as many as tokens
  #again = false;
  /** Chunks of earlier attempts. */
  #before = 0;
  #whole = false; // what has come is no part of one plain text

  /** @param {any} request */
  constructor(request) {
    this.request = request;
  }

  /** Note a chunk, and put right what a continuation says differently. Returns nothing for one that was there already. @param {any} chunk */
  take(chunk) {
    const choice = chunk?.choices?.[0];
    if (!choice) return chunk?.usage ? this.#counted(chunk) : chunk;
    if (this.#again && choice.delta?.role) return undefined; // who speaks was said before
    if (choice.index > 0 || choice.delta?.tool_calls) this.#whole = true;
    const text = choice.delta?.content ?? choice.text ?? "";
    const thought = choice.delta?.reasoning_content ?? "";
    if (this.#again && chunk.usage) return this.#counted(chunk);
    this.#text += text;
    this.#thought += thought;
    if (text || thought) this.#chunks++;
    return chunk;
  }

  /** What came before was read again as a part of the prompt. @param {any} chunk */
  #counted(chunk) {
    if (!this.#again) return chunk;
    const { usage } = chunk;
    const completion_tokens = usage.completion_tokens + this.#before;
    return { ...chunk, usage: { ...usage, completion_tokens, prompt_tokens: usage.total_tokens - completion_tokens } };
  }

  /** Whether `rest` can go on where it was: not where several choices, or calls, or something of a shape have begun to come. */
  get resumable() {
    const { n, response_format, prompt, echo } = this.request;
    const text = typeof (prompt ?? "") === "string" && (response_format?.type ?? "text") === "text";
    const plain = (n ?? 1) === 1 && text && !echo && !this.#whole;
    return plain || !(this.#text || this.#thought || this.#whole);
  }

  /** The request for the rest; the same request if nothing came. */
  rest() {
    this.#before = this.#chunks;
    const { messages, prompt, seed } = this.request;
    if (!this.#text && !this.#thought) return this.request;
    this.#again = true;
    const rest = { ...this.request };
    for (const name of ["max_tokens", "max_completion_tokens"])
      if (typeof rest[name] === "number") rest[name] = Math.max(1, rest[name] - this.#chunks);
    if (typeof seed === "number") rest.seed = seed + this.#chunks; // else the same random numbers would come again
    if (!messages) return { ...rest, prompt: prompt + this.#text };
    const goesOn = this.request.continue ? messages.at(-1) : { role: "assistant", content: "", thinking: this.request.thinking };
    const answer = { ...goesOn, content: goesOn.content + this.#text };
    if (this.#thought) answer.reasoning_content = (goesOn.reasoning_content ?? "") + this.#thought;
    return { ...rest, messages: [...(this.request.continue ? messages.slice(0, -1) : messages), answer], continue: true };
  }
}
