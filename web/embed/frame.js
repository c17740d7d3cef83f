// @ts-check
/** embed.html: the element in full size, set up by the address, and spoken to by the page around it if that is on the list of the address. */

import { RwkvError } from "../engine/errors.js";
import { RwkvChat } from "./element.js";
import { originsOf, parse, Sluice, VERSION } from "./protocol.js";

/** What the address may set. */
const ATTRIBUTES = ["model", "system", "lang", "theme", "device", "placeholder", "temperature", "top-p", "max-tokens", "seed"];
const MOST = 8000; // characters of a value

const params = new URLSearchParams(location.search);
const chat = /** @type {RwkvChat} */ (document.createElement("rwkv-chat"));
for (const name of ATTRIBUTES) {
  const value = params.get(name);
  if (value !== null && value.length <= MOST) chat.setAttribute(name, value);
}
document.documentElement.lang = chat.language;
document.body.append(chat);

const origins = originsOf(params.get("origins"));
if (parent !== window && origins.size) listen();

function listen() {
  const sluice = new Sluice();
  const complaints = new Sluice(3, 1); // a flood is not answered by a flood
  /** Who is there, as far as is known: of the origins on the list. @type {string[]} */
  let around = [...origins].filter((origin) => !location.ancestorOrigins || origin === location.ancestorOrigins[0]);
  /** The question that came by message and is being answered. */
  let asked = "";

  /** @param {object} message */
  const send = (message) => {
    for (const origin of around) parent.postMessage({ rwkv: VERSION, ...message }, origin);
  };
  /** @param {string} code @param {string} message @param {string} [id] */
  const complain = (code, message, id) => void (complaints.pass() && send({ type: "error", code, message, ...(id ? { id } : {}) }));
  const state = () => send({ type: "state", state: chat.state });

  addEventListener("message", async (event) => {
    if (event.source !== parent || !origins.has(event.origin)) return;
    around = [event.origin];
    if (!sluice.pass()) return complain("too-many", "Too many messages.");
    const command = parse(event.data);
    if (!command) return complain("malformed", `Not a message of version ${VERSION}.`);
    if (command.type === "ask") await answer(command);
    else if (command.type === "stop") chat.stop();
    else if (command.type === "clear") chat.clear();
    else if (command.type === "load") chat.load().catch((e) => complain(RwkvError.from(e).code, RwkvError.from(e).message));
    else if (command.type === "state") state();
    else
      for (const name of /** @type {const} */ (["theme", "lang"])) if (command[name] !== undefined) chat.setAttribute(name, command[name]);
  });

  /** @param {{id: string, text: string}} question */
  async function answer({ id, text }) {
    const before = asked;
    asked = id;
    try {
      const answer = await chat.ask(text);
      send({ type: "answer", id, text: answer, state: chat.messages.at(-1)?.state ?? "done" });
    } catch (e) {
      const { code, message } = RwkvError.from(e);
      if (code === "chat-busy") asked = before;
      complain(code, message, id);
    }
    if (asked === id) asked = "";
  }

  /** @param {string} name @param {(detail: any) => object} message */
  const forward = (name, message) => chat.addEventListener(name, (event) => send(message(/** @type {CustomEvent} */ (event).detail)));
  forward("rwkv-state", ({ state }) => ({ type: "state", state }));
  forward("rwkv-progress", ({ phase, done, total }) => ({ type: "progress", phase, done, total }));
  forward("rwkv-message", ({ role, content, state }) => ({ type: "message", role, text: content, state }));
  forward("rwkv-chunk", ({ content }) => ({ type: "chunk", id: asked, text: content }));
  forward("rwkv-resize", ({ height }) => ({ type: "resize", height }));
  send({ type: "ready" });
}
