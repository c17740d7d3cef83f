// @ts-check
// Model output → safe DOM. What a model writes is not trusted: an allow-list of tags and attributes, no images from elsewhere (they would tell
// somebody that the answer was read), links that open apart. Code blocks get a head with their language and a copy button; formulas stay as they were written.

import DOMPurify from "../vendor/dompurify/purify.es.mjs";
import { Marked } from "../vendor/marked/marked.esm.js";
import { copyText, h, icon } from "./dom.js";
import { highlight } from "./highlight.js";
import { label } from "./i18n.js";

const TAGS =
  "a b blockquote br code del details em h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr ul";
const ATTRIBUTES = "href title alt src class align start colspan rowspan lang dir";

/** Tags that answers use on purpose and that need no attributes; any other HTML is shown as the text that it is. */
const PLAIN = /&lt;(\/?)(br|details|kbd|mark|sub|summary|sup)\s*\/?&gt;/gi;

/** @param {string} text */
const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** What TeX delimits: $$…$$ and \[…\] as a block; $…$ and \(…\) within a line, where $ is not that of a price. */
const BLOCK_MATH = /^(?:\$\$[^$]+\$\$|\\\[[\s\S]+?\\\])(?=\s*(?:\n|$))/;
const INLINE_MATH = /^(?:\$\$[^$\n]+\$\$|\$(?![\s$])[^$\n]*?[^\s$\\]\$(?!\d)|\\\([^\n]+?\\\)|\\\[[^\n]+?\\\])/;

/**
 * Formulas: without this, Markdown would take their underscores, asterisks and backslashes for its own.
 * @param {"block" | "inline"} level @param {RegExp} pattern @param {RegExp} start
 * @returns {import("../vendor/marked/marked.esm.js").TokenizerAndRendererExtension}
 */
const math = (level, pattern, start) => ({
  name: `${level}Math`,
  level,
  start: (source) => {
    const at = source.search(start);
    return at < 0 ? undefined : at;
  },
  tokenizer(source) {
    const raw = pattern.exec(source)?.[0];
    return raw ? { type: `${level}Math`, raw } : undefined;
  },
  renderer: ({ raw }) =>
    level === "block" ? `<p><span class="math">${escape(raw)}</span></p>` : `<span class="math">${escape(raw)}</span>`,
});

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [math("block", BLOCK_MATH, /(?:^|\n)(?:\$\$|\\\[)/), math("inline", INLINE_MATH, /\$|\\[([]/)],
  renderer: {
    html: ({ text }) => escape(text).replace(PLAIN, "<$1$2>"),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "), // task lists without form controls
  },
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    if (!/^(https?:|mailto:)/i.test(node.getAttribute("href") ?? "")) node.removeAttribute("href"); // a model knows no page of this site
    const host = hostOf(node.getAttribute("href"));
    const text = (node.textContent ?? "")
      .trim()
      .toLowerCase()
      .replace(/^https?:\/\//, "");
    if (host && text !== host && !text.startsWith(`${host}/`)) node.setAttribute("data-host", host); // where it leads, if the text does not say so
    if (host) node.setAttribute("title", node.getAttribute("href") ?? "");
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
  if (node.tagName === "IMG" && !/^data:image\/(png|jpeg|gif|webp);/i.test(node.getAttribute("src") ?? "")) {
    node.removeAttribute("src");
    node.replaceWith(document.createTextNode(node.getAttribute("alt") ?? ""));
  }
  const language = node.tagName === "CODE" && /^language-[\w+#.-]+$/.test(node.className);
  if (node.hasAttribute("class") && !language && !(node.tagName === "SPAN" && node.className === "math")) node.removeAttribute("class");
});

/** @param {string | null} href */
function hostOf(href) {
  try {
    return new URL(href ?? "").host;
  } catch {
    return "";
  }
}

/**
 * Sanitized DOM for Markdown source.
 * @param {string} source
 * @returns {DocumentFragment}
 */
export const renderMarkdown = (source) => safe(marked.parse(source, { async: false }), true);

/**
 * @param {string} html
 * @param {boolean} whole whether code can be highlighted already, or still grows
 */
function safe(html, whole) {
  const fragment = DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS.split(" "),
    ALLOWED_ATTR: ATTRIBUTES.split(" "),
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const pre of fragment.querySelectorAll("pre")) frameCode(pre, whole);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div", { class: "table", tabindex: 0 }); // scrolls by itself, also by keyboard
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}

/** @param {HTMLPreElement} pre @param {boolean} whole */
function frameCode(pre, whole) {
  const code = pre.querySelector("code");
  const name = code?.className.replace("language-", "") ?? "";
  if (code && whole) void highlight(code, name);
  const button = copyButton(() => pre.textContent ?? "", "copy-code");
  const frame = h("div", { class: "code" }, h("div", { class: "code-head" }, h("span", { text: name }), button));
  pre.tabIndex = 0;
  pre.replaceWith(frame);
  frame.append(pre);
}

/**
 * A button that copies a text and shows for a moment that it did.
 * @param {() => string} text
 * @param {string} testid
 */
export function copyButton(text, testid) {
  const button = h("button", { type: "button", class: "tool small", "data-testid": testid }, icon("copy"));
  label(button, "copy");
  button.addEventListener("click", async () => {
    if (!(await copyText(text()))) return;
    button.replaceChildren(icon("check"));
    button.classList.add("done");
    label(button, "copied");
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.classList.remove("done");
      label(button, "copy");
    }, 1600);
  });
  return button;
}

/**
 * Keeps an element showing a growing Markdown text, redrawn at most once per frame and less often when drawing gets expensive. Only the blocks that changed
 * are drawn again, which is mostly the last one.
 * @param {HTMLElement} element
 * @param {() => void} onDraw called after each redraw
 */
export function liveMarkdown(element, onDraw) {
  let source = "";
  let scheduled = 0;
  let earliest = 0;
  /** @type {{raw: string, whole: boolean, nodes: Node[]}[]} */
  let blocks = [];

  /** @param {boolean} whole nothing comes any more */
  const show = (whole) => {
    const tokens = marked.lexer(source);
    // Tags that we let pass may stretch over several blocks; then all of it is one.
    const parts = /<(details|mark|sub|sup|kbd)\b/i.test(source)
      ? [tokens]
      : tokens.filter(({ type }) => type !== "space").map((token) => [token]);
    const next = parts.map((part, i) => ({ part, raw: part.map(({ raw }) => raw).join(""), whole: whole || i < parts.length - 1 }));
    if (!blocks.length) element.replaceChildren();
    const same = next.findIndex(({ raw, whole }, i) => blocks[i]?.raw !== raw || blocks[i]?.whole !== whole);
    const from = same < 0 ? next.length : same;
    for (const { nodes } of blocks.slice(from)) for (const node of nodes) node.parentNode?.removeChild(node);
    blocks = blocks.slice(0, from);
    for (const { part, raw, whole } of next.slice(from)) {
      const fragment = safe(marked.parser(part), whole);
      blocks.push({ raw, whole, nodes: [...fragment.childNodes] });
      element.append(fragment);
    }
  };
  /** @param {boolean} [whole] */
  const draw = (whole = false) => {
    scheduled = 0;
    const started = performance.now();
    if (started < earliest) return schedule();
    show(whole);
    earliest = performance.now() + 4 * (performance.now() - started); // at most a fifth of the time goes into drawing
    onDraw();
  };
  const schedule = () => {
    scheduled ||= requestAnimationFrame(() => draw());
  };
  return {
    /** @param {string} text the whole text so far */
    set(text) {
      source = text;
      schedule();
    },
    /** Draw what is there at once, and no more. */
    finish() {
      cancelAnimationFrame(scheduled);
      earliest = 0;
      draw(true);
    },
    /** Forget what was drawn: somebody else puts something there. */
    reset() {
      cancelAnimationFrame(scheduled);
      scheduled = 0;
      source = "";
      blocks = [];
      element.replaceChildren();
    },
  };
}
