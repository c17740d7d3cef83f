// @ts-check
/**
 * Starts the engine's worker, also for a page of another origin, whose workers must be its own: then the worker is a small one of that page (a blob) that imports
 * ours. Such a worker lives under the policy of that page. What the policy refuses is told by name, as nothing else would say why no answer comes.
 */

import { RwkvError } from "./errors.js";
import { scriptUrl } from "./script_url.js";

/** @typedef {{directive: string, blocked: string}} Refusal */
/** `failed`: it could not even begin. @typedef {{receive: (message: any) => void, crashed: (reason: string) => void, failed: (error: RwkvError) => void}} Listener */

const SITE = new URL("../", import.meta.url);
const WORKER = new URL("./worker.js", import.meta.url);
const FOREIGN = globalThis.location?.origin !== WORKER.origin;
const SOON = 200; // ms in which the policy says that it was the reason

/** What the worker of another origin's page does before it is ours: keep what is asked meanwhile, tell what is refused. */
const BEGINNING = `const waiting = [];
const keep = ({ data }) => void (self.onmessage || waiting.push(data));
addEventListener("message", keep);
addEventListener("securitypolicyviolation", ({ disposition, effectiveDirective: directive, blockedURI: blocked }) => {
  if (disposition === "enforce") postMessage({ refused: { directive, blocked } });
});
import(${JSON.stringify(WORKER.href)}).then(
  () => {
    removeEventListener("message", keep);
    for (const data of waiting) self.onmessage({ data });
  },
  (error) => postMessage({ unreachable: String(error) }),
);`;

/** @type {URL | undefined} */
let beginning;

/** @param {string} name @param {Listener} listener @returns {Worker} */
export function startWorker(name, { receive, crashed, failed }) {
  let spoke = false;
  const done = new AbortController();
  const refused = (/** @type {Refusal} */ { directive, blocked }) => {
    if (done.signal.aborted) return;
    done.abort();
    failed(refusal(directive, blocked));
  };
  const unreachable = (/** @type {string} */ reason) =>
    setTimeout(() => {
      if (done.signal.aborted) return;
      done.abort();
      failed(new RwkvError("engine-unreachable", { url: WORKER.href, reason }));
    }, SOON);
  if (FOREIGN && globalThis.document)
    document.addEventListener(
      "securitypolicyviolation",
      ({ disposition, effectiveDirective, blockedURI }) => {
        const worker = /^(worker|child|script|default)-src/.test(effectiveDirective) && blockedURI.startsWith("blob");
        if (disposition === "enforce" && worker) refused({ directive: "worker-src", blocked: "blob" });
      },
      { signal: done.signal },
    );
  const worker = construct(name);
  if (!(worker instanceof Worker)) {
    queueMicrotask(() => refused({ directive: worker.directive, blocked: "blob" }));
    return /** @type {any} */ ({ postMessage() {}, terminate() {} });
  }
  worker.onmessage = ({ data }) => {
    if (data.refused) return void (isFatal(data.refused) && refused(data.refused));
    if (data.unreachable) return void unreachable(data.unreachable);
    spoke = true;
    if (data.event === "result") done.abort(); // it works
    receive(data);
  };
  worker.onerror = ({ message }) => {
    if (spoke) crashed(message || "it ended");
    else unreachable(message || "it failed to start");
  };
  return worker;
}

/** @param {string} name @returns {Worker | {directive: string}} */
function construct(name) {
  if (FOREIGN) beginning ??= new URL(URL.createObjectURL(new Blob([BEGINNING], { type: "text/javascript" })));
  try {
    return new Worker(scriptUrl(beginning ?? WORKER), { type: "module", name });
  } catch (e) {
    return { directive: e instanceof TypeError ? "trusted-types" : "worker-src" }; // some browsers throw what others tell later
  }
}

/** Whether without this nothing works. A model from elsewhere that may not be fetched is an error of its own, and `eval` is only tried. @param {Refusal} refusal */
function isFatal({ directive, blocked }) {
  return /^(script|connect|default)-src/.test(directive) && (blocked === "wasm-eval" || blocked.startsWith(SITE.origin));
}

/** @param {string} directive @param {string} blocked */
function refusal(directive, blocked) {
  const needed =
    directive === "trusted-types"
      ? "trusted-types rwkv"
      : blocked === "wasm-eval"
        ? "script-src 'wasm-unsafe-eval'"
        : blocked === "blob"
          ? "worker-src blob:"
          : `${directive.replace(/-(elem|attr)$/, "")} ${SITE.origin}`;
  const message = `The Content-Security-Policy of this page refuses ${blocked}; it has to allow ${needed}.`; // the texts may be refused, too
  return new RwkvError("embed-refused", { needed, blocked, directive }, { message });
}
