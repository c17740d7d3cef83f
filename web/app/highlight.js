// @ts-check
// Colours for code. The highlighter and each language are loaded when the first code in it is there, and their output is sanitized like everything else.

import createDOMPurify from "../vendor/dompurify/purify.es.mjs";

const MOST = 50_000; // characters; more would take the page too long
const purify = createDOMPurify(/** @type {any} */ (window)); // without the hooks of markdown.js, which take classes away

const LANGUAGES = new Set(
  (
    "bash c cpp csharp css diff dockerfile go ini java javascript json kotlin lua makefile markdown php python r ruby rust sql swift " +
    "typescript xml yaml"
  ).split(" "),
);
/** As answers call them. @type {Record<string, string>} */
const ALSO = {
  "c++": "cpp",
  "c#": "csharp",
  cc: "cpp",
  console: "bash",
  cs: "csharp",
  docker: "dockerfile",
  golang: "go",
  h: "c",
  hpp: "cpp",
  html: "xml",
  js: "javascript",
  jsx: "javascript",
  kt: "kotlin",
  make: "makefile",
  md: "markdown",
  patch: "diff",
  py: "python",
  python3: "python",
  rb: "ruby",
  rs: "rust",
  sh: "bash",
  shell: "bash",
  svg: "xml",
  toml: "ini",
  ts: "typescript",
  tsx: "typescript",
  yml: "yaml",
  zsh: "bash",
};
/** @type {Map<string, Promise<typeof import("../vendor/highlight/core.min.js").default>>} */
const loading = new Map();

/** The highlighter, with a language. @param {string} name */
async function highlighter(name) {
  const [{ default: hljs }, { default: grammar }] = await Promise.all([
    import("../vendor/highlight/core.min.js"),
    import(`../vendor/highlight/languages/${name}.min.js`),
  ]);
  hljs.registerLanguage(name, grammar);
  return hljs;
}

/** @param {HTMLElement} code @param {string} language as the answer calls it */
export async function highlight(code, language) {
  const text = code.textContent ?? "";
  const wanted = language.toLowerCase();
  const name = ALSO[wanted] ?? wanted;
  if (!LANGUAGES.has(name) || text.length > MOST) return;
  try {
    if (!loading.has(name)) loading.set(name, highlighter(name));
    const hljs = await loading.get(name);
    if (!hljs) return;
    const { value } = hljs.highlight(text, { language: name, ignoreIllegals: true });
    code.replaceChildren(purify.sanitize(value, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true }));
  } catch {
    loading.delete(name); // it stays as it is: readable, without colours
  }
}
