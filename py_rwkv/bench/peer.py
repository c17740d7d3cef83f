"""web-rwkv beside us: PyPI's `web-rwkv-py` in a process of its own, on the same weights and adapter, taking turns with our engine.

`python -m py_rwkv.bench.peer FILE.st LAYERS_INT8 LAYERS_NF4` answers each line of JSON `{"prompt": [ids], "steps": n}` with the seconds its prefill and its
steps took. A process of its own, because a Rust panic must not end the benchmark, and its memory must be gone afterwards; it may be another Python's.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from py_rwkv.bench.models import PEER_BITS, peer_bytes_per_token, write_web_rwkv
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config

NAME, PACKAGE, TESTED = "web-rwkv", "web-rwkv-py", "0.2.3"
VERSIONS = ("4", "5.1", "5.2", "6")
DISPATCHES = {
    "4": 22,
    "5.1": 26,
    "5.2": 26,
    "6": 32,
}  # per layer and decoded token, counted in its source (src/runtime/v4.rs … v6.rs, 0.10.20)
QUANTIZATIONS = {
    "f32": "f16",
    "f16": "f16",
    "int8": "int8",
}  # what it is given beside our encodings; anything with fewer bits stands beside its nf4


@dataclass(frozen=True)
class Peer:
    """A running peer: `round` measures it once."""

    process: subprocess.Popen[str]
    config: Config
    quant: str
    version: str

    def round(self, prompt: Sequence[int], steps: int) -> dict[str, Any]:
        """Clear its state, feed the prompt, then decode: `{"prefill": seconds, "steps": [seconds], "logits": [V]}` (logits after the prompt)."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin and stdout
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps({"prompt": list(prompt), "steps": steps}) + "\n")
            stdin.flush()
        line = stdout.readline()
        if not line:
            raise RwkvError("peer-failed", peer=NAME, reason=f"it ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def facts(self) -> dict[str, Any]:
        return {
            "name": NAME,
            "package": f"{PACKAGE} {self.version}",
            "quant": self.quant,
            "bytes_per_token": peer_bytes_per_token(self.config, self.quant),
            "dispatches_per_layer": DISPATCHES[self.config.version],
        }


def quantization(ours: str) -> str:
    """What the peer runs beside a strategy of ours, by the encoding most matrices have."""
    return QUANTIZATIONS.get(ours.split(",")[0].split()[0], "nf4")


def installed(python: str = sys.executable) -> str:
    """The package's version in this Python. RwkvError `tool-missing`."""
    try:
        if python == sys.executable:
            return version(PACKAGE)
        code = f"from importlib.metadata import version; print(version({PACKAGE!r}))"
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    except (PackageNotFoundError, subprocess.CalledProcessError, OSError):
        raise RwkvError("tool-missing", tool=PACKAGE, install=f"{python} -m pip install {PACKAGE}=={TESTED}") from None


def check(config: Config, python: str = sys.executable) -> str:
    """Its version. RwkvError `tool-missing` without the package, `peer-cannot` for a model it does not run."""
    found = installed(python)
    if config.version not in VERSIONS:
        raise RwkvError("peer-cannot", peer=f"{PACKAGE} {found}", expected=f"RWKV {', '.join(VERSIONS)}", found=f"RWKV {config.version}")
    return found


@contextlib.contextmanager
def running(
    model: str, config: Config, quant: str, *, python: str = sys.executable, file: str | os.PathLike[str] | None = None
) -> Iterator[Peer]:
    """The peer with MODEL (a path) loaded in one of its quantizations: f16, int8, nf4. file: what `write_web_rwkv` has made of MODEL already."""
    found = check(config, python)
    if quant not in PEER_BITS:
        raise RwkvError("bad-setting", name="quantization of the peer", expected=" | ".join(PEER_BITS), found=quant)
    with TemporaryDirectory(prefix="py_rwkv-") as folder:
        if file is None:
            file = Path(folder) / "peer.st"
            write_web_rwkv(model, file)
        layers = [str(config.layers if quant == kind else 0) for kind in ("int8", "nf4")]
        command = [python, "-m", "py_rwkv.bench.peer", os.fspath(file), *layers]
        root = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        try:
            yield Peer(process, config, quant, found)
        finally:
            process.kill()
            process.communicate()


def serve(file: str, int8_layers: int, nf4_layers: int) -> None:
    """The other end of `Peer.round`."""
    model = import_module("web_rwkv_py").Model(file, quant=int8_layers, quant_nf4=nf4_layers)
    for line in sys.stdin:
        request = json.loads(line)
        model.clear_state()
        start = time.perf_counter()
        logits = model.run(request["prompt"])
        prefill, steps, token = time.perf_counter() - start, [], 0
        for i in range(request["steps"]):
            start = time.perf_counter()
            model.run([token])
            steps.append(time.perf_counter() - start)
            token = i % 97
        print(json.dumps({"prefill": prefill, "steps": steps, "logits": logits}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
