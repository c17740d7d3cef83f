"""What every test has: a seeded generator, and hypothesis without deadlines (no test here depends on how fast the machine is)."""

from __future__ import annotations

import os
import zlib

# Before numpy comes: small matrices are slower with more threads, several times so on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("py_rwkv", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("py_rwkv")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on nothing but the test's name."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
