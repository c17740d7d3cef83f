"""Our page and wllama (llama.cpp in WebAssembly, one thread) in the same browser on the same weights, in turns.

    python build_scripts/bench_wllama.py                     the demo model; its GGUF is written first
    python build_scripts/bench_wllama.py --model MODELDIR --gguf FILE.gguf --gpu --json

wllama comes from npm, pinned here, and is no part of the site. It decodes on one CPU thread; we use the adapter that Chromium has, the software one without `--gpu`.
Needs the packages of requirements-dev.txt and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench_page import ARGUMENTS, CHROMIUM, SOFTWARE_ADAPTER, WORDS
from playwright.sync_api import Page, sync_playwright
from write_gguf import write

from py_rwkv.native import find_model
from py_rwkv.site import vendor
from py_rwkv.site.build import build
from py_rwkv.site.serve import serve

WLLAMA = {
    "name": "@wllama/wllama",
    "version": "3.8.1",
    "license": "MIT",
    "integrity": "sha512-Pl7BEJhPU8OHnV/yhn3DFZYhLLOdSHh+4TND79WCftHnlUAdQPAsyc/CfIOY+4mVxvf5VW3Xw3Uf7BBfotS1gw==",
}
HELPER = Path(__file__).with_suffix(".js")
OURS = "async ([source, slots]) => { const start = performance.now(); await rwkv.load(source); return performance.now() - start; }"


def main() -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--model", default="demo", help="a model directory, or `demo`")
    p.add_argument("--gguf", type=Path, help="the same model for wllama; default: written from MODEL (write_gguf.py)")
    p.add_argument("--prefill", type=int, default=128, metavar="TOKENS", help="length of the prompt, about (128)")
    p.add_argument("--decode", type=int, default=64, metavar="TOKENS", help="tokens decoded in a round (64)")
    p.add_argument("--repeat", type=int, default=3, metavar="ROUNDS")
    p.add_argument("--gpu", action="store_true", help="the machine's own adapter instead of the software one")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    report = measured(args)
    print(json.dumps(report, indent=1, ensure_ascii=False) if args.json else table(report))


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Build and serve the site with wllama beside it, load both, and let them take turns."""
    folder = Path(find_model(args.model)).resolve()
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with tempfile.TemporaryDirectory(prefix="py_rwkv-") as scratch, sync_playwright() as playwright:
        site = build(Path(scratch) / "site")
        package = vendor.npm_package(WLLAMA)
        other = site / "wllama"
        other.mkdir()
        for file in (package / "esm/index.js", package / "esm/wasm/wllama.wasm", HELPER):
            shutil.copyfile(file, other / file.name)
        if args.gguf:
            shutil.copyfile(args.gguf, other / "model.gguf")
        else:
            write(str(folder), other / "model.gguf")
        (site / "models" / "measured").symlink_to(folder)
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS + ([] if args.gpu else [SOFTWARE_ADAPTER]))
        try:
            with serve(site, port=0) as server:
                ours, theirs = browser.new_page(), browser.new_page(bypass_csp=True)  # wllama makes its workers from blobs
                for page in (ours, theirs):
                    page.set_default_timeout(600_000)
                    page.goto(server.url + "bench.html")
                    page.wait_for_selector("html[data-state=ready]")
                return race(args, ours, theirs, server.url)
        finally:
            browser.close()


def race(args: argparse.Namespace, ours: Page, theirs: Page, url: str) -> dict[str, Any]:
    ready = ours.evaluate(OURS, [url + "models/measured/", 4])
    loaded = ask(theirs, url, "load", [f"{url}wllama/index.js", f"{url}wllama/wllama.wasm", f"{url}wllama/model.gguf"])
    plan = {"prefill": args.prefill, "decode": args.decode, "repeat": 1}
    mine, yours = [], []
    for i in range(args.repeat + 1):  # the first warms up
        report = ours.evaluate("(plan) => rwkv.bench(plan)", plan if i else {**plan, "decode": 4})
        answer = ask(theirs, url, "answer", [f"{i} {WORDS * -(-args.prefill // 20)}", args.decode if i else 4])
        if i:
            mine.append(report)
            yours.append(answer)

    def middle(rows: list[dict[str, Any]], key: str) -> float:
        return median(row[key] for row in rows)

    report = mine[-1] | {key: middle(mine, key) for key in ("prefill_tok_s", "decode_tok_s", "draw_tok_s") if key in mine[-1]}
    other = {
        "package": f"{WLLAMA['name']} {WLLAMA['version']}",
        **loaded,
        "prompt_tokens": yours[-1]["prompt_n"],
        "prefill_tok_s": middle(yours, "prompt_per_second"),
        "decode_tok_s": middle(yours, "predicted_per_second"),
    }
    decode = report.get("draw_tok_s", report["decode_tok_s"])
    other["ratios"] = {"prefill": report["prefill_tok_s"] / other["prefill_tok_s"], "decode": decode / other["decode_tok_s"]}
    return report | {"ready_ms": ready, "beside": other}


def ask(page: Page, url: str, function: str, argument: Any) -> Any:
    """Call a function of bench_wllama.js."""
    return page.evaluate(f"async ([name, argument]) => (await import('{url}wllama/{HELPER.name}'))[name](argument)", [function, argument])


def table(r: dict[str, Any]) -> str:
    """The report for people."""
    other = r["beside"]
    drawn = f", {r['draw_tok_s']:.1f} as a chat decodes" if "draw_tok_s" in r else ""
    return "\n".join(
        [
            f"{r['model']}, RWKV-{r['version']} {r['shape']}; {r['device']}: {r['adapter']}",
            f"ours    {r['quant']}: prefill {r['prefill_tok_s']:.1f}, decode {r['decode_tok_s']:.1f} tokens/s{drawn}; ready after {r['ready_ms']:.0f} ms",
            f"wllama  {other['package']}, {other['threads']} thread: prefill {other['prefill_tok_s']:.1f} ({other['prompt_tokens']} tokens), "
            f"decode {other['decode_tok_s']:.1f} tokens/s; ready after {other['ready_ms']:.0f} ms",
            f"ratio   {other['ratios']['prefill']:.2f} × prefill, {other['ratios']['decode']:.2f} × decode",
        ]
    )


if __name__ == "__main__":
    main()
