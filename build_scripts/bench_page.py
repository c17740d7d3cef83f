"""Measures the page in a real browser: start-up, first answer, speed, memory, and what JavaScript and Python cost per token.

    python build_scripts/bench_page.py                        the demo model in headless Chromium on its software adapter
    python build_scripts/bench_page.py MODELDIR --kernels     a model directory, with the time per kernel
    python build_scripts/bench_page.py --gpu --json           the machine's own adapter; JSON, as docs/benchmarks.md describes it

A visit is a new page in a running browser: the first with an empty profile, later ones with what those before have stored. `--cold`: each in a browser process
of its own. Each asks another question. Needs the packages of requirements-dev.txt and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import BrowserContext, Page, sync_playwright  # noqa: E402

from py_rwkv.bench import ceiling  # noqa: E402
from py_rwkv.bench.profile import cut, shares  # noqa: E402
from py_rwkv.checkpoint.model_dir import open_model_dir  # noqa: E402
from py_rwkv.models.builder import Limits  # noqa: E402
from py_rwkv.models.tuning import Features, preset  # noqa: E402
from py_rwkv.native import find_model  # noqa: E402
from py_rwkv.program import Program, Run, Step  # noqa: E402
from py_rwkv.runtime.programs import build_programs, device_buffers  # noqa: E402
from py_rwkv.runtime.upload import plan  # noqa: E402
from py_rwkv.site.build import build  # noqa: E402
from py_rwkv.site.serve import serve  # noqa: E402

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
SOFTWARE_ADAPTER = "--use-webgpu-adapter=swiftshader"
HELPER = Path(__file__).with_suffix(".js")
OVER = 8  # times that a decode kernel is replayed in one go: a browser notices the end of work only every 2 ms or so
MEMORY = 64 << 20  # bytes read and copied for the bandwidth
STAY = 4000  # ms that a page stays open: the browser keeps compiled code when nothing has been compiled for 2 s
# Each visit asks for another capital: the state of a question that was asked before is there already.
LANDS = "Norway Spain Greece Peru Chile Egypt Kenya Japan Cuba Malta".split()
WORDS = "the quick brown fox jumps over the lazy dog while seven wizards read old books about rivers and stars "


def main() -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("model", nargs="?", default="demo", help="a model directory, or `demo`")
    p.add_argument("--device", choices=("webgpu", "numpy"), default="webgpu")
    p.add_argument("--gpu", action="store_true", help="the machine's own adapter instead of the software one")
    p.add_argument("--site", type=Path, help="a built site; default: build one")
    p.add_argument("--prefill", type=int, default=128, help="length of the prompt in tokens, about (128)")
    p.add_argument("--decode", type=int, default=64, help="tokens decoded in a round (64)")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument(
        "--visits", type=int, default=4, choices=range(2, len(LANDS) + 1), metavar="N", help="the first and N − 1 later ones (4)"
    )
    p.add_argument("--cold", action="store_true", help="each visit in a new browser process")
    p.add_argument("--kernels", action="store_true", help="also the time per kernel")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    report = measured(args)
    print(json.dumps(report, indent=1, ensure_ascii=False) if args.json else table(report))


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Build, serve, visit a few times, and take the parts apart."""
    folder = Path(find_model(args.model)).resolve()
    with tempfile.TemporaryDirectory(prefix="py_rwkv-") as scratch:
        site = Path(scratch) / "site"
        if args.site:
            shutil.copytree(args.site, site)
        else:
            build(site)
        shutil.copy(HELPER, site)
        if args.model != "demo":
            (site / "models" / "bench").symlink_to(folder)
        with serve(site, port=0) as server:
            model = server.url + "models/" + ("demo/" if args.model == "demo" else "bench/")
            source = "demo" if args.model == "demo" else model
            visits: list[dict[str, Any]] = []
            for lands in [[land] for land in LANDS[: args.visits]] if args.cold else [LANDS[: args.visits]]:
                with browser(Path(scratch) / "profile", args.gpu) as context:
                    for land in lands:
                        with opened(context, server.url) as page:
                            visits.append(ask(page, "visit", [source, args.device, f"What is the capital of {land}?"]))
                            if len(visits) == args.visits:
                                memory = heaps(page)
                                speed = ask(page, "speed", [WORDS * -(-args.prefill // 20), args.decode, args.repeat])
                            page.wait_for_timeout(STAY)
            with browser(Path(scratch) / "other", args.gpu) as context, opened(context, server.url) as page:
                python = ask(page, "python", [model, args.decode, args.repeat])
                replays = replay(page, model, folder, args) if args.device == "webgpu" else {}
    info = visits[-1]["info"]
    for v in visits:
        del v["info"]
    best = lambda key: max(s[key] for s in speed)  # noqa: E731
    return {
        "adapter": info["device"]["adapter"],
        "device": info["device"]["kind"],
        "model": info["model"]["name"],
        "version": info["model"]["version"],
        "shape": f"{info['model']['layers']}x{info['model']['embd']}",
        "quant": info["model"]["quantization"],
        "prompt_tokens": speed[0]["prompt_tokens"],
        "prefill_tok_s": best("prefill_tokens_per_second"),
        "decode_tok_s": best("decode_tokens_per_second"),
        "dispatches_per_token": info["program"]["dispatches"],
        "dispatches_per_layer": info["program"]["dispatchesPerLayer"],
        "bytes_per_token": info["program"]["bytesPerToken"],
        "first_visit": visits[0],
        "later_visits": visits[1:],
        "gpu_bytes": info["memory"]["gpuBytes"],
        "wasm_bytes": info["memory"]["wasmBytes"],
        **memory,
        "python": python,
        **replays,
    }


@contextmanager
def browser(profile: Path, gpu: bool) -> Iterator[BrowserContext]:
    """A browser process."""
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    arguments = ARGUMENTS + ([] if gpu else [SOFTWARE_ADAPTER])
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=executable, args=arguments)
        try:
            yield context
        finally:
            context.close()


@contextmanager
def opened(context: BrowserContext, url: str) -> Iterator[Page]:
    """A page of the site, ready to be asked for something."""
    page = context.new_page()
    page.set_default_timeout(600_000)
    page.goto(url)
    page.wait_for_selector("html[data-state]")
    yield page
    page.close()


def ask(page: Page, function: str, argument: Any) -> Any:
    """Call a function of bench_page.js, which lies beside the site's own modules."""
    return page.evaluate(f"async ([name, argument]) => (await import('{page.url}{HELPER.name}'))[name](argument)", [function, argument])


def heaps(page: Page) -> dict[str, int]:
    """JavaScript heaps in bytes after a collection: of the page, and of its worker where the browser tells."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    out = {"page_heap_bytes": session.send("Runtime.getHeapUsage")["usedSize"]}
    for worker in page.workers:
        used = worker.evaluate("globalThis.performance?.memory?.usedJSHeapSize")
        if used:
            out["worker_heap_bytes"] = used
    return out


def replay(page: Page, model: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The adapter's ceiling, JavaScript's time per dispatch, and with `--kernels` the time per kernel of one token and of a prefill chunk."""
    manifest, _ = open_model_dir(folder)
    shards = [f"{model}{s.sha256}.safetensors" for s in manifest.shards]
    one = Step.of([Run(0, [5])])

    def replayed(programs: list[Program], runs: list[dict[str, Any]], weights: list[Program]) -> dict[str, Any]:
        uploads = plan(device_buffers(weights), manifest.tensors, len(shards)) if weights else []
        request = {
            "programs": [p.to_wire() for p in programs],
            "uploads": [[asdict(u) for u in of_shard] for of_shard in uploads],
            "shards": shards if weights else [],
            "runs": runs,
        }
        answer: dict[str, Any] = ask(page, "replay", request)
        return answer

    def run(program: Program, step: Step, read: str, **more: Any) -> dict[str, Any]:
        asked = {"program": program.name, "step": list(step.encode()), "counts": [step.rows, step.runs, step.outputs], "read": read}
        return asked | {"before": "", "nbytes": 16, "times": 1, "repeat": 4 * args.repeat, "encodes": 0} | more

    empty = ceiling.programs(Limits(), MEMORY)
    answer = replayed(empty, [run(p, one, "bench.counter") for p in empty], [])
    seconds = {p.name: r["total"] / 1e3 for p, r in zip(empty, answer["runs"], strict=True)}
    found = ceiling.derived(seconds, empty[-1].buffers["bench.source"].nbytes)

    forms = preset(Features(**answer["features"] | {"subgroups": tuple(answer["features"]["subgroups"])}))
    limits = Limits(*(answer["limits"][name] for name in ("bindingBytes", "bufferBytes", "workgroups", "textureRows")))
    decode, prefill = build_programs(manifest, forms.decode, forms.prefill, limits, 2)
    chunk = Step.of([Run(0, [5] * min(args.prefill, forms.prefill.chunk))])
    cases = {"decode": (decode, one, OVER), f"{chunk.rows} tokens": (prefill, chunk, 1)}
    parts = {name: cut(program) if args.kernels else [] for name, (program, _, _) in cases.items()}
    output = decode.buffers["candidates"].nbytes // decode.max_outputs
    runs = [run(program, step, "candidates", nbytes=output, encodes=50 if step is one else 0) for program, step, _ in cases.values()]
    for name, (program, step, times) in cases.items():
        runs += [run(p, step, "candidates", before=program.name, times=times, repeat=args.repeat) for p in parts[name]]
    answers = replayed([decode, prefill, *(p for ps in parts.values() for p in ps)], runs, [decode, prefill])["runs"]
    report = {
        **{name: getattr(found, name) for name in ("copy_gb_s", "read_gb_s", "dispatch_us", "roundtrip_us")},
        "limits": found.limits(decode.bytes_per_token, decode.dispatches),
        "step_ms": {name: a["total"] for name, a in zip(cases, answers, strict=False)},
        "js_ms_per_step": answers[0]["encode"],
        "js_us_per_dispatch": answers[0]["encode"] * 1e3 / decode.dispatches,
        "js_own_us_per_dispatch": answers[0]["own"] * 1e3 / decode.dispatches,
    }
    if args.kernels:
        left, trip = iter(answers[len(cases) :]), found.roundtrip_us / 1e3
        took = {name: [max(0.0, next(left)["total"] - trip) / 1e3 / times for _ in parts[name]] for name, (_, _, times) in cases.items()}
        report["kernels"] = {name: [s.to_json() for s in shares(cases[name][0], took[name])] for name in cases}
    return report


def table(r: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{r['model']}: RWKV-{r['version']} {r['shape']}, {r['quant']}", f"{r['device']}: {r['adapter']}"]
    for visit, v in [("first visit", r["first_visit"]), *(("later visit", v) for v in r["later_visits"])]:
        phases = ", ".join(f"{name} {ms:.0f}" for name, ms in v["phases_ms"].items())
        lines.append(f"{visit:<14} ready {v['ready_ms']:.0f} ms, first answer {v['first_answer_ms']:.0f} ms ({phases})")
    lines += [
        f"prefill        {r['prefill_tok_s']:.1f} tokens/s ({r['prompt_tokens']} tokens)",
        f"decode         {r['decode_tok_s']:.1f} tokens/s ({r['dispatches_per_token']} dispatches, {r['bytes_per_token'] / 1e6:.1f} MB a token)",
        f"memory         GPU {r['gpu_bytes'] / 1e6:.0f} MB, wasm {r['wasm_bytes'] / 1e6:.0f} MB, page {r['page_heap_bytes'] / 1e6:.1f} MB"
        + (f", worker {r['worker_heap_bytes'] / 1e6:.1f} MB" if "worker_heap_bytes" in r else ""),
        "Python's share "
        + ", ".join(f"{n} {p['python_ms']:.2f} ms, {p['calls']:.2f} calls to JavaScript" for n, p in r["python"].items())
        + " a token",
    ]
    if "limits" in r:
        lines += [
            f"JS overhead    {r['js_us_per_dispatch']:.2f} µs a dispatch ({r['js_own_us_per_dispatch']:.3f} µs of it our own code), {r['js_ms_per_step']:.3f} ms a step",
            f"limits         {r['limits']['memory_tok_s']:.0f} tokens/s by memory ({r['read_gb_s']:.2f} GB/s read, {r['copy_gb_s']:.2f} copied), "
            f"{r['limits']['dispatch_tok_s']:.0f} by dispatches ({r['dispatch_us']:.1f} µs each, {r['roundtrip_us']:.0f} µs a round trip)",
            "steps          " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in r["step_ms"].items()),
        ]
    for name, parts in r.get("kernels", {}).items():
        total = sum(s["ms"] for s in parts)
        lines.append(f"\n{name}: {total:.2f} ms")
        lines += [
            f"  {s['kernel']:<15} {s['place']:<14} {s['calls']:>4} calls {s['ms']:>9.2f} ms {s['ms'] / total:>6.1%}"
            for s in sorted(parts, key=lambda s: -s["ms"])
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
