// @ts-check
/** What went wrong in the worker, as an RwkvError: Python's own, a Python that cannot go on, memory that is not there. */

import { RwkvError } from "./errors.js";

const FATAL =
  /fatally failed|memory access out of bounds|table index is out of bounds|function signature mismatch|RuntimeError: unreachable/;
const NO_MEMORY = /MemoryError\b|Array buffer allocation failed|WebAssembly\.Memory|Out of memory/im;

/** With its text, which an error made before the texts were there has not. @param {RwkvError} error */
export function told(error) {
  return error.message === error.code ? new RwkvError(error.code, error.details) : error;
}

/** A Python RwkvError crosses as JSON in the last line of the exception's text (service.py, `crossing`). @param {any} e */
export function pythonError(e) {
  const said = String(e?.message ?? "");
  const found = /^py_rwkv\.browser\.service\.Crossing: (\{.*\})$/m.exec(said);
  const fatal = FATAL.test(said) || e instanceof WebAssembly.RuntimeError;
  if (!found && fatal) return new RwkvError("worker-crashed", { reason: said.slice(0, 200) }); // Python cannot go on
  if (!found && NO_MEMORY.test(said)) return new RwkvError("no-memory", { reason: said.trim().split("\n").at(-1) });
  return RwkvError.from(found ? JSON.parse(found[1]) : e);
}
