"""ggml's quantized blocks → numbers. A row is a sequence of blocks; each decoder takes blocks u8 [n, bytes] and gives f32 [n, weights].

The types that llama.cpp makes from RWKV models are decoded here, everywhere. Rarer ones need the PyPI package `gguf`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32

    Blocks = NDArray[Any]  # u8

PLAIN = {0: "F32", 1: "F16", 30: "BF16"}  # ggml type number -> safetensors dtype


class BlockType(NamedTuple):
    """`weights` numbers in `nbytes` bytes."""

    name: str
    weights: int
    nbytes: int
    decode: Callable[[Blocks], Any]  # f32


def _half(b: Blocks, at: int) -> Any:
    """The f16 at byte `at` of each block: f32 [n, 1]."""
    return np.ascontiguousarray(b[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(b: Blocks) -> Blocks:
    """[n, 16] → [n, 32]: the low halves, then the high ones."""
    return np.concatenate([b & 15, b >> 4], axis=1)


def _fifth_bits(b: Blocks) -> Blocks:
    """The 32 bits of u8 [n, 4], each as 16 or 0."""
    return np.unpackbits(b, axis=1, bitorder="little") << 4


def _q4_0(b: Blocks) -> Any:
    return _half(b, 0) * (_nibbles(b[:, 2:]).astype(np.float32) - 8)


def _q4_1(b: Blocks) -> Any:
    return _half(b, 0) * _nibbles(b[:, 4:]) + _half(b, 2)


def _q5_0(b: Blocks) -> Any:
    return _half(b, 0) * ((_nibbles(b[:, 6:]) | _fifth_bits(b[:, 2:6])).astype(np.float32) - 16)


def _q5_1(b: Blocks) -> Any:
    return _half(b, 0) * (_nibbles(b[:, 8:]) | _fifth_bits(b[:, 4:8])) + _half(b, 2)


def _q8_0(b: Blocks) -> Any:
    return _half(b, 0) * b[:, 2:].view(np.int8).astype(np.float32)


# The K-types: 256 weights, in runs of 16 or 32 with a small scale each.


def _two_bits(b: Blocks) -> Blocks:
    """u8 [n, 64] → [n, 2 halves, 4 shifts, 32]: each half's 32 bytes hold four weights apiece."""
    return (b.reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3


def _q2_k(b: Blocks) -> Any:
    scales, q = b[:, :16], _two_bits(b[:, 16:80]).reshape(-1, 16, 16)
    d, low = _half(b, 80) * (scales & 15), _half(b, 82) * (scales >> 4)
    return (d[:, :, None] * q - low[:, :, None]).reshape(-1, 256)


def _q3_k(b: Blocks) -> Any:
    high = (b[:, None, :32] >> np.arange(8, dtype=np.uint8)[:, None]) & 1  # [n, 8, 32]: bit i belongs to the i-th run of 32
    q = _two_bits(b[:, 32:96]).reshape(-1, 8, 32).astype(np.int8) - (4 * (1 - high.astype(np.int8)))
    packed = b[:, 96:108]
    top = (packed[:, None, 8:12] >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3  # [n, 4, 4]
    scales = (_nibbles(packed[:, :8]) | (top.reshape(-1, 16) << 4)).astype(np.float32) - 32
    return ((_half(b, 108) * scales)[:, :, None] * q.reshape(-1, 16, 16)).reshape(-1, 256)


def _scales_and_minima(b: Blocks) -> tuple[Blocks, Blocks]:
    """u8 [n, 12] → eight scales and eight minima of 6 bits."""
    x, y, z = b[:, :4], b[:, 4:8], b[:, 8:]
    return np.concatenate([x & 63, (z & 15) | ((x >> 6) << 4)], axis=1), np.concatenate([y & 63, (z >> 4) | ((y >> 6) << 4)], axis=1)


def _q4_k(b: Blocks) -> Any:
    q = b[:, 16:].reshape(-1, 4, 32)
    return _affine(b, np.stack([q & 15, q >> 4], axis=2))


def _q5_k(b: Blocks) -> Any:
    q = b[:, 48:].reshape(-1, 4, 32)
    high = (b[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None]) & 1  # [n, 8, 32]
    return _affine(b, np.stack([q & 15, q >> 4], axis=2).reshape(-1, 8, 32) | (high << 4))


def _affine(b: Blocks, q: Blocks) -> Any:
    scales, minima = _scales_and_minima(b[:, 4:16])
    d, low = _half(b, 0) * scales, _half(b, 2) * minima
    return (d[:, :, None] * q.reshape(-1, 8, 32) - low[:, :, None]).reshape(-1, 256)


def _q6_k(b: Blocks) -> Any:
    low = b[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = (b[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3
    q = (low | (high << 4)).astype(np.float32) - 32
    d = _half(b, 208) * b[:, 192:208].view(np.int8)
    return (d[:, :, None] * q.reshape(-1, 16, 16)).reshape(-1, 256)


BLOCKS = {
    2: BlockType("Q4_0", 32, 18, _q4_0),
    3: BlockType("Q4_1", 32, 20, _q4_1),
    6: BlockType("Q5_0", 32, 22, _q5_0),
    7: BlockType("Q5_1", 32, 24, _q5_1),
    8: BlockType("Q8_0", 32, 34, _q8_0),
    10: BlockType("Q2_K", 256, 84, _q2_k),
    11: BlockType("Q3_K", 256, 110, _q3_k),
    12: BlockType("Q4_K", 256, 144, _q4_k),
    13: BlockType("Q5_K", 256, 176, _q5_k),
    14: BlockType("Q6_K", 256, 210, _q6_k),
}


def block_type(number: int, file: str, tensor: str) -> BlockType:
    """RwkvError `gguf-type` for a type that nothing here decodes."""
    if number in BLOCKS:
        return BLOCKS[number]
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

        kind = GGMLQuantizationType(number)
        weights, nbytes = GGML_QUANT_SIZES[kind]
        quants.dequantize(np.zeros((1, nbytes), np.uint8), kind)
    except (ImportError, ValueError, KeyError, NotImplementedError):
        raise RwkvError("gguf-type", file=file, name=tensor, found=number) from None

    def decode(b: Blocks) -> F32:
        out: Any = quants.dequantize(np.ascontiguousarray(b), kind)
        return np.asarray(out, np.float32).reshape(len(b), weights)

    return BlockType(kind.name, weights, nbytes, decode)


def decode_rows(kind: BlockType, rows: Blocks) -> F32:
    """u8 [..., bytes] of whole rows → f32 [..., weights]. Damaged scales may give NaN or infinity: the caller looks."""
    with np.errstate(all="ignore"):
        out = np.asarray(kind.decode(rows.reshape(-1, kind.nbytes)), np.float32)
    return out.reshape(*rows.shape[:-1], -1)
