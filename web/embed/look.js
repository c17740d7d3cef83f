// @ts-check
/**
 * What an element needs to look and speak like the page: its style sheets, icons and texts, fetched once. Sheets are constructed and icons are copied, so that an
 * embedding page need not allow our styles or images, and cannot be drawn over by them.
 */

import { drawIconsWith } from "../app/dom.js";
import { loadErrors, loadTexts } from "../app/i18n.js";
import { RwkvError } from "../engine/errors.js";

const SITE = new URL("../", import.meta.url);
const SHEETS = ["app/base.css", "app/chat.css", "app/composer.css", "app/markdown.css", "embed/element.css"];

/** @type {Promise<CSSStyleSheet[]> | undefined} */
let sheets;
/** @type {Promise<void> | undefined} */
let icons;
/** @type {Map<string, Promise<void>>} */
const texts = new Map();

/** @param {string} language "en" | "zh" @returns {Promise<CSSStyleSheet[]>} */
export async function look(language) {
  sheets ??= fetchSheets();
  icons ??= fetchIcons();
  const known = texts.get(language) ?? loadTexts(language, ["page", "chat", "embed"]);
  texts.set(language, known);
  void loadErrors();
  try {
    await Promise.all([sheets, icons, known]);
    return await sheets;
  } catch (e) {
    sheets = icons = undefined; // the next element tries again
    texts.delete(language);
    const reason = RwkvError.from(e).message;
    throw new RwkvError(
      "engine-unreachable",
      { url: SITE.href, reason },
      { message: `The chat could not be loaded from ${SITE.href}: ${reason}` },
    );
  }
}

async function fetchSheets() {
  const contents = await Promise.all(SHEETS.map((name) => text(new URL(name, SITE))));
  return contents.map((content) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(inElement(content));
    return sheet;
  });
}

/** @param {URL} url */
async function text(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.text();
}

/**
 * A sheet of the page for a shadow root: the page's root is our outermost element, and every token can be set from outside as `--rwkv-NAME`.
 * @param {string} css
 */
export function inElement(css) {
  return css.replace(/:root(\[[^\]]*\])? \{([^}]*)\}/g, (_, theme = "", tokens) => {
    const open = tokens.replace(/--([\w-]+):\s*([^;]+);/g, "--$1: var(--rwkv-$1, $2);");
    return `.root${theme} {${open}}`;
  });
}

/** An XML document by way of XMLHttpRequest, because a page may enforce Trusted Types, and then refuses to parse a text. */
async function fetchIcons() {
  const file = await new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", new URL("app/icons.svg", SITE));
    request.responseType = "document";
    request.overrideMimeType("image/svg+xml");
    request.onload = () => (request.responseXML ? resolve(request.responseXML) : reject(new Error("no icons")));
    request.onerror = () => reject(new Error("no icons"));
    request.send();
  });
  drawIconsWith((svg, name) => {
    const symbol = file.getElementById(`icon-${name}`);
    svg.setAttribute("viewBox", symbol?.getAttribute("viewBox") ?? "0 0 24 24");
    svg.append(...[...(symbol?.children ?? [])].map((part) => document.importNode(part, true)));
  });
}
