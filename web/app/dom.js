// @ts-check
// The few DOM helpers that every part of the page shares: find, build, icons, copy, remember.

const SVG = "http://www.w3.org/2000/svg";

/**
 * The element with this id; a missing one is a mistake in index.html.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return /** @type {T} */ (found);
}

/**
 * Build an element. Props are attributes; `text`, `onclick` and false/undefined/true are treated as one would hope.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number | boolean | undefined | ((event: Event) => void)>} [props]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else if (name === "text") element.textContent = String(value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** How an icon gets into its picture: pages of the site have the file in their body, others have not. @type {(svg: SVGSVGElement, name: string) => void} */
let drawIcon = (svg, name) => {
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
};

/** @param {(svg: SVGSVGElement, name: string) => void} draw */
export function drawIconsWith(draw) {
  drawIcon = draw;
}

/**
 * An icon of app/icons.svg, hidden from assistive technology: the button around it has the name.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  drawIcon(svg, name);
  return svg;
}

/**
 * Put text on the clipboard; false when the browser refuses (no permission, or not a secure page).
 * @param {string} text
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "covered", "aria-hidden": "true" });
    area.value = text;
    const focused = document.activeElement;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy"); // the only way left on plain http
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return done;
  }
}

/**
 * Read or write a remembered choice. Storage may be forbidden; then nothing is remembered.
 * @param {string} key
 * @param {string | null} [value] null forgets
 * @returns {string | null}
 */
export function remember(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(`rwkv.${key}`);
    if (value === null) localStorage.removeItem(`rwkv.${key}`);
    else localStorage.setItem(`rwkv.${key}`, value);
    return value;
  } catch {
    return null;
  }
}
