"""What a visit fetches before Python: the page's own files and its libraries, stripped and compressed as a server sends them."""

from __future__ import annotations

import gzip
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
    def weight(*patterns: str) -> list[int]:
        return [
            len(gzip.compress(path.read_bytes(), 9))
            for pattern in patterns
            for path in site.glob(pattern)
            if path.is_file() and path.suffix and path.suffix != ".d.ts"
        ]

    always = sum(weight("index.html", "app/**/*", "engine/**/*", "vendor/[!p]*/*"))
    languages = weight("vendor/highlight/languages/*")  # one of them when the first code in it is shown
    assert len(languages) > 20 and always > 100_000
    assert always + max(languages) <= 200 << 10
