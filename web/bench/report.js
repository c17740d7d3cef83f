// @ts-check
// What a benchmark report (docs/benchmarks.md says what its keys are) looks like: rows of speeds, facts beside them, and both as Markdown.

import { bytes, duration, number, t } from "../app/i18n.js";

/** @typedef {Record<string, any>} Report */
/** what, tokens/s, ms. @typedef {[string, string, string]} Row */

/** @param {number} value */
const speed = (value) => number(value, value < 100 ? 1 : 0);
/** @param {number} value */
const ms = (value) => `${number(value, value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;

/** The rows that the report has so far. @param {Report} r @returns {Row[]} */
export function speeds(r) {
  /** @type {Row[]} */
  const rows = [];
  const prompts = [...(r.prefill_tok_s ? [r] : []), ...(r.prefills ?? [])].sort((a, b) => a.prompt_tokens - b.prompt_tokens);
  for (const p of prompts)
    rows.push([t("bench.row.prefill", { n: p.prompt_tokens }), speed(p.prefill_tok_s), t("bench.first", { time: ms(p.first_token_ms) })]);
  if (r.draw_tok_s) rows.push([t("bench.row.draw"), speed(r.draw_tok_s), t("bench.each", { time: ms(1e3 / r.draw_tok_s) })]);
  if (r.decode_ms) {
    const { p50, p99 } = r.decode_ms;
    rows.push([t("bench.row.decode"), speed(r.decode_tok_s), `p50 ${ms(p50)}, p99 ${ms(p99)}`]);
  }
  for (const b of r.batches ?? [])
    rows.push([t("bench.row.batch", { n: b.batch }), speed(b.tok_s), t("bench.step", { time: ms(b.step_ms) })]);
  for (const b of r.requests ?? [])
    rows.push([t("bench.row.requests", { n: b.requests }), speed(b.tok_s), t("bench.first", { time: ms(b.first_ms) })]);
  return rows;
}

/** Names and values of what stands beside them. @param {Report} r @returns {[string, string][]} */
export function facts(r) {
  const steps = Object.entries(r.load_ms ?? {}).filter(([name, took]) => name !== "ready" && took > 0);
  /** @type {[string, string | undefined][]} */
  const all = [
    [t("info.model"), `${r.model}, RWKV-${r.version}, ${r.shape}, ${r.quant}`],
    [t("info.adapter"), r.adapter],
    [t("info.dispatches"), t("bench.dispatches", { n: number(r.dispatches_per_token), each: number(r.dispatches_per_layer, 1) })],
    [t("info.traffic"), bytes(r.bytes_per_token)],
    [t(r.device === "numpy" ? "info.cpu" : "info.gpu"), bytes(r.gpu_bytes)],
    [
      t("bench.bandwidth"),
      r.copy_gb_s && t("bench.bandwidth.value", { copy: number(r.copy_gb_s, 1), part: number(100 * r.of_limits.copy, 1) }),
    ],
    [t("bench.dispatch"), r.dispatch_us !== undefined ? `${number(r.dispatch_us, 1)} µs, ${number(r.roundtrip_us)} µs` : undefined],
    [t("info.timings"), steps.map(([name, took]) => `${t(`phase.short.${name}`)} ${duration(took / 1e3)}`).join(", ")],
    ["py_rwkv", r.py_rwkv],
    [t("bench.browser"), r.browser],
  ];
  return /** @type {[string, string][]} */ (all.filter(([, value]) => value));
}

/** @param {Report} r */
export function markdown(r) {
  /** @param {string[]} cells */
  const line = (cells) => `| ${cells.map((c) => c.replaceAll("|", "\\|")).join(" | ")} |`;
  const head = [t("bench.what"), t("bench.speed"), t("bench.time")];
  const list = facts(r).map(([name, value]) => `- ${name}: ${value}`);
  return [line(head), "|---|---|---|", ...speeds(r).map(line), "", ...list, ""].join("\n");
}
