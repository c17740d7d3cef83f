"""Every way of using the engine from another site: the examples, under their policies, from a host that serves the unpacked npm package and nothing else."""

from __future__ import annotations

import functools
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elsewhere import Elsewhere
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from py_rwkv.resources import web_dir
from py_rwkv.site import vendor
from py_rwkv.site.serve import serve

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "What is the capital of Norway?"
ANSWER = "The capital of Norway is Oslo."
LONG = 45_000  # ms: a model is loaded meanwhile
DONE = '[data-role="assistant"][data-state="done"]'
HOST, EMBEDDER = "https://rwkv.example", "https://page.example"  # in the examples
AXE = """() => axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")} (${node.failureSummary})`)))"""
COUNT = "customElements.get('rwkv-chat').count()"


@pytest.fixture(scope="module")
def package(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm package, packed and unpacked."""
    sys.path.insert(0, str(ROOT / "build_scripts"))
    import make_package

    folder = tmp_path_factory.mktemp("package")
    with tarfile.open(make_package.pack(folder, site)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


@pytest.fixture(scope="module")
def host(package: Path) -> Iterator[str]:
    with serve(package / "dist", port=0) as server:
        yield server.url.rstrip("/")


@pytest.fixture(scope="module")
def elsewhere(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """The examples, on the site of somebody else."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with Elsewhere(folder) as other:
        shutil.copytree(vendor.fetch("tools")["openai"], folder / "openai")
        for file in (web_dir() / "examples").iterdir():
            (folder / file.name).write_text(file.read_text("utf-8").replace(HOST, host).replace(EMBEDDER, other.origin), "utf-8")
        yield other


@pytest.fixture(scope="module")
def context(browser: Browser, browser_context_args: dict[str, Any]) -> Iterator[BrowserContext]:
    """One visitor for all of it: what an earlier page has stored is there for the next one."""
    context = browser.new_context(**browser_context_args)
    yield context
    context.close()


@pytest.fixture(scope="module")
def strict(host: str) -> str:
    """The policy that docs/embed.md states."""
    found = re.search(r'content="([^"]+)"', (web_dir() / "examples/element.html").read_text("utf-8"))
    assert found
    assert found[1] in (ROOT / "docs/embed.md").read_text("utf-8")
    return found[1].replace(HOST, host)


def asked(page: Page) -> list[str]:
    """The addresses that the page asks for, from now on."""
    found: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            found.append(request.url)

    page.context.on("request", note)
    return found


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for what a selector cannot say; a policy without eval forbids Playwright's own way."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("not within ten seconds")


class TestModule:
    """The engine without a chat: the first tab loads the model, and those of the other examples use it, as these are pages of one site."""

    @pytest.fixture(scope="class")
    def first(self, context: BrowserContext, elsewhere: Elsewhere) -> Iterator[tuple[Page, list[str]]]:
        page = context.new_page()
        requests = asked(page)
        page.goto(f"{elsewhere.origin}/module.html")
        page.get_by_role("button").click()
        yield page, requests
        page.close()

    def test_from_another_origin(self, first: tuple[Page, list[str]], host: str, elsewhere: Elsewhere) -> None:
        page, requests = first
        expect(page.locator("#answer")).to_have_text(ANSWER, timeout=LONG)
        expect(page.get_by_role("status")).to_have_text("done")
        assert any(url.endswith("pyodide.asm.wasm") for url in requests)
        assert [url for url in requests if not url.startswith((f"{host}/", f"{elsewhere.origin}/"))] == []
        assert "py-rwkv" in page.evaluate("indexedDB.databases().then((all) => all.map(({ name }) => name))")  # of the embedding origin

    @pytest.mark.usefixtures("first")
    def test_with_openais_client(self, page: Page, elsewhere: Elsewhere) -> None:
        page.goto(f"{elsewhere.origin}/openai.html")
        page.get_by_role("button").click()
        expect(page.locator("#answer")).to_have_text(ANSWER, timeout=LONG)
        expect(page.get_by_role("status")).to_have_text("done")

    @pytest.mark.usefixtures("first")
    def test_the_example_of_the_packages_readme(self, page: Page, host: str, elsewhere: Elsewhere, strict: str, package: Path) -> None:
        example = re.search(r"(?s)```js\n(.*?)```", (package / "README.md").read_text("utf-8"))
        assert example and "https://static.example/rwkv" in example[1]
        page.goto(elsewhere.page("readme", example[1].replace("https://static.example/rwkv", host), "<body></body>", strict))
        expect(page.locator("body")).to_contain_text(ANSWER, timeout=LONG)


def test_elements_are_lazy_share_an_engine_and_leave_nothing(page: Page, elsewhere: Elsewhere) -> None:
    requests = asked(page)
    page.goto(f"{elsewhere.origin}/element.html")
    first, second = page.locator("rwkv-chat").all()
    first.get_by_role("textbox").wait_for()
    second.get_by_role("textbox").wait_for()
    assert page.workers == [] and page.evaluate(COUNT) == {"elements": 2, "engines": 0}
    assert not [url for url in requests if re.search(r"pyodide|marked|purify|client\.js|worker\.js|models/", url)]

    page.evaluate("""() => {
        window.heard = [];
        for (const name of ["rwkv-state", "rwkv-message", "rwkv-error"])
            document.addEventListener(name, ({ type, detail, target }) => heard.push([target.lang, type, detail.state, detail.role ?? "", detail.content ?? ""]));
        document.addEventListener("rwkv-chunk", ({ detail }) => (window.chunks = (window.chunks ?? "") + detail.content));
    }""")
    first.get_by_role("textbox").fill(QUESTION)
    first.get_by_role("textbox").press("Enter")
    expect(first.locator(DONE)).to_contain_text(ANSWER, timeout=LONG)
    assert page.evaluate("chunks.trim()") == ANSWER
    assert page.evaluate("heard") == [
        ["", "rwkv-message", "done", "user", QUESTION],
        ["", "rwkv-state", "loading", "", ""],
        ["", "rwkv-state", "busy", "", ""],
        ["", "rwkv-message", "done", "assistant", ANSWER],
        ["", "rwkv-state", "ready", "", ""],
    ]
    busy, text, messages = second.evaluate(f"""async (chat) => {{
        chat.setAttribute("temperature", 0);
        const asked = chat.ask({QUESTION!r});
        const busy = await chat.ask("And now?").catch((error) => error.code);
        return [busy, await asked, chat.messages];
    }}""")
    assert (busy, text) == ("chat-busy", ANSWER)
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert len(page.workers) == 1 and page.evaluate(COUNT) == {"elements": 2, "engines": 1}

    # The second one speaks Chinese in an English page, also where the page's own parts speak.
    assert second.locator(DONE).get_by_role("button").get_attribute("aria-label") == "复制"
    expect(second.get_by_role("status")).to_have_text("回答完毕")
    expect(first.locator(DONE).get_by_role("button")).to_have_attribute("aria-label", "Copy")
    expect(first.get_by_role("log")).to_have_attribute("aria-label", "Conversation")
    looks = "(chat) => getComputedStyle(chat.shadowRoot.querySelector('.round')).getPropertyValue('--accent').trim()"
    assert (first.evaluate(looks), second.evaluate(looks)) == ("#0f6f6c", "#e0894a")
    tool = vendor.fetch("tools")["axe-core"] / "axe.min.js"
    (elsewhere.folder / "axe.js").write_bytes(tool.read_bytes())
    page.evaluate("import('./axe.js')")
    assert page.evaluate(AXE) == []

    page.evaluate("""async () => {
        for (const chat of document.querySelectorAll("rwkv-chat")) chat.remove();
        for (let i = 0; i < 50; i++) {
            const chat = document.createElement("rwkv-chat");
            document.body.append(chat);
            if (i % 5 === 0) void chat.load().catch(() => {});
            await Promise.resolve();
            chat.remove();
        }
    }""")
    until(page, lambda: not page.workers and page.evaluate(COUNT) == {"elements": 0, "engines": 0})


@pytest.mark.parametrize(
    ("allowed", "forbidden", "needed"),
    [
        ("worker-src blob:", "worker-src", "worker-src blob:"),
        (" 'wasm-unsafe-eval'", "", "script-src 'wasm-unsafe-eval'"),
        ("trusted-types rwkv ", "trusted-types ", "trusted-types rwkv"),
        ("dompurify 'allow-duplicates'", "", "trusted-types dompurify 'allow-duplicates'"),
    ],
)
def test_a_policy_that_refuses_something_is_told_what(
    context: BrowserContext, host: str, elsewhere: Elsewhere, strict: str, allowed: str, forbidden: str, needed: str
) -> None:
    script = f"""import {{ RwkvChat }} from "{host}/embed/element.js";
        const chat = document.body.appendChild(new RwkvChat());
        chat.addEventListener("rwkv-error", ({{ detail }}) => (document.title = `${{detail.code}}: ${{detail.details.needed}}`));
        chat.ask("Hello").catch(() => {{}});"""
    page = context.new_page()  # not the fixture, which takes what is refused here for a fault
    page.goto(elsewhere.page("refused", script, "<body></body>", strict.replace(allowed, forbidden)))
    expect(page).to_have_title(f"embed-refused: {needed}")
    expect(page.locator("rwkv-chat")).to_contain_text(needed)
    until(page, lambda: not page.workers)
    page.close()


# The frame

FLOOD = """async ([target, asks]) => {
    const { contentWindow } = document.querySelector("iframe");
    const cycle = {};
    cycle.rwkv = cycle;
    const shapes = [
        null, 1, "ask", [], [{ rwkv: 1, type: "ask", text: "a" }], {}, cycle, new Map([["rwkv", 1]]), new Date(), { rwkv: 2, type: "ask", text: "a" },
        { rwkv: 1 }, { rwkv: 1, type: "constructor" }, { rwkv: 1, type: "__proto__" }, { rwkv: 1, type: ["ask"], text: "a" }, { rwkv: 1, type: "ask" },
        { rwkv: 1, type: "ask", text: "" }, { rwkv: 1, type: "ask", text: " " }, { rwkv: 1, type: "ask", text: { toString: 1 } },
        { rwkv: 1, type: "ask", text: "x".repeat(16001) }, { rwkv: 1, type: "ask", text: "a", id: "x".repeat(65) }, { rwkv: 1, type: "ask", text: "a", more: 1 },
        { rwkv: 1, type: "set", theme: "<b>" }, { rwkv: 1, type: "set", lang: "en-GB-oed" }, { rwkv: 1, type: "load", model: "https://evil.invalid/" },
    ];
    window.replies = [];
    addEventListener("message", ({ data }) => replies.push(data));
    for (let i = 0; i < 3000; i++) contentWindow.postMessage(shapes[i % shapes.length], target);
    for (let i = 0; i < asks; i++) contentWindow.postMessage({ rwkv: 1, type: "ask", text: "flood" }, target);
    await new Promise((go) => setTimeout(go, 300));
    return replies;
}"""


def test_a_frame_answers_who_is_on_its_list_and_survives_what_they_send(page: Page, host: str, elsewhere: Elsewhere) -> None:
    page.goto(f"{elsewhere.origin}/iframe.html")
    frame = page.frame_locator("iframe")
    frame.get_by_role("textbox").wait_for()
    replies = page.evaluate(FLOOD, [host, 0])  # of a page that is on the list
    assert [reply for reply in replies if reply["type"] not in ("error", "ready", "state", "resize")] == []
    errors = [reply["code"] for reply in replies if reply["type"] == "error"]
    assert 1 <= len(errors) <= 5 and set(errors) <= {"malformed", "too-many"}
    expect(frame.get_by_role("log").locator("article")).to_have_count(0)

    page.wait_for_timeout(300)  # three messages' worth
    page.locator("#ask").click()
    expect(page.locator("#answer")).to_have_text(ANSWER, timeout=LONG)
    expect(frame.locator(DONE)).to_contain_text(ANSWER, timeout=LONG)
    expect(page.locator("#state")).to_have_text("ready")
    replies = page.evaluate("replies")
    assert "".join(reply["text"] for reply in replies if reply["type"] == "chunk").strip() == ANSWER
    assert {reply["id"] for reply in replies if reply["type"] in ("chunk", "answer")} == {"norway"}


def test_a_frame_ignores_everybody_else_and_the_app_cannot_be_framed(context: BrowserContext, host: str, elsewhere: Elsewhere) -> None:
    page = context.new_page()  # not the fixture, which takes what is refused here for a fault
    requests = asked(page)
    body = f'<body><iframe src="{host}/embed.html?model=demo&origins=https://other.example,*,null"></iframe></body>'
    page.goto(elsewhere.page("hostile", "", body))
    box = page.frame_locator("iframe").get_by_role("textbox")
    box.wait_for()
    assert page.evaluate(FLOOD, ["*", 200]) == []
    expect(box).to_be_editable()
    expect(page.frame_locator("iframe").get_by_role("log").locator("article")).to_have_count(0)
    assert not [url for url in requests if re.search(r"worker\.js|evil", url)]

    for name in ("index.html", "bench.html"):
        page.goto(elsewhere.page("clickjack", "", f'<body><iframe src="{host}/{name}"></iframe></body>'))
        page.wait_for_load_state("networkidle")
        assert page.frames[1].url.startswith("chrome-error:")
    page.close()


def test_one_line_of_script(page: Page, elsewhere: Elsewhere) -> None:
    page.goto(f"{elsewhere.origin}/script.html")
    frame = page.frame_locator("#chat iframe")
    frame.get_by_role("textbox").wait_for()
    expect(page.locator("#chat")).not_to_contain_text("needs JavaScript")
    height = functools.partial(page.evaluate, "document.querySelector('iframe').offsetHeight")
    until(page, lambda: height() < 300)  # as high as what is in it
    before = height()
    frame.get_by_role("textbox").fill("one\ntwo\nthree\nfour")
    until(page, lambda: height() > before + 20)
    frame.get_by_role("textbox").fill(QUESTION)
    frame.get_by_role("textbox").press("Enter")
    expect(frame.locator(DONE)).to_contain_text(ANSWER, timeout=LONG)
