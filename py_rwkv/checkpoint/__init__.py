"""Bytes in and out: sources, `.pth` and safetensors files, official names, packing, shards, the manifest. Knows no kernel."""
