// @ts-check
// Model output → safe DOM. What a model writes is not trusted: an allow-list of tags and attributes, no images from elsewhere (they would tell
// somebody that the answer was read), links that open apart. Code blocks get a head with their language and a copy button.

import DOMPurify from "../vendor/dompurify/purify.es.mjs";
import { Marked } from "../vendor/marked/marked.esm.js";
import { copyText, h, icon } from "./dom.js";
import { label } from "./i18n.js";

const TAGS =
  "a b blockquote br code del details em h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr ul";
const ATTRIBUTES = "href title alt src class align start colspan rowspan lang dir";

/** Tags that answers use on purpose and that need no attributes; any other HTML is shown as the text that it is. */
const PLAIN = /&lt;(\/?)(br|details|kbd|mark|sub|summary|sup)\s*\/?&gt;/gi;

/** @param {string} text */
const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escape(text).replace(PLAIN, "<$1$2>"),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "), // task lists without form controls
  },
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    if (!/^(https?:|mailto:)/i.test(node.getAttribute("href") ?? "")) node.removeAttribute("href"); // a model knows no page of this site
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
  if (node.tagName === "IMG" && !/^data:image\/(png|jpeg|gif|webp);/i.test(node.getAttribute("src") ?? "")) {
    node.removeAttribute("src");
    node.replaceWith(document.createTextNode(node.getAttribute("alt") ?? ""));
  }
  if (node.hasAttribute("class") && !(node.tagName === "CODE" && /^language-[\w+#.-]+$/.test(node.className)))
    node.removeAttribute("class");
});

/**
 * Sanitized DOM for Markdown source.
 * @param {string} source
 * @returns {DocumentFragment}
 */
export function renderMarkdown(source) {
  const fragment = DOMPurify.sanitize(marked.parse(source, { async: false }), {
    ALLOWED_TAGS: TAGS.split(" "),
    ALLOWED_ATTR: ATTRIBUTES.split(" "),
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const pre of fragment.querySelectorAll("pre")) frameCode(pre);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div", { class: "table", tabindex: 0 }); // scrolls by itself, also by keyboard
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}

/** @param {HTMLPreElement} pre */
function frameCode(pre) {
  const name = pre.querySelector("code")?.className.replace("language-", "") ?? "";
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
 * Keeps an element showing a growing Markdown text, redrawn at most once per frame and less often when drawing gets expensive.
 * @param {HTMLElement} element
 * @param {() => void} onDraw called after each redraw
 */
export function liveMarkdown(element, onDraw) {
  let source = "";
  let scheduled = 0;
  let earliest = 0;
  const draw = () => {
    scheduled = 0;
    const started = performance.now();
    if (started < earliest) return schedule();
    element.replaceChildren(renderMarkdown(source));
    earliest = performance.now() + 4 * (performance.now() - started); // at most a fifth of the time goes into drawing
    onDraw();
  };
  const schedule = () => {
    scheduled ||= requestAnimationFrame(draw);
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
      draw();
    },
  };
}
