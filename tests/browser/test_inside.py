"""Looking inside: tokens and their alternatives, the recurrent state, counters, the journal. One page is loaded for all of it; answers are greedy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pages import loaded_page
from playwright.sync_api import Locator, Page, expect
from profiles import Profiles

ANSWER = '[data-testid="message"][data-role="assistant"]'
SECRET = "What is the capital of Norway?"
# Everything that the token view says of a token, by the engine itself.
SCORE = """async ([question, answer]) => {
    const tokens = [];
    const messages = [{ role: "user", content: question }, { role: "assistant", content: answer }];
    const end = await rwkv.score({ messages, top_logprobs: 20 }, { onToken: (token) => tokens.push(token) });
    return { ...end, entries: tokens };
}"""


@pytest.fixture(scope="module")
def loaded(profiles: Profiles) -> Iterator[Page]:
    """The page with the demo ready and a greedy answer to SECRET."""
    with loaded_page(profiles, permissions=["clipboard-read", "clipboard-write"], viewport={"width": 1280, "height": 800}) as page:
        page.get_by_test_id("settings").click()
        page.get_by_test_id("set-temperature").fill("0")
        page.keyboard.press("Escape")
        ask(page, SECRET)
        yield page


def ask(page: Page, text: str) -> Locator:
    count = page.locator(ANSWER).count()
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    answer = page.locator(ANSWER).nth(count)
    expect(answer).to_have_attribute("data-state", "done", timeout=120_000)
    return answer


def body(message: Locator) -> str:
    return message.locator(".body").inner_text()


def tokens(page: Page, message: Locator) -> Locator:
    """The boxes of the token view of a message, once all are there."""
    message.hover()
    message.get_by_test_id("tokens").click()
    expect(page.locator('.tokens[data-state="done"]')).to_be_visible()
    return page.get_by_test_id("token")


def test_tokens_of_an_answer_and_a_branch_from_an_alternative(loaded: Page) -> None:
    answer = loaded.locator(ANSWER).first
    said = body(answer)
    known = loaded.evaluate(SCORE, [SECRET, said])
    assert "".join(entry["token"] for entry in known["entries"]).strip() == said
    for entry in known["entries"]:
        tops = [math.exp(top["logprob"]) for top in entry["top_logprobs"]]
        assert len(tops) == 20 and tops == sorted(tops, reverse=True) and sum(tops) <= 1 + 1e-4
        assert entry["logprob"] <= entry["top_logprobs"][0]["logprob"] + 1e-6 and entry["entropy"] >= 0

    boxes = tokens(loaded, answer)
    assert [int(box.get_attribute("data-id") or "") for box in boxes.all()] == [entry["id"] for entry in known["entries"]]
    expect(loaded.get_by_test_id("tokens-summary")).to_contain_text(f"{len(known['entries'])} tokens")
    boxes.nth(0).focus()
    loaded.keyboard.press("ArrowRight")
    expect(boxes.nth(1)).to_be_focused()
    first, second = known["entries"][:2]
    detail = loaded.get_by_test_id("token-detail")
    expect(detail).to_contain_text(f"“{second['token']}”")
    expect(detail.get_by_test_id("alternative")).to_have_count(8)
    assert boxes.nth(0).get_attribute("aria-label")
    loaded.get_by_test_id("by-entropy").click()
    levels = [int(box.get_attribute("data-level") or "") for box in boxes.all()]
    assert levels == [sum(entry["entropy"] >= least for least in (0.1, 0.5, 1, 2, 3.5)) for entry in known["entries"]]

    other = next(top for top in second["top_logprobs"] if top["id"] != second["id"] and re.fullmatch(r" \w+", top["token"]))
    loaded.get_by_test_id("alternative").locator(f'xpath=self::*[@data-id="{other["id"]}"]').click()
    expect(answer.get_by_test_id("version")).to_have_text("2/2", timeout=60_000)
    beginning = (first["token"] + other["token"]).strip()
    assert body(answer).startswith(beginning) and not said.startswith(beginning)
    expect(boxes.nth(1)).to_have_attribute("data-id", str(other["id"]))  # the view has followed
    answer.get_by_test_id("version-previous").click()
    assert body(answer) == said
    expect(loaded.get_by_test_id("panel")).to_be_hidden()  # what was looked into is no longer shown


def test_what_an_alternative_begins(loaded: Page) -> None:
    found = loaded.evaluate(
        """async () => {
            const { beginning } = await import("./app/inside/probabilities.js");
            const token = (text) => ({ token: text, bytes: [...new TextEncoder().encode(text)] });
            const text = (message, texts, at, one) => beginning(message, texts.map(token), at, one) ?? null;
            const plain = {}, thought = { reasoning: "Hm." };
            const words = [" It", " is", " 好"], thinking = [">", "Hm.", "</think>", "\\n", "Yes"];
            return [
                text(plain, words, 0, token(" No")), text(plain, words, 2, token(" bad")), text(plain, words, 2, { token: "?", bytes: [] }),
                text(plain, words, 2, { token: "\\ufffd", bytes: [0xe5, 0xa5] }), text(thought, thinking, 1, token("So")),
                text(thought, thinking, 4, token("No")), text(thought, [" <think", ...thinking], 2, token("So")),
            ];
        }"""
    )
    thinks, says = {"content": "", "reasoning": "So"}, {"content": "No", "reasoning": "Hm."}
    assert found == [{"content": "No"}, {"content": "It is bad"}, None, None, thinks, says, thinks]


def test_probabilities_recorded_while_the_answer_came(loaded: Page) -> None:
    tokens(loaded, loaded.locator(ANSWER).first)
    loaded.get_by_test_id("record").check()
    loaded.get_by_test_id("new-chat").click()
    answer = ask(loaded, "Hello!")
    boxes = tokens(loaded, answer)
    drawn = int(re.search(r"(\d+) token", answer.get_by_test_id("note").text_content() or "")[1])  # type: ignore[index]
    assert boxes.count() == drawn  # the one that ended it, too
    assert "".join(boxes.all_inner_texts()).replace("↵", "").strip().startswith(body(answer)[:10])
    loaded.get_by_test_id("record").uncheck()
    loaded.get_by_test_id("panel-close").click()


def test_the_state_has_a_square_for_every_head(loaded: Page) -> None:
    answer = loaded.locator(ANSWER).first
    answer.hover()
    answer.get_by_test_id("more").click()
    loaded.get_by_test_id("menu-state").click()
    loaded.wait_for_selector('.state-view[data-state="ready"]')
    facts: dict[str, Any] = loaded.evaluate(
        """async () => {
            const { model } = await rwkv.info();
            const trace = await rwkv.trace({ text: "One two three" }, { onToken: (token) => void (globalThis.last = token) });
            return { layers: model.layers, embd: model.embd, trace, changes: last.change.length, head: (await rwkv.stateOf(0, 0)).length };
        }"""
    )
    layers, heads, size = (facts["trace"][name] for name in ("layers", "heads", "head_size"))
    assert (layers, heads * size, facts["changes"], facts["head"]) == (facts["layers"], facts["embd"], layers * heads, size * size)
    status = loaded.get_by_test_id("state-status")
    expect(status).to_contain_text(f"{layers} layers × {heads} heads")
    for name, count in (("layer", layers), ("head", heads)):
        assert loaded.get_by_test_id(f"inside-{name}").locator("option").count() == count
    canvas = loaded.get_by_test_id("heatmap")
    ratio = canvas.evaluate("canvas => canvas.width / canvas.height")
    assert ratio == pytest.approx(heads / layers)

    expect(loaded.get_by_test_id("matrix-summary")).to_contain_text(f"{size} × {size}")
    canvas.focus()
    loaded.keyboard.press("ArrowDown")
    expect(loaded.get_by_test_id("state-value")).to_contain_text(re.compile("Layer 1, head 0"))
    expect(loaded.get_by_test_id("inside-layer")).to_have_value("1")
    before = loaded.get_by_test_id("state-summary").inner_text()
    loaded.get_by_test_id("state-at").focus()
    loaded.keyboard.press("Home")
    expect(loaded.locator('.matrix-view[data-index="0"]')).to_be_visible()  # the head as it was after the first token
    expect(loaded.get_by_test_id("state-summary")).not_to_have_text(before)
    loaded.get_by_test_id("state-play").click()
    expect(loaded.get_by_test_id("state-at")).not_to_have_value("0")
    loaded.get_by_test_id("state-play").click()
    loaded.get_by_test_id("by-norm").click()
    expect(loaded.get_by_test_id("state-summary")).to_contain_text("At the end")
    matrix = loaded.get_by_test_id("matrix")
    expect(matrix).to_have_attribute("aria-label", re.compile("layer 1, head 0"))
    matrix.focus()
    loaded.keyboard.press("ArrowRight")
    expect(loaded.get_by_test_id("matrix-value")).to_contain_text(re.compile(r"value 0, key 1: \S+"))
    loaded.get_by_test_id("panel-close").click()
    expect(loaded.get_by_test_id("panel")).to_be_hidden()


def test_counters(loaded: Page) -> None:
    loaded.get_by_test_id("device-info").click()
    for name, pattern in {
        "info.decode": r"\d tokens/s",
        "info.context": r"^[1-9]",
        "info.written": r"tokens .answers: [2-9]",
        "info.hits": r"\d of \d+ prompt",
        "info.weights": r"MB",
        "info.state": r"B$",
        "info.scratch": r"B$",
        "info.wasm": r"MB",
        "info.states": r"^\d+ \(",
        "phase.short.python": r"\d",
        "info.ready": r"\d",
    }.items():
        expect(loaded.get_by_test_id(name)).to_contain_text(re.compile(pattern))
    loaded.keyboard.press("Escape")


def test_the_journal_has_no_content_unless_somebody_wants_it(loaded: Page) -> None:
    loaded.get_by_test_id("device-info").click()
    loaded.get_by_test_id("device-panel").get_by_role("button", name="What happened").click()
    entries = loaded.get_by_test_id("log-list").locator("li")
    kinds = entries.evaluate_all("all => all.map((one) => one.dataset.kind)")
    assert kinds[0] == "page" and {"load", "phase", "ready", "timings", "storage", "answer"} <= set(kinds)

    def copied(name: str) -> str:
        loaded.get_by_test_id(f"log-{name}").click()
        expect(loaded.get_by_test_id("log-dialog").get_by_role("status")).to_have_text("Copied")
        text: str = loaded.evaluate("navigator.clipboard.readText()")
        return text

    stored: str = loaded.evaluate("sessionStorage.getItem('rwkv.journal')")
    report = copied("json")
    for text in (stored, report, copied("text")):
        assert "Norway" not in text and "Oslo" not in text
    found = json.loads(report)
    assert "Chrom" in found["browser"] and found["version"] != "unknown"
    answer = next(event for event in found["events"] if event["kind"] == "answer")
    assert answer["tokens"] > 1 and answer["decode"] > 0 and answer["state"] == "done"
    loaded.get_by_test_id("log-content").check()
    expect(entries.locator("q").first).to_contain_text(SECRET)
    assert SECRET in copied("text")
    assert any(event.get("content", {}).get("question") == SECRET for event in json.loads(copied("json"))["events"])
    loaded.get_by_test_id("log-close").click()
    loaded.get_by_test_id("chat-menu").click()
    loaded.get_by_test_id("menu-log").click()
    expect(loaded.get_by_test_id("log-content")).not_to_be_checked()  # asked for each time
    loaded.get_by_test_id("log-close").click()


def test_the_journal_is_bounded_and_says_nothing_of_texts_in_errors(loaded: Page) -> None:
    found = loaded.evaluate(
        """async () => {
            const { Journal } = await import("./app/journal.js");
            const journal = new Journal();
            journal.clear();
            for (let i = 0; i < 400; i++) journal.add("phase", { i, object: {}, missing: undefined });
            journal.error({ code: "bad-setting", message: "my secret", details: { name: "x", found: "my secret", limit: 3, kernel: "wkv7" } });
            journal.error(new Error(`cannot read "my secret" of 'my secret' at https://example.org/my-secret`));
            return { count: journal.entries.length, quoted: journal.entries.pop().facts, first: journal.entries[0].facts, last: journal.entries.at(-1) };
        }"""
    )
    assert (found["count"], found["first"]) == (300, {"i": 102})
    assert found["quoted"] == {"code": "internal", "reason": "cannot read … of … at …"}
    assert found["last"]["facts"] == {"code": "bad-setting", "limit": 3, "kernel": "wkv7"}
