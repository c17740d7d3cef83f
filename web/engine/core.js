// @ts-check
/**
 * What stands behind `Engine`: its worker, the load under way or done, and what happens when the device, the worker or the tab that has the model is lost. Then
 * the model is loaded again from what is stored, and requests go on where they were; several losses in a row are an error.
 */

import { Calls } from "./calls.js";
import { RwkvError } from "./errors.js";
import { workerName } from "./hooks.js";
import { ownedSomewhere, Owner } from "./owner.js";
import { Remote } from "./remote.js";
import { startWorker } from "./start.js";

/** @typedef {import("./calls.js").Call} Call */
/** @typedef {import("./calls.js").CallOptions} CallOptions */
/** `shared`: another tab has the model. @typedef {{state: "idle" | "loading" | "ready" | "busy" | "recovering" | "error", model?: any, device?: any, shared?: boolean}} Status */
/** `model`: what other tabs may share; `info`: once it is loaded. @typedef {{key: string, model: string, args: any, abort: AbortController, promise: Promise<any>, info?: any}} Load */

const LOSSES = new Set(["device-lost", "worker-crashed", "wrong-kernels"]); // the last: a self-test failed, and the next load takes others
const PASSING = new Set([...LOSSES, "no-adapter"]); // a GPU process that has crashed needs a moment
const LASTING = new Set(["states.load", "states.fork", "python.run"]);
const DELAYS = [300, 1500, 4000]; // ms before another attempt
const MANY = 3; // losses within
const SOON = 300_000; // ms are too many: something is wrong that loading again does not help

export class Core {
  /** @type {Status} */
  status = { state: "idle" };
  /** @type {Load | undefined} */
  #load;
  /** @type {Worker} */
  #worker;
  #watch = new AbortController();
  /** @type {Remote | undefined} */
  #remote;
  #me = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #owner = new Owner(this.#me, (op, args, options) => this.#serve(op, args, options));
  #calls = new Calls(
    (message, call) => (call.model && this.#remote ? this.#remote : this.#worker).postMessage(message),
    (error, call) => this.#isLoss(error, call),
  );
  /** States that conversations start from, and scripts: a model that is loaded again needs them again. @type {[op: string, args: any][]} */
  #starts = [];
  /** When something was lost. @type {number[]} */
  #losses = [];
  #recovering = false;
  /** Why there is no worker. @type {RwkvError | undefined} */
  #failure;
  #busy = 0;
  #closed = false;

  /** @param {(event: "state" | "progress" | "error" | "recovering" | "recovered", detail: any) => void} tell @param {boolean} python whether people's scripts may run */
  constructor(tell, python = false) {
    this.tell = tell;
    this.python = python;
    this.#worker = this.#start();
  }

  #start() {
    const name = workerName(`py_rwkv ${this.#me} ${Date.now()}`, this.python);
    const { signal } = (this.#watch = new AbortController());
    const gone = () => this.#crashed("it ended");
    return startWorker(name, {
      receive: (message) => {
        if (message.event !== "alive") return this.#calls.receive(message);
        navigator.locks.request(name, { signal }, gone).catch(() => {}); // the worker holds it as long as it lives; ended by us
      },
      crashed: (reason) => signal.aborted || this.#crashed(reason),
      failed: (error) => signal.aborted || this.#unstarted(error),
    });
  }

  /** Ask the worker. @param {string} op @param {object} args @param {CallOptions} [options] */
  call(op, args, options) {
    if (this.#closed) return Promise.reject(new RwkvError("closed"));
    if (this.#failure?.code === "embed-refused") return Promise.reject(this.#failure); // the page's policy stays
    if (this.#failure) this.#worker = this.#start();
    this.#failure = undefined;
    return this.#calls.begin(op, args, options);
  }

  /** Ask whoever has the model, once it is there. @param {string} op @param {object} args @param {CallOptions} [options] */
  async ask(op, args, options) {
    if (!this.#load) throw new RwkvError("not-loaded");
    await this.#load.promise;
    const answer = await this.call(op, args, { ...options, model: true });
    if (LASTING.has(op)) this.#starts.push([op, op === "states.fork" ? { ...args, keep: answer } : args]);
    return answer;
  }

  /** Ask for something that keeps the model busy. @param {string} op @param {object} args @param {CallOptions} [options] */
  async work(op, args, options) {
    if (!this.#load) throw new RwkvError("not-loaded");
    await this.#load.promise;
    if (++this.#busy === 1) this.#setState({ ...this.status, state: "busy" });
    try {
      return await this.call(op, args, { ...options, model: true });
    } finally {
      if (--this.#busy === 0 && this.status.state === "busy") this.#setState({ ...this.status, state: "ready" });
    }
  }

  /** What this browser can do. Python need not be started for a model that another tab has. */
  async probe() {
    return this.call("probe", { warm: !(await ownedSomewhere()) });
  }

  /** The promise of what is loaded or loading. */
  get loading() {
    return this.#load?.promise;
  }

  /**
   * @param {any} args of the worker's `load`
   * @param {{signal?: AbortSignal, onProgress?: (progress: any) => void, share: boolean}} options share: use the model of another tab that has it
   * @returns {Promise<any>}
   */
  load(args, { signal, onProgress, share }) {
    const { source, device, quantization, slots, parallel, tuning, python } = args;
    const what = typeof source === "string" ? source : [source].flat().map((f) => `${f.name} ${f.size} ${f.lastModified}`);
    const model = [what, device, quantization, ...(python ? [JSON.stringify(python)] : [])].join(" ");
    const key = `${model} ${slots} ${parallel} ${tuning}`;
    if (this.#load?.key === key && this.status.state !== "error") return this.#load.promise;
    this.#leave();
    const abort = new AbortController();
    /** @type {Load} */
    const load = (this.#load = { key, model, args, abort, promise: Promise.resolve() });
    this.#setState({ state: "loading" });
    const onEvent = (/** @type {any} */ progress) => {
      onProgress?.(progress);
      this.tell("progress", progress);
    };
    const both = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    load.promise = this.#open(load, share, { signal: both, onEvent }).then(
      (info) => {
        if (this.#load === load) this.#ready(load, info);
        return info;
      },
      (error) => {
        if (this.#load === load) this.#failed(error);
        throw error;
      },
    );
    return load.promise;
  }

  /** @param {Load} load @param {boolean} share @param {CallOptions} options */
  async #open(load, share, options) {
    if (!share) void this.#owner.next(load.model);
    else if (!(await this.#owner.claim(load.model))) {
      const remote = await Remote.find(load.model, this.#me, (message) => this.#calls.receive(message));
      if (remote && this.#load === load) {
        this.#remote = remote;
        const gone = () => this.#load === load && this.#remote && this.#recover(load, new RwkvError("tab-closed"));
        void this.#owner.next(load.model).then(gone);
        return this.call("attach", {}, { ...options, model: true });
      }
      remote?.close();
    }
    if (this.#load !== load) {
      if (!this.#load) this.#owner.release();
      throw new RwkvError("cancelled");
    }
    return this.call("load", load.args, options);
  }

  /** Load the model here, although another tab has it. */
  own() {
    if (this.#load && this.#remote) this.#recover(this.#load, undefined);
    return this.#load?.promise;
  }

  /** Forget what is loaded. */
  async unload() {
    this.#leave();
    await this.call("unload", {});
    this.#setState({ state: "idle" });
  }

  /** @param {boolean} paused */
  pause(paused) {
    for (const id of this.#calls.ids()) this.#worker.postMessage({ pause: id, paused });
  }

  close() {
    this.#leave(false);
    this.#closed = true;
    this.#watch.abort();
    this.#worker.terminate();
    for (const call of this.#calls.take()) call.reject(new RwkvError("closed"));
    this.#load = undefined;
    this.#setState({ state: "idle" });
  }

  /** What was loaded is no longer wanted. @param {boolean} [abort] */
  #leave(abort = true) {
    if (abort) this.#load?.abort.abort();
    this.#load = undefined;
    this.#starts = [];
    this.#remote?.close();
    this.#remote = undefined;
    this.#owner.release();
  }

  /** For another tab. @type {import("./owner.js").Serve} */
  async #serve(op, args, options) {
    const load = this.#load;
    if (!load) throw new RwkvError("not-loaded");
    const { signal } = options;
    const left = new Promise((_, reject) => signal.addEventListener("abort", () => reject(new RwkvError("cancelled")), { once: true }));
    const info = await Promise.race([load.promise, left]);
    return op === "attach" ? info : this.call(op, args, { ...options, model: true });
  }

  /** @param {Load} load @param {any} info */
  #ready(load, info) {
    load.info = info;
    const { model, device } = info;
    this.#setState({ state: this.#busy ? "busy" : "ready", model, device, ...(this.#remote ? { shared: true } : {}) });
  }

  /** Nothing is loaded any more. @param {RwkvError} error */
  #failed(error) {
    this.#leave(false);
    this.#setState({ state: error.code === "cancelled" ? "idle" : "error" });
    if (error.code !== "cancelled") this.tell("error", error);
  }

  /** Whether an error says that the model is gone; then what is to be done is done. @param {RwkvError} error @param {Call | undefined} call undefined: not an answer */
  #isLoss(error, call) {
    if (call && ((call.model && this.#remote) || !LOSSES.has(error.code))) return false;
    const crashed = error.code === "worker-crashed";
    if (!crashed && (this.#recovering || !this.#load?.info)) return false; // said of a model that has gone already
    if (crashed) this.#crashed(String(error.details.reason));
    else this.#lose(error);
    return true;
  }

  /** There is no worker; the next call tries again. @param {RwkvError} error */
  #unstarted(error) {
    this.#failure = error;
    this.#watch.abort();
    this.#worker.terminate();
    for (const call of this.#calls.take()) call.reject(error);
  }

  /** @param {string} reason */
  #crashed(reason) {
    this.#watch.abort();
    this.#worker.terminate();
    this.#worker = this.#start();
    const error = new RwkvError("worker-crashed", { reason });
    if (this.#remote || this.#recovering) for (const call of this.#calls.take((one) => !(one.model && this.#remote))) call.reject(error);
    else this.#lose(error);
  }

  /** @param {RwkvError} error */
  #lose(error) {
    if (this.#recovering || this.#remote) return;
    const now = Date.now();
    this.#losses = [...this.#losses.filter((when) => now - when < SOON), now];
    if (LOSSES.has(error.code) && this.#load?.info && this.#losses.length <= MANY) return this.#recover(this.#load, error);
    for (const call of this.#calls.take()) call.reject(error);
    this.#failed(error);
  }

  /** Load the model again, here, and go on with what was asked for. @param {Load} load @param {RwkvError | undefined} reason undefined: somebody wants it here */
  #recover(load, reason) {
    this.#recovering = true;
    this.#remote?.close();
    this.#remote = undefined;
    const waiting = this.#calls.take();
    this.#setState({ ...this.status, state: "recovering", shared: undefined });
    this.tell("recovering", reason);
    load.promise = this.#again(load).then(
      (info) => {
        this.#recovering = false;
        if (this.#load !== load) for (const call of waiting) call.reject(new RwkvError("cancelled"));
        else {
          this.#ready(load, info);
          for (const call of waiting)
            if (call.op === "attach") call.resolve(info);
            else this.#calls.again(call, reason);
          this.tell("recovered", reason);
        }
        return info;
      },
      (error) => {
        this.#recovering = false;
        for (const call of waiting) call.reject(error);
        if (this.#load === load) this.#failed(error);
        throw error;
      },
    );
    load.promise.catch(() => {}); // told by the event, and to whoever waits
  }

  /** @param {Load} load */
  async #again(load) {
    for (let attempt = 0; ; attempt++) {
      try {
        const info = await this.call("load", load.args, {
          signal: load.abort.signal,
          onEvent: (progress) => this.tell("progress", progress),
        });
        for (const [op, args] of this.#starts) await this.call(op, args, { model: true }).catch(unlessLost);
        return info;
      } catch (e) {
        if (!PASSING.has(RwkvError.from(e).code) || attempt === DELAYS.length || this.#load !== load) throw e;
        await new Promise((resolve) => setTimeout(resolve, DELAYS[attempt]));
      }
    }
  }

  /** @param {Status} status */
  #setState(status) {
    this.status = status;
    this.tell("state", status);
  }
}

/** A start that cannot be had again is told to whoever begins there; a loss is for whoever loads. @param {unknown} e */
function unlessLost(e) {
  if (LOSSES.has(RwkvError.from(e).code)) throw e;
}
