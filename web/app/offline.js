// @ts-check
// The service worker (sw.js) from the page's side: registered once the page has nothing better to do, its updates announced and applied on request. Without
// it (an old browser, a page that is not secure, a worker that fails) the page only lacks what it brings.

import { scriptUrl } from "../engine/script_url.js";
import { t } from "./i18n.js";
import { notify, withdraw } from "./notices.js";

/** @typedef {import("./types.js").PageEngine} PageEngine */

const SITE = new URL("../", import.meta.url);
const QUIET = 20_000; // ms after which a page on which nobody starts a model counts as idle
const CHECK = 3_600_000; // ms between looks for a new version, while the page stays open

/** @param {PageEngine} engine */
export function startOffline(engine) {
  watchConnection();
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  const build = buildOf();
  let begun = false;
  const begin = () => {
    if (begun) return;
    begun = true;
    const idle = globalThis.requestIdleCallback ?? ((/** @type {() => void} */ work) => setTimeout(work, 500));
    idle(() => void register(serviceWorker, engine, build).catch((e) => console.warn("The page will not work offline:", e)));
  };
  if (serviceWorker.controller) begin(); // another visit: everything is here already
  engine.addEventListener("state", () => engine.status().state === "ready" && begin());
  setTimeout(() => engine.status().state === "idle" && begin(), QUIET);
}

/** The id of the build that this page was loaded from. */
function buildOf() {
  return fetch(new URL("build.json", SITE), { priority: "low" })
    .then((response) => response.json())
    .then(({ id }) => id)
    .catch(() => undefined);
}

/** @param {ServiceWorkerContainer} container @param {PageEngine} engine @param {Promise<string | undefined>} build */
async function register(container, engine, build) {
  const controlled = Boolean(container.controller);
  const registration = await container.register(scriptUrl(new URL("sw.js", SITE)), { updateViaCache: "none" });
  if (!registration) return; // something between us and the browser keeps it from happening
  document.documentElement.dataset.offline = controlled ? "ready" : "preparing";
  if (!controlled) {
    await container.ready;
    registration.active?.postMessage({ claim: await build }); // from now on this page gets what its own build consists of
    document.documentElement.dataset.offline = "ready";
  }
  let ours = controlled;
  container.addEventListener("controllerchange", () => {
    if (ours) void reload(engine);
    ours = true;
  });
  const announce = () => {
    const { waiting } = registration;
    if (!waiting || !container.controller) return;
    notify("update", {
      text: () => t("offline.update"),
      actions: [{ label: () => t("offline.update.do"), run: () => waiting.postMessage("update"), testid: "update" }],
    });
  };
  announce();
  registration.addEventListener("updatefound", () => {
    const { installing } = registration;
    installing?.addEventListener("statechange", () => installing.state === "installed" && announce());
  });
  let looked = Date.now();
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" || Date.now() - looked < CHECK) return;
    looked = Date.now();
    registration.update().catch(() => {}); // no connection: later
  });
}

/** The new build is in place. What is being written is finished first. @param {PageEngine} engine */
function reload(engine) {
  if (engine.status().state !== "busy") return location.reload();
  engine.addEventListener("state", () => engine.status().state !== "busy" && location.reload());
}

function watchConnection() {
  const say = () => {
    if (navigator.onLine) withdraw("offline");
    else notify("offline", { text: () => t("offline.now") });
  };
  addEventListener("online", say);
  addEventListener("offline", say);
  say();
}
