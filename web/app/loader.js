// @ts-check
// The loading screen: which phases there are, how far each is, one bar over all of them; the last also below a conversation that is read meanwhile.
// Phases may overlap (a shard is uploaded while the next one is fetched), so each keeps its own account.

import { byId, h, icon } from "./dom.js";
import { bytes, duration, number, onLanguage, t } from "./i18n.js";

/** @typedef {import("./types.js").Progress} Progress */
/** @typedef {{weight: number, started?: number, took?: number, last?: Progress}} PhaseState */

/** Rough share of the waiting time, for the one bar. `convert` is there only for files that are not yet in the packed form. */
const WEIGHTS = { python: 25, download: 45, convert: 30, upload: 10, compile: 12, warmup: 8 };
const OPTIONAL = new Set(["convert"]);
const PAUSE = 100; // ms between two drawings: reports come in hundreds, and what draws them takes a load's time where there are few processors

/** @param {Progress} p @returns {number} 0..1 */
const fraction = (p) => (p.total > 0 ? Math.min(1, p.done / p.total) : 0);

export class LoaderView {
  /** @type {Map<string, PhaseState>} */
  phases = new Map();
  current = "";
  numpy = false;
  title = "";
  shown = 0;

  /** Of a drawing to come. */
  #timer = 0;

  /** Why nothing happens at the moment. @type {Progress["waiting"]} */
  waiting;

  /** @param {import("./types.js").PageEngine} engine */
  constructor(engine) {
    byId("pause").addEventListener("click", () => engine.pause(this.waiting?.reason !== "paused"));
    onLanguage(() => this.draw());
  }

  /**
   * A new load begins.
   * @param {string} title the model's name; may be empty
   * @param {boolean} numpy the fallback has no GPU to upload to
   */
  start(title, numpy) {
    this.phases = new Map(Object.entries(WEIGHTS).map(([name, weight]) => [name, { weight }]));
    Object.assign(this, { current: "python", numpy, title, shown: 0, waiting: undefined });
    this.draw();
  }

  /** @param {Progress} progress */
  update(progress) {
    if (!this.phases.size) this.start(this.title, this.numpy);
    if ("waiting" in progress) {
      this.waiting = progress.waiting;
      return this.draw();
    }
    const phase = this.phases.get(progress.phase);
    if (!phase) return this.#soon(); // "ready": the state event changes the screen
    if (progress.phase === "convert" && !this.phases.get("download")?.started) this.phases.delete("download"); // a file that is here
    const now = performance.now();
    if (phase.started === undefined) this.#closeUncounted(progress.phase, now);
    phase.started ??= now;
    phase.last = progress;
    if (phase.took === undefined && progress.total > 0 && progress.done >= progress.total) phase.took = (now - phase.started) / 1000;
    // The earliest phase under way is the one to wait for; naming the latest report would make overlapping phases flicker.
    this.current = [...this.phases].find(([, p]) => p.started !== undefined && p.took === undefined)?.[0] ?? progress.phase;
    this.#soon();
  }

  #soon() {
    this.#timer ||= setTimeout(() => this.draw(), PAUSE);
  }

  /**
   * Phases that report no total end when a later one begins.
   * @param {string} next
   * @param {number} now
   */
  #closeUncounted(next, now) {
    for (const [name, phase] of this.phases) {
      if (name === next) return;
      if (phase.started !== undefined && phase.took === undefined && !((phase.last?.total ?? 0) > 0))
        phase.took = (now - phase.started) / 1000;
    }
  }

  /** @param {string} name */
  #label(name) {
    const last = this.phases.get(name)?.last;
    if (name === "download" && last?.fromCache) return t("phase.download.cached");
    if (this.numpy && (name === "upload" || name === "compile")) return t(`phase.${name}.numpy`);
    return t(`phase.${name}`);
  }

  /** @param {Progress | undefined} p @returns {string} */
  #numbers(p) {
    if (!p || p.unit === "" || !p.total) return p?.done && p.unit === "bytes" ? bytes(p.done) : "";
    if (p.unit === "steps" && p.total === 1) return ""; // done or not: nothing to count
    const parts = [p.unit === "bytes" ? `${bytes(p.done)} / ${bytes(p.total)}` : `${number(p.done)} / ${number(p.total)}`];
    if (p.unit === "bytes" && p.speed) parts.push(t("unit.per_second", { n: bytes(p.speed) }));
    if (p.eta !== undefined && p.eta >= 0.5 && p.done < p.total) parts.push(t("loading.left", { time: duration(p.eta) }));
    return parts.join(" · ");
  }

  draw() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.phases.size) return;
    const seen = [...this.phases].filter(([name, phase]) => !OPTIONAL.has(name) || phase.started !== undefined);
    const all = seen.reduce((sum, [, phase]) => sum + phase.weight, 0);
    const done = seen.reduce((sum, [, p]) => sum + p.weight * (p.took !== undefined ? 1 : p.last ? fraction(p.last) : 0), 0);
    this.shown = Math.max(this.shown, Math.round((100 * done) / all)); // never backwards, also when a phase turns up late
    const meter = byId("meter");
    meter.setAttribute("aria-valuenow", String(this.shown));
    meter.setAttribute("aria-valuetext", `${this.#label(this.current)}, ${number(this.shown)}%`);
    for (const fill of ["meter-fill", "chat-meter-fill"]) byId(fill).style.setProperty("--done", `${this.shown}%`);
    byId("loading-model").textContent = this.title;
    const phaseText = this.#label(this.current);
    const line = byId("phase"); // a polite live region: only touched when it really changes
    if (line.textContent !== phaseText) line.textContent = phaseText;
    line.dataset.phase = this.current;
    const numbers = this.#numbers(this.phases.get(this.current)?.last);
    byId("phase-numbers").textContent = byId("chat-loading-numbers").textContent = numbers;
    const short = [this.title, phaseText].filter(Boolean).join(" · ");
    if (byId("chat-loading-text").textContent !== short) byId("chat-loading-text").textContent = short;
    this.#drawPause();
    byId("phases").replaceChildren(...seen.map(([name, phase]) => this.#row(name, phase)));
  }

  /** What can be paused: what fetches or converts. */
  #drawPause() {
    const lasting = ["download", "convert"].some((name) => {
      const phase = this.phases.get(name);
      return phase?.started !== undefined && phase.took === undefined && !phase.last?.fromCache;
    });
    const reason = this.waiting?.reason;
    byId("pause").hidden = !lasting;
    byId("pause").textContent = t(reason === "paused" ? "loading.continue" : "loading.pause");
    byId("load-kept").hidden = !lasting || reason === "paused";
    byId("load-kept").textContent = t("loading.kept");
    const line = byId("load-waiting");
    line.hidden = !reason;
    const text = reason ? t(`loading.${reason}`, { time: duration((this.waiting?.ms ?? 0) / 1000) }) : "";
    if (line.textContent !== text) line.textContent = text;
  }

  /** @param {string} name @param {PhaseState} phase */
  #row(name, phase) {
    const state = phase.took !== undefined ? "done" : phase.started !== undefined || name === this.current ? "active" : "waiting";
    const note =
      state === "done" ? this.#doneNote(phase) : state === "active" && phase.last?.total ? `${number(100 * fraction(phase.last))}%` : "";
    return h(
      "li",
      { "data-phase": name, "data-state": state },
      h("span", { class: "tick", "aria-hidden": "true" }, ...(state === "done" ? [icon("check")] : [])),
      h("span", { text: this.#label(name) }),
      h("span", { class: "visually-hidden", text: t(`phase.${state}`) }),
      h("span", { class: "phase-note", text: note }),
    );
  }

  /** @param {PhaseState} phase */
  #doneNote({ last, took }) {
    const size = last?.unit === "bytes" && last.total ? `${bytes(last.total)} · ` : "";
    return size + duration(took ?? 0);
  }
}
