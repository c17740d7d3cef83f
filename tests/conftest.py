"""What tests share: a seeded generator, the built site, and hypothesis without deadlines (no test here depends on how fast the machine is)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

# Before numpy comes: small matrices are slower with more threads, several times so on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

from py_rwkv.site.build import build
from py_rwkv.site.serve import serve

settings.register_profile("py_rwkv", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("py_rwkv")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on nothing but the test's name."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    return build(tmp_path_factory.mktemp("site") / "site")


@pytest.fixture(scope="session")
def site_url(site: Path) -> Iterator[str]:
    """The address of the built site, with a slash at the end."""
    with serve(site, port=0) as server:
        yield server.url
