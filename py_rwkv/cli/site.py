"""The page: serve, build. And the API of a model: serve --api."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from py_rwkv.cli.base import MODEL, Commands, checkpoint_options, opened
from py_rwkv.errors import RwkvError
from py_rwkv.native import DEVICES


def register(commands: Commands) -> None:
    c = commands.add("serve", serve, "Serve the page on this machine, or with --api a model in the form of OpenAI's API.", model=False)
    c.add_argument("--port", type=int, help="default: the first free one from 8000")
    c.add_argument("--host", help="default: 127.0.0.1, this machine only; with --api, another one also takes requests by any name")
    g = c.add_argument_group("the API (docs/api.md)")
    g.add_argument("--api", metavar="MODEL", dest="model", help=MODEL)
    g.add_argument("--parallel", type=int, default=4, metavar="N", help="answers at a time, in the same steps (default 4); others wait")
    g.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="pages of this origin may use it; may be repeated; `*`: all"
    )
    g.add_argument("--state-memory", type=int, default=64, metavar="MB", help="for states of what was read (default 64)")
    g.add_argument("--device", choices=DEVICES, default="auto", help="auto: the GPU if there is one, else numpy")
    g.add_argument("--quant", metavar="STRATEGY", help="for a checkpoint; default: the precision of the file")
    checkpoint_options(c)
    c = commands.add("build", build, "Write the static site, which any file server can serve below any path.", model=False)
    c.add_argument("outdir", metavar="OUTDIR")


def serve(args: argparse.Namespace) -> None:
    if args.model is not None:
        return asyncio.run(serve_api(args))
    from py_rwkv.site import vendor
    from py_rwkv.site.build import build as make
    from py_rwkv.site.serve import serve as run

    site = make(vendor.cache_dir() / "site", progress=lambda text: print(text, file=sys.stderr))
    with run(site, port=args.port, host=args.host or "127.0.0.1") as server:
        print(server.url, flush=True)
        server.wait()


async def serve_api(args: argparse.Namespace) -> None:
    try:
        from py_rwkv.server import app as http
    except ImportError:
        raise RwkvError("tool-missing", tool="starlette or uvicorn", install="pip install 'py_rwkv[api]'") from None
    from py_rwkv.chat.api import Api
    from py_rwkv.chat.prefix_cache import MemoryVault
    from py_rwkv.chat.service import ChatService
    from py_rwkv.runtime.sampling import number

    parallel, memory = (
        int(number("--parallel", args.parallel, 1, 64, True)),
        int(number("--state-memory", args.state_memory, 0, 1 << 20, True)),
    )
    host = args.host or "127.0.0.1"
    with http.bind(host, args.port) as socket:
        engine = await opened(args, slots=parallel + 1)
        chats = ChatService(engine, parallel, MemoryVault(engine, memory << 20))
        hosts = None if args.host and host not in http.LOOPBACK else http.LOOPBACK
        app = http.app(Api(chats, (args.model,), int(time.time())), hosts=hosts, origins=args.cors)
        name = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
        print(f"http://{name}:{socket.getsockname()[1]}/v1", flush=True)
        await http.server(app).serve(sockets=[socket])


def build(args: argparse.Namespace) -> None:
    from py_rwkv.site.build import build as make

    print(make(args.outdir, progress=lambda text: print(text, file=sys.stderr)))
