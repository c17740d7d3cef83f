// @ts-check
// A stored model as files that anybody can host: into a folder where the browser can write one, else as one .tar (whose parts stay where they are until it is read).

/** @typedef {{name: string, blob: Blob}} ModelFile */

const BLOCK = 512;

/** A folder's name for a model. @param {string} name */
export function folderName(name) {
  return (
    name
      .normalize("NFKD")
      .replace(/[^\w.-]+/g, "-")
      .replace(/^[-.]+|[-.]+$/g, "")
      .slice(0, 60) || "model"
  );
}

/** ustar: every file in a folder. @param {string} folder @param {ModelFile[]} files */
export function tar(folder, files) {
  const parts = files.flatMap(({ name, blob }) => [
    header(folder, name, blob.size),
    blob,
    new Uint8Array((BLOCK - (blob.size % BLOCK)) % BLOCK),
  ]);
  return new Blob([...parts, new Uint8Array(2 * BLOCK)], { type: "application/x-tar" });
}

/** @param {string} folder @param {string} name at most 100 characters @param {number} size at most 8 GiB */
function header(folder, name, size) {
  const block = new Uint8Array(BLOCK);
  const put = (/** @type {number} */ at, /** @type {string} */ text) => block.set(new TextEncoder().encode(text), at);
  const octal = (/** @type {number} */ value, /** @type {number} */ digits) => value.toString(8).padStart(digits, "0");
  put(0, name);
  put(100, octal(0o644, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(size, 11));
  put(136, octal(Math.floor(Date.now() / 1000), 11));
  put(148, " ".repeat(8)); // the checksum counts as spaces
  put(156, "0");
  put(257, "ustar\0" + "00");
  put(345, folder);
  put(
    148,
    `${octal(
      block.reduce((sum, byte) => sum + byte, 0),
      6,
    )}\0 `,
  );
  return block;
}

/** Offer one file for saving. @param {string} name @param {Blob} blob */
export function save(name, blob) {
  const href = URL.createObjectURL(blob);
  const link = document.createElement("a");
  Object.assign(link, { href, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

export const canWriteFolders = "showDirectoryPicker" in globalThis;

/**
 * Write the files into a folder of that name below one that the person chooses. False when they choose none.
 * @param {string} folder @param {ModelFile[]} files @param {(done: number, total: number) => void} onFile
 */
export async function writeFolder(folder, files, onFile) {
  /** @type {FileSystemDirectoryHandle} */
  let parent;
  try {
    parent = await /** @type {any} */ (globalThis).showDirectoryPicker({ id: "models", mode: "readwrite" });
  } catch {
    return false;
  }
  const target = await parent.getDirectoryHandle(folder, { create: true });
  for (const [i, { name, blob }] of [...files.slice(1), files[0]].entries()) {
    // the manifest last: with it the model is whole
    const file = await (await target.getFileHandle(name, { create: true })).createWritable();
    await blob.stream().pipeTo(file);
    onFile(i + 1, files.length);
  }
  return true;
}
