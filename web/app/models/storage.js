// @ts-check
// The room that models take, and whether the browser promised to keep them.

import { remember } from "../dom.js";
import { bytes, t } from "../i18n.js";

/** Ask once, after a model has come: then the person has shown that they want it, which is what browsers look at. */
export async function askToKeep() {
  if (!navigator.storage?.persist || (await navigator.storage.persisted())) return;
  if (remember("persist") === "no" && sessionStorage.getItem("rwkv.asked")) return;
  const given = await navigator.storage.persist().catch(() => false);
  try {
    sessionStorage.setItem("rwkv.asked", "1");
  } catch {
    // then it is asked again
  }
  remember("persist", given ? "yes" : "no");
}

/** What is used and what may be; nothing where the browser does not tell. @returns {Promise<StorageEstimate>} */
export async function estimate() {
  try {
    return await navigator.storage.estimate();
  } catch {
    return {};
  }
}

/** How much is used and free, in words. */
export async function usageText() {
  const { quota, usage = 0 } = await estimate();
  return quota === undefined ? "" : t("models.storage", { used: bytes(usage), free: bytes(Math.max(0, quota - usage)) });
}

/** What the browser promised, in words; "" while it was not asked. */
export async function promiseText() {
  const kept = await navigator.storage?.persisted?.().catch(() => false);
  if (kept) return t("models.persist.yes");
  return remember("persist") === "no" ? t("models.persist.no") : "";
}
