// @ts-check
// The state view: what each token of a conversation changed in the recurrent state, head by head; how large the state has become; one head in full.

import { h, icon } from "../dom.js";
import { asPageError, errorText, number, t } from "../i18n.js";
import { requestFor } from "../slots.js";
import { cellAt, cellBy, colours, drawCells } from "./colours.js";
import { MatrixView } from "./matrix.js";
import { percent, quoted, short, visible } from "./words.js";

/** @typedef {import("../conversations/types.js").Message} Message */
/** @typedef {import("../types.js").TracedToken} TracedToken */
/** @typedef {import("../types.js").Trace} Trace */

const WATCHED = 256; // tokens; what comes before is read at once
const STEP = 140; // ms a token, playing
const PAUSE = 300; // ms without a move before a head is read again

/** @param {TracedToken} token */
const said = ({ text, bytes }) => quoted({ token: text, bytes });

export class StateView {
  /** @type {TracedToken[]} */
  tokens = [];
  /** @type {Trace | undefined} */
  end;
  at = 0;
  /** @type {"change" | "norm"} */
  by = "change";
  /** Layer and head. @type {[number, number]} */
  cell = [0, 0];
  layers = 1;
  heads = 1;
  /** What counts as much: above it all is the strongest colour. */
  #most = 1;
  /** @type {AbortController | undefined} */
  #reading;
  #playing = 0;
  #wait = 0;
  /** After which token the engine's trace ends. */
  #traced = -1;
  /** Traces take turns. @type {Promise<unknown>} */
  #turn = Promise.resolve();
  /** @type {Record<string, any>} */
  #request = {};

  /** @param {import("../types.js").PageEngine} engine @param {import("../chat.js").Chat} chat */
  constructor(engine, chat) {
    this.engine = engine;
    this.chat = chat;
    this.matrix = new MatrixView();
    this.canvas = h("canvas", { class: "cells", tabindex: 0, role: "img", "data-testid": "heatmap", "aria-describedby": "state-summary" });
    this.text = h("p", { class: "state-text", "data-testid": "state-text", dir: "auto" });
    this.status = h("p", { class: "fine", role: "status", "data-testid": "state-status" });
    this.summary = h("p", { class: "fine", id: "state-summary", "data-testid": "state-summary" });
    this.readout = h("p", { class: "readout", "data-testid": "state-value", "aria-live": "polite" });
    this.slider = h("input", { type: "range", min: 0, max: 0, step: 1, "data-testid": "state-at" });
    this.slider.addEventListener("input", () => {
      this.#stop();
      this.#go(Number(this.slider.value));
    });
    this.count = h("p", { class: "fine", "aria-hidden": "true" });
    this.element = h("div", { class: "state-view" });
    engine.addEventListener("recovered", () => void (this.#traced = -1)); // what it held of a trace is gone
    const choose = (/** @type {MouseEvent} */ event) => this.#choose(cellAt(this.canvas, event, this.layers, this.heads));
    this.canvas.addEventListener("pointerdown", choose);
    this.canvas.addEventListener("keydown", (event) => {
      const to = cellBy(event, this.cell, this.layers, this.heads);
      if (to) this.#choose(to);
    });
  }

  /** Watch the model read the conversation up to a message. @param {Message} message */
  async show(message) {
    this.close();
    const { header, tree } = this.chat;
    if (!header) return;
    const reading = (this.#reading = new AbortController());
    const { stream: _, continue: _c, ...request } = requestFor(header, tree.path(message.id));
    this.#request = request;
    Object.assign(this, { tokens: [], end: undefined, at: 0, by: "change" });
    this.#traced = -1;
    this.matrix.hide();
    this.draw();
    this.status.textContent = t("inside.reading");
    this.count.textContent = "";
    /** @type {number | undefined} */
    let first;
    try {
      const end = await this.#trace({ last: WATCHED }, reading.signal, (token) => {
        first ??= token.index;
        this.tokens[token.index - first] = token; // after a loss of the device they come again
        this.count.textContent = number(this.tokens.length);
      });
      if (this.#reading !== reading) return;
      this.end = end;
      Object.assign(this, { layers: end.layers, heads: end.heads, at: this.tokens.length - 1 });
      this.cell = [Math.min(this.cell[0], end.layers - 1), Math.min(this.cell[1], end.heads - 1)];
      this.#scale();
      this.draw();
      await this.#readHead();
    } catch (thrown) {
      const error = asPageError(thrown);
      if (this.#reading === reading && error.code !== "cancelled") this.status.textContent = errorText(error).message;
    }
  }

  close() {
    this.#stop();
    clearTimeout(this.#wait);
    this.#reading?.abort();
    this.#reading = undefined;
  }

  /**
   * @param {{until?: number, last: number}} part @param {AbortSignal} signal @param {(token: TracedToken) => void} [onToken]
   * @returns {Promise<Trace>}
   */
  #trace(part, signal, onToken) {
    const begin = async () => {
      signal.throwIfAborted();
      const end = await this.engine.trace(/** @type {any} */ ({ ...this.#request, ...part }), { signal, onToken });
      this.#traced = end.tokens - 1;
      return end;
    };
    const turn = this.#turn.then(begin, begin);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Most tokens change little: the strongest colour is for the strongest fiftieth; the first token, out of nothing, changes everything. */
  #scale() {
    const all = this.tokens.slice(this.tokens[0]?.index === 0 ? 1 : 0).flatMap(({ change }) => change);
    all.sort((a, b) => a - b);
    this.#most = all[Math.floor(0.98 * (all.length - 1))] || 1;
  }

  /** All of it, as after a change of language or theme. */
  draw() {
    const ready = Boolean(this.end);
    const play = h("button", { type: "button", class: "tool", "data-testid": "state-play" }, icon(this.#playing ? "pause" : "play"));
    play.setAttribute("aria-label", t(this.#playing ? "inside.pause" : "inside.play"));
    play.title = play.getAttribute("aria-label") ?? "";
    play.addEventListener("click", () => this.#play());
    this.slider.max = String(Math.max(0, this.tokens.length - 1));
    this.slider.setAttribute("aria-label", t("inside.at"));
    const parts = [
      h("p", { class: "inside-lead", text: t("inside.state.lead") }),
      this.status,
      ...(ready
        ? [
            h("div", { class: "inside-bar" }, play, this.slider),
            this.text,
            this.#segments(),
            h("div", { class: "map" }, this.canvas),
            this.#legend(),
            this.summary,
            h("h3", { text: t("inside.head.title") }),
            this.#selects(),
            this.readout,
            this.matrix.element,
          ]
        : [this.count]),
    ];
    this.element.replaceChildren(...parts);
    this.element.dataset.state = ready ? "ready" : "reading";
    if (!ready) return;
    this.status.textContent = this.#watched();
    this.#paint();
    this.matrix.caption = this.#caption();
    this.matrix.draw();
  }

  #watched() {
    const { end, tokens } = this;
    if (!end) return "";
    const facts = { n: number(tokens.length), all: number(end.tokens), layers: number(end.layers), heads: number(end.heads) };
    return t(end.tokens > tokens.length ? "inside.state.some" : "inside.state.all", facts);
  }

  #segments() {
    const one = (/** @type {"change" | "norm"} */ name) =>
      h("button", {
        type: "button",
        "data-testid": `by-${name}`,
        "aria-pressed": String(this.by === name),
        text: t(`inside.by.${name}`),
        onclick: () => {
          this.by = name;
          this.draw();
          /** @type {HTMLElement | null} */ (this.element.querySelector(`[data-testid="by-${name}"]`))?.focus();
        },
      });
    return h("div", { class: "segments", role: "group", "aria-label": t("inside.colour") }, one("change"), one("norm"));
  }

  #legend() {
    const high = this.by === "change" ? percent(this.#most) : short(Math.max(...(this.end?.norms ?? [0])));
    const steps = Array.from({ length: 16 }, (_, i) => {
      const step = h("span", { class: "step" });
      step.style.setProperty("background", colours().amount(i / 15));
      return step;
    });
    return h("p", { class: "legend", "aria-hidden": "true" }, h("span", { text: "0" }), ...steps, h("span", { text: `≥ ${high}` }));
  }

  /** Layer and head by name, for those who do not click. */
  #selects() {
    const select = (/** @type {"layer" | "head"} */ name, /** @type {number} */ count, /** @type {0 | 1} */ place) => {
      const field = h(
        "select",
        { id: `inside-${name}`, "data-testid": `inside-${name}` },
        ...Array.from({ length: count }, (_, i) => h("option", { value: i, text: number(i) })),
      );
      field.value = String(this.cell[place]);
      field.addEventListener("change", () =>
        this.#choose(place ? [this.cell[0], Number(field.value)] : [Number(field.value), this.cell[1]]),
      );
      return [h("label", { for: `inside-${name}`, text: t(`inside.${name}`) }), field];
    };
    return h("div", { class: "inside-selects" }, ...select("layer", this.layers, 0), ...select("head", this.heads, 1));
  }

  /** Everything that the place in the text and the chosen head decide. */
  #paint() {
    const { end } = this;
    const token = this.tokens[this.at];
    if (!end || !token) return;
    const { amount } = colours();
    const values = this.by === "norm" ? end.norms : token.change;
    const most = this.by === "norm" ? Math.max(...end.norms) || 1 : this.#most;
    const colour = (/** @type {number} */ layer, /** @type {number} */ head) => amount(Math.sqrt(values[layer * this.heads + head] / most));
    const width = (this.element.clientWidth || 344) - 2;
    drawCells(this.canvas, this.layers, this.heads, colour, { most: 32, width, chosen: this.cell });
    this.canvas.setAttribute("aria-label", t(`inside.map.${this.by}`, { layers: number(this.layers), heads: number(this.heads) }));
    this.slider.value = String(this.at);
    const place = { i: number(this.at + 1), n: number(this.tokens.length), token: said(token) };
    this.slider.setAttribute("aria-valuetext", t("inside.at.value", place));
    this.#drawText();
    this.#drawSummary(values);
    const at = this.cell[0] * this.heads + this.cell[1];
    this.readout.textContent = t("inside.cell", {
      layer: number(this.cell[0]),
      head: number(this.cell[1]),
      change: percent(token.change[at]),
      norm: short(end.norms[at]),
    });
  }

  /** The token in its surroundings. */
  #drawText() {
    const from = Math.max(0, this.at - 14);
    const near = this.tokens.slice(from, this.at + 10);
    this.text.replaceChildren(
      ...near.map((token, i) => {
        const seen = visible({ token: token.text, bytes: token.bytes });
        return from + i === this.at ? h("mark", { text: seen }) : document.createTextNode(seen);
      }),
    );
  }

  /** @param {number[]} values */
  #drawSummary(values) {
    const token = this.tokens[this.at];
    const [high, low] = [values.indexOf(Math.max(...values)), values.indexOf(Math.min(...values))];
    const where = (/** @type {number} */ i) =>
      t("inside.place", { layer: number(Math.floor(i / this.heads)), head: number(i % this.heads) });
    const written = this.by === "norm" ? short : percent;
    this.summary.textContent = t(`inside.summary.${this.by}`, {
      token: said(token),
      mean: written(values.reduce((sum, x) => sum + x, 0) / values.length),
      high: where(high),
      most: written(values[high]),
      low: where(low),
      least: written(values[low]),
    });
  }

  /** @param {number} at */
  #go(at) {
    this.at = at;
    this.#paint();
    clearTimeout(this.#wait);
    if (!this.#playing) this.#wait = setTimeout(() => void this.#readHead(), PAUSE);
  }

  #play() {
    if (this.#playing) {
      this.#stop();
      this.#go(this.at);
    } else {
      if (this.at >= this.tokens.length - 1) this.at = -1;
      this.#playing = setInterval(() => {
        if (this.at >= this.tokens.length - 1) {
          this.#stop();
          this.#go(this.at);
          this.draw();
        } else this.#go(this.at + 1);
      }, STEP);
    }
    this.draw();
    /** @type {HTMLElement | null} */ (this.element.querySelector('[data-testid="state-play"]'))?.focus();
  }

  #stop() {
    clearInterval(this.#playing);
    this.#playing = 0;
  }

  /** @param {[number, number]} cell */
  #choose(cell) {
    this.cell = cell;
    for (const [name, value] of /** @type {const} */ ([
      ["layer", cell[0]],
      ["head", cell[1]],
    ])) {
      const field = /** @type {HTMLSelectElement | null} */ (this.element.querySelector(`#inside-${name}`));
      if (field) field.value = String(value);
    }
    this.#paint();
    clearTimeout(this.#wait);
    this.#wait = setTimeout(() => void this.#readHead(), 30);
  }

  #caption() {
    const token = this.tokens[this.at];
    const facts = { layer: number(this.cell[0]), head: number(this.cell[1]) };
    return t("inside.matrix", { ...facts, token: token ? said(token) : "" });
  }

  /** The chosen head as it is after the chosen token. */
  async #readHead() {
    const reading = this.#reading;
    const token = this.tokens[this.at];
    if (!reading || !token) return;
    const [layer, head] = this.cell;
    try {
      if (this.#traced !== token.index) await this.#trace({ until: token.index + 1, last: 1 }, reading.signal);
      const values = await this.engine.stateOf(layer, head);
      if (this.#reading !== reading || this.tokens[this.at] !== token || this.cell[0] !== layer || this.cell[1] !== head) return;
      const version = String(this.engine.status().model?.version ?? "7");
      this.matrix.show(values, this.#caption(), version);
      this.matrix.element.dataset.index = String(token.index);
    } catch (thrown) {
      const error = asPageError(thrown);
      if (this.#reading === reading && error.code !== "cancelled") this.status.textContent = errorText(error).message;
    }
  }
}
