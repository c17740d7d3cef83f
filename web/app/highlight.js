// @ts-check
// Colours for code. The highlighter is loaded when the first code with a language that it knows is there, and its output is sanitized like everything else.

import createDOMPurify from "../vendor/dompurify/purify.es.mjs";

const MOST = 50_000; // characters; more would take the page too long
const purify = createDOMPurify(/** @type {any} */ (window)); // without the hooks of markdown.js, which take classes away

/** @type {Promise<typeof import("../vendor/highlight/highlight.min.js")> | undefined} */
let loading;

/** @param {HTMLElement} code @param {string} language as the answer calls it */
export async function highlight(code, language) {
  const text = code.textContent ?? "";
  if (!language || text.length > MOST) return;
  try {
    loading ??= import("../vendor/highlight/highlight.min.js");
    const { default: hljs } = await loading;
    if (!hljs.getLanguage(language)) return;
    const { value } = hljs.highlight(text, { language, ignoreIllegals: true });
    code.replaceChildren(purify.sanitize(value, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true }));
  } catch {
    loading = undefined; // it stays as it is: readable, without colours
  }
}
