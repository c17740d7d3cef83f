// @ts-check
// The benchmark page: choose a model, measure it, read and copy the report. Knows the engine only through engine/client.js.

import { byId, copyText, h } from "../app/dom.js";
import { asPageError, bytes, errorText, onLanguage, startLanguage, t } from "../app/i18n.js";
import { startTheme } from "../app/theme.js";
import { Engine, RwkvError } from "../engine/client.js";
import { facts, markdown, speeds } from "./report.js";
import { together } from "./requests.js";

/** @typedef {import("../engine/client.js").Progress} Progress */
/** @typedef {{source: string, quantization?: string, label: () => string}} Choice */

const MOST = 64; // requests at once: each has a state on the device
const CONVERTED = /^(https?:.+\.(?:pth|pt|bin|st|safetensors|gguf|index\.json)[^:]*):([^:]+)$/; // how worker.js names a converted address

class BenchPage {
  /** @type {import("./report.js").Report} */
  report = {};
  /** @type {Choice[]} */
  choices = [];
  /** The measurement under way. @type {AbortController | undefined} */
  running;
  /** What the status line says, in the language of the moment. */
  status = () => "";

  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
    this.model = /** @type {HTMLSelectElement} */ (byId("model"));
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.run();
    });
    byId("stop").addEventListener("click", () => this.running?.abort());
    byId("copy-json").addEventListener("click", () => this.copy(JSON.stringify(this.report, null, 1)));
    byId("copy-markdown").addEventListener("click", () => this.copy(markdown(this.report)));
    onLanguage(() => this.draw());
  }

  /** What there is to measure: the site's models and those in the store. */
  async start() {
    const [probe, catalogue] = await Promise.all([this.engine.probe(), this.engine.catalogue()]);
    /** @type {Choice[]} */
    const stored = Object.keys(probe.stored).flatMap((id) => {
      if (!probe.stored[id] || !/^https?:/.test(id)) return [];
      const [, source, quantization] = CONVERTED.exec(id) ?? [id, id];
      return [{ source, quantization, label: () => (quantization ? `${source} (${quantization})` : source) }];
    });
    /** @param {{id: string, name: string, bytes: number}} entry */
    const size = (entry) => (probe.stored[entry.id] ? t("models.stored") : bytes(entry.bytes));
    this.choices = [...catalogue.map((/** @type {any} */ e) => ({ source: e.id, label: () => `${e.name} · ${size(e)}` })), ...stored];
    if (!probe.webgpu.available) /** @type {HTMLSelectElement} */ (byId("device")).value = "numpy";
    this.draw();
    this.enable(true);
  }

  draw() {
    document.title = t("bench.title");
    const chosen = Math.max(0, this.model.selectedIndex);
    this.model.replaceChildren(...this.choices.map(({ label }, i) => h("option", { value: i, text: label(), selected: i === chosen })));
    byId("status").textContent = this.status();
    if (!this.report.model) return;
    byId("results").hidden = false;
    const rows = speeds(this.report).map(([what, ...cells]) =>
      h("tr", {}, h("th", { scope: "row", text: what }), ...cells.map((text) => h("td", { text }))),
    );
    byId("speeds").replaceChildren(...rows);
    byId("facts").replaceChildren(...facts(this.report).flatMap(([name, text]) => [h("dt", { text: name }), h("dd", { text })]));
  }

  /** @param {() => string} text */
  say(text) {
    this.status = text;
    byId("status").textContent = text();
  }

  /** @param {boolean} ready @param {boolean} [done] whether there is a whole report */
  enable(ready, done = false) {
    /** @type {HTMLButtonElement} */ (byId("run")).disabled = !ready;
    byId("stop").hidden = ready || !this.running;
    for (const id of ["copy-json", "copy-markdown"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = !done;
  }

  async run() {
    const running = (this.running = new AbortController());
    const { signal } = running;
    this.report = {};
    byId("problem").hidden = true;
    byId("results").hidden = true;
    document.documentElement.dataset.bench = "running";
    this.enable(false);
    let done = false;
    try {
      const [prefill, ...prefills] = numbers("prompts");
      const batches = numbers("batches");
      const requests = numbers("requests");
      const wrong = requests.find((count) => !Number.isInteger(count) || count < 1 || count > MOST);
      if (wrong !== undefined)
        throw new RwkvError("bad-setting", { name: "requests", expected: `a whole number from 1 to ${MOST}`, found: wrong });
      const parallel = Math.max(1, ...requests);
      const { source, quantization } = this.choices[Number(this.model.value)];
      const device = /** @type {"webgpu" | "numpy"} */ (/** @type {HTMLSelectElement} */ (byId("device")).value);
      const onProgress = (/** @type {Progress} */ { phase }) => this.say(() => t(`phase.${phase}`));
      await this.engine.load(source, { device, quantization, parallel, slots: parallel + Math.max(1, ...batches), signal, onProgress });
      this.say(() => t("bench.measuring"));
      const plan = { prefill, prefills, decode: numbers("answer")[0], repeat: numbers("rounds")[0], batches };
      const onPart = (/** @type {Record<string, any>} */ part) => {
        const [[name, value]] = Object.entries(part);
        this.add(Array.isArray(value) ? { [name]: value } : value); // lists keep their names, the others are parts of the report
      };
      this.add({ ...(await this.engine.bench(plan, { signal, onPart })), browser: navigator.userAgent, date: new Date().toISOString() });
      for (const count of requests) {
        const measured = await together(this.engine, count, plan.decode, plan.repeat, signal);
        this.add({ requests: [...(this.report.requests ?? []), measured] });
      }
      this.say(() => t("bench.done"));
      done = true;
    } catch (thrown) {
      const error = asPageError(thrown);
      this.say(() => (error.code === "cancelled" ? t("bench.stopped") : ""));
      const { message, hint } = errorText(error);
      byId("problem").textContent = `${message} ${hint}`;
      byId("problem").hidden = error.code === "cancelled";
    } finally {
      this.running = undefined;
      document.documentElement.dataset.bench = done ? "done" : "failed";
      this.enable(true, done);
    }
  }

  /** @param {Record<string, any>} part */
  add(part) {
    Object.assign(this.report, part);
    this.draw();
  }

  /** @param {string} text */
  async copy(text) {
    if (await copyText(text)) this.say(() => t("copied"));
  }
}

/** The whole numbers in a field. What is out of bounds the engine refuses, and says which. @param {string} id */
function numbers(id) {
  const text = /** @type {HTMLInputElement} */ (byId(id)).value;
  return text
    .split(/[\s,，、]+/)
    .filter(Boolean)
    .map(Number);
}

const language = startLanguage();
startTheme();
const engine = await Engine.create();
Object.assign(window, { rwkv: engine });
await language;
await new BenchPage(engine).start();
document.documentElement.dataset.state = "ready";
