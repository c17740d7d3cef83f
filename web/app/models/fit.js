// @ts-check
// Whether a model can run here, said before anything is downloaded: against the adapter's limits and the room there is to store it.

import { bytes, t } from "../i18n.js";
import { estimate } from "./storage.js";

/** @typedef {import("../types.js").CatalogueEntry} CatalogueEntry */
/** @typedef {import("../types.js").Size} Size */
/** What there is here: `webgpu` false without it, `binding` the largest buffer a kernel can have, `free` bytes for storing (undefined: the browser does not tell). @typedef {{webgpu: boolean, binding: number, free?: number}} Room */

const NUMPY = 300e6; // parameters that numpy can still answer with, if slowly

/**
 * What is in the way of this size, in words; "" if nothing is.
 * @param {Size} size @param {Room} room @param {number} parameters @param {number} [stored] bytes of it that are here already
 */
export function obstacle(size, room, parameters, stored = 0) {
  if (!room.webgpu && parameters > NUMPY) return t("models.reason.webgpu");
  if (room.webgpu && size.binding > room.binding)
    return t("models.reason.binding", { need: bytes(size.binding), limit: bytes(room.binding) });
  if (room.free !== undefined && size.disk - stored > room.free)
    return t("models.reason.storage", { need: bytes(size.disk - stored), free: bytes(room.free) });
  return "";
}

/** Of a catalogue entry: "" if any of its sizes fits, else what is in the way of the smallest. @param {CatalogueEntry} entry @param {Room} room */
export function entryObstacle(entry, room) {
  const sizes = Object.values(entry.sizes ?? {}).sort((a, b) => a.disk - b.disk);
  const reasons = sizes.map((size) => obstacle(size, room, entry.parameters ?? 0));
  return reasons.length && reasons.every(Boolean) ? reasons[0] : "";
}

/** @param {import("../types.js").Probe} probe @returns {Promise<Room>} */
export async function roomOf(probe) {
  const { webgpu } = probe;
  const { quota, usage } = await estimate();
  const free = quota === undefined ? undefined : Math.max(0, quota - (usage ?? 0));
  return { webgpu: webgpu.available, binding: webgpu.limits?.binding ?? 128 << 20, free };
}
