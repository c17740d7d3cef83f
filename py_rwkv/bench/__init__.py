"""Measuring: how fast a model runs here, what the adapter would allow, where the time goes, and how web-rwkv does on the same weights."""
