"""The command line: arguments in, text out. Everything it does is one call away in the package. One module per subject; each registers its commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from py_rwkv import __version__
from py_rwkv.cli import bench, chat, compare, convert, evaluate, export, inspect, site, state, tune
from py_rwkv.cli.base import Commands
from py_rwkv.errors import RwkvError

SUBJECTS = (inspect, compare, chat, state, convert, export, evaluate, site, bench, tune)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 if it worked, 1 for an RwkvError, 130 when interrupted."""
    args = parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], None] = args.run
        run(args)
        return 0
    except RwkvError as e:
        print(f"py-rwkv: {e.message}\n{e.hint}".rstrip() + f"  [{e.code}]", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("py-rwkv", description="RWKV language models, natively and in a web page.")
    p.add_argument("--version", action="version", version=f"py-rwkv {__version__}")
    commands = Commands(p.add_subparsers(required=True, metavar="COMMAND"))
    for subject in SUBJECTS:
        subject.register(commands)
    return p
