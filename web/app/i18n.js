// @ts-check
// Every string a person reads: web/i18n/<language>/<part>.json, which the build makes one file, errors.json for coded errors, and numbers as the language writes them.
// Fixed text hangs on elements (data-t, data-t-label, data-t-placeholder) and changes with the language by itself; what is computed registers with onLanguage.

import { byId, remember } from "./dom.js";

/** @typedef {import("./types.js").PageError} PageError */
/** @typedef {Record<string, string | number>} Fields */

/** The texts of a language that was loaded. @type {Record<string, Record<string, string>>} */
const tables = {};
/** @type {Promise<Record<string, Record<string, [string, string]>>> | undefined} */
let errors;
/** @type {Record<string, Record<string, [string, string]>>} */
let errorTable = {};
/** @type {(() => void)[]} */
const listeners = [];

/** Of what is being drawn, where it is not the document's. @type {string | undefined} */
let spoken;

/** @returns {string} */
export const language = () => spoken ?? document.documentElement.lang;

/** Draw something in a language that is not the document's. @template T @param {string} name @param {() => T} draw @returns {T} */
export function speak(name, draw) {
  const before = spoken;
  spoken = name;
  try {
    return draw();
  } finally {
    spoken = before;
  }
}

/** @param {string} text @param {Record<string, unknown>} fields */
const fill = (text, fields) => text.replace(/\{(\w+)[^{}]*\}/g, (whole, name) => (name in fields ? String(fields[name]) : whole));

/**
 * The text of a key in the current language (English where a translation is missing).
 * @param {string} key
 * @param {Fields} [fields]
 */
export function t(key, fields = {}) {
  const text = tables[language()]?.[key] ?? tables.en?.[key] ?? key;
  return fill(text, fields);
}

/**
 * Name an icon button (for everyone: aria-label and tooltip), now and after a change of language.
 * @param {Element} element
 * @param {string} key
 */
export function label(element, key) {
  element.setAttribute("data-t-label", key);
  element.setAttribute("aria-label", t(key));
  if (element instanceof HTMLButtonElement) element.title = t(key);
}

/**
 * Translate everything fixed under a node.
 * @param {ParentNode} root
 */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.getAttribute("data-t") ?? "");
  for (const element of root.querySelectorAll("[data-t-label]")) label(element, element.getAttribute("data-t-label") ?? "");
  for (const element of root.querySelectorAll("[data-t-placeholder]"))
    element.setAttribute("placeholder", t(element.getAttribute("data-t-placeholder") ?? ""));
}

/**
 * Call back after every change of language.
 * @param {() => void} listener
 */
export function onLanguage(listener) {
  listeners.push(listener);
}

/** @param {string} path */
async function readJson(path) {
  const response = await fetch(new URL(`../i18n/${path}`, import.meta.url));
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

function apply() {
  document.title = t("title");
  byId("language-text").textContent = t("language.other");
  translate(document);
  for (const listener of listeners) listener();
}

/** The texts of a language, once. @param {string} name @param {string[]} [parts] all of them, if none are named */
export async function loadTexts(name, parts) {
  const files = parts?.map((part) => `${name}/${part}.json`) ?? [`${name}.json`];
  tables[name] ??= Object.assign({}, ...(await Promise.all(files.map(readJson))));
}

/** Load the texts of the language that is shown, wire the button, translate the page. The other language follows, so that changing it waits for nothing. */
export async function startLanguage() {
  const shown = language() === "zh" ? "zh" : "en";
  await loadTexts(shown);
  const system = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
  byId("language").addEventListener("click", async () => {
    const next = language() === "zh" ? "en" : "zh";
    await loadTexts(next);
    remember("language", next === system ? null : next);
    document.documentElement.lang = next;
    apply();
  });
  apply();
  void loadErrors();
  setTimeout(() => void loadTexts(shown === "zh" ? "en" : "zh").catch(() => undefined), 2000);
}

/** The texts of coded errors; without the file the English text that the error carries has to do. */
export async function loadErrors() {
  errors ??= readJson("errors.json").catch(() => ({}));
  errorTable = await errors;
}

/**
 * Whatever was thrown, as a coded error.
 * @param {unknown} thrown
 * @returns {PageError}
 */
export function asPageError(thrown) {
  const error = /** @type {Partial<PageError> & {name?: string}} */ (
    thrown && typeof thrown === "object" ? thrown : { message: String(thrown) }
  );
  return {
    code: typeof error.code === "string" ? error.code : "internal",
    message: error.message ?? "",
    hint: error.hint ?? "",
    details: error.details ?? (typeof error.code === "string" ? {} : { reason: error.message ?? String(thrown) }),
    stack: error.stack,
  };
}

/**
 * Message and hint of an error in the current language.
 * @param {PageError} error
 * @returns {{message: string, hint: string}}
 */
export function errorText(error) {
  const texts = errorTable[error.code]?.[language()];
  const { details } = error;
  if (texts) return { message: fill(sizes(texts[0], details), details), hint: fill(sizes(texts[1], details), details) };
  if (error.code === "internal")
    return { message: t("error.unknown", { reason: error.message }), hint: error.hint || t("error.unknown.hint") };
  return { message: error.message, hint: error.hint };
}

/** How much was needed, and how much there is, as people read it. @param {string} text @param {Record<string, unknown>} details */
function sizes(text, details) {
  if (typeof details.need !== "number") return text;
  return text.replace(/\{(need|limit|free)\}( more)?(?: (?:bytes|字节))?/g, (whole, name, more = "") =>
    typeof details[name] === "number" ? bytes(Number(details[name])) + more : whole,
  );
}

/** @param {number} value @param {number} [digits] */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language(), { maximumFractionDigits: digits }).format(value);
}

/**
 * Bytes as people read them (decimal, as download sizes are given).
 * @param {number} value
 */
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  const scaled = value / 1000 ** power;
  return `${number(scaled, power > 1 && scaled < 100 ? 1 : 0)} ${units[power]}`;
}

/**
 * A duration in seconds: "0.8 s", "12 s", "3 min".
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 9.95) return t("unit.seconds", { n: number(seconds, 1) });
  if (seconds < 90) return t("unit.seconds", { n: number(seconds) });
  return t("unit.minutes", { n: number(seconds / 60) });
}
