// @ts-check
/** Progress of a load: phases (which may overlap) with speed and time left, and how long each took. */

const EVERY = 60; // ms between reports of one phase

export class Meter {
  /** Milliseconds per phase. @type {Record<string, number>} */
  timings = {};
  /** @type {Map<string, {start: number, first: number, last: number}>} */
  #phases = new Map();

  /** @param {(progress: object) => void} report */
  constructor(report) {
    this.report = report;
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
    this.report({ phase, done, total, unit, speed, eta, fromCache: phase === "download" && ends && p.first === total });
  }
}
