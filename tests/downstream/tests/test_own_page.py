"""A page of the project's own, on another origin, in the browser that has WebGPU: it takes its engine from `rwkv_site`."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser

PAGE = Path(__file__).parents[1] / "index.html"


@pytest.fixture
def own_site(rwkv_site: str) -> Iterator[str]:
    """The address of the project's own page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.read_text().replace("SITE/", rwkv_site).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_a_page_of_one_s_own_has_an_engine(rwkv_browser: Browser, own_site: str) -> None:
    page = rwkv_browser.new_page()
    page.goto(own_site)
    page.wait_for_selector("#answer[data-ready]")
    assert page.locator("#answer").inner_text() == "demo on swiftshader"
    page.close()
