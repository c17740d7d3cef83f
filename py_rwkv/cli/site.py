"""The page: serve, build."""

from __future__ import annotations

import argparse
import sys

from py_rwkv.cli.base import Commands


def register(commands: Commands) -> None:
    c = commands.add("serve", serve, "Serve the page on this machine.", model=False)
    c.add_argument("--port", type=int, help="default: the first free one from 8000")
    c.add_argument("--host", default="127.0.0.1")
    c = commands.add("build", build, "Write the static site, which any file server can serve below any path.", model=False)
    c.add_argument("outdir", metavar="OUTDIR")


def serve(args: argparse.Namespace) -> None:
    from py_rwkv.site import vendor
    from py_rwkv.site.build import build as make
    from py_rwkv.site.serve import serve as run

    site = make(vendor.cache_dir() / "site", progress=lambda text: print(text, file=sys.stderr))
    with run(site, port=args.port, host=args.host) as server:
        print(server.url, flush=True)
        server.wait()


def build(args: argparse.Namespace) -> None:
    from py_rwkv.site.build import build as make

    print(make(args.outdir, progress=lambda text: print(text, file=sys.stderr)))
