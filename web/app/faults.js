// @ts-check
// What goes wrong with a model, from the page's side: says what is being put right, notices a load that the browser has ended, and offers what may work instead.

import { remember } from "./dom.js";
import { bytes, t } from "./i18n.js";
import { notify, withdraw } from "./notices.js";
import { toast } from "./toast.js";

/** @typedef {import("./types.js").PageEngine} PageEngine */
/** @typedef {import("./types.js").PageError} PageError */
/** @typedef {import("./types.js").CatalogueEntry} CatalogueEntry */
/** @typedef {import("./notices.js").Action} Action */
/** What was asked for. @typedef {{source: import("./types.js").LoadSource, device?: "numpy", conversion?: import("./types.js").Conversion}} Wish */
/** @typedef {{what: Wish, name: string, again: (what: Wish) => void, catalogue: CatalogueEntry[]}} Situation */

const DEMO = "demo";
const SMALLER = new Set(["out-of-memory", "no-memory", "model-too-big", "device-lost", "worker-crashed", "storage-full", "page-killed"]);
const ELSEWHERE = new Set(["wrong-numerics", "not-a-number", "kernel-failed", "device-lost", "no-adapter", "no-webgpu", "out-of-memory"]);
const CHECKPOINT = /\.(pth|pt|bin|st|safetensors|gguf|index\.json)([?#]|$)/i;
const LIGHTER = ["f32", "f16", "int8", "nf4"]; // each takes about half of the one before
const MARK = "load."; // in localStorage, with the page's number: a load that has not ended

/** What may work instead, most promising first. @param {PageError} error @param {Situation} situation @returns {Action[]} */
export function choices({ code }, { what, again, catalogue }) {
  /** @type {Action[]} */
  const found = [];
  const lighter = LIGHTER[LIGHTER.indexOf(what.conversion?.quantization ?? "") + 1];
  if (SMALLER.has(code) && lighter && isCheckpoint(what.source, catalogue)) {
    const run = () => again({ ...what, conversion: { ...what.conversion, quantization: lighter } });
    found.push({ label: () => t("faults.lighter", { quantization: lighter }), run, testid: "choose-lighter" });
  }
  const demo = catalogue.find(({ id }) => id === DEMO);
  if (SMALLER.has(code) && demo && what.source !== DEMO && what.source !== undefined)
    found.push({ label: () => t("faults.demo", { size: bytes(demo.bytes) }), run: () => again({ source: DEMO }), testid: "choose-demo" });
  if (ELSEWHERE.has(code) && what.device !== "numpy")
    found.push({ label: () => t("faults.cpu"), run: () => again({ ...what, device: "numpy" }), testid: "choose-cpu" });
  return found;
}

/** Whether a model is converted here, so that its quantization can be chosen. @param {Wish["source"]} source @param {CatalogueEntry[]} catalogue */
function isCheckpoint(source, catalogue) {
  if (typeof source !== "string") return source !== undefined;
  return CHECKPOINT.test(/** @type {any} */ (catalogue.find(({ id }) => id === source))?.url ?? source);
}

export class Faults {
  #mark = `${MARK}${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  #marked = false;

  /** @param {PageEngine} engine @param {() => {what: Wish, name: string}} asked what the page loads at the moment */
  constructor(engine, asked) {
    this.engine = engine;
    this.asked = asked;
    void navigator.locks?.request(this.#mark, () => new Promise(() => {})); // lives as long as this page
    addEventListener("pagehide", () => this.#unmark()); // left by a person, not killed
    engine.addEventListener("state", () => this.#onState());
    engine.addEventListener("recovering", (event) => this.#onRecovering(/** @type {CustomEvent} */ (event).detail));
    engine.addEventListener("recovered", (event) => {
      withdraw("recovering");
      if (/** @type {CustomEvent} */ (event).detail) toast(t("faults.recovered"));
    });
  }

  #onState() {
    const { state } = this.engine.status();
    if (state === "loading" || state === "recovering") {
      const { what, name } = this.asked();
      const source = typeof what.source === "string" ? what.source : null; // files have to be chosen again
      this.#marked = true;
      remember(this.#mark, JSON.stringify({ name, source, device: what.device, conversion: what.conversion }));
      return;
    }
    this.#unmark();
    withdraw("recovering");
  }

  #unmark() {
    if (this.#marked) remember(this.#mark, null);
    this.#marked = false;
  }

  /** @param {PageError | undefined} reason */
  #onRecovering(reason) {
    const key = `faults.recovering.${reason?.code ?? "here"}`;
    notify("recovering", { text: () => t(key), kind: "busy", close: false });
  }

  /** A load during which the browser ended an earlier page, which is then forgotten. @returns {Promise<{name: string, what: Wish} | undefined>} */
  static async ended() {
    try {
      const { held = [] } = (await navigator.locks?.query()) ?? {};
      const alive = new Set(held.map(({ name }) => name));
      const marks = Object.keys(localStorage).filter((key) => key.startsWith(`rwkv.${MARK}`) && !alive.has(key.slice("rwkv.".length)));
      const last = marks.map((key) => localStorage.getItem(key)).at(-1);
      for (const key of marks) localStorage.removeItem(key);
      if (!last) return undefined;
      const { name, source, device, conversion } = JSON.parse(last);
      return { name, what: { source: source ?? undefined, device, conversion } };
    } catch {
      return undefined; // nothing can be remembered here
    }
  }

  /** Tell of it. @param {Situation} situation */
  static tell(situation) {
    const { what, name, again } = situation;
    const others = choices({ code: "page-killed", message: "", hint: "", details: {} }, situation);
    const same = { label: () => t("faults.ended.again"), run: () => again(what), testid: "choose-again" };
    notify("ended", {
      text: () => t("faults.ended", { name }),
      kind: "warn",
      actions: what.source === undefined ? others : [...others, same],
    });
  }
}
