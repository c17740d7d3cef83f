// @ts-check
/**
 * Models in IndexedDB: shards as Blobs keyed by their sha256, one row per model with its manifest. A shard enters only with the right hash, so what is
 * stored is whole; an interrupted download continues with the shards that are missing. Beside them lies what only makes the next start faster.
 */

import { openDB } from "../vendor/idb/index.js";
import { RwkvError } from "./errors.js";
import { free, holding, whileFetching } from "./held.js";
import { MemoryDb } from "./memory.js";
import { fetchLasting } from "./transfer.js";

/** @typedef {{sha256: string, bytes: number}} Shard */
/** @typedef {{name: string, total_bytes: number, shards: Shard[], tokenizer?: string, tokenizer_file?: Shard}} Manifest  the fields the store needs; the rest is opaque here */
/** @typedef {import("./shapes.js").Origin} Origin */
/** How far a conversion is: what Python needs to go on, and the share that is done. @typedef {{state: string, part: number}} Begun */
/** `used`: when it was last ready. @typedef {{id: string, name: string, bytes: number, shards: string[], manifest: string, complete: boolean, added: number, used?: number, origin?: Origin, begun?: Begun}} ModelRow */
/** Bytes that the disk refused. @typedef {{need: number, free: number}} Refused */
/** @typedef {(done: number, total: number) => void} OnBytes */

const PARALLEL = 2; // shards in flight, and so at most this many in memory

export class Store {
  /** Shards that found no place: they last until `release`. @type {Map<string, Blob>} */
  #memory = new Map();
  /** Hashes that were compared since the worker began. @type {Set<string>} */
  #sound = new Set();
  /** Since the last `release`: what the disk refused, if it did. @type {Refused | undefined} */
  refused;

  /** @param {import("../vendor/idb/index.js").IDBPDatabase} db @param {boolean} [volatile] nothing lasts beyond this page */
  constructor(db, volatile = false) {
    this.db = db;
    this.volatile = volatile;
  }

  /** A store for a browser that refuses to store anything. */
  static inMemory() {
    return new Store(/** @type {any} */ (new MemoryDb()), true);
  }

  /** A load begins or is done: what was only in memory is given back. */
  release() {
    this.#memory.clear();
    this.refused = undefined;
  }

  static async open() {
    try {
      return new Store(
        await openDB("py-rwkv", 3, {
          upgrade(db, before) {
            if (before < 1) {
              db.createObjectStore("shards");
              db.createObjectStore("models", { keyPath: "id" });
            }
            if (before < 2) db.createObjectStore("start");
            db.createObjectStore("states", { keyPath: "key" }); // what there is, and below its bytes (states.js)
            db.createObjectStore("stateBytes");
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
    const found = await Promise.all(hashes.map((h) => (this.#memory.has(h) ? 1 : this.db.count("shards", h))));
    return new Set(hashes.filter((_, i) => found[i] > 0));
  }

  /** A stored shard's bytes. Throws `missing-shard`. @param {string} sha256 */
  async read(sha256) {
    const blob = await this.blob(sha256);
    if (!blob) throw new RwkvError("missing-shard", { name: sha256 });
    return holding(await blob.arrayBuffer());
  }

  /** A shard's bytes if they are what they were: disks and browsers lose some. What was looked at once is not hashed again. @param {string} hash */
  async sound(hash) {
    try {
      const bytes = await this.read(hash);
      if (!this.#sound.has(hash) && (await sha256(bytes)) !== hash) return undefined;
      this.#sound.add(hash);
      return bytes;
    } catch {
      return undefined;
    }
  }

  /** @param {string} sha256 @returns {Promise<Blob | undefined>} */
  async blob(sha256) {
    return this.#memory.get(sha256) ?? this.db.get("shards", sha256);
  }

  /** Forget a shard that turned out to be damaged. @param {string} sha256 */
  async discard(sha256) {
    this.#sound.delete(sha256);
    await this.db.delete("shards", sha256);
  }

  /** Keep a shard that was downloaded. @param {string} sha256 @param {Blob} blob */
  put(sha256, blob) {
    this.#sound.add(sha256);
    return this.#writing(sha256, blob, () => this.db.put("shards", blob, sha256));
  }

  /**
   * Keep a shard that was made here, as one of a model that is not complete, and with it what is needed to go on from here.
   * @param {{id: string, name: string, origin: Origin, begun: Begun}} model @param {string} sha256 @param {Blob} blob
   */
  keep({ id, name, origin, begun }, sha256, blob) {
    return this.#writing(sha256, blob, async () => {
      const work = this.db.transaction(["models", "shards"], "readwrite");
      const models = work.objectStore("models");
      /** @type {ModelRow} */
      const row = (await models.get(id)) ?? { id, name, bytes: 0, shards: [], manifest: "", complete: false, added: Date.now() };
      const shards = [...new Set([...row.shards, sha256])];
      const puts = [
        models.put({ ...row, shards, bytes: row.bytes + blob.size, complete: false, origin, begun }),
        work.objectStore("shards").put(blob, sha256),
      ];
      await Promise.allSettled(puts);
      await work.done; // its error is the cause, theirs may only say that it was aborted
    });
  }

  /** Once the disk has refused a shard, it and what follows stays in memory. @param {string} sha256 @param {Blob} blob @param {() => Promise<unknown>} write */
  async #writing(sha256, blob, write) {
    if (this.refused) return void this.#memory.set(sha256, blob);
    try {
      await write();
    } catch (e) {
      await this.#refuse(e, blob.size);
      this.#memory.set(sha256, blob);
    }
  }

  /** Nothing more is written from here on, if that is what was wrong. @param {unknown} e @param {number} need bytes */
  async #refuse(e, need) {
    if (!(e instanceof DOMException && e.name === "QuotaExceededError")) throw new RwkvError("no-storage", { reason: String(e) });
    const { quota = 0, usage = 0 } = await navigator.storage.estimate();
    this.refused ??= { need, free: Math.max(0, quota - usage) };
  }

  /**
   * Write a model's row; `complete` once all its shards are here. What is in memory only is not: the next visit has to fetch it.
   * @param {string} id @param {string} text the manifest @param {boolean} complete @param {Origin} origin
   */
  async record(id, text, complete, origin) {
    if (complete && this.refused) return;
    /** @type {Manifest} */
    const manifest = JSON.parse(text);
    const { name, total_bytes } = manifest;
    const { added = Date.now(), used } = (await this.model(id)) ?? {};
    /** @type {ModelRow} */
    const row = {
      id,
      name,
      bytes: total_bytes,
      shards: filesOf(manifest).map((s) => s.sha256),
      manifest: text,
      complete,
      added,
      used,
      origin,
    };
    try {
      await this.db.put("models", row);
    } catch (e) {
      await this.#refuse(e, text.length);
    }
  }

  /** Change some of a model's row, if there is one. @param {string} id @param {Partial<ModelRow>} change */
  async update(id, change) {
    const row = await this.model(id);
    if (row) await this.db.put("models", { ...row, ...change });
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
   * @param {string} id @param {string} text the manifest @param {Origin & {base: string}} origin base: the model directory @param {OnBytes} onBytes @param {import("./transfer.js").Gate} gate
   */
  async download(id, text, origin, onBytes, gate) {
    const shards = filesOf(JSON.parse(text));
    const total = shards.reduce((sum, s) => sum + s.bytes, 0);
    const have = await this.have(shards.map((s) => s.sha256));
    let done = shards.reduce((sum, s) => sum + (have.has(s.sha256) ? s.bytes : 0), 0);
    onBytes(done, total);
    const missing = shards.filter((s) => !have.has(s.sha256));
    if (missing.length) await this.record(id, text, false, origin);
    const worker = async () => {
      try {
        for (let shard = missing.shift(); shard; shard = missing.shift()) {
          const count = (/** @type {number} */ n) => onBytes((done += n), total);
          const { file, bytes, sha256: hash } = shard;
          await whileFetching(bytes, async () =>
            this.put(hash, await fetchShard(new URL(file, origin.base), { sha256: hash, bytes }, count, gate)),
          );
        }
      } finally {
        missing.length = 0; // after one failure no other begins, but those under way are kept for the next try
      }
    };
    const ended = await Promise.allSettled(Array.from({ length: PARALLEL }, worker));
    gate.signal.throwIfAborted();
    for (const one of ended) if (one.status === "rejected") throw one.reason;
    await this.record(id, text, true, origin);
  }
}

/** What lies beside a manifest: the shards, and the tokenizer's file if it has one. @param {Manifest} manifest @returns {(Shard & {file: string})[]} */
export function filesOf({ shards, tokenizer, tokenizer_file }) {
  const files = shards.map((s) => ({ ...s, file: `${s.sha256}.safetensors` }));
  const ending = tokenizer === "bpe" ? "json" : "txt";
  return tokenizer_file ? [...files, { ...tokenizer_file, file: `${tokenizer_file.sha256}.${ending}` }] : files;
}

/**
 * A shard with the right hash; one that differs is fetched once more past every cache, then it is an error.
 * @param {URL} url @param {Shard} shard @param {(bytes: number) => void} count @param {import("./transfer.js").Gate} gate
 */
async function fetchShard(url, shard, count, gate) {
  let found = "";
  for (const cache of /** @type {RequestCache[]} */ (["default", "reload"])) {
    const blob = await fetchLasting(url, count, gate, cache);
    const bytes = blob.size === shard.bytes ? await blob.arrayBuffer() : undefined;
    found = bytes ? await sha256(bytes) : `${blob.size} bytes`;
    if (bytes) free(bytes);
    if (found === shard.sha256) return blob;
    count(-blob.size);
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
