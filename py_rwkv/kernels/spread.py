"""out[t, v] = x[t, rows[v]]: the logits of a head whose repeated rows are stored, and multiplied, once."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_OUTPUT, Dim, kernel
from py_rwkv.kernels.row_index import entries, index


def _prepare(rng: Any, c: Any, rows: Any, **others: Any) -> None:
    found = entries(c, rows)
    found[:] = rng.integers(0, c.U, len(found))


spread = kernel(
    "spread",
    reads={"x": "f32[outputs,U]", "rows": "u32[WORDS]"},
    writes={"out": "f32[outputs,V]"},
    constants=("V", "U", "WORDS", "BITS", "WG"),
    grid=lambda c: (Dim(c["V"], c["WG"]), PER_OUTPUT),
    cases=({"U": 40, "WG": 64, **index(300, "U16")}, {"U": 9, "WG": 16, **index(77, "U16")}, {"U": 64, "WG": 64, **index(65, "U32")}),
    prepare=_prepare,
)


@spread.reference
def _(step: Any, c: Any, memo: Any, x: Any, rows: Any, out: Any) -> None:
    out[:] = x[:, entries(c, rows)]
