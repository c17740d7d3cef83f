"""The whole comparison in one call: random models in every encoding beside web-rwkv on the same adapter, rounds in turn, and what was asked for beside what was reached.

    python build_scripts/bench_race.py                                     what fits this adapter: all sizes on a GPU, 12×768 on a software adapter
    python build_scripts/bench_race.py --models 6:24x2048 7:24x2048 --quants int8 nf4 --out race.json

Writes one JSON file, after every case anew, and prints a table. web-rwkv runs V6; our V7 stands beside it. PyPI's `web-rwkv-py` is taken from this Python, or from a
virtual environment of its own that is made at the first call. Weights are random, are streamed through files in `--scratch` and vanish afterwards; a case that
does not fit into memory or onto the disk is left out, and the reason stands in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from py_rwkv import __version__  # noqa: E402
from py_rwkv.bench import ceiling, models, peer  # noqa: E402
from py_rwkv.bench.measure import Plan, bench  # noqa: E402
from py_rwkv.checkpoint.convert import convert, open_weights  # noqa: E402
from py_rwkv.checkpoint.export import write_safetensors  # noqa: E402
from py_rwkv.checkpoint.model_dir import open_model_dir  # noqa: E402
from py_rwkv.checkpoint.shards import DirectorySink  # noqa: E402
from py_rwkv.devices.gpu_quantizer import GpuQuantizer  # noqa: E402
from py_rwkv.errors import RwkvError  # noqa: E402
from py_rwkv.models.config import Config, tensors  # noqa: E402
from py_rwkv.native import _Ready, open_device  # noqa: E402
from py_rwkv.runtime.engine import Engine  # noqa: E402

SIZES = ("12x768", "24x2048", "32x2560")
QUANTS = ("f16", "int8", "nf4", "int4")
TARGETS = {
    "software": {"decode": 4.0, "prefill": 4.0},
    "gpu": {"decode": 2.0, "prefill": 2.0, "of_copy": 0.6},
}  # ratios to the peer; part of the copy bandwidth
LARGE = 24 * 2048  # layers × width from which the part of the copy bandwidth counts, at 8 bits and more
BYTES = {"f16": 2.0, "int8": 1.04, "nf4": 0.54, "int4": 0.57}  # a weight, about
SPARE = 1 << 30  # bytes of memory and of disk that stay free


def main() -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument(
        "--models", nargs="+", metavar="VERSION:LAYERSxWIDTH[:VOCABULARY]", help="default: V6 and V7 of the sizes that suit the adapter"
    )
    p.add_argument("--quants", nargs="+", default=list(QUANTS), choices=QUANTS)
    p.add_argument("--prefill", type=int, default=128, metavar="TOKENS")
    p.add_argument("--decode", type=int, default=32, metavar="TOKENS")
    p.add_argument("--repeat", type=int, default=3, metavar="ROUNDS")
    p.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="cpu: numpy, to try the script out")
    p.add_argument("--no-peer", action="store_true", help="only our side")
    p.add_argument("--peer-venv", type=Path, default=ROOT / ".cache" / "peer", help="where its environment is, or is made")
    p.add_argument("--scratch", type=Path, help="where weights are written meanwhile; default: the system's temporary folder")
    p.add_argument("--out", type=Path, default=Path("race.json"))
    args = p.parse_args()
    report = race(args)
    print(table(report))


def race(args: argparse.Namespace) -> dict[str, Any]:
    """Every case, one after the other. The file is complete after each."""
    device = open_device(args.device)
    software = device.kind != "wgpu" or device._adapter.info["adapter_type"] == "CPU"
    names = args.models or [f"{v}:{size}" for size in SIZES[: 1 if software else None] for v in "67"]
    wanted = [(name, models.random_config(f"random:{name}")) for name in names]
    python, missing = (None, "not asked for") if args.no_peer else peer_python(args.peer_venv)
    limits = asyncio.run(ceiling.measure(device, most=ceiling.MOST_BYTES if args.device == "gpu" else 4 << 20))
    report: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "adapter": device.adapter,
        "kind": "software" if software else "gpu",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "versions": {"py_rwkv": __version__, "python": platform.python_version(), "wgpu": version("wgpu")},
        "arguments": sys.argv[1:],
        "ceiling": asdict(limits),
        "targets": TARGETS["software" if software else "gpu"],
        "cases": [],
        "skipped": [],
    }
    report["versions"][peer.PACKAGE] = peer.installed(python) if python else f"missing: {missing}"
    device.close()
    for model, config in wanted:
        try:
            with files(config, args.scratch, bool(python) and config.version in peer.VERSIONS, software) as (official, theirs):
                for quant in args.quants:
                    note(f"{model} {quant}")
                    try:
                        case = asyncio.run(measured(args, official, theirs, config, quant, python, limits))
                        report["cases"].append(case | {"verdicts": verdicts(case, report["targets"])})
                        note(line(report["cases"][-1]))
                    except Exception as e:  # an adapter that runs out of memory raises what it likes, and the other cases shall still run
                        skip(report, model, quant, f"{type(e).__name__}: {e}"[:300])
                    write(args.out, report)
        except NoRoom as e:
            skip(report, model, "all", str(e))
    write(args.out, report)
    return report


class NoRoom(Exception):
    """A model does not fit; the text says where."""


@contextlib.contextmanager
def files(config: Config, scratch: Path | None, beside: bool, software: bool) -> Iterator[tuple[Path, Path | None]]:
    """(random weights under official names, the same for the peer or None), and a folder around them for what is made of them."""
    weights = sum(math.prod(t.shape) for t in tensors(config))
    with tempfile.TemporaryDirectory(prefix="py_rwkv-", dir=scratch) as name:
        folder = Path(name)
        kinds = 2 + beside  # official, packed, the peer's
        room(f"the disk of {folder.parent}", shutil.disk_usage(folder).free, 2 * weights * kinds)
        room(
            "memory", free_memory(), 2 * weights * (2 * beside + software) + 4 * config.vocab * config.embd
        )  # a software adapter's memory is the machine's
        official, theirs = folder / "random.safetensors", folder / "peer.st" if beside else None
        note(f"RWKV-{config.version} {config.layers}x{config.embd}: writing {weights / 1e9:.2f} G random weights")
        write_safetensors(official, models.random_model(config).tensors, {})
        if theirs:
            models.write_web_rwkv(str(official), theirs)
        yield official, theirs


def room(where: str, free: int, needed: int) -> None:
    if free - SPARE < needed:
        raise NoRoom(f"needs {needed / 1e9:.1f} GB of {where}, of which {free / 1e9:.1f} GB are free")


def free_memory() -> int:
    """Bytes that the system would give us; where it does not say, enough."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(text for text in lines if text.startswith("MemAvailable")).split()[1]) * 1024
    return 1 << 50


async def measured(
    args: argparse.Namespace, official: Path, theirs: Path | None, config: Config, quant: str, python: str | None, limits: ceiling.Ceiling
) -> dict[str, Any]:
    """One model in one encoding: pack it to a folder, load it shard by shard, race."""
    plan = Plan(args.prefill, args.decode, args.repeat)
    kind = "gpu" if args.device == "gpu" else "cpu"
    folder = official.parent / quant
    device = open_device(kind)
    quantizer = GpuQuantizer(device) if kind == "gpu" and quant != "f16" else None
    await convert(open_weights(official), DirectorySink(folder), strategy=quant, quantizer=quantizer)
    device.close()
    try:
        manifest, shards = open_model_dir(folder)
        device = open_device(kind)
        try:
            engine = await Engine.load(manifest, _Ready(shards), device, slots=2)
            try:
                if not theirs or not python:
                    return await bench(engine, plan, limits)
                with peer.running(str(official), config, peer.quantization(quant), python=python, file=theirs) as running:
                    return await bench(engine, plan, limits, running)
            except RwkvError as e:
                if e.code != "peer-failed":
                    raise
                note(e.message)
                return await bench(engine, plan, limits) | {"peer_error": e.message}
        finally:
            device.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def verdicts(case: dict[str, Any], targets: dict[str, float]) -> dict[str, dict[str, Any]]:
    """What is asked of this case, what was found, and whether that is enough. Decoding is judged as chats decode: where the device draws, by that."""
    found: dict[str, float] = {}
    if "against" in case:
        ratios = case["against"]["ratios"]
        found = {"decode": ratios.get("draw", ratios["decode"]), "prefill": ratios["prefill"]}
    layers, width = map(int, case["shape"].split("x"))
    if layers * width >= LARGE and case["quant"] in ("f16", "int8"):
        found["of_copy"] = case["of_limits"]["copy"]
    return {name: {"target": t, "found": found[name], "pass": found[name] >= t} for name, t in targets.items() if name in found}


def peer_python(folder: Path) -> tuple[str | None, str]:
    """(a Python that has the peer, "") or (None, why there is none)."""
    for python in (sys.executable, str(folder / "bin" / "python"), str(folder / "Scripts" / "python.exe")):
        with contextlib.suppress(RwkvError):
            peer.installed(python)
            return python, ""
    try:
        note(f"making {folder} for {peer.PACKAGE}")
        venv.create(folder, with_pip=True, clear=True)
        python = next(str(f) for f in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if f.exists())
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"{peer.PACKAGE}=={peer.TESTED}"], check=True, capture_output=True, text=True
        )
        return python, ""
    except (OSError, StopIteration, subprocess.CalledProcessError) as e:
        reason = str(getattr(e, "stderr", "") or e).strip().splitlines()[-1]
        note(f"going on without {peer.PACKAGE}: {reason}")
        return None, reason


def skip(report: dict[str, Any], model: str, quant: str, reason: str) -> None:
    note(f"skipped {model} {quant}: {reason}")
    report["skipped"].append({"model": model, "quant": quant, "reason": reason})


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write(path: Path, report: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.replace(path)


def line(c: dict[str, Any]) -> str:
    """A row of the table: ours, the peer's, ratios with ✓ or ✗ where something was asked for."""
    against, judged = c.get("against", {}), c["verdicts"]

    def mark(name: str, text: str) -> str:
        return text + (" ✓" if judged[name]["pass"] else " ✗") if name in judged else text

    ratios = against.get("ratios", {})
    decode = ratios.get("draw", ratios.get("decode"))
    cells = [
        f"V{c['version']} {c['shape']}",
        c["quant"],
        f"{c['prefill_tok_s']:.0f}",
        f"{c['decode_tok_s']:.1f}",
        f"{c['draw_tok_s']:.1f}" if "draw_tok_s" in c else "–",
        mark("of_copy", f"{c['of_limits']['copy']:.0%}"),
        f"{against['prefill_tok_s']:.0f}" if against else "–",
        f"{against['decode_tok_s']:.1f} ({against['quant']})" if against else "–",
        mark("prefill", f"{ratios['prefill']:.2f}") if against else "–",
        mark("decode", f"{decode:.2f}") if against else "–",
    ]
    return "| " + " | ".join(cells) + " |"


def table(report: dict[str, Any]) -> str:
    """Markdown, as docs/benchmarks.md has it."""
    head = ["model", "encoding", "prefill tok/s", "decode step by step", "decode drawn", "of the copy bandwidth"]
    head += ["web-rwkv prefill", "web-rwkv decode", "prefill ×", "decode ×"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines = [f"{report['adapter']}, {report['machine']}, {report['date']}; {versions}", ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *map(line, report["cases"])]
    lines += [f"\nskipped {s['model']} {s['quant']}: {s['reason']}" for s in report["skipped"]]
    judged = [v for c in report["cases"] for v in c["verdicts"].values()]
    lines.append(
        f"\n{sum(v['pass'] for v in judged)} of {len(judged)} targets met ({', '.join(f'{n} ≥ {t:g}' for n, t in report['targets'].items())})"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
