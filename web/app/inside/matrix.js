// @ts-check
// One head's state as a picture: N × N numbers between −max and max, read off by mouse or arrow keys.

import { h } from "../dom.js";
import { number, t } from "../i18n.js";
import { cellAt, cellBy, colours, drawCells } from "./colours.js";
import { short } from "./words.js";

const COLUMNS = 64; // of a state that is no matrix (RWKV-4)

export class MatrixView {
  /** @type {Float32Array | undefined} */
  values;
  rows = 0;
  columns = 0;
  /** @type {[number, number]} */
  cell = [0, 0];
  /** Row and column by name: what they stand for. */
  names = { row: "inside.row", column: "inside.column" };
  caption = "";

  constructor() {
    this.canvas = h("canvas", { class: "cells matrix", tabindex: 0, role: "img", "data-testid": "matrix" });
    this.readout = h("p", { class: "fine readout", "data-testid": "matrix-value", "aria-live": "polite" });
    this.summary = h("p", { class: "fine", id: "matrix-summary", "data-testid": "matrix-summary" });
    this.canvas.setAttribute("aria-describedby", "matrix-summary");
    this.element = h("div", { class: "matrix-view", hidden: true }, this.canvas, this.readout, this.summary);
    this.canvas.addEventListener("pointermove", (event) => this.#go(cellAt(this.canvas, event, this.rows, this.columns)));
    this.canvas.addEventListener("pointerdown", (event) => this.#go(cellAt(this.canvas, event, this.rows, this.columns)));
    this.canvas.addEventListener("keydown", (event) => {
      const to = cellBy(event, this.cell, this.rows, this.columns);
      if (to) this.#go(to);
    });
  }

  /**
   * @param {Float32Array} values @param {string} caption which head, after which token
   * @param {string} version of the model: RWKV-7 keeps value by key, 5 and 6 key by value, 4 a value per channel
   */
  show(values, caption, version) {
    this.values = values;
    this.caption = caption;
    const side = Math.sqrt(values.length);
    const square = version !== "4" && Number.isInteger(side);
    this.columns = square ? side : Math.min(COLUMNS, values.length);
    this.rows = Math.ceil(values.length / this.columns);
    const [row, column] = version.startsWith("7") ? ["inside.value", "inside.key"] : ["inside.key", "inside.value"];
    this.names = square ? { row, column } : { row: "inside.row", column: "inside.column" };
    this.cell = [Math.min(this.cell[0], this.rows - 1), Math.min(this.cell[1], this.columns - 1)];
    this.draw();
  }

  hide() {
    this.values = undefined;
    this.element.hidden = true;
  }

  draw() {
    const { values } = this;
    if (!values) return;
    this.element.hidden = false;
    this.canvas.setAttribute("aria-label", this.caption);
    let [low, high, most, square] = [Infinity, -Infinity, 0, 0];
    for (const [i, x] of values.entries()) {
      low = Math.min(low, x);
      high = Math.max(high, x);
      square += x * x;
      if (Math.abs(x) > Math.abs(values[most])) most = i;
    }
    this.#paint();
    this.summary.textContent = t("inside.matrix.summary", {
      rows: number(this.rows),
      columns: number(this.columns),
      low: short(low),
      high: short(high),
      norm: short(Math.sqrt(square)),
      most: short(values[most]),
      where: this.#where(Math.floor(most / this.columns), most % this.columns),
    });
    this.#read();
  }

  /** @param {number} row @param {number} column */
  #where(row, column) {
    return t("inside.where", { row: `${t(this.names.row)} ${number(row)}`, column: `${t(this.names.column)} ${number(column)}` });
  }

  #paint() {
    const { values, rows, columns } = this;
    if (!values) return;
    const scale = values.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-12);
    const { sign } = colours();
    const width = this.element.clientWidth || 320;
    // Large values are few: the root shows the small ones too.
    const colour = (/** @type {number} */ row, /** @type {number} */ column) => {
      const x = (values[row * columns + column] ?? 0) / scale;
      return sign(Math.sign(x) * Math.sqrt(Math.abs(x)));
    };
    drawCells(this.canvas, rows, columns, colour, { most: 12, width, chosen: this.cell });
  }

  /** @param {[number, number]} cell */
  #go(cell) {
    if (cell[0] === this.cell[0] && cell[1] === this.cell[1]) return;
    this.cell = cell;
    this.#paint();
    this.#read();
  }

  #read() {
    const [row, column] = this.cell;
    const value = this.values?.[row * this.columns + column];
    this.readout.textContent = value === undefined ? "" : `${this.#where(row, column)}: ${short(value)}`;
  }
}
