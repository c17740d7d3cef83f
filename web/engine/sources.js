// @ts-check
/**
 * Where a checkpoint's bytes come from: a `File`, or an address whose server honours byte ranges; then only what is asked for is fetched. Reading is
 * synchronous (workers may), because Python asks for bytes in the middle of a computation. What a file means is Python's business.
 */

import { RwkvError } from "./errors.js";
import { fetchBlob } from "./store.js";

/** @typedef {{name: string, size: number, read: (offset: number, length: number) => Uint8Array}} ByteSource */

export const WEIGHTS = /\.(pth|pt|bin|safetensors|st|gguf)$/i; // what an address of a model file ends with
export const INDEX = /\.index\.json$/i;
const HUB = "https://huggingface.co/"; // where official models are; mirrors have the same paths

const BLOCK = 1 << 20; // smaller reads come out of blocks of this size: headers and vectors with their neighbours
const KEPT = 32; // blocks
const TRIES = 3;
const MOST_FILES = 1 << 10;

class BlobBytes {
  /** @param {string} name @param {Blob} blob */
  constructor(name, blob) {
    this.name = name;
    this.size = blob.size;
    this.blob = blob;
  }

  /** @param {number} offset @param {number} length */
  read(offset, length) {
    const reader = new /** @type {any} */ (globalThis).FileReaderSync();
    try {
      return new Uint8Array(reader.readAsArrayBuffer(this.blob.slice(offset, offset + length)));
    } catch (e) {
      throw new RwkvError("unreadable-file", { name: this.name, reason: String(e) }); // it changed, or went away
    }
  }
}

export class RangeBytes {
  /** The latest blocks, by number. @type {Map<number, Uint8Array>} */
  #blocks = new Map();

  /** @param {URL} url @param {string} name @param {number} size */
  constructor(url, name, size) {
    this.url = url;
    this.name = name;
    this.size = size;
  }

  /** @param {number} offset @param {number} length */
  read(offset, length) {
    if (length >= BLOCK) return this.#get(offset, length);
    const out = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const block = Math.floor((offset + at) / BLOCK);
      const part = this.#block(block).subarray(offset + at - block * BLOCK, offset + length - block * BLOCK);
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  /** @param {number} number */
  #block(number) {
    const block = this.#blocks.get(number) ?? this.#get(number * BLOCK, Math.min(BLOCK, this.size - number * BLOCK));
    this.#blocks.delete(number); // so that it becomes the latest
    this.#blocks.set(number, block);
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size > KEPT) this.#blocks.delete(oldest);
    return block;
  }

  /** @param {number} offset @param {number} length @returns {Uint8Array} */
  #get(offset, length) {
    let reason = "";
    let changed = false;
    for (let i = 0; i < TRIES; i++) {
      const request = new XMLHttpRequest();
      request.open("GET", this.url, false);
      request.responseType = "arraybuffer";
      request.setRequestHeader("Range", `bytes=${offset}-${offset + length - 1}`);
      try {
        request.send();
      } catch (e) {
        reason = String(e);
        continue;
      }
      const total = totalOf(request.getResponseHeader("Content-Range"));
      if (request.status === 206 && (total ?? this.size) === this.size) {
        const body = /** @type {ArrayBuffer} */ (request.response);
        if (body?.byteLength === length) return new Uint8Array(body);
        reason = `${body?.byteLength ?? 0} of ${length} bytes arrived`;
      } else if (request.status < 400) {
        reason = "the file changed on the server while it was read";
        changed = true;
        break;
      } else reason = `HTTP ${request.status}`;
    }
    throw new RwkvError("fetch-failed", { name: this.url.href, reason, changed });
  }
}

/** The whole length in `bytes 0-0/1234`; servers of other sites may hide it. @param {string | null} text */
function totalOf(text) {
  const total = /\/(\d+)$/.exec(text ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}

/** @param {readonly File[]} files @returns {ByteSource[]} */
export function openFiles(files) {
  return files.map((file) => new BlobBytes(file.name, file));
}

/**
 * A file by its address: in ranges, or fetched as a whole where the server knows none. Throws `fetch-failed`.
 * @param {URL} url @param {(bytes: number) => void} count told what is downloaded as a whole @param {AbortSignal} signal
 * @param {boolean} whole whether a whole download is all right; else `no-ranges` @returns {Promise<ByteSource>}
 */
async function openUrl(url, count, signal, whole) {
  const name = decodeURIComponent(url.pathname.split("/").at(-1) ?? "");
  const abort = new AbortController(); // of a body that nobody wants
  try {
    const request = { headers: { Range: "bytes=0-0" }, signal: AbortSignal.any([signal, abort.signal]) };
    const response = await fetch(url, request);
    if (response.status === 206) {
      const size = totalOf(response.headers.get("Content-Range")) ?? (await lengthOf(url, signal));
      if (size) return new RangeBytes(url, name, size);
    }
  } catch {
    signal.throwIfAborted(); // anything else `fetchBlob` finds out, and says
  } finally {
    abort.abort();
  }
  if (!whole) throw new RwkvError("no-ranges", { name: url.href });
  return new BlobBytes(name, await fetchBlob(url, count, signal));
}

/** An address as somebody may have copied it: the hub's page about a file stands for the file. Throws a TypeError. @param {string} text */
export function addressOf(text) {
  const url = new URL(text);
  if (url.href.startsWith(HUB)) url.pathname = url.pathname.replace(/^(\/[^/]+\/[^/]+)\/blob\//, "$1/resolve/");
  return url;
}

/** The same file at a mirror of the hub. @param {URL} url @param {string} mirror what stands for https://huggingface.co/; empty: the hub itself */
export function mirrored(url, mirror) {
  return mirror && url.href.startsWith(HUB) ? new URL(mirror.replace(/\/*$/, "/") + url.href.slice(HUB.length)) : url;
}

/** @param {URL} url @param {AbortSignal} signal */
async function lengthOf(url, signal) {
  const response = await fetch(url, { method: "HEAD", signal });
  return response.ok ? Number(response.headers.get("Content-Length")) : 0;
}

/**
 * A model by the address of its file, or of the `*.index.json` beside its files: then those files that are there, `config.json` and `tokenizer.json`.
 * @param {URL} url @param {(bytes: number) => void} count @param {AbortSignal} signal @param {boolean} [whole] @returns {Promise<ByteSource[]>}
 */
export async function openAddress(url, count, signal, whole = true) {
  if (!INDEX.test(url.pathname)) return [await openUrl(url, count, signal, whole)];
  const index = await fetchBlob(url, count, signal);
  /** @type {ByteSource[]} */
  const files = [new BlobBytes(decodeURIComponent(url.pathname.split("/").at(-1) ?? ""), index)];
  for (const name of ["config.json", "tokenizer.json", ...(await namesIn(index))]) {
    try {
      files.push(await openUrl(new URL(encodeURIComponent(name), url), count, signal, whole));
    } catch (e) {
      signal.throwIfAborted();
      if (!/^HTTP 4/.test(String(RwkvError.from(e).details.reason))) throw e; // a file that is not there is missed by Python, where it matters
    }
  }
  return files;
}

/** The files that an index names, as far as they can be names. @param {Blob} index @returns {Promise<string[]>} */
async function namesIn(index) {
  try {
    const names = Object.values(JSON.parse(await index.text()).weight_map);
    return [...new Set(names)].filter((name) => typeof name === "string" && /^[^./\\][^/\\]*$/.test(name)).slice(0, MOST_FILES);
  } catch {
    return []; // Python says what is wrong with it
  }
}

/** A name for the model at an address: that of the file, or for an index that of its folder. @param {URL} url */
export function nameOf(url) {
  const steps = url.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  if (!INDEX.test(url.pathname)) return "";
  const tree = steps.indexOf("resolve"); // OWNER/MODEL/resolve/BRANCH/FILE
  return (tree > 0 ? steps[tree - 1] : steps.at(-2)) ?? "";
}
