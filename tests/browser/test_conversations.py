"""Conversations as a person keeps them: branches, drafts, search, undo, files, two tabs, a phone, the keyboard. One page is loaded for all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import loaded_page
from playwright.sync_api import Locator, Page, expect
from profiles import Profiles

ANSWER = '[data-testid="message"][data-role="assistant"]'
QUESTION = '[data-testid="message"][data-role="user"]'
BESIDE = "build.json"  # a page of the same origin on which no engine starts


@pytest.fixture(scope="module")
def loaded(profiles: Profiles) -> Iterator[Page]:
    """The page with the demo ready; answers are greedy."""
    with loaded_page(profiles, accept_downloads=True) as page:
        setting(page, "temperature", "0")
        yield page


@pytest.fixture
def chat(loaded: Page) -> Page:
    """The loaded page with a new conversation."""
    loaded.set_viewport_size({"width": 1280, "height": 800})
    loaded.evaluate("document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close())")  # of a test that failed
    loaded.get_by_test_id("new-chat").click()
    expect(loaded.locator(ANSWER)).to_have_count(0)
    expect(loaded.get_by_test_id("composer")).to_be_focused()
    return loaded


def setting(page: Page, name: str, value: str) -> None:
    page.get_by_test_id("settings").click()
    page.get_by_test_id(f"set-{name}").fill(value)
    page.keyboard.press("Escape")


def ask(page: Page, text: str) -> Locator:
    """Type a question, wait for its answer."""
    count = page.locator(ANSWER).count()
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    return answered(page, count)


def answered(page: Page, at: int) -> Locator:
    answer = page.locator(ANSWER).nth(at)
    expect(answer).to_have_attribute("data-state", "done", timeout=120_000)
    return answer


def body(message: Locator) -> str:
    return message.locator(".body").inner_text()


def act(message: Locator, action: str) -> None:
    """An action of a message, behind its menu or not."""
    message.hover()
    if message.get_by_test_id(action).count():
        message.get_by_test_id(action).click()
    else:
        message.get_by_test_id("more").click()
        message.page.get_by_test_id(f"menu-{action}").click()


def cached(message: Locator) -> int:
    """Prompt tokens whose state the engine still had."""
    found = re.search(r"(\d+)/\d+ prompt tokens reused", message.get_by_test_id("note").text_content() or "")
    return int(found[1]) if found else 0


def titles(page: Page) -> list[str]:
    return [title.strip() for title in page.locator('[data-testid="conversation"] .talk-title').all_inner_texts()]


def exported(page: Page, tmp_path: Path) -> list[dict[str, Any]]:
    """The conversations of a file with all of them."""
    page.get_by_test_id("manage").click()
    with page.expect_download() as download:
        page.get_by_test_id("menu-export-all").click()
    download.value.save_as(tmp_path / "all.json")
    file = json.loads((tmp_path / "all.json").read_text("utf-8"))
    assert (file["format"], file["version"]) == ("rwkv-conversations", 1)
    found: list[dict[str, Any]] = file["conversations"]
    return found


def take(page: Page, path: Path, conversations: object) -> None:
    path.write_text(json.dumps({"format": "rwkv-conversations", "version": 1, "conversations": conversations}), "utf-8")
    page.get_by_test_id("import").set_input_files(path)


def written(**changes: Any) -> dict[str, Any]:
    """A conversation as a file has it."""
    messages = [
        {"id": "q", "parent": None, "role": "user", "content": "Sum?", "state": "done", "created": 1000},
        {"id": "a", "parent": "q", "role": "assistant", "content": "3", "state": "done", "created": 1001, "model": "m"},
    ]
    whole = {"id": "c", "title": "Sums", "leaf": "a", "sampling": {}, "prompt": {}, "created": 1000, "updated": 1001, "messages": messages}
    return whole | changes


def test_the_tree_of_messages(loaded: Page) -> None:
    found = loaded.evaluate(
        """async () => {
        const { Tree, titleOf } = await import("./app/conversations/tree.js");
        const m = (id, parent, created) => ({ id, parent, created, role: "user", content: id, state: "done" });
        const tree = new Tree([m("d", "b", 4), m("a", null, 1), m("c", "a", 3), m("b", "a", 2), m("e", "c", 5), m("f", "e", 6)]);
        const ids = (messages) => messages.map(({ id }) => id).join("");
        const out = [ids(tree.path("d")), ids(tree.siblings(tree.get("c"))), tree.newestLeaf(null), tree.newestLeaf("b"), ids(tree.all()),
            tree.isBelow("f", "c"), tree.isBelow("d", "c")];
        const { removed, leaf } = tree.remove("c");
        out.push(ids(removed), leaf, tree.remove("a").leaf, tree.size);
        return [...out, titleOf("\\n```js\\n# **Why**  so?\\nmore"), titleOf("word ".repeat(30)), titleOf("很".repeat(99)).length];
        }"""
    )
    assert found == ["abd", "bc", "f", "d", "abcdef", True, False, "cef", "d", None, 0, "Why so?", "word " * 10 + "word…", 60]


def test_files_that_lie_are_refused_with_the_place(loaded: Page) -> None:
    question, answer = written()["messages"]
    bad: list[tuple[Any, str]] = [
        ("{", "file: expected json, found"),
        ({"format": "x"}, "format: expected"),
        ({"format": "rwkv-conversations", "version": 2}, "version: expected value 1, found 2"),
        (written(id="../../x"), "conversations[0].id: expected id"),
        (written(title=7), "conversations[0].title: expected text 500, found 7"),
        (written(leaf="nobody"), "conversations[0].leaf: expected member"),
        (written(created="1e400"), "conversations[0].created: expected number"),
        (written(sampling={"a b": 1}), "conversations[0].sampling: expected names"),
        (written(sampling={"x": [[[[[[[1]]]]]]]}), "conversations[0].sampling: expected small"),
        (written(messages=[question, question]), "conversations[0].messages[1].id: expected unique"),
        (written(messages=[question | {"parent": "z"}, answer]), "conversations[0].messages[0].parent: expected member"),
        (
            written(messages=[question | {"parent": "a"}, answer]),
            "conversations[0].messages[0].parent: expected above",
        ),
        (
            written(messages=[question, answer | {"role": "root"}]),
            "conversations[0].messages[1].role: expected value user / assistant / system",
        ),
        (
            written(messages=[question, answer | {"usage": {"prompt_tokens": -1}}]),
            "conversations[0].messages[1].usage.prompt_tokens: expected",
        ),
        (written(messages={}), "conversations[0].messages: expected list"),
    ]
    texts = [
        case
        if isinstance(case, str)
        else json.dumps(case if "format" in case else {"format": "rwkv-conversations", "version": 1, "conversations": [case]})
        for case, _ in bad
    ]
    said = loaded.evaluate(
        """async (texts) => {
        const [{ fromJson }, { fileProblem }, { loadTexts, speak }] = await Promise.all(
            ["conversations/transfer.js", "conversations/file_problem.js", "i18n.js"].map((name) => import(`./app/${name}`)),
        );
        await Promise.all(["en", "zh"].map((language) => loadTexts(language)));
        return texts.map((text) => {
            try { return [`taken ${JSON.stringify(fromJson(text))}`]; }
            catch (e) { return [e.message, ...["en", "zh"].map((language) => speak(language, () => fileProblem(e)))]; }
        });
        }""",
        texts,
    )
    for (message, english, chinese), (_, expected) in zip(said, bad, strict=True):
        assert message.startswith(expected), message
        assert ": expected " in english and "应为" in chinese and "file." not in english + chinese
    assert loaded.evaluate("({}).polluted") is None


def test_edit_regenerate_and_switch_between_versions(chat: Page) -> None:
    ask(chat, "My name is Tavo.")
    first = ask(chat, "What is my name?")
    assert "Tavo" in body(first)
    act(chat.locator(QUESTION).nth(1), "edit")
    chat.get_by_test_id("edit-text").fill("What is the capital of France?")
    chat.get_by_test_id("edit-text").press("Enter")
    second = answered(chat, 1)
    assert "Paris" in body(second) and cached(second) > 0
    expect(chat.locator(QUESTION).nth(1).get_by_test_id("version")).to_have_text("2/2")

    chat.locator(QUESTION).nth(1).get_by_test_id("version-previous").click()
    expect(chat.locator(QUESTION).nth(1).get_by_test_id("version")).to_have_text("1/2")
    assert "Tavo" in body(chat.locator(ANSWER).nth(1))
    act(chat.locator(ANSWER).nth(0), "again")  # a branch beside everything that follows the first answer
    expect(chat.locator(ANSWER)).to_have_count(1)
    assert cached(answered(chat, 0)) > 0
    expect(chat.locator(ANSWER).nth(0).get_by_test_id("version")).to_have_text("2/2")

    act(chat.locator(ANSWER).nth(0), "edit")
    chat.get_by_test_id("edit-text").fill("Hello, *you*!")
    chat.get_by_test_id("edit-keep").click()
    expect(chat.locator(ANSWER).nth(0).locator("em")).to_have_text("you")
    expect(chat.locator(ANSWER).nth(0).get_by_test_id("version")).to_have_text("3/3")

    chat.get_by_test_id("chat-menu").click()
    chat.get_by_test_id("menu-tree").click()
    nodes = chat.get_by_test_id("node")
    expect(nodes).to_have_count(8)
    nodes.filter(has_text="What is the capital of France").click()
    expect(chat.get_by_test_id("tree-dialog")).to_be_hidden()
    assert "Paris" in body(chat.locator(ANSWER).nth(1))


def test_a_cut_answer_goes_on(chat: Page) -> None:
    setting(chat, "max_tokens", "6")
    try:
        answer = ask(chat, "Tell me a story about a fox.")
        before = body(answer)
        expect(answer.get_by_test_id("note")).to_contain_text("Reached the longest answer")
        act(answer, "continue")
        expect(answer).to_have_attribute("data-state", "done")
        expect(answer.get_by_test_id("note")).to_contain_text("12 tokens")
        assert body(answer).startswith(before) and len(body(answer)) > len(before)
        assert cached(answer) > 0
        expect(chat.locator(ANSWER)).to_have_count(1)
    finally:
        chat.get_by_test_id("new-chat").click()  # it was set for new conversations
        setting(chat, "max_tokens", "512")


def test_fork_and_delete_a_branch_with_undo(chat: Page) -> None:
    ask(chat, "Hello!")
    ask(chat, "What is the capital of Norway?")
    act(chat.locator(ANSWER).nth(0), "fork")
    expect(chat.locator(ANSWER)).to_have_count(1)
    assert titles(chat)[:2] == ["Hello! (branch)", "Hello!"]
    chat.get_by_test_id("conversation").nth(1).locator(".talk-open").click()
    expect(chat.locator(ANSWER)).to_have_count(2)
    act(chat.locator(QUESTION).nth(1), "delete-branch")
    expect(chat.locator(ANSWER)).to_have_count(1)
    chat.get_by_test_id("toast-action").last.click()
    expect(chat.locator(ANSWER)).to_have_count(2)


def test_search_rename_delete_and_undo(chat: Page, tmp_path: Path) -> None:
    take(
        chat,
        tmp_path / "one.json",
        [
            written(
                id="zebra", title="Stripes", messages=[written()["messages"][0] | {"content": "Why has a zebra <b>stripes</b>?"}], leaf="q"
            )
        ],
    )
    expect(chat.locator(QUESTION).locator(".bubble")).to_have_text("Why has a zebra <b>stripes</b>?")
    chat.keyboard.press("Control+k")
    expect(chat.get_by_test_id("search")).to_be_focused()
    chat.keyboard.type("ZEBRA stripes")
    expect(chat.get_by_test_id("conversation")).to_have_count(1)
    expect(chat.get_by_test_id("snippet").locator("mark")).to_have_text(["zebra", "stripes"])
    assert chat.get_by_test_id("snippet").inner_text() == "Why has a zebra <b>stripes</b>?"
    chat.keyboard.press("Escape")
    expect(chat.get_by_test_id("search")).to_have_value("")

    item = chat.locator('[data-conversation="zebra"]')
    item.locator(".talk-open").focus()
    chat.keyboard.press("F2")
    chat.get_by_test_id("rename").fill("Black and white")
    chat.keyboard.press("Enter")
    expect(item.locator(".talk-title")).to_have_text("Black and white")
    expect(chat).to_have_title("Black and white · RWKV")

    item.get_by_test_id("conversation-more").click()
    chat.get_by_test_id("menu-delete").click()
    expect(item).to_have_count(0)
    expect(chat.locator(QUESTION)).to_have_count(0)
    chat.get_by_test_id("toast-action").last.click()
    expect(item).to_have_count(1)
    expect(chat.locator(QUESTION)).to_have_count(1)


def test_export_and_import_round_trip(chat: Page, tmp_path: Path) -> None:
    details = {
        "reasoning": "Add.",
        "reasoningSeconds": 1.5,
        "finish": "length",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 4},
    }
    question, answer = written()["messages"]
    tree = [question, answer | details, answer | {"id": "a2", "created": 1002, "state": "stopped"}]
    ours = written(
        id="round", messages=tree, prompt={"template": {"user": "{}", "thinking": {"none": ""}}}, sampling={"stop": ["x"]}, draft="to be"
    )
    take(chat, tmp_path / "in.json", [ours])
    expect(chat.locator(ANSWER).get_by_test_id("version")).to_have_text("1/2")
    expect(chat.get_by_test_id("composer")).to_have_value("to be")
    expect(chat.locator(ANSWER).get_by_test_id("thinking")).to_have_text("Thought for 1.5 sAdd.")
    all_of_them = exported(chat, tmp_path)
    assert next(one for one in all_of_them if one["id"] == "round") == ours

    for one in all_of_them:
        chat.locator(f'[data-conversation="{one["id"]}"]').hover()
        chat.locator(f'[data-conversation="{one["id"]}"]').get_by_test_id("conversation-more").click()
        chat.get_by_test_id("menu-delete").click()
    expect(chat.get_by_test_id("conversation")).to_have_count(0)
    chat.evaluate("""async () => {
        const { openDB } = await import("./vendor/idb/index.js");
        const db = await openDB("rwkv-conversations");
        await Promise.all(["conversations", "messages", "drafts"].map((name) => db.clear(name)));
        db.close();
    }""")
    chat.reload()
    chat.wait_for_selector("html[data-state=ready]")
    expect(chat.get_by_test_id("conversation")).to_have_count(0)
    take(chat, tmp_path / "all.json", all_of_them)
    expect(chat.get_by_test_id("conversation")).to_have_count(len(all_of_them))
    again = exported(chat, tmp_path)
    assert sorted(again, key=lambda one: one["id"]) == sorted(all_of_them, key=lambda one: one["id"])
    take(chat, tmp_path / "all.json", all_of_them)  # nothing is taken twice
    expect(chat.get_by_test_id("toast").last).to_contain_text(f"Already here: {len(all_of_them)}")
    assert len(titles(chat)) == len(all_of_them)


def test_a_reload_in_the_middle_of_an_answer_loses_nothing(chat: Page) -> None:
    ask(chat, "Hello!")
    chat.get_by_test_id("composer").fill("Tell me a story about a fox.")
    chat.get_by_test_id("composer").press("Enter")
    answer = chat.locator(ANSWER).nth(1)
    expect(answer).to_contain_text(re.compile(r"\w+ \w+ \w+"))
    chat.wait_for_timeout(1500)  # answers are saved every second
    chat.get_by_test_id("composer").fill("and then")  # a draft, while the answer grows
    chat.reload()
    expect(chat.get_by_test_id("composer")).to_have_value("and then")
    expect(chat.get_by_test_id("chat-loading")).to_be_visible()  # what was said can be read before the model is there
    expect(answer).to_be_visible()
    expect(answer).to_have_attribute("data-state", re.compile("stopped|done"))
    assert re.search(r"\w+ \w+", answer.locator(".body").text_content() or "")
    chat.wait_for_selector("html[data-state=ready]")
    expect(chat.get_by_test_id("chat-loading")).to_be_hidden()
    expect(chat.get_by_test_id("composer")).to_have_value("and then")
    expect(chat.locator('[data-testid="conversation"] [aria-current=page]')).to_have_count(1)


def test_two_tabs_write_to_the_same_conversation(chat: Page, site_url: str) -> None:
    ask(chat, "Hello!")
    current = chat.locator(".talk.current")
    name = current.get_attribute("data-conversation")
    other = chat.context.new_page()
    other.goto(site_url + BESIDE)
    other.evaluate(
        """async ([site, id]) => {
        const { Library } = await import(`${site}app/conversations/library.js`);
        window.library = await new Library((error) => { throw error; }).open();
        const { leaf } = library.get(id);
        await library.put(id, { id: "theirs", parent: leaf, role: "user", content: "from the other tab", state: "done", created: Date.now() });
        library.patch(id, { leaf: "theirs" });
        await library.store.flush();
        }""",
        [site_url, name],
    )
    expect(chat.locator(QUESTION).nth(1)).to_have_text(re.compile("from the other tab"))
    current.locator(".talk-open").focus()
    chat.keyboard.press("F2")
    chat.get_by_test_id("rename").fill("Named here")
    chat.keyboard.press("Enter")
    other.wait_for_function("id => library.get(id).title === 'Named here'", arg=name)
    assert other.evaluate("async (id) => (await library.store.messages(id)).length", name) == 3
    other.close()


def test_on_a_phone_the_list_is_a_drawer(chat: Page) -> None:
    chat.set_viewport_size({"width": 390, "height": 844})
    sidebar = chat.get_by_test_id("sidebar")
    expect(sidebar).to_be_hidden()
    assert chat.evaluate("document.documentElement.scrollWidth") <= 390
    chat.get_by_test_id("sidebar-open").click()
    expect(sidebar).to_be_visible()
    expect(chat.get_by_test_id("sidebar-close")).to_be_focused()
    assert chat.evaluate("document.getElementById('main').inert")
    chat.keyboard.press("Escape")
    expect(sidebar).to_be_hidden()
    expect(chat.get_by_test_id("sidebar-open")).to_be_focused()
    chat.get_by_test_id("sidebar-open").click()
    chat.get_by_test_id("conversation").first.locator(".talk-open").click()
    expect(sidebar).to_be_hidden()
    expect(chat.locator(QUESTION).first).to_be_visible()


def test_everything_by_keyboard(chat: Page) -> None:
    ask(chat, "Hello!")
    composer = chat.get_by_test_id("composer")
    composer.press("ArrowUp")
    expect(chat.get_by_test_id("edit-text")).to_be_focused()
    chat.keyboard.press("Escape")
    expect(chat.get_by_test_id("edit-text")).to_have_count(0)
    composer.focus()
    chat.keyboard.type("?")
    expect(composer).to_have_value("?")  # in a text it is a question mark
    composer.fill("")
    chat.locator("#scroller").focus()
    chat.keyboard.press("?")
    expect(chat.get_by_test_id("shortcuts-dialog")).to_be_visible()
    chat.keyboard.press("Escape")
    chat.keyboard.press("Control+Shift+S")
    expect(chat.get_by_test_id("sidebar")).to_be_hidden()
    chat.keyboard.press("Control+Shift+S")
    expect(chat.get_by_test_id("sidebar")).to_be_visible()
    chat.keyboard.press("Control+Shift+O")
    expect(chat.locator(ANSWER)).to_have_count(0)
    expect(composer).to_be_focused()
    composer.fill("Tell me a story about a fox.")
    composer.press("Enter")
    expect(chat.locator(ANSWER)).to_contain_text(re.compile(r"\w+ \w+"))
    chat.keyboard.press("Escape")
    expect(chat.locator(ANSWER)).to_have_attribute("data-state", "stopped")
    expect(chat.locator(ANSWER).get_by_test_id("continue")).to_be_attached()


def test_code_tables_and_formulas(chat: Page, tmp_path: Path) -> None:
    text = "```python\ndef f(): return '<b>'\n```\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n\nWith $x_1 * x_2 * y$ and \\(a_i\\), for $5 to $6:\n\n$$\na_1 \\\\ b_1\n$$"
    take(
        chat,
        tmp_path / "rich.json",
        [written(id="rich", messages=[written()["messages"][0], written()["messages"][1] | {"content": text}])],
    )
    answer = chat.locator(ANSWER)
    expect(answer.locator(".hljs-keyword").first).to_have_text("def")
    assert answer.locator("pre").inner_text() == "def f(): return '<b>'\n"
    expect(answer.locator("td")).to_have_text(["1", "2"])
    expect(answer.locator(".math")).to_have_text(["$x_1 * x_2 * y$", "\\(a_i\\)", re.compile(r"a_1 \\\\\s+b_1")])
    expect(answer.locator("em")).to_have_count(0)
