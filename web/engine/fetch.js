// @ts-check
/**
 * OpenAI's HTTP in the page: a `fetch` that answers from the model that is loaded, over no network. Requests are looked at in py_rwkv/chat/api.py, as behind
 * `py-rwkv serve --api`; here are only the transport (JSON, server-sent events, abort) and the errors that Python does not know of.
 *
 *   new OpenAI({ baseURL: "https://rwkv.local/v1", apiKey: "-", fetch: engine.fetch, dangerouslyAllowBrowser: true })
 */

import { RwkvError } from "./errors.js";

/** @typedef {import("./core.js").Core} Core */

const ENDPOINTS = ["chat/completions", "completions", "models"];
/** Status and type of errors that are made on this side. @type {Record<string, [status: number, type: string]>} */
const STATUS = {
  "bad-json": [400, "invalid_request_error"],
  "unknown-model": [404, "invalid_request_error"],
  "unknown-endpoint": [404, "invalid_request_error"],
  "wrong-method": [405, "invalid_request_error"],
  ...Object.fromEntries(
    ["not-loaded", "closed", "device-lost", "worker-crashed", "tab-closed"].map((code) => [code, [503, "server_error"]]),
  ),
};

/** @param {unknown} thrown @returns {[status: number, body: {error: {message: string, type: string, param: string | null, code: string}}]} */
function errorObject(thrown) {
  const error = RwkvError.from(thrown);
  const { http } = /** @type {any} */ (error.details);
  if (http) return http; // Python has said it
  const [status, type] = STATUS[error.code] ?? [500, "server_error"];
  const code = error.code === "unknown-model" ? "model_not_found" : error.code;
  return [status, { error: { message: `${error.message} ${error.hint}`.trim(), type, param: null, code } }];
}

/** @param {unknown} value @param {number} [status] */
function json(value, status = 200) {
  return new Response(JSON.stringify(value), { status, headers: { "Content-Type": "application/json" } });
}

/** @param {AbortSignal} signal */
function aborted(signal) {
  return signal.reason ?? new DOMException("The request was aborted.", "AbortError");
}

/** @param {Core} core @returns {typeof fetch} which needs no `this` */
export function apiFetch(core) {
  return async (input, init) => {
    const request = new Request(input, init);
    const { signal } = request;
    try {
      signal.throwIfAborted();
      return await respond(core, request);
    } catch (e) {
      if (signal.aborted) throw aborted(signal);
      const [status, body] = errorObject(e);
      return json(body, status);
    }
  };
}

/** @param {Core} core @param {Request} request */
async function respond(core, request) {
  const { method, signal } = request;
  const { pathname } = new URL(request.url);
  const path = pathname.replace(/^.*?\/v1\/|^\//, "").replace(/\/$/, "");
  const name = path.startsWith("models/") ? decodeURIComponent(path.slice(7)) : undefined;
  const endpoint = name === undefined ? path : "models";
  if (!ENDPOINTS.includes(endpoint))
    throw new RwkvError("unknown-endpoint", { path: pathname.slice(0, 80), known: ENDPOINTS.map((e) => `/v1/${e}`).join(", ") });
  const expected = endpoint === "models" ? "GET" : "POST";
  if (method !== expected) throw new RwkvError("wrong-method", { method, path: pathname.slice(0, 80), expected });
  if (endpoint === "models") return json(await models(core, name, signal));
  let body;
  try {
    body = JSON.parse(await request.text());
  } catch (e) {
    throw new RwkvError("bad-json", { reason: RwkvError.from(e).message.slice(0, 80) });
  }
  if (body === null || typeof body !== "object" || Array.isArray(body)) throw new RwkvError("bad-json", { reason: "it is no object" });
  if (body.stream === true) return stream(core, { ...body, endpoint }, signal);
  const completion = await core.work("answer", { ...body, endpoint }, { signal });
  if (signal.aborted) throw aborted(signal);
  return json(completion);
}

/** /v1/models, or one of them; without a model there is none. @param {Core} core @param {string} [name] @param {AbortSignal} [signal] */
export async function models(core, name, signal) {
  if (core.loading) return core.ask("models.loaded", { name }, { signal });
  if (name !== undefined) throw new RwkvError("unknown-model", { name: name.slice(0, 80), known: "–" });
  return { object: "list", data: [] };
}

/** Resolves with the first chunk, so that what is wrong with a request has its status. @param {Core} core @param {object} request @param {AbortSignal} signal @returns {Promise<Response>} */
function stream(core, request, signal) {
  const left = new AbortController();
  const encoder = new TextEncoder();
  const say = (/** @type {unknown} */ value) => encoder.encode(`data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`);
  return new Promise((resolve, reject) => {
    /** @type {ReadableStreamDefaultController<Uint8Array> | undefined} */
    let sending;
    const body = new ReadableStream({ start: (controller) => void (sending = controller), cancel: () => left.abort() });
    const begin = () =>
      resolve(new Response(body, { headers: { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store" } }));
    const end = () => {
      sending?.error(aborted(signal));
      sending = undefined;
      left.abort();
      reject(aborted(signal));
    };
    signal.addEventListener("abort", end, { once: true });
    let begun = false;
    core
      .work("answer", request, {
        signal: left.signal,
        onEvent(chunk) {
          if (!begun) begin();
          begun = true;
          if (!left.signal.aborted) sending?.enqueue(say(chunk));
        },
      })
      .then(
        () => {
          if (left.signal.aborted) return;
          if (!begun) begin();
          sending?.enqueue(say("[DONE]"));
          sending?.close();
        },
        (e) => {
          if (left.signal.aborted) return;
          if (!begun) return reject(e);
          sending?.enqueue(say(errorObject(e)[1]));
          sending?.close();
        },
      )
      .finally(() => signal.removeEventListener("abort", end));
  });
}
