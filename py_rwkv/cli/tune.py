"""Choosing the kernels' forms for this machine: tune."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import fields
from typing import Any

from py_rwkv.cli.base import Commands, opened
from py_rwkv.errors import RwkvError
from py_rwkv.models.tuning import Tuning


def register(commands: Commands) -> None:
    c = commands.add(
        "tune",
        run,
        "Measure which forms of the kernels are the fastest for a model on this adapter; later loads use them (docs/tuning.md).",
    )
    c.add_argument(
        "--rounded",
        action="store_true",
        help="also try forms that round activations to 8 bits: results differ a little from other devices'",
    )
    c.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> None:
    if args.device == "cpu":
        raise RwkvError("bad-setting", name="device", expected="gpu | auto", found="cpu")
    report = asyncio.run(measured(args))
    print(json.dumps(report, indent=1) if args.json else table(report))


async def measured(args: argparse.Namespace) -> dict[str, Any]:
    engine = await opened(args, tuning="rounded" if args.rounded else "measure")
    try:
        report: dict[str, Any] = {"adapter": engine.device.adapter, "model": engine.manifest.name}
        report.update(engine.tuning)
        return report
    finally:
        engine.close()


def table(report: dict[str, Any]) -> str:
    """The forms for people, one line per property."""
    if "source" not in report:
        return f"{report['adapter']} has nothing to choose"
    lines = [f"{report['model']} on {report['adapter']}: {report['source']}", f"{'':<16} {'decode':<8} prefill"]
    lines += [f"{f.name:<16} {report['decode'][f.name]!s:<8} {report['prefill'][f.name]}" for f in fields(Tuning)]
    if failure := report.get("failure"):
        lines.append(failure["message"])
    return "\n".join(lines)
