// @ts-check
// Where other parts of the page hang themselves in: actions of a message, tools in the bar, items of the conversation's menu, the panel on the right,
// and what goes into a request. Each registers once at the start; order decides the place (the built-in ones use 10, 20, …).

import { byId, h, icon } from "./dom.js";
import { label, t } from "./i18n.js";

/** @typedef {import("./conversations/types.js").Header} Header */
/** @typedef {import("./conversations/types.js").Message} Message */
/** @typedef {import("./types.js").ChatMessage} ChatMessage */

/**
 * An action of a message. `place`: a button below the message, or an entry of its menu. `busy`: also while the conversation's answer is being written.
 * @typedef {{id: string, label: string, icon: string, order?: number, place?: "row" | "menu", busy?: boolean,
 *   when?: (message: Message) => boolean, run: (message: Message, button: HTMLElement) => void}} MessageAction
 */
/**
 * A button in the bar, or an entry of the conversation's menu. The label is a key of the texts.
 * @typedef {{id: string, label: string, icon: string, order?: number, when?: () => boolean, run: (button: HTMLElement) => void}} Tool
 */

/** @template {{id: string, order?: number}} T */
class Registry {
  /** @type {T[]} */
  all = [];
  /** @type {(() => void)[]} */
  listeners = [];

  /** @param {T} entry */
  add(entry) {
    this.all = [...this.all.filter(({ id }) => id !== entry.id), entry].sort((a, b) => (a.order ?? 100) - (b.order ?? 100));
    for (const listener of this.listeners) listener();
  }
}

/** @type {Registry<MessageAction>} */
const actions = new Registry();
/** @type {Registry<Tool>} */
const tools = new Registry();
/** @type {Registry<Tool>} */
const items = new Registry();
/** @type {((header: Header) => Record<string, unknown>)[]} */
const parts = [];

/** @type {((header: Header) => Promise<Record<string, unknown>>)[]} */
const preparations = [];

/** @param {MessageAction} action */
export const registerMessageAction = (action) => actions.add(action);
/** @param {Tool} tool a button in the bar */
export const registerTool = (tool) => tools.add(tool);
/** @param {Tool} item an entry of the conversation's menu */
export const registerMenuItem = (item) => items.add(item);

/**
 * Add fields to every request, computed from the conversation it belongs to; later ones win.
 * @param {(header: Header) => Record<string, unknown>} part
 */
export const registerRequestPart = (part) => void parts.push(part);

/**
 * Something that has to be done before a conversation's request goes out, and the fields that come of it.
 * @param {(header: Header) => Promise<Record<string, unknown>>} preparation
 */
export const registerPreparation = (preparation) => void preparations.push(preparation);

/** @param {Header} header @returns {Promise<Record<string, unknown>>} */
export const prepared = async (header) => Object.assign({}, ...(await Promise.all(preparations.map((one) => one(header)))));

/** @param {Message} message @param {"row" | "menu"} place @param {boolean} busy */
export const messageActions = (message, place, busy) =>
  actions.all.filter((action) => (action.place ?? "row") === place && (!busy || action.busy) && (action.when?.(message) ?? true));

export const menuItems = () => items.all.filter(({ when }) => when?.() ?? true);

/** Draw the tools of the bar, again whenever one is added. */
export function startTools() {
  const draw = () =>
    byId("tools").replaceChildren(
      ...tools.all.map((tool) => {
        const button = h("button", { type: "button", class: "tool", "data-testid": `tool-${tool.id}` }, icon(tool.icon));
        button.addEventListener("click", () => tool.run(button));
        button.hidden = !(tool.when?.() ?? true);
        label(button, tool.label);
        return button;
      }),
    );
  tools.listeners.push(draw);
  draw();
}

/**
 * The request for the next answer: the messages, what the conversation keeps for itself, and what other parts add.
 * @param {Header} header
 * @param {Message[]} path the last one is to be answered, or (an answer) to be continued
 */
export function requestFor(header, path) {
  /** @type {ChatMessage[]} */
  const messages = header.system ? [{ role: "system", content: header.system }] : [];
  for (const [i, { role, content, reasoning, thinking }] of path.entries()) {
    const last = i === path.length - 1;
    const unanswered = role === "user" && i < path.length - 2 && path[i + 1].role === "assistant" && !path[i + 1].content;
    if (!last && (unanswered || !content)) continue; // a question that failed: asked again, it stands further down
    messages.push({ role, content, ...(reasoning ? { reasoning_content: reasoning } : {}), ...(thinking ? { thinking } : {}) });
  }
  const continuing = path.at(-1)?.role === "assistant" ? { continue: true } : {};
  const added = Object.assign({}, header.sampling, header.prompt, ...parts.map((part) => part(header)));
  return { messages, stream: /** @type {const} */ (true), ...continuing, ...added };
}

/** The panel on the right: one part of the page at a time shows something in it. */
export const panel = {
  /** Who is in it. @type {string | undefined} */
  owner: undefined,
  /** @type {(() => void) | undefined} */
  onClose: undefined,

  /** @param {string} owner @param {string} title a key of the texts @param {Node} content @param {() => void} [onClose] */
  open(owner, title, content, onClose) {
    if (this.owner !== owner) this.onClose?.();
    this.owner = owner;
    this.onClose = onClose;
    const heading = byId("panel-title");
    heading.setAttribute("data-t", title);
    heading.textContent = t(title);
    byId("panel-body").replaceChildren(content);
    byId("panel").hidden = false;
  },

  close() {
    this.onClose?.();
    this.owner = this.onClose = undefined;
    byId("panel").hidden = true;
    byId("panel-body").replaceChildren();
  },
};
