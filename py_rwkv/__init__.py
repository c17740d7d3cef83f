"""RWKV language models in a web page, driven by Python; the same package natively."""

__version__ = "0.1.0"
