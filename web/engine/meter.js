// @ts-check
/** Progress of a load: phases (which may overlap) with speed and time left, and how long each took. */

const EVERY = 60; // ms between reports of one phase

export class Meter {
  /** Milliseconds per phase. @type {Record<string, number>} */
  timings = {};
  #start = performance.now();
  /** @type {Map<string, {start: number, first: number, last: number}>} */
  #phases = new Map();

  /** The latest report. @type {object} */
  #latest = {};
  #waiting = 0;

  /** @param {(progress: object) => void} report */
  constructor(report) {
    this.report = report;
  }

  /** Nothing happens at the moment, or it goes on (undefined); the time in between does not count. @param {object | undefined} waiting */
  wait(waiting) {
    const now = performance.now();
    if (this.#waiting) for (const phase of this.#phases.values()) phase.start += now - this.#waiting;
    this.#waiting = waiting ? now : 0;
    this.report({ ...this.#latest, waiting });
  }

  /** Milliseconds since the load was asked for. */
  elapsed() {
    return Math.round(performance.now() - this.#start);
  }

  /** @param {string} phase @param {number} done @param {number} total 0: not known @param {string} unit */
  update(phase, done, total, unit) {
    const now = performance.now();
    let p = this.#phases.get(phase);
    if (!p) this.#phases.set(phase, (p = { start: now, first: done, last: -EVERY }));
    const ends = total > 0 && done >= total;
    if (ends) this.timings[phase] = Math.round(now - p.start);
    else if (now - p.last < EVERY) return;
    p.last = now;
    const seconds = (now - p.start) / 1000;
    const speed = seconds > 0.2 && done > p.first ? (done - p.first) / seconds : undefined; // what was there before is not part of the speed
    const eta = speed && total ? (total - done) / speed : undefined;
    this.#latest = { phase, done, total, unit, speed, eta, fromCache: phase === "download" && ends && p.first === total };
    this.report(this.#latest);
  }
}
