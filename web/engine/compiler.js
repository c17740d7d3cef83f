// @ts-check
/** A device's compute pipelines, each built once, by its code: some of them before anybody needs them. */

import { RwkvError } from "./errors.js";
import { layoutOf } from "./textures.js";

/** `later`: only needed when what was asked for first can run already. @typedef {{label: string, code: string, bindings: string[], block: boolean, later?: boolean}} PipelineSpec */
/** @typedef {{layout: GPUBindGroupLayout, pipeline: GPUComputePipeline}} Built */

export const BLOCK = 15; // the binding of a call's uniform block

export class Compiler {
  /** @type {Map<string, Promise<Built>>} */
  #built = new Map();
  /** Pipelines that could not be built, by their code. @type {Set<string>} */
  #failed = new Set();

  /** @param {GPUDevice} device @param {boolean} software whether it takes the page's own processors: then what is for later does not begin ahead */
  constructor(device, software) {
    this.device = device;
    this.software = software;
  }

  /** Begin with pipelines that somebody is going to `get`; one that fails is reported there. @param {PipelineSpec[]} specs */
  begin(specs) {
    for (const spec of specs) if (!(spec.later && this.software)) this.get(spec).catch(() => {});
  }

  /** Rejects with `kernel-failed`. @param {PipelineSpec} spec @returns {Promise<Built>} */
  get(spec) {
    let built = this.#built.get(spec.code);
    if (!built) {
      built = this.#build(spec);
      built.catch(() => this.#failed.add(spec.code));
      this.#built.set(spec.code, built);
    }
    return built;
  }

  /** Those that failed may be tried again. */
  forgive() {
    for (const code of this.#failed) this.#built.delete(code);
    this.#failed.clear();
  }

  /** @param {PipelineSpec} spec @returns {Promise<Built>} */
  async #build({ label, code, bindings, block }) {
    const { device } = this;
    const entries = bindings.map(layoutOf);
    if (block) entries.push(layoutOf("uniform", BLOCK));
    const layout = device.createBindGroupLayout({ entries });
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
}
