"""What a visit fetches before Python: the page's own files and its libraries, stripped and compressed as a server sends them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from py_rwkv.site import strip

SOURCE = """/** A page.
 * @returns {string}
 */
export function f(a) {
  // why
  const url = "https://x/"; // an address
  const said = a ? `// no comment ${a}` : "/* nor this */";
  const lines = `
    // stays
  `;
  return /** @type {any} */ (url + said) + lines; // it's `over`
}
/*! licence */
"""
STRIPPED = """


export function f(a) {

const url = "https://x/";
const said = a ? `// no comment ${a}` : "/* nor this */";
const lines = `
    // stays
  `;
return (url + said) + lines; // it's `over`
}
/*! licence */
"""


def test_only_comments_and_indentation_go() -> None:
    assert strip.script(SOURCE) == STRIPPED
    assert strip.style("/* a\n b */\n.x {\n  top: 0; /* c */\n}\n") == "\n\n.x {\ntop: 0; \n}\n"


def test_the_page_and_its_libraries_stay_light(site: Path) -> None:
    shell = [part["file"] for part in json.loads((site / "build.json").read_text("utf-8"))["shell"]]
    weight = {name: len(gzip.compress((site / name).read_bytes(), 9)) for name in shell if not name.startswith("vendor/pyodide/")}
    languages = [weight.pop(name) for name in list(weight) if name.startswith("vendor/highlight/languages/")]
    others = (
        "bench",
        "icons/",
        "i18n/zh",
        "py_rwkv-",
        "favicon",
        "manifest",
    )  # another page, a phone's home screen, another language; Python
    always = sum(size for name, size in weight.items() if not name.startswith(others))
    assert len(languages) > 20 and always > 100_000
    assert always + max(languages) <= 200 << 10  # one of them when the first code in it is shown
