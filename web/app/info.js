// @ts-check
// The model's name in the bar, and the panel behind it: which model, on which device, how much memory, how long the start took.

import { byId, h } from "./dom.js";
import { bytes, duration, number, onLanguage, t } from "./i18n.js";

/** @typedef {import("./types.js").EngineInfo} EngineInfo */
/** @typedef {import("./types.js").PageEngine} PageEngine */

export class InfoPanel {
  /** @type {EngineInfo | undefined} */
  info;

  /** @param {PageEngine} engine */
  constructor(engine) {
    this.engine = engine;
    byId("device-panel").addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") void this.refresh();
    });
    onLanguage(() => this.draw());
  }

  /** Ask the engine again (memory changes) and show what it says; keeps the old numbers when it cannot answer. @returns {Promise<EngineInfo | undefined>} */
  async refresh() {
    this.drawChip();
    try {
      this.info = await this.engine.info();
    } catch {
      // it may have been unloaded meanwhile; the state event tells
    }
    this.draw();
    return this.info;
  }

  drawChip() {
    const { model, device } = this.engine.status();
    byId("model-name").textContent = model?.name ?? "";
    byId("model-device").textContent = device ? t(`device.${device.kind}`) : "";
  }

  draw() {
    this.drawChip();
    if (!this.info) return;
    const { model, device, memory = {}, program = {}, timings = {} } = this.info;
    const { gpuBytes: onDevice, wasmBytes: python } = memory;
    const version = String(model.version);
    /** @type {[string, string | undefined][]} */
    const rows = [
      ["info.model", model.name],
      ["info.version", /^\d/.test(version) ? `RWKV-${version}` : version],
      ["info.shape", t("info.shape.value", { layers: number(model.layers), embd: number(model.embd) })],
      ["info.quantization", model.quantization],
      ["info.size", bytes(model.bytes)],
      ["info.device", t(`device.${device.kind}`)],
      ["info.adapter", device.adapter],
      [device.kind === "numpy" ? "info.cpu" : "info.gpu", onDevice ? bytes(onDevice) : undefined],
      ["info.wasm", python ? bytes(python) : undefined],
      ["info.dispatches", program.dispatches ? number(program.dispatches) : undefined],
      ["info.traffic", program.bytesPerToken ? bytes(program.bytesPerToken) : undefined],
    ];
    const phases = Object.entries(timings).filter(([name, ms]) => name !== "ready" && ms > 0);
    const steps = phases.map(([name, ms]) => h("span", { text: `${t(`phase.short.${name}`)} ${duration(ms / 1000)}` }));
    byId("info").replaceChildren(
      ...rows.filter(([, value]) => value).flatMap(([key, value]) => [h("dt", { text: t(key) }), h("dd", { text: value })]),
      ...(steps.length ? [h("dt", { text: t("info.timings") }), h("dd", { class: "steps" }, ...steps)] : []),
    );
  }
}
