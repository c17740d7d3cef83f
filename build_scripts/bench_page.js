// What bench_page.py asks a page of the site to do. It is copied beside the page's own modules; each function gets one argument and returns plain data.

const site = new URL("./", import.meta.url).href;

/** Load a model and ask it something: ms since the navigation began. */
export async function visit([source, device, question]) {
  const asked = performance.now();
  const info = await rwkv.load(source, { device });
  const ready = performance.now();
  let first = 0;
  let text = "";
  const messages = [{ role: "user", content: question }];
  for await (const chunk of await rwkv.chat.completions.create({ messages, stream: true, temperature: 0, max_tokens: 16 })) {
    const part = chunk.choices[0].delta.content ?? "";
    if (part && !first) first = performance.now();
    text += part;
  }
  const { Store } = await import("./engine/store.js"); // a next visit finds what this one has kept, which it does when nobody asks for anything
  for (const store = await Store.open(); device !== "numpy" && !(await store.kept("python")); ) await new Promise((go) => setTimeout(go, 100));
  return { asked_ms: asked, ready_ms: ready, first_answer_ms: first, phases_ms: info.timings, info, answer: text };
}

/** Usage and timings of some answers. The first warms up; each prompt begins differently, so that no state is reused. */
export async function speed([prompt, tokens, rounds]) {
  const out = [];
  for (let i = 0; i <= rounds; i++) {
    const request = { prompt: i + " " + prompt, stream: true, temperature: 0, max_tokens: tokens, stop: [], ban: [0] };
    let last;
    for await (const chunk of await rwkv.completions.create(request)) last = chunk;
    if (i) out.push({ ...last.usage, ...last.timings });
  }
  return out;
}

/** ms of our own code in a replay: with commands that do nothing, what a thousand more replays in one submit take, each. @param {(times: number) => Promise<unknown>} run */
async function own(run) {
  const commands = GPUComputePassEncoder.prototype;
  const names = ["setPipeline", "setBindGroup", "dispatchWorkgroups"];
  const kept = names.map((name) => commands[name]);
  const least = async (times) => {
    let ms = Infinity;
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      const done = run(times);
      ms = Math.min(ms, performance.now() - start);
      await done;
    }
    return ms;
  };
  try {
    for (const name of names) commands[name] = () => {};
    return ((await least(1001)) - (await least(1))) / 1000;
  } finally {
    for (const [i, name] of names.entries()) commands[name] = kept[i];
  }
}

/**
 * Replay Programs with engine/gpu.js itself. `total`: ms of the fastest replay, the adapter's work included; `encode`: what JavaScript spends on one until its
 * commands are submitted, the mean over many because a page's clock counts in 0.1 ms.
 */
export async function replay({ programs, uploads, shards, runs }) {
  const { Gpu } = await import("./engine/gpu.js");
  const gpu = await Gpu.create();
  try {
    await gpu.allocate(programs);
    for (const [i, url] of shards.entries()) await gpu.upload(await (await fetch(url)).arrayBuffer(), uploads[i]);
    await gpu.compile(() => {});
    const out = [];
    for (const { program, before, step, counts, read, nbytes, times, repeat, encodes } of runs) {
      const run = (name, times) => gpu.run([name], times, new Uint8Array(step), ...counts, read, nbytes);
      let total = Infinity;
      let encode = 0;
      for (let i = 0; i <= repeat; i++) {
        if (before) await run(before, 1);
        const start = performance.now();
        await run(program, times);
        if (i) total = Math.min(total, performance.now() - start);
      }
      for (let i = 0; i < encodes; i++) {
        const start = performance.now();
        const done = run(program, times);
        encode += (performance.now() - start) / encodes;
        await done;
      }
      out.push({ total, encode, own: encodes ? await own((times) => run(program, times)) : 0 });
    }
    return { adapter: gpu.adapter, features: gpu.features, limits: gpu.limits, runs: out };
  } finally {
    gpu.close();
  }
}

/** The page's Python around a Gpu that counts how long Python waits for it: what is left of the time is Python's share, and its event loop's. */
export async function python([model, tokens, rounds]) {
  const build = await (await fetch(site + "build.json")).json();
  const home = site + build.pyodide.path;
  const { loadPyodide } = await import(home + "pyodide.mjs");
  const pyodide = await loadPyodide({ indexURL: home });
  const archive = await (await fetch(site + build.package.file)).arrayBuffer();
  pyodide.unpackArchive(archive, "zip", { extractDir: pyodide.runPython("import site; site.getsitepackages()[0]") });
  const { Gpu } = await import("./engine/gpu.js");
  const gpu = await Gpu.create();
  const waiting = { ms: 0, calls: 0 };
  const run = gpu.run.bind(gpu);
  gpu.run = async (...args) => {
    const start = performance.now();
    try {
      return await run(...args);
    } finally {
      waiting.ms += performance.now() - start;
      waiting.calls++;
    }
  };
  const manifest = await (await fetch(model + "manifest.json")).text();
  const { shards } = JSON.parse(manifest);
  const read = async (i) => (await fetch(`${model}${shards[i].sha256}.safetensors`)).arrayBuffer();
  globalThis.bench = { gpu, manifest, read, waiting, tokens, rounds };
  try {
    return JSON.parse(await pyodide.runPythonAsync(SHARES));
  } finally {
    gpu.close();
  }
}

const SHARES = `
import js, json, time
from py_rwkv.browser.service import open_model
from py_rwkv.runtime.generate import generate
from py_rwkv.runtime.sampling import Sampling

async def steps():
    for _ in range(js.bench.tokens):
        await session.step(5)

async def text(sampling):
    settings = dict(tokenizer=engine.tokenizer, sampling=sampling, max_tokens=js.bench.tokens, stop_tokens=())
    async for event in generate(session, [5], **settings):
        pass

async def measured(work):
    shares = []
    for _ in range(js.bench.rounds):
        session.reset()
        waiting = js.bench.waiting
        waiting.ms = waiting.calls = 0
        start = time.perf_counter()
        await work()
        total = (time.perf_counter() - start) * 1e3
        shares.append((total - waiting.ms) / js.bench.tokens)
    return {"python_ms": min(shares), "calls": waiting.calls / js.bench.tokens}

engine = (await open_model(js.bench.manifest, js.bench.read, js.bench.gpu, lambda *progress: None)).engine
session = engine.session()
penalized = Sampling(temperature=1.0, top_p=0.5, presence_penalty=0.4, frequency_penalty=0.4, seed=1)
works = {"step": steps, "greedy": lambda: text(Sampling(temperature=0, seed=1)), "sampled": lambda: text(penalized)}
shares = {name: await measured(work) for name, work in works.items()}
if engine.draws:
    engine.draws.fixed = 8  # tokens a submit, as a fast adapter makes them
    shares["eight a submit"] = await measured(works["sampled"])
json.dumps(shares)
`;
