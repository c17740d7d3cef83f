// @ts-check
/** A Gauge (py_rwkv/chat/trace.py) whose numbers stay on this side: what a token changed in the recurrent state, and how well the model saw it coming. */

import { RwkvError } from "./errors.js";

/** @typedef {{version: string, layers: number, embd: number, heads: number, head_size: number}} Kind */

export class Gauge {
  /** The state seen last, head after head. @type {Float32Array | undefined} */
  #heads;

  /** @param {string} kind the model's, as JSON */
  constructor(kind) {
    /** @type {Kind} */
    this.kind = JSON.parse(kind);
    const { version, layers, heads, embd, head_size } = this.kind;
    this.count = layers * heads;
    this.size = version === "4" ? embd : head_size * head_size; // of a head
  }

  /** The change since the last look, by head. @param {Uint8Array} bytes the buffers `wkv` of all layers */
  look(bytes) {
    const before = this.#heads;
    this.#heads = this.#read(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
    if (!before) return undefined;
    const out = new Float64Array(this.count);
    for (let h = 0, at = 0; h < this.count; h++) {
      let change = 0;
      let size = 0;
      for (const end = at + this.size; at < end; at++) {
        change += (this.#heads[at] - before[at]) ** 2;
        size += this.#heads[at] ** 2;
      }
      out[h] = size > 0 ? Math.sqrt(change / size) : Math.sqrt(change);
    }
    return out;
  }

  /** Log-probability of a token, and the entropy. @param {Uint8Array} bytes f32 logits @param {number} token */
  logits(bytes, token) {
    const logits = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    let weighted = 0;
    for (const logit of logits) {
      const p = Math.exp(logit - most);
      sum += p;
      if (p > 0) weighted += p * (logit - most);
    }
    return Float64Array.of(logits[token] - most - Math.log(sum), Math.log(sum) - weighted / sum);
  }

  /** By head. */
  norms() {
    const all = this.#seen();
    return Float64Array.from({ length: this.count }, (_, h) => {
      let sum = 0;
      for (const x of all.subarray(h * this.size, (h + 1) * this.size)) sum += x * x;
      return Math.sqrt(sum);
    });
  }

  /** One head's state: [N · N], in V7 value by key, in V5 and V6 key by value; in V4 [C]. @param {number} layer @param {number} head */
  head(layer, head) {
    const { layers, heads } = this.kind;
    const good = Number.isInteger(layer) && Number.isInteger(head) && layer >= 0 && layer < layers && head >= 0 && head < heads;
    const expected = `a layer below ${layers} and a head below ${heads}`;
    if (!good) throw new RwkvError("bad-setting", { name: "layer, head", expected, found: `${layer}, ${head}` });
    const h = layer * heads + head;
    return this.#seen().slice(h * this.size, (h + 1) * this.size);
  }

  #seen() {
    if (!this.#heads) throw new RwkvError("bad-setting", { name: "stateOf", expected: "something after a trace", found: "no trace" });
    return this.#heads;
  }

  /** @param {Float32Array} all */
  #read(all) {
    if (this.kind.version !== "4") return all;
    const { layers, embd } = this.kind; // a layer: aa, bb, pp
    return Float32Array.from({ length: layers * embd }, (_, i) => {
      const at = Math.floor(i / embd) * 3 * embd + (i % embd);
      return all[at + embd] > 0 ? all[at] / all[at + embd] : all[at];
    });
  }
}
