// @ts-check
/** Memory of a Program on a device: buffers, and textures for the weights that shaders read from those. py_rwkv/devices/textures.py does the same natively. */

/** `texel`: bytes of one; 0 for a buffer. `held`: "textures" can be sampled, "images" not. @typedef {{name: string, bytes: number, texel: number, held: string}} Spec */
/** @typedef {GPUBuffer | GPUTexture} Memory */

const ROW = 16384; // bytes of a texture's row
/** By bytes of a texel. @type {Record<number, GPUTextureFormat>} */
const FORMATS = { 4: "r32uint", 8: "rg32uint", 16: "rgba32uint" };

/** Zeros. @param {GPUDevice} device @param {Spec} spec @returns {Memory} */
export function create(device, { name, bytes, texel, held }) {
  const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
  if (!texel) return device.createBuffer({ label: name, size: bytes, usage: STORAGE | COPY_DST | COPY_SRC });
  return device.createTexture({ label: name, size: [ROW / texel, bytes / ROW], format: FORMATS[texel], usage: usageOf(held) });
}

/** Whether memory is what a Program wants. @param {Memory | undefined} memory @param {Spec} spec */
export function fits(memory, { bytes, texel, held }) {
  if (!memory || "size" in memory) return memory?.size === bytes && !texel;
  return memory.format === FORMATS[texel] && memory.height * ROW === bytes && memory.usage === usageOf(held);
}

/** @param {Memory} memory */
export function sizeOf(memory) {
  return "size" in memory ? memory.size : memory.height * ROW;
}

/** As a bind group takes it. @param {Memory} memory @returns {GPUBindingResource} */
export function resource(memory) {
  return "size" in memory ? { buffer: memory } : memory.createView();
}

/**
 * The entry of a bind group's layout: a type of buffer, "texture", or an image's format.
 * @param {string} kind @param {number} binding @returns {GPUBindGroupLayoutEntry}
 */
export function layoutOf(kind, binding) {
  const entry = { binding, visibility: GPUShaderStage.COMPUTE };
  if (kind === "texture") return { ...entry, texture: { sampleType: "uint" } };
  const format = Object.values(FORMATS).find((name) => name === kind);
  if (format) return { ...entry, storageTexture: { access: "read-only", format } };
  return { ...entry, buffer: { type: /** @type {GPUBufferBindingType} */ (kind) } };
}

/** Bytes to byte `at`, both multiples of 4, or of a texel. @param {GPUQueue} queue @param {Memory} memory @param {number} at @param {Uint8Array<ArrayBuffer>} data */
export function write(queue, memory, at, data) {
  if ("size" in memory) return queue.writeBuffer(memory, at, data);
  const texel = ROW / memory.width;
  for (let first = 0; first < data.byteLength;) {
    const [x, y] = [(at + first) % ROW, Math.floor((at + first) / ROW)];
    const left = data.byteLength - first;
    const rows = x ? 0 : Math.floor(left / ROW);
    const size = rows * ROW || Math.min(left, ROW - x);
    const extent = [Math.min(size, ROW) / texel, Math.max(rows, 1)];
    queue.writeTexture({ texture: memory, origin: [x / texel, y] }, data.subarray(first, first + size), { bytesPerRow: ROW }, extent);
    first += size;
  }
}

/** @param {string} held */
function usageOf(held) {
  return GPUTextureUsage.COPY_DST | (held === "textures" ? GPUTextureUsage.TEXTURE_BINDING : GPUTextureUsage.STORAGE_BINDING);
}
