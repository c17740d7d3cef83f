// @ts-check
/**
 * The executor: compiles a Program once and replays it with one call per step. It knows buffers, pipelines and grids, nothing of RWKV.
 * A Program arrives as the plain data of `Program.to_wire` (py_rwkv/program.py).
 */

/** @typedef {[per: number, tile: number, count: "1" | "rows" | "runs" | "outputs" | "lone" | "several"]} Dim */
/** @typedef {import("./buffers.js").BufferSpec} BufferSpec */
/** @typedef {import("./buffers.js").Upload} Upload */
/** @typedef {import("./compiler.js").PipelineSpec} PipelineSpec */
/** @typedef {{name: string, pipelines: PipelineSpec[], buffers: BufferSpec[], calls: [pipeline: number, buffers: number[], grid: Dim[], block: number][], blocks: number[], stepBytes: number}} ProgramSpec */
/** @typedef {{pipeline: GPUComputePipeline, bindings: GPUBindGroup, grid: Dim[]}} Call */

import { describe, featuresOf, identify, isSoftware, requestAdapter } from "./adapter.js";
import { Buffers } from "./buffers.js";
import { BLOCK, Compiler } from "./compiler.js";
import { RwkvError } from "./errors.js";
import { free } from "./held.js";
import { resource } from "./textures.js";

const BLOCK_BYTES = 256; // of a call's uniform block, which lies at binding BLOCK
const POLLS = navigator.userAgent.includes("Firefox/"); // it notices finished work when something is submitted, else every 100 ms (bug 1870699)
/** Asked for where the adapter has them. @type {GPUFeatureName[]} */
const FEATURES = ["subgroups", "shader-f16"];
const PAUSE = 500; // ms after the first program can run: a first prompt is read by then, with all processors of a software adapter

export class Gpu {
  /** @type {Buffers} */
  #memory;
  /** @type {ProgramSpec[]} */
  #specs = [];
  /** @type {Map<string, Call[]>} */
  #programs = new Map();
  /** @type {WeakMap<Call[], {key: string, list: {pipeline: GPUComputePipeline, bindings: GPUBindGroup, x: number, y: number}[]}>} */
  #plans = new WeakMap();
  /** Programs whose pipelines are on their way. @type {Map<string, Promise<void>>} */
  #building = new Map();
  /** Ends the pause before the others follow the first program. */
  #follow = () => {};
  /** @type {Compiler} */
  #compiler;
  /** @type {GPUBuffer | undefined} */
  #step;
  /** The calls' uniform blocks, by program. @type {Map<string, GPUBuffer>} */
  #blocks = new Map();
  /** @type {GPUBuffer | undefined} */
  #readback;
  /** Set when the device is gone; every later call throws it. @type {RwkvError | undefined} */
  #lost;
  /** Whether the device belongs to another. */
  #twin = false;

  /** @param {GPUAdapter} adapter @param {GPUDevice} device */
  constructor(adapter, device) {
    const { limits } = device;
    this.device = device;
    this.gpuAdapter = adapter;
    this.adapter = describe(adapter);
    this.identity = identify(adapter);
    this.software = isSoftware(adapter);
    this.features = featuresOf(adapter, device);
    this.#compiler = new Compiler(device, this.software);
    this.#memory = new Buffers(device);
    this.limits = {
      bindingBytes: Math.min(limits.maxStorageBufferBindingSize, 2 ** 31 - 4),
      bufferBytes: limits.maxBufferSize,
      workgroups: limits.maxComputeWorkgroupsPerDimension,
      textureRows: limits.maxTextureDimension2D,
    };
    /** How often Python called, the bytes that replays took across, and what they dispatched. */
    this.traffic = { calls: 0, bytesIn: 0, bytesOut: 0, dispatches: 0 };
    device.lost.then((info) => {
      if (info.reason !== "destroyed") this.#lost = new RwkvError("device-lost", { reason: info.message || "unknown" });
    });
  }

  /** The best adapter's device, with its own buffer limits. Throws `no-webgpu` or `no-adapter`. */
  static async create() {
    const adapter = await requestAdapter();
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name));
    try {
      return new Gpu(
        adapter,
        await adapter.requestDevice({ requiredFeatures, requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } }),
      );
    } catch (e) {
      throw new RwkvError("no-adapter", { reason: String(e) });
    }
  }

  /** Another memory on the same device, with the same pipelines. @param {boolean} lend the buffers of this one, too */
  twin(lend) {
    const twin = new Gpu(this.gpuAdapter, this.device);
    twin.#twin = true;
    twin.#compiler = this.#compiler;
    if (lend) twin.#memory = new Buffers(this.device, this.#memory);
    return twin;
  }

  /** The next one on this device, with the pipelines that are there; this one, once closed, leaves it the device. Nothing if the device is gone. */
  heir() {
    if (this.#lost || this.#twin) return undefined;
    const heir = this.twin(false);
    this.#compiler.forgive();
    [this.#twin, heir.#twin] = [true, false];
    return heir;
  }

  /** Begin with pipelines that programs are going to need. @param {PipelineSpec[]} specs */
  prepare(specs) {
    this.#compiler.begin(specs);
  }

  /** The pipelines that the programs need, each once: those of the first program, then those of the others, the short ones first. @returns {PipelineSpec[]} */
  get wanted() {
    const first = this.#first;
    const others = this.#specs.filter((spec) => !first.includes(spec)).sort((a, b) => a.calls.length - b.calls.length);
    const specs = [...first.flatMap((s) => s.pipelines), ...others.flatMap((s) => s.pipelines).map((p) => ({ ...p, later: true }))];
    return specs.filter((spec, i) => specs.findIndex(({ code }) => code === spec.code) === i);
  }

  /** The first program, in its pieces (`name/0`, …) if it has any. */
  get #first() {
    return this.#pieces(this.#specs[0].name.split("/")[0]);
  }

  /**
   * Make the buffers of some programs, and begin with their pipelines; the same name is the same memory. What is there already stays as it is if it is needed.
   * @param {ProgramSpec[]} programs
   */
  async allocate(programs) {
    this.#specs = programs;
    const { device } = this;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const total = this.#memory.hold(programs.flatMap(({ buffers }) => buffers));
    for (const block of this.#blocks.values()) block.destroy();
    this.#blocks.clear();
    for (const { name: program, blocks } of programs) {
      const block = device.createBuffer({
        label: `${program} calls`,
        size: 4 * blocks.length,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      });
      device.queue.writeBuffer(block, 0, new Uint32Array(blocks));
      this.#blocks.set(program, block);
    }
    this.#step ??= device.createBuffer({
      label: "step",
      size: programs[0].stepBytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
    });
    const problem = (await device.popErrorScope()) ?? (await device.popErrorScope());
    if (problem) {
      this.close();
      throw new RwkvError("out-of-memory", { need: total, reason: problem.message });
    }
    this.prepare(this.wanted);
  }

  /** Copy pieces of a shard to their buffers, and free it. @param {ArrayBuffer} shard @param {Upload[]} uploads */
  async upload(shard, uploads) {
    for (const u of uploads) this.#memory.take(shard, u);
    await this.#settled(this.device.queue.onSubmittedWorkDone()); // back-pressure: the shard must not stay queued while the next one loads
    free(shard);
    this.#check();
  }

  /**
   * Pipelines, and what a replay needs beside them. Resolves when the first program can run, all its pieces included; the others follow, and `run` waits for
   * those it needs.
   * @param {(done: number, total: number) => void} progress of the first
   */
  async compile(progress) {
    this.#programs.clear();
    this.#building.clear();
    const first = this.#first;
    const needed = new Map(first.flatMap((spec) => spec.pipelines).map((spec) => [spec.code, spec]));
    let done = 0;
    await Promise.all([...needed.values()].map((spec) => this.#compiler.get(spec).finally(() => progress(++done, needed.size))));
    for (const spec of first) await this.#build(spec);
    const others = this.#specs.filter((spec) => !first.includes(spec));
    const pause = this.software ? new Promise((go) => void setTimeout((this.#follow = () => go(undefined)), PAUSE)) : undefined;
    for (const spec of others) {
      const building = pause ? pause.then(() => this.#build(spec)) : this.#build(spec);
      building.catch(() => {}); // reported by `run`
      this.#building.set(spec.name, building);
    }
  }

  /** Whether a program can run without waiting. @param {string} program */
  ready(program) {
    return this.#pieces(program).every(({ name }) => this.#programs.has(name));
  }

  /** Resolves when nothing is on its way any more, whatever became of it. */
  async settled() {
    await Promise.allSettled(this.#building.values());
  }

  /** @param {string} program */
  #pieces(program) {
    return this.#specs.filter(({ name }) => name === program || name.startsWith(`${program}/`));
  }

  /** @param {ProgramSpec} spec */
  async #build(spec) {
    if (!this.#specs.includes(spec)) return;
    const pipelines = await Promise.all(spec.pipelines.map((needed) => this.#compiler.get(needed)));
    if (!this.#specs.includes(spec)) return; // others have taken their place
    const blocks = this.#need(this.#blocks.get(spec.name));
    const calls = spec.calls.map(([index, buffers, grid, at]) => {
      const { layout, pipeline } = pipelines[index];
      const memory = [this.#need(this.#step), ...buffers.map((b) => this.#memory.get(spec.buffers[b].name))];
      const entries = memory.map((m, binding) => ({ binding, resource: resource(m) }));
      if (spec.pipelines[index].block) entries.push({ binding: BLOCK, resource: { buffer: blocks, offset: at, size: BLOCK_BYTES } });
      return { pipeline, bindings: this.device.createBindGroup({ layout, entries }), grid };
    });
    this.#programs.set(spec.name, calls);
  }

  /**
   * One replay of some programs, or several: write the step block, one pass, one submit. Returns the first `nbytes` of the buffer `read`, or nothing once
   * the work is done.
   * @param {string[]} programs @param {number} times @param {Uint8Array} step @param {number} rows @param {number} runs @param {number} outputs
   * @param {string} read @param {number} nbytes
   */
  async run(programs, times, step, rows, runs, outputs, read, nbytes) {
    this.#check();
    for (const program of programs) {
      if (this.#programs.has(program)) continue;
      this.#follow();
      await this.#building.get(program);
    }
    const { device } = this;
    const dispatches = programs.map((program) => this.#dispatches(program, rows, runs, outputs));
    device.queue.writeBuffer(this.#need(this.#step), 0, /** @type {BufferSource} */ (step));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < times; i++)
      for (const list of dispatches) {
        for (const { pipeline, bindings, x, y } of list) {
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, bindings);
          pass.dispatchWorkgroups(x, y);
        }
        this.traffic.dispatches += list.length;
      }
    pass.end();
    this.traffic.calls++;
    this.traffic.bytesIn += step.byteLength;
    if (!read) {
      device.queue.submit([encoder.finish()]);
      await this.#settled(device.queue.onSubmittedWorkDone());
      this.#check();
      return new Uint8Array(0);
    }
    this.traffic.bytesOut += nbytes;
    return this.#copyOut(encoder, [[this.#memory.buffer(read), 0, nbytes]]);
  }

  /** The state buffers of a slot, one after the other in the order of `names`. @param {[name: string, at: number, size: number][]} spans */
  async read(spans) {
    this.#check();
    this.traffic.calls++;
    return this.#copyOut(
      this.device.createCommandEncoder(),
      spans.map(([name, at, size]) => [this.#memory.buffer(name), at, size]),
    );
  }

  /** @param {string} name @param {number} at @param {Uint8Array} data */
  write(name, at, data) {
    this.traffic.calls++;
    this.#memory.write(name, at, data);
  }

  /** Put what `read` gave for such spans into these. @param {[name: string, at: number, size: number][]} spans @param {Uint8Array} data */
  restore(spans, data) {
    let from = 0;
    for (const [name, at, size] of spans) {
      this.#memory.write(name, at, data.subarray(from, from + size));
      from += size;
    }
  }

  /** Inside buffers. @param {[name: string, from: number, to: number, size: number][]} copies */
  copy(copies) {
    this.traffic.calls++;
    this.#memory.copy(copies);
  }

  /** @param {[name: string, at: number, size: number][]} spans */
  clear(spans) {
    this.traffic.calls++;
    this.#memory.clear(spans);
  }

  /** Bytes of GPU memory held. */
  bytes() {
    const own = [this.#step, this.#readback, ...this.#blocks.values()];
    return own.reduce((sum, buffer) => sum + (buffer?.size ?? 0), this.#memory.bytes);
  }

  close() {
    this.#memory.close();
    for (const block of this.#blocks.values()) block.destroy();
    this.#blocks.clear();
    this.#programs.clear();
    this.#step?.destroy();
    this.#readback?.destroy();
    if (!this.#twin) this.device.destroy();
  }

  /** @param {GPUCommandEncoder} encoder @param {[GPUBuffer, number, number][]} spans */
  async #copyOut(encoder, spans) {
    const total = spans.reduce((sum, [, , size]) => sum + size, 0);
    let target = this.#readback;
    const busy = target && target.mapState !== "unmapped"; // somebody still reads: a state while a step runs, or a step whose caller has gone
    if (!target || busy || target.size < total) {
      if (!busy) target?.destroy();
      target = this.device.createBuffer({ label: "readback", size: total, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      if (!busy) this.#readback = target; // else it is for this once
    }
    let at = 0;
    for (const [buffer, from, size] of spans) {
      encoder.copyBufferToBuffer(buffer, from, target, at, size);
      at += size;
    }
    this.device.queue.submit([encoder.finish()]);
    try {
      await this.#settled(target.mapAsync(GPUMapMode.READ, 0, total));
    } catch (e) {
      this.#check();
      throw new RwkvError("device-lost", { reason: String(e) });
    }
    const out = new Uint8Array(target.getMappedRange(0, total).slice(0));
    if (target === this.#readback) target.unmap();
    else target.destroy();
    return out;
  }

  /** Wait for the device. @template T @param {Promise<T>} work @returns {Promise<T>} */
  async #settled(work) {
    if (!POLLS) return work;
    const nudge = setInterval(() => this.device.queue.submit([]), 1);
    try {
      return await work;
    } finally {
      clearInterval(nudge);
    }
  }

  /** What a replay of so many rows dispatches; the last of each program is kept, as decoding asks for the same again and again. @param {string} program @param {number} rows @param {number} runs @param {number} outputs */
  #dispatches(program, rows, runs, outputs) {
    const calls = this.#programs.get(program); // compiled by now
    if (!calls) throw new RwkvError("internal", { reason: `no program ${program}` });
    const key = `${rows} ${runs} ${outputs}`;
    let plan = this.#plans.get(calls);
    if (plan?.key !== key) {
      const n = { 1: 1, rows, runs, outputs, lone: outputs === 1 ? 1 : 0, several: outputs > 1 ? outputs : 0 };
      const list = calls.map(({ pipeline, bindings, grid }) => ({
        pipeline,
        bindings,
        x: workgroups(grid[0], n),
        y: workgroups(grid[1], n),
      }));
      plan = { key, list: list.filter(({ x, y }) => x * y > 0) };
      this.#plans.set(calls, plan);
    }
    return plan.list;
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

/** @param {Dim} dim @param {Record<Dim[2], number>} counts */
function workgroups([per, tile, count], counts) {
  return Math.ceil((counts[count] * per) / tile);
}
