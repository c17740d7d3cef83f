// What bench_wllama.py asks a page to do with wllama. It is served beside the site; each function gets one argument and returns plain data.

let wllama;

/** Load a GGUF: ms from the call to ready. One thread, no GPU. */
export async function load([code, wasm, gguf]) {
  const start = performance.now();
  const { Wllama, LoggerWithoutDebug } = await import(code);
  wllama = new Wllama({ default: wasm }, { suppressNativeLog: true, logger: LoggerWithoutDebug });
  await wllama.loadModelFromUrl(gguf, { n_threads: 1, n_gpu_layers: 0, n_ctx: 4096, useCache: false });
  const { n_layer, n_embd, n_vocab } = wllama.getLoadedContextInfo();
  return { ready_ms: performance.now() - start, threads: wllama.getNumThreads(), libllama: Wllama.getLibllamaVersion(), n_layer, n_embd, n_vocab };
}

/** One answer, and llama.cpp's own timings of it. */
export async function answer([prompt, tokens]) {
  const made = await wllama.createCompletion({ prompt, max_tokens: tokens, temperature: 0, cache_prompt: false, ignore_eos: true });
  return { text: made.choices[0].text, ...made.timings, ...made.usage };
}
