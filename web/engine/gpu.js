// @ts-check
/**
 * The executor: compiles a Program once and replays it with one call per step. It knows buffers, pipelines and grids, nothing of RWKV.
 * A Program arrives as the plain data of `Program.to_wire` (py_rwkv/program.py).
 */

/** @typedef {[per: number, tile: number, count: "1" | "rows" | "runs" | "outputs"]} Dim */
/** @typedef {{name: string, bytes: number, role: string, words: number[], slotBytes: number}} BufferSpec */
/** @typedef {{label: string, code: string, reads: number, writes: number, step: boolean}} PipelineSpec */
/** @typedef {{name: string, pipelines: PipelineSpec[], buffers: BufferSpec[], calls: [number, number[], Dim[]][], stepBytes: number}} ProgramSpec */
/** @typedef {{at: number, nbytes: number, buffer: string, to: number, keep: string, index: string, item: number, first: number, rows: number, row_bytes: number}} Upload */
/** @typedef {{pipeline: GPUComputePipeline, bindings: GPUBindGroup, grid: Dim[]}} Call */

import { RwkvError } from "./errors.js";

const CHUNK = 4 << 20; // expanded rows are written in pieces of this size

export class Gpu {
  /** @type {Map<string, GPUBuffer>} */
  #memory = new Map();
  /** @type {ProgramSpec[]} */
  #specs = [];
  /** @type {Map<string, Call[]>} */
  #programs = new Map();
  /** By their code. @type {Map<string, Promise<{layout: GPUBindGroupLayout, pipeline: GPUComputePipeline}>>} */
  #pipelines = new Map();
  /** @type {Map<string, ArrayBuffer>} */
  #kept = new Map();
  /** @type {GPUBuffer | undefined} */
  #step;
  /** @type {GPUBuffer | undefined} */
  #readback;
  /** Set when the device is gone; every later call throws it. @type {RwkvError | undefined} */
  #lost;

  /** @param {GPUAdapter} adapter @param {GPUDevice} device */
  constructor(adapter, device) {
    const { limits } = device;
    this.device = device;
    this.adapter = describe(adapter);
    this.software = isSoftware(adapter);
    this.limits = {
      bindingBytes: Math.min(limits.maxStorageBufferBindingSize, 2 ** 31 - 4),
      bufferBytes: limits.maxBufferSize,
      workgroups: limits.maxComputeWorkgroupsPerDimension,
    };
    /** How often Python asked for a replay, and the bytes that crossed; tests read it. */
    this.traffic = { calls: 0, bytesIn: 0, bytesOut: 0, dispatches: 0 };
    device.lost.then((info) => {
      if (info.reason !== "destroyed") this.#lost = new RwkvError("device-lost", { reason: info.message || "unknown" });
    });
  }

  /** The best adapter's device, with its own buffer limits. Throws `no-webgpu` or `no-adapter`. */
  static async create() {
    const adapter = await requestAdapter();
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    try {
      return new Gpu(adapter, await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } }));
    } catch (e) {
      throw new RwkvError("no-adapter", { reason: String(e) });
    }
  }

  /** Begin to build pipelines that programs are going to need; one that fails is reported to whoever needs it. @param {PipelineSpec[]} specs */
  prepare(specs) {
    for (const spec of specs) {
      if (this.#pipelines.has(spec.code)) continue;
      const building = this.#pipeline(spec);
      building.catch(() => {});
      this.#pipelines.set(spec.code, building);
    }
  }

  /** The pipelines that the programs need, each once. @returns {PipelineSpec[]} */
  get wanted() {
    return [...new Map(this.#specs.flatMap((s) => s.pipelines).map((p) => [p.code, p])).values()];
  }

  /** Make the buffers of some programs, and begin with their pipelines; the same name is the same memory. @param {ProgramSpec[]} programs */
  async allocate(programs) {
    this.#specs = programs;
    const { device } = this;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    let total = 0;
    for (const { buffers } of programs)
      for (const { name, bytes, words } of buffers) {
        if (this.#memory.has(name)) continue;
        const buffer = device.createBuffer({ label: name, size: bytes, usage });
        if (words.length) device.queue.writeBuffer(buffer, 0, new Uint32Array(words));
        this.#memory.set(name, buffer);
        total += bytes;
      }
    this.#step = device.createBuffer({
      label: "step",
      size: programs[0].stepBytes,
      usage: usage | GPUBufferUsage.UNIFORM,
    });
    const problem = (await device.popErrorScope()) ?? (await device.popErrorScope());
    if (problem) {
      this.close();
      throw new RwkvError("out-of-memory", { need: total, reason: problem.message });
    }
    this.prepare(this.wanted);
  }

  /** Copy pieces of a shard to their buffers. @param {ArrayBuffer} shard @param {Upload[]} uploads */
  async upload(shard, uploads) {
    for (const u of uploads) {
      if (u.keep) this.#kept.set(u.keep, shard.slice(u.at, u.at + u.nbytes));
      else if (u.index) this.#expand(shard, u);
      else this.#write(u.buffer, u.to, new Uint8Array(shard, u.at, u.nbytes));
    }
    await this.device.queue.onSubmittedWorkDone(); // back-pressure: the shard must not stay queued while the next one loads
    this.#check();
  }

  /** Every pipeline, and what a replay needs beside it. @param {(done: number, total: number) => void} progress */
  async compile(progress) {
    const wanted = this.wanted;
    let done = 0;
    await Promise.all(wanted.map(({ code }) => this.#need(this.#pipelines.get(code)).finally(() => progress(++done, wanted.length))));
    for (const spec of this.#specs) {
      const pipelines = await Promise.all(spec.pipelines.map(({ code }) => this.#need(this.#pipelines.get(code))));
      const calls = spec.calls.map(([index, buffers, grid]) => {
        const { layout, pipeline } = pipelines[index];
        const resources = [this.#need(this.#step), ...buffers.map((b) => this.#buffer(spec.buffers[b].name))];
        const entries = resources.map((buffer, binding) => ({ binding, resource: { buffer } }));
        return { pipeline, bindings: this.device.createBindGroup({ layout, entries }), grid };
      });
      this.#programs.set(spec.name, calls);
    }
  }

  /**
   * One replay of some programs, or several: write the step block, one pass, one submit. Returns the first `nbytes` of the buffer `read`, or nothing once
   * the work is done.
   * @param {string[]} programs @param {number} times @param {Uint8Array} step @param {number} rows @param {number} runs @param {number} outputs
   * @param {string} read @param {number} nbytes
   */
  async run(programs, times, step, rows, runs, outputs, read, nbytes) {
    this.#check();
    const { device } = this;
    const n = { 1: 1, rows, runs, outputs };
    device.queue.writeBuffer(this.#need(this.#step), 0, /** @type {BufferSource} */ (step));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < times; i++)
      for (const program of programs)
        for (const { pipeline, bindings, grid } of this.#calls(program)) {
          const [x, y] = [workgroups(grid[0], n), workgroups(grid[1], n)];
          if (x * y === 0) continue;
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, bindings);
          pass.dispatchWorkgroups(x, y);
          this.traffic.dispatches++;
        }
    pass.end();
    this.traffic.calls++;
    this.traffic.bytesIn += step.byteLength;
    if (!read) {
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      this.#check();
      return new Uint8Array(0);
    }
    this.traffic.bytesOut += nbytes;
    return this.#copyOut(encoder, [[this.#buffer(read), 0, nbytes]]);
  }

  /** The state buffers of a slot, one after the other in the order of `names`. @param {[name: string, at: number, size: number][]} spans */
  async read(spans) {
    this.#check();
    return this.#copyOut(
      this.device.createCommandEncoder(),
      spans.map(([name, at, size]) => [this.#buffer(name), at, size]),
    );
  }

  /** @param {string} name @param {number} at @param {Uint8Array} data */
  write(name, at, data) {
    this.#write(name, at, data);
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
      encoder.copyBufferToBuffer(this.#buffer(name), from, between, at, bytes);
      at += bytes;
    }
    at = 0;
    for (const [name, , to, bytes] of copies) {
      encoder.copyBufferToBuffer(between, at, this.#buffer(name), to, bytes);
      at += bytes;
    }
    this.device.queue.submit([encoder.finish()]);
    between.destroy();
  }

  /** @param {[name: string, at: number, size: number][]} spans */
  clear(spans) {
    const encoder = this.device.createCommandEncoder();
    for (const [name, at, size] of spans) encoder.clearBuffer(this.#buffer(name), at, size);
    this.device.queue.submit([encoder.finish()]);
  }

  /** Bytes of GPU memory held. */
  bytes() {
    let total = (this.#step?.size ?? 0) + (this.#readback?.size ?? 0);
    for (const buffer of this.#memory.values()) total += buffer.size;
    return total;
  }

  close() {
    for (const buffer of this.#memory.values()) buffer.destroy();
    this.#memory.clear();
    this.#programs.clear();
    this.#step?.destroy();
    this.#readback?.destroy();
    this.device.destroy();
  }

  /** @param {GPUCommandEncoder} encoder @param {[GPUBuffer, number, number][]} spans */
  async #copyOut(encoder, spans) {
    const total = spans.reduce((sum, [, , size]) => sum + size, 0);
    let target = this.#readback;
    const free = target?.mapState === "unmapped"; // else somebody still reads: a state while a step runs, or a step whose caller has gone
    if (!target || !free || target.size < total) {
      if (free) target?.destroy();
      target = this.device.createBuffer({ label: "readback", size: total, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      this.#readback = target;
    }
    let at = 0;
    for (const [buffer, from, size] of spans) {
      encoder.copyBufferToBuffer(buffer, from, target, at, size);
      at += size;
    }
    this.device.queue.submit([encoder.finish()]);
    try {
      await target.mapAsync(GPUMapMode.READ, 0, total);
    } catch (e) {
      this.#check();
      throw new RwkvError("device-lost", { reason: String(e) });
    }
    const out = new Uint8Array(target.getMappedRange(0, total).slice(0));
    target.unmap();
    return out;
  }

  /** @param {string} program */
  #calls(program) {
    const calls = this.#programs.get(program);
    if (!calls) throw new RwkvError("internal", { reason: `no program ${program}` });
    return calls;
  }

  /** @param {PipelineSpec} spec */
  async #pipeline({ label, code, reads, writes, step }) {
    const { device } = this;
    /** @type {GPUBufferBindingType[]} */
    const kinds = [step ? "storage" : "uniform", ...Array(reads).fill("read-only-storage"), ...Array(writes).fill("storage")];
    const layout = device.createBindGroupLayout({
      entries: kinds.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } })),
    });
    try {
      const pipeline = await device.createComputePipelineAsync({
        label,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module: device.createShaderModule({ label, code }), entryPoint: "main" },
      });
      return { layout, pipeline };
    } catch (e) {
      throw new RwkvError("kernel-failed", { kernel: label, reason: String(e) });
    }
  }

  /** writeBuffer wants multiples of 4; buffers are padded to 16. @param {string} name @param {number} at @param {Uint8Array} data */
  #write(name, at, data) {
    if (data.byteLength % 4) {
      const padded = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
      padded.set(data);
      data = padded;
    }
    this.device.queue.writeBuffer(this.#buffer(name), at, /** @type {BufferSource} */ (data));
  }

  /** Rows stored once, written as often as the index names them. @param {ArrayBuffer} shard @param {Upload} u */
  #expand(shard, u) {
    const kept = this.#kept.get(u.index);
    if (!kept) throw new RwkvError("internal", { reason: `no row index ${u.index}` });
    const index = u.item === 2 ? new Uint16Array(kept) : new Uint32Array(kept);
    const source = new Uint8Array(shard, u.at, u.nbytes);
    const step = Math.max(4, Math.floor(CHUNK / u.row_bytes / 4) * 4);
    for (let row = 0; row < u.rows; row += step) {
      const rows = Math.min(step, u.rows - row);
      const out = new Uint8Array(rows * u.row_bytes);
      for (let r = 0; r < rows; r++) {
        const from = index[u.first + row + r] * u.row_bytes;
        if (from >= u.nbytes) throw new RwkvError("bad-manifest", { reason: `${u.index} names a row that is not stored` });
        out.set(source.subarray(from, from + u.row_bytes), r * u.row_bytes);
      }
      this.#write(u.buffer, u.to + row * u.row_bytes, out);
    }
  }

  /** @param {string} name */
  #buffer(name) {
    return this.#need(this.#memory.get(name));
  }

  /** @template T @param {T | undefined} value @returns {T} */
  #need(value) {
    if (value === undefined) throw new RwkvError("internal", { reason: "the executor was used before allocate()" });
    return value;
  }

  #check() {
    if (this.#lost) throw this.#lost;
  }
}

/** @param {Dim} dim @param {{1: number, rows: number, runs: number, outputs: number}} counts */
function workgroups([per, tile, count], counts) {
  return Math.ceil((counts[count] * per) / tile);
}

/** Throws `no-webgpu` (the browser has none) or `no-adapter` (it has, but nothing to run on). @returns {Promise<GPUAdapter>} */
export async function requestAdapter() {
  if (!navigator.gpu)
    throw new RwkvError("no-webgpu", {
      reason: globalThis.isSecureContext ? "navigator.gpu is missing" : "the page is not served over HTTPS",
    });
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) throw new RwkvError("no-adapter", { reason: "requestAdapter() found none" });
  return adapter;
}

/** @param {GPUAdapter} adapter */
export function isSoftware({ info }) {
  return (
    info.isFallbackAdapter === true ||
    /swiftshader|llvmpipe|lavapipe|warp|basic render/i.test(`${info.architecture} ${info.device} ${info.description}`)
  );
}

/** A name for people. @param {GPUAdapter} adapter */
export function describe({ info }) {
  return info.description || [info.vendor, info.architecture || info.device].filter(Boolean).join(" ") || "WebGPU adapter";
}
