"""The table of errors in the documentation is that of the program."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_errors_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "build_scripts/make_troubleshooting.py"))
    written = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    assert written == script["page"](written), "run build_scripts/make_troubleshooting.py"
    assert script["plain"]("{name} is “{found}” | <b> {need:,}") == "… is … \\| &lt;b> …"
