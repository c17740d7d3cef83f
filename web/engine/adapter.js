// @ts-check
/** The browser's GPU: which adapter, what it is called, what it can do. */

import { RwkvError } from "./errors.js";

/** Throws `no-webgpu` (the browser has none) or `no-adapter` (it has, but nothing to run on). @returns {Promise<GPUAdapter>} */
export async function requestAdapter() {
  if (!navigator.gpu)
    throw new RwkvError("no-webgpu", {
      reason: globalThis.isSecureContext ? "navigator.gpu is missing" : "the page is not served over HTTPS",
    });
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) throw new RwkvError("no-adapter", { reason: "requestAdapter() found none" });
  return adapter;
}

/** @param {GPUAdapter} adapter */
export function isSoftware({ info }) {
  return (
    info.isFallbackAdapter === true ||
    /swiftshader|llvmpipe|lavapipe|warp|basic render/i.test(`${info.architecture} ${info.device} ${info.description}`)
  );
}

/** What kernels may use beyond the baseline; see `Features` in py_rwkv/models/tuning.py. @param {GPUAdapter} adapter @param {GPUDevice} device */
export function featuresOf(adapter, { features }) {
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = adapter.info;
  return {
    software: isSoftware(adapter),
    subgroups: features.has("subgroups") ? [subgroupMinSize, subgroupMaxSize] : [0, 0],
    f16: features.has("shader-f16"),
    packed: navigator.gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product"),
  };
}

/** What a stored choice belongs to: the adapter and the browser, which brings the driver's other half. @param {GPUAdapter} adapter */
export function identify({ info }) {
  return [info.vendor, info.architecture, info.device, info.description, navigator.userAgent].join(" ");
}

/** A name for people. @param {GPUAdapter} adapter */
export function describe({ info }) {
  return info.description || [info.vendor, info.architecture || info.device].filter(Boolean).join(" ") || "WebGPU adapter";
}
