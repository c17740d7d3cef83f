// @ts-check
/**
 * Requests under way: `{id, op, args}` out; `{id, event: "progress" | "chunk" | "result" | "error", value}` back; `{cancel: id}` ends one early. The other
 * side (a worker, or another tab's engine) may be lost: then they are taken along to the next one, and answers go on where they were.
 */

import { RwkvError } from "./errors.js";
import { Heard } from "./resume.js";

/** `model`: for whoever has the model, not for the worker. @typedef {{signal?: AbortSignal, onEvent?: (event: any) => void, model?: boolean}} CallOptions */
/** @typedef {{id: number, op: string, args: any, model: boolean, heard?: Heard, signal?: AbortSignal, resolve: (value: any) => void, reject: (error: RwkvError) => void, onEvent?: (event: any) => void}} Call */

export class Calls {
  #next = 1;
  /** @type {Map<number, Call>} */
  #open = new Map();

  /**
   * @param {(message: any, call: Call) => void} send
   * @param {(error: RwkvError, call: Call | undefined) => boolean} lost told of every error; true: the other side is lost and this call is to be taken along
   */
  constructor(send, lost) {
    this.send = send;
    this.lost = lost;
  }

  /** @param {string} op @param {object} args @param {CallOptions} [options] @returns {Promise<any>} */
  begin(op, args, { signal, onEvent, model = false } = {}) {
    if (signal?.aborted) return Promise.reject(new RwkvError("cancelled"));
    /** @type {Call} */
    const call = { id: this.#next++, op, args, model, signal, onEvent, resolve() {}, reject() {} };
    if (op === "answer") call.heard = new Heard(args);
    const cancel = () => this.#open.has(call.id) && this.send({ cancel: call.id }, call);
    signal?.addEventListener("abort", cancel, { once: true });
    return new Promise((resolve, reject) => {
      Object.assign(call, { resolve, reject });
      this.#open.set(call.id, call);
      this.send({ id: call.id, op, args }, call);
    }).finally(() => {
      this.#open.delete(call.id);
      signal?.removeEventListener("abort", cancel);
    });
  }

  /** @param {{id: number, event: string, value: any}} message */
  receive({ id, event, value }) {
    const call = this.#open.get(id);
    if (event === "error") {
      const error = RwkvError.from(value);
      if ((call || id === 0) && !this.lost(error, call)) call?.reject(error);
    } else if (event === "result") call?.resolve(value);
    else if (call) {
      const part = event === "chunk" && call.heard ? call.heard.take(value) : value;
      if (part !== undefined) call.onEvent?.(part);
    }
  }

  ids() {
    return [...this.#open.keys()];
  }

  /** Those under way, off the table: late words about them count no more. @param {(call: Call) => boolean} [which] @returns {Call[]} */
  take(which = () => true) {
    const taken = [...this.#open.values()].filter(which);
    for (const { id } of taken) this.#open.delete(id);
    return taken;
  }

  /** Ask again, for what is still missing; `lost` is the error where that cannot be. @param {Call} call @param {RwkvError} [lost] */
  again(call, lost) {
    if (call.signal?.aborted) return call.reject(new RwkvError("cancelled"));
    if (call.heard && !call.heard.resumable) return call.reject(lost ?? new RwkvError("tab-closed"));
    call.id = this.#next++;
    this.#open.set(call.id, call);
    this.send({ id: call.id, op: call.op, args: call.heard?.rest() ?? call.args }, call);
  }
}
