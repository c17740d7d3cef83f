"""Weight encodings: numpy encode and decode, byte layout, strategy strings. Knows no file."""

from py_rwkv.quant.blocks import BLOCK
from py_rwkv.quant.encoding import Encoding
from py_rwkv.quant.strategy import ENCODINGS, Strategy, parse_strategy

__all__ = ["BLOCK", "ENCODINGS", "Encoding", "Strategy", "parse_strategy"]
