// @ts-check
/**
 * The service worker: keeps one build of the page (not the models, which are in IndexedDB), so that it starts without a connection. A new build is a new
 * service worker, which fetches everything, compares it with the hashes of build.json, and then waits until no page runs the old one, or a person says so:
 * a page never gets parts of two builds.
 */

/** @typedef {{file: string, sha256: string}} Part */
/** What is used of ExtendableEvent, FetchEvent and ExtendableMessageEvent. @typedef {Event & {waitUntil: (work: Promise<unknown>) => void, respondWith: (answer: Promise<Response>) => void, request: Request, data: any}} WorkerEvent */

const BUILD = "development"; // the build puts its own id here
const OURS = "rwkv-shell ";
const SITE = new URL("./", location.href);
const BESIDE = /^(models\/(?!catalogue\.json$)|embed|i18n\/\w+\/)/; // no part of the page: models, which the store checks and keeps, and what is for other sites
const FRESH = /^models\/catalogue\.json$/; // whoever hosts the page may change it: from the network, when there is one
const LATER = /^vendor\/pyodide\/[^/]+\.whl$/; // kept when they are first used; their names carry the version, and Python compares their hashes
const AT_ONCE = 4;

const scope = /** @type {any} */ (self);
addEventListener("install", (event) => /** @type {WorkerEvent} */ (event).waitUntil(install()));
addEventListener("activate", (event) => /** @type {WorkerEvent} */ (event).waitUntil(clean()));
addEventListener("message", (event) => {
  const { data, waitUntil } = /** @type {WorkerEvent} */ (/** @type {unknown} */ (event));
  if (data === "update") scope.skipWaiting();
  if (data?.claim === BUILD) waitUntil.call(event, scope.clients.claim()); // by a page of this very build
});
addEventListener("fetch", (event) => {
  const { request } = /** @type {WorkerEvent} */ (event);
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== SITE.origin || !url.pathname.startsWith(SITE.pathname)) return;
  const path = url.pathname.slice(SITE.pathname.length);
  if (!BESIDE.test(path)) /** @type {WorkerEvent} */ (event).respondWith(answer(request, path));
});

/** @param {Request} request @param {string} path */
async function answer(request, path) {
  const address = new URL(path === "" ? "index.html" : path, SITE).href;
  const cache = await caches.open(OURS + BUILD);
  if (FRESH.test(path)) {
    try {
      const fresh = await fetch(request);
      if (fresh.ok) await cache.put(address, fresh.clone());
      return fresh;
    } catch (e) {
      return (await cache.match(address)) ?? Promise.reject(e);
    }
  }
  const kept = await cache.match(address);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok && LATER.test(path)) await cache.put(address, response.clone());
  return response;
}

/** Everything of this build, or nothing: while another build is being put on the server this fails, and the browser tries again later. */
async function install() {
  const described = await fetch(new URL("build.json", SITE), { cache: "reload" });
  const { id, shell, headers } = await described.clone().json();
  if (id !== BUILD) throw new Error(`build.json is of ${id}, this is ${BUILD}`);
  const cache = await caches.open(OURS + BUILD);
  const earlier = await Promise.all((await caches.keys()).filter((name) => name.startsWith(OURS)).map((name) => caches.open(name)));
  /** @type {Part[]} */
  const waiting = [...shell];
  const work = async () => {
    for (let part = waiting.shift(); part; part = waiting.shift()) await keep(cache, part, earlier, headers);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const catalogue = new URL("models/catalogue.json", SITE).href;
  await cache.add(new Request(catalogue, { cache: "no-cache" }));
  await cache.put(new URL("build.json", SITE).href, described);
}

/** @param {Cache} cache @param {Part} part @param {Cache[]} earlier @param {Record<string, string>} headers sent with everything, also where the server sends none */
async function keep(cache, { file, sha256 }, earlier, headers) {
  const address = new URL(file, SITE).href;
  for (const one of earlier) {
    const kept = await one.match(address);
    if (kept?.headers.get("X-Sha256") !== sha256) continue;
    return one === cache ? undefined : cache.put(address, kept);
  }
  let found = "";
  for (const mode of /** @type {RequestCache[]} */ (["no-cache", "reload"])) {
    const response = await fetch(address, { cache: mode }); // what the page has just fetched need not come again, unless a cache on the way is wrong
    if (!response.ok) throw new Error(`${file}: HTTP ${response.status}`);
    const bytes = await response.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const type = response.headers.get("Content-Type") ?? "application/octet-stream";
    const all = { ...headers, "Content-Type": type, "X-Sha256": sha256 };
    if (found === sha256) return cache.put(address, new Response(bytes, { headers: all }));
  }
  throw new Error(`${file} is ${found}, not ${sha256}`);
}

/** What other builds have left. */
async function clean() {
  for (const name of await caches.keys()) if (name.startsWith(OURS) && name !== OURS + BUILD) await caches.delete(name);
}
