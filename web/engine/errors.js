// @ts-check
/**
 * Errors that a person can understand: a code, the details that fill its text, and the text in English. The table is py_rwkv/errors.json, which the site
 * serves as `i18n/errors.json`; `localized` gives the text in another language.
 */

/** @typedef {Record<string, Record<string, [message: string, hint: string]>>} Texts */

/** @type {Texts} */
let texts = {};

/** Fetch the table once; without it errors still carry code and details. @param {URL} url */
export async function loadTexts(url) {
  if (Object.keys(texts).length === 0)
    texts = await fetch(url).then(
      (r) => (r.ok ? r.json() : {}),
      () => ({}),
    );
  return texts;
}

/** @param {string} template @param {Record<string, unknown>} details */
function fill(template, details) {
  return template.replace(/\{(\w+)(?::[^}]*)?\}/g, (whole, name) => (name in details ? String(details[name]) : whole));
}

/** Message and hint of an error in a language. @param {string} code @param {Record<string, unknown>} details @param {string} language */
export function localized(code, details, language) {
  const [message, hint] = texts[code]?.[language] ?? texts[code]?.en ?? [code, ""];
  return { message: fill(message, details), hint: fill(hint, details) };
}

export class RwkvError extends Error {
  /** @param {string} code @param {Record<string, unknown>} [details] @param {{message?: string, hint?: string}} [text] */
  constructor(code, details = {}, text = {}) {
    const found = localized(code, details, "en");
    super(text.message ?? found.message);
    this.name = "RwkvError";
    this.code = code;
    this.details = details;
    this.hint = text.hint ?? found.hint;
  }

  /** Any thrown value as an RwkvError. @param {unknown} e */
  static from(e) {
    if (e instanceof RwkvError) return e;
    const { code, details, message, hint } =
      /** @type {{code?: unknown, details?: Record<string, unknown>, message?: string, hint?: string}} */ (e ?? {});
    if (typeof code === "string" && details) return new RwkvError(code, details, { message, hint });
    if (e instanceof DOMException && e.name === "AbortError") return new RwkvError("cancelled");
    return new RwkvError("internal", { reason: message ?? String(e) });
  }

  /** The form that crosses from the worker. */
  toJSON() {
    return { code: this.code, message: this.message, hint: this.hint, details: this.details };
  }
}
