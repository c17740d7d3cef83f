// @ts-check
/** What Programs have in a device's memory, by name: made, filled from shards, copied, cleared. */

import { RwkvError } from "./errors.js";
import { create, fits, sizeOf, write } from "./textures.js";

/** `words`: of a constant. @typedef {import("./textures.js").Spec & {role: string, words: number[]}} BufferSpec */
/** See `Upload` in py_rwkv/runtime/upload.py. @typedef {{at: number, nbytes: number, buffer: string, to: number, keep: string, index: string, item: number, first: number, rows: number, row_bytes: number, below: number}} Upload */

const CHUNK = 4 << 20; // expanded rows are written in pieces of this size

export class Buffers {
  /** @type {Map<string, import("./textures.js").Memory>} */
  #memory;
  /** Another's: not to be destroyed here. @type {Set<import("./textures.js").Memory>} */
  #lent;
  /** Row indices, until the rows come. @type {Map<string, ArrayBuffer>} */
  #kept = new Map();

  /** @param {GPUDevice} device @param {Buffers} [lender] whose memory is in this one, too */
  constructor(device, lender) {
    this.device = device;
    this.#memory = new Map(lender ? lender.#memory : []);
    this.#lent = new Set(this.#memory.values());
  }

  /** Have these and no others; what is there already stays as it is. Returns the bytes that are new. @param {BufferSpec[]} specs */
  hold(specs) {
    let total = 0;
    const unused = new Map(this.#memory);
    for (const spec of specs) {
      if (fits(this.#memory.get(spec.name), spec)) {
        unused.delete(spec.name);
        continue;
      }
      const memory = create(this.device, spec);
      if (spec.words.length) write(this.device.queue, memory, 0, new Uint8Array(Uint32Array.from(spec.words).buffer));
      this.#memory.set(spec.name, memory);
      total += spec.bytes;
    }
    for (const [name, memory] of unused) {
      if (this.#memory.get(name) === memory) this.#memory.delete(name);
      if (!this.#lent.has(memory)) memory.destroy();
    }
    return total;
  }

  /** @param {string} name */
  get(name) {
    const memory = this.#memory.get(name);
    if (!memory) throw new RwkvError("internal", { reason: `there is no buffer ${name}: the executor was used before allocate()` });
    return memory;
  }

  /** One that is no texture; only weights are. @param {string} name */
  buffer(name) {
    return /** @type {GPUBuffer} */ (this.get(name));
  }

  get bytes() {
    return [...this.#memory.values()].reduce((sum, memory) => sum + sizeOf(memory), 0);
  }

  /** What one upload says. @param {ArrayBuffer} shard @param {Upload} u */
  take(shard, u) {
    if (u.below && items(shard.slice(u.at, u.at + u.nbytes), u).some((item) => item >= u.below))
      throw new RwkvError("bad-manifest", { reason: `${u.keep || u.buffer} names a row that is not among the ${u.below} stored` });
    if (u.keep) this.#kept.set(u.keep, shard.slice(u.at, u.at + u.nbytes));
    else if (u.index) this.#expand(shard, u);
    else this.write(u.buffer, u.to, new Uint8Array(shard, u.at, u.nbytes));
  }

  /** Rows stored once, written as often as the index names them. @param {ArrayBuffer} shard @param {Upload} u */
  #expand(shard, u) {
    const kept = this.#kept.get(u.index);
    if (!kept) throw new RwkvError("internal", { reason: `no row index ${u.index}` });
    const index = items(kept, u);
    const source = new Uint8Array(shard, u.at, u.nbytes);
    const step = Math.max(4, Math.floor(CHUNK / u.row_bytes / 4) * 4);
    for (let row = 0; row < u.rows; row += step) {
      const rows = Math.min(step, u.rows - row);
      const out = new Uint8Array(rows * u.row_bytes);
      for (let r = 0; r < rows; r++) {
        const from = index[u.first + row + r] * u.row_bytes;
        out.set(source.subarray(from, from + u.row_bytes), r * u.row_bytes);
      }
      this.write(u.buffer, u.to + row * u.row_bytes, out);
    }
  }

  /** writeBuffer wants multiples of 4; buffers are padded to 16. @param {string} name @param {number} at @param {Uint8Array} data */
  write(name, at, data) {
    if (data.byteLength % 4) {
      const padded = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
      padded.set(data);
      data = padded;
    }
    write(this.device.queue, this.get(name), at, /** @type {Uint8Array<ArrayBuffer>} */ (data));
  }

  /**
   * Copy spans inside buffers, slot to slot; through a buffer in between, as WebGPU copies nothing within one.
   * @param {[name: string, from: number, to: number, size: number][]} copies
   */
  copy(copies) {
    const size = copies.reduce((sum, [, , , bytes]) => sum + bytes, 0);
    const between = this.device.createBuffer({ label: "copy", size, usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
    const encoder = this.device.createCommandEncoder();
    let at = 0;
    for (const [name, from, , bytes] of copies) {
      encoder.copyBufferToBuffer(this.buffer(name), from, between, at, bytes);
      at += bytes;
    }
    at = 0;
    for (const [name, , to, bytes] of copies) {
      encoder.copyBufferToBuffer(between, at, this.buffer(name), to, bytes);
      at += bytes;
    }
    this.device.queue.submit([encoder.finish()]);
    between.destroy();
  }

  /** @param {[name: string, at: number, size: number][]} spans */
  clear(spans) {
    const encoder = this.device.createCommandEncoder();
    for (const [name, at, size] of spans) encoder.clearBuffer(this.buffer(name), at, size);
    this.device.queue.submit([encoder.finish()]);
  }

  close() {
    for (const memory of this.#memory.values()) if (!this.#lent.has(memory)) memory.destroy();
    this.#memory.clear();
  }
}

/** A row index. @param {ArrayBuffer} bytes @param {Upload} u */
function items(bytes, { item }) {
  return item === 2 ? new Uint16Array(bytes) : new Uint32Array(bytes);
}
