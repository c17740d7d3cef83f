// @ts-check
/**
 * Models in IndexedDB: shards as Blobs keyed by their sha256, one row per model with its manifest. A shard enters only with the right hash, so what is
 * stored is whole; an interrupted download continues with the shards that are missing. Beside them lies what only makes the next start faster.
 */

import { openDB } from "../vendor/idb/index.js";
import { RwkvError } from "./errors.js";

/** @typedef {{sha256: string, bytes: number}} Shard */
/** @typedef {{name: string, total_bytes: number, shards: Shard[], tokenizer?: string, tokenizer_file?: Shard}} Manifest  the fields the store needs; the rest is opaque here */
/** @typedef {{id: string, name: string, bytes: number, shards: string[], manifest: string, complete: boolean, added: number}} ModelRow */
/** @typedef {(done: number, total: number) => void} OnBytes */

const PARALLEL = 2; // shards in flight, and so at most this many in memory

export class Store {
  /** @param {import("../vendor/idb/index.js").IDBPDatabase} db */
  constructor(db) {
    this.db = db;
  }

  static async open() {
    try {
      return new Store(
        await openDB("py-rwkv", 2, {
          upgrade(db, before) {
            if (before < 1) {
              db.createObjectStore("shards");
              db.createObjectStore("models", { keyPath: "id" });
            }
            db.createObjectStore("start");
          },
          blocking: (_, __, event) => void (/** @type {IDBDatabase} */ (event.target).close()), // another tab has a newer page
        }),
      );
    } catch (e) {
      throw new RwkvError("no-storage", { reason: String(e) });
    }
  }

  /** @param {string} id @returns {Promise<ModelRow | undefined>} */
  model(id) {
    return this.db.get("models", id);
  }

  /** Something that makes a start faster. @param {string} name @returns {Promise<any>} */
  kept(name) {
    return this.db.get("start", name);
  }

  /** @param {string} name @param {unknown} value */
  async hold(name, value) {
    await this.db.put("start", value, name);
  }

  /** @param {string} name */
  async drop(name) {
    await this.db.delete("start", name);
  }

  /** The manifest of a model that is complete, with all its shards. @param {string} id @returns {Promise<string | undefined>} */
  async manifest(id) {
    const row = await this.model(id);
    return row?.complete && (await this.have(row.shards)).size === new Set(row.shards).size ? row.manifest : undefined;
  }

  /** @returns {Promise<ModelRow[]>} */
  models() {
    return this.db.getAll("models");
  }

  /** Which of these hashes are stored. @param {string[]} hashes @returns {Promise<Set<string>>} */
  async have(hashes) {
    const found = await Promise.all(hashes.map((h) => this.db.count("shards", h)));
    return new Set(hashes.filter((_, i) => found[i] > 0));
  }

  /** A stored shard's bytes. Throws `missing-shard`. @param {string} sha256 */
  async read(sha256) {
    /** @type {Blob | undefined} */
    const blob = await this.db.get("shards", sha256);
    if (!blob) throw new RwkvError("missing-shard", { name: sha256 });
    return blob.arrayBuffer();
  }

  /** Keep a shard that was downloaded. @param {string} sha256 @param {Blob} blob */
  put(sha256, blob) {
    return this.#writing(blob.size, () => this.db.put("shards", blob, sha256));
  }

  /**
   * Keep a shard that was made here, as one of a model that is not complete: `remove` finds it also after a crash.
   * @param {string} id @param {string} name @param {string} sha256 @param {Blob} blob
   */
  keep(id, name, sha256, blob) {
    return this.#writing(blob.size, async () => {
      const work = this.db.transaction(["models", "shards"], "readwrite");
      const models = work.objectStore("models");
      /** @type {ModelRow} */
      const row = (await models.get(id)) ?? { id, name, bytes: 0, shards: [], manifest: "", complete: false, added: Date.now() };
      await Promise.all([
        models.put({ ...row, shards: [...new Set([...row.shards, sha256])], complete: false }),
        work.objectStore("shards").put(blob, sha256),
        work.done,
      ]);
    });
  }

  /** @param {number} need bytes @param {() => Promise<unknown>} write */
  async #writing(need, write) {
    try {
      await write();
    } catch (e) {
      if (e instanceof DOMException && e.name === "QuotaExceededError") {
        const { quota = 0, usage = 0 } = await navigator.storage.estimate();
        throw new RwkvError("storage-full", { need, free: Math.max(0, quota - usage) });
      }
      throw new RwkvError("no-storage", { reason: String(e) });
    }
  }

  /** Write a model's row; `complete` once all its shards are here. @param {string} id @param {string} text the manifest @param {boolean} complete */
  async record(id, text, complete) {
    /** @type {Manifest} */
    const manifest = JSON.parse(text);
    const { name, total_bytes } = manifest;
    /** @type {ModelRow} */
    const row = {
      id,
      name,
      bytes: total_bytes,
      shards: filesOf(manifest).map((s) => s.sha256),
      manifest: text,
      complete,
      added: Date.now(),
    };
    await this.db.put("models", row);
  }

  /** Forget a model, and the shards that no other model uses. @param {string} id */
  async remove(id) {
    const row = await this.model(id);
    if (!row) return;
    await this.db.delete("models", id);
    const used = new Set((await this.models()).flatMap((m) => m.shards));
    await Promise.all(row.shards.filter((h) => !used.has(h)).map((h) => this.db.delete("shards", h)));
  }

  /**
   * Fetch the shards of a model directory that are not stored yet.
   * @param {string} id @param {string} text the manifest @param {URL} base the model directory @param {OnBytes} onBytes @param {AbortSignal} signal
   */
  async download(id, text, base, onBytes, signal) {
    const shards = filesOf(JSON.parse(text));
    const total = shards.reduce((sum, s) => sum + s.bytes, 0);
    const have = await this.have(shards.map((s) => s.sha256));
    let done = shards.reduce((sum, s) => sum + (have.has(s.sha256) ? s.bytes : 0), 0);
    onBytes(done, total);
    const missing = shards.filter((s) => !have.has(s.sha256));
    if (missing.length) await this.record(id, text, false);
    const worker = async () => {
      try {
        for (let shard = missing.shift(); shard; shard = missing.shift()) {
          const count = (/** @type {number} */ n) => onBytes((done += n), total);
          await this.put(shard.sha256, await fetchShard(new URL(shard.file, base), shard, count, signal));
        }
      } finally {
        missing.length = 0; // after one failure no other begins, but those under way are kept for the next try
      }
    };
    const ended = await Promise.allSettled(Array.from({ length: PARALLEL }, worker));
    signal.throwIfAborted();
    for (const one of ended) if (one.status === "rejected") throw one.reason;
    await this.record(id, text, true);
  }
}

/** What lies beside a manifest: the shards, and the tokenizer's file if it has one. @param {Manifest} manifest @returns {(Shard & {file: string})[]} */
function filesOf({ shards, tokenizer, tokenizer_file }) {
  const files = shards.map((s) => ({ ...s, file: `${s.sha256}.safetensors` }));
  const ending = tokenizer === "bpe" ? "json" : "txt";
  return tokenizer_file ? [...files, { ...tokenizer_file, file: `${tokenizer_file.sha256}.${ending}` }] : files;
}

/**
 * A shard with the right hash; one that differs is fetched once more past every cache, then it is an error.
 * @param {URL} url @param {Shard} shard @param {(bytes: number) => void} count @param {AbortSignal} signal
 */
async function fetchShard(url, shard, count, signal) {
  let found = "";
  for (const cache of /** @type {RequestCache[]} */ (["default", "reload"])) {
    let received = 0;
    const blob = await fetchBlob(
      url,
      (n) => {
        received += n;
        count(n);
      },
      signal,
      cache,
    );
    found = blob.size === shard.bytes ? await sha256(await blob.arrayBuffer()) : `${blob.size} bytes`;
    if (found === shard.sha256) return blob;
    count(-received);
  }
  throw new RwkvError("shard-mismatch", { expected: `${shard.sha256} (${shard.bytes} bytes)`, found });
}

/** Fetch with progress. Throws `fetch-failed`. @param {URL} url @param {(bytes: number) => void} count @param {AbortSignal} signal @param {RequestCache} [cache] */
export async function fetchBlob(url, count, signal, cache = "default") {
  try {
    const response = await fetch(url, { signal, cache });
    if (!response.ok || !response.body) throw new RwkvError("fetch-failed", { name: url.href, reason: `HTTP ${response.status}` });
    const counter = new TransformStream({
      transform(/** @type {Uint8Array} */ chunk, controller) {
        count(chunk.byteLength);
        controller.enqueue(chunk);
      },
    });
    return await new Response(response.body.pipeThrough(counter)).blob();
  } catch (e) {
    signal.throwIfAborted();
    throw e instanceof RwkvError ? e : new RwkvError("fetch-failed", { name: url.href, reason: String(e) });
  }
}

/** @param {BufferSource} data */
export async function sha256(data) {
  if (!crypto.subtle) throw new RwkvError("insecure-page");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
}
