// @ts-check
// The model's name in the bar, and the panel behind it: which model, on which device, how fast it was, how much memory, how long the start took.

import { byId, h } from "./dom.js";
import { bytes, duration, number, onLanguage, t } from "./i18n.js";

/** @typedef {import("./types.js").EngineInfo} EngineInfo */
/** @typedef {import("./types.js").PageEngine} PageEngine */
/** @typedef {import("./conversations/types.js").Message} Message */
/** @typedef {[string, string | undefined][]} Rows */

export class InfoPanel {
  /** @type {EngineInfo | undefined} */
  info;
  /** The answer that was written last. @type {Message | undefined} */
  last;
  /** Of all answers since the page was opened: prompt tokens, those of them whose state was still known, tokens written. */
  total = { answers: 0, prompt: 0, cached: 0, written: 0 };

  /** @param {PageEngine} engine */
  constructor(engine) {
    this.engine = engine;
    byId("device-panel").addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") void this.refresh();
    });
    onLanguage(() => this.draw());
  }

  /** Count what a chat's answers took. @param {EventTarget} chat */
  follow(chat) {
    chat.addEventListener("end", (event) => {
      /** @type {{message: Message}} */
      const { message } = /** @type {CustomEvent} */ (event).detail;
      if (!message.usage) return;
      this.last = message;
      this.total.answers++;
      this.total.prompt += message.usage.prompt_tokens;
      this.total.cached += message.usage.cached_tokens ?? 0;
      this.total.written += message.usage.completion_tokens;
      if (byId("device-panel").matches(":popover-open")) void this.refresh();
    });
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
    const { info } = this;
    if (!info) return;
    byId("info").replaceChildren(
      ...this.#part("info.model", this.#model(info)),
      ...this.#part("info.speed", this.#speed(info)),
      ...this.#part("info.memory", this.#memory(info)),
      ...this.#part("info.timings", this.#timings(info)),
    );
  }

  /** @param {string} title @param {Rows} rows */
  #part(title, rows) {
    const known = rows.filter(([, value]) => value);
    if (!known.length) return [];
    return [
      h("dt", { class: "info-part", text: t(title) }),
      h("dd", { class: "info-part" }),
      ...known.flatMap(([key, value]) => [h("dt", { text: t(key) }), h("dd", { text: value, "data-testid": key })]),
    ];
  }

  /** @param {EngineInfo} info @returns {Rows} */
  #model({ model, device, program = {}, tuning }) {
    const version = String(model.version);
    return [
      ["info.name", model.name],
      ["info.version", /^\d/.test(version) ? `RWKV-${version}` : version],
      ["info.shape", t("info.shape.value", { layers: number(model.layers), embd: number(model.embd) })],
      ["info.quantization", model.quantization],
      ["info.size", bytes(model.bytes)],
      ["info.device", t(`device.${device.kind}`)],
      ["info.adapter", device.adapter],
      ["info.tuning", tuning && tuningText(tuning)],
      ["info.dispatches", program.dispatches ? number(program.dispatches) : undefined],
      ["info.traffic", program.bytesPerToken ? bytes(program.bytesPerToken) : undefined],
    ];
  }

  /** @param {EngineInfo} info @returns {Rows} */
  #speed({ context }) {
    const { last, total } = this;
    const rate = (/** @type {number | undefined} */ n) => (n ? t("info.rate", { n: number(n, n < 10 ? 1 : 0) }) : undefined);
    const part = total.prompt ? number((100 * total.cached) / total.prompt) : "0";
    return [
      ["info.decode", rate(last?.timings?.decode)],
      ["info.prefill", rate(last?.timings?.prefill)],
      ["info.context", context?.tokens ? number(context.tokens) : undefined],
      ["info.written", total.written ? t("info.written.value", { n: number(total.written), answers: number(total.answers) }) : undefined],
      ["info.hits", total.prompt ? t("info.hits.value", { cached: number(total.cached), n: number(total.prompt), part }) : undefined],
    ];
  }

  /** @param {EngineInfo} info @returns {Rows} */
  #memory({ device, memory = {}, states }) {
    const size = (/** @type {number | undefined} */ n) => (n ? bytes(n) : undefined);
    const { gpuBytes, weight, state, scratch, wasmBytes } = memory;
    const count = states?.count ? { n: number(states.count), memory: bytes(states.memory), stored: bytes(states.stored) } : undefined;
    return [
      [device.kind === "numpy" ? "info.cpu" : "info.gpu", size(gpuBytes)],
      ["info.weights", size(weight)],
      ["info.state", size(state)],
      ["info.scratch", size(scratch)],
      ["info.wasm", size(wasmBytes)],
      ["info.states", count && t("info.states.value", count)],
    ];
  }

  /** @param {EngineInfo} info @returns {Rows} */
  #timings({ timings = {} }) {
    const phases = Object.entries(timings).filter(([name, ms]) => name !== "ready" && ms > 0);
    const rows = phases.map(([name, ms]) => /** @type {[string, string]} */ ([`phase.short.${name}`, duration(ms / 1000)]));
    return [...rows, ["info.ready", timings.ready ? duration(timings.ready / 1000) : undefined]];
  }
}

/** How the kernels were chosen, in a few words. @param {Record<string, unknown>} tuning */
function tuningText(tuning) {
  return Object.values(tuning)
    .filter((value) => typeof value === "string" && value)
    .join(", ");
}
