// @ts-check
// How tokens and small numbers are written: invisible characters made visible, percentages, bits.

import { language, number, t } from "../i18n.js";

/** @param {number} p 0 … 1 */
export function percent(p) {
  const least = 0.0001;
  const format = new Intl.NumberFormat(language(), { style: "percent", maximumFractionDigits: p < 0.01 ? 2 : p < 0.1 || p > 0.99 ? 1 : 0 });
  return p > 0 && p < least ? `<${format.format(least)}` : format.format(p);
}

/** Numbers of any size, with three digits that mean something. @param {number} value */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 100 || value === 0) return number(value);
  if (size >= 0.01) return new Intl.NumberFormat(language(), { maximumSignificantDigits: 3 }).format(value);
  return value.toExponential(1);
}

/** Text of a token as it can be seen; bytes that are no whole character in hexadecimal. @param {{token: string, bytes: number[]}} token */
export function visible({ token, bytes }) {
  if (!bytes.length) return t("inside.end");
  if (token.includes("\ufffd")) return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return token
    .replace(/\r?\n/g, "↵")
    .replace(/\t/g, "⇥")
    .replace(/^ +$/, (spaces) => "␣".repeat(spaces.length));
}

/** For assistive technology and quotations: “ Oslo”. @param {{token: string, bytes: number[]}} token */
export const quoted = (token) => t("inside.quoted", { token: visible(token) });

/** Nats as bits, and as how many equally likely tokens would be as uncertain. @param {number} nats */
export const uncertainty = (nats) => t("inside.entropy.value", { bits: number(nats / Math.LN2, 2), n: number(Math.exp(nats), 1) });
