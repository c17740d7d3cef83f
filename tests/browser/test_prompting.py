"""What answers are asked for with: settings, templates, personas, raw text. One page is loaded for all of it; requests are looked at, not answered."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pages import loaded_page
from playwright.sync_api import Locator, Page, expect
from profiles import Profiles

from py_rwkv.resources import web_dir

ANSWER = '[data-testid="message"][data-role="assistant"]'
# The engine's place is taken by one that keeps the request and says two words.
RECORD = """() => {
  window.sent = [];
  window.real = rwkv.chat.completions.create.bind(rwkv.chat.completions);
  rwkv.chat.completions.create = async ({ signal, ...request }) => {
    window.sent.push(request);
    return (async function* () { yield { choices: [{ delta: { content: "All right." }, finish_reason: "stop" }] }; })();
  };
}"""

TEXTS = json.loads((web_dir() / "i18n/en/conversations.json").read_text("utf-8"))
DROP = """(element, data) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], "tavo.rwkv"));
  element.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def loaded(profiles: Profiles) -> Iterator[Page]:
    with loaded_page(profiles, accept_downloads=True, viewport={"width": 1280, "height": 900}) as page:
        page.evaluate(RECORD)
        yield page


@pytest.fixture
def chat(loaded: Page) -> Page:
    """A new conversation with nothing set, and its settings open."""
    loaded.get_by_test_id("new-chat").click()
    loaded.locator('[data-testid="persona-chip"][data-chip=""]').click()  # also takes back all values
    if not loaded.get_by_test_id("prompting").is_visible():
        loaded.get_by_test_id("settings").click()
    loaded.get_by_test_id("prompting").locator("details").evaluate_all("(all) => { for (const one of all) one.open = true; }")
    return loaded


def field(page: Page, name: str) -> Locator:
    return page.get_by_test_id(f"set-{name}")


def ask(page: Page, text: str) -> dict[str, Any]:
    """What goes to the engine with a question."""
    count = page.locator(ANSWER).count()
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    expect(page.locator(ANSWER).nth(count)).to_have_attribute("data-state", "done")
    request: dict[str, Any] = page.evaluate("sent.at(-1)")
    return {name: value for name, value in request.items() if name != "stream"}


def test_settings_reach_the_next_request_and_belong_to_the_conversation(chat: Page) -> None:
    recommended = chat.evaluate("rwkv.info().then(({ model }) => model.sampling.temperature)")
    expect(chat.get_by_test_id("prompting").locator('[data-setting="temperature"] .advice')).to_contain_text(
        f"Model’s value: {recommended}"
    )
    assert ask(chat, "One?") == {"messages": [{"role": "user", "content": "One?"}]}
    for name, value in {"temperature": "0.7", "top_k": "5", "penalty_decay": "0.99", "seed": "7", "stop": "\\n\\nUser:\nEnd"}.items():
        field(chat, name).fill(value)
    field(chat, "system").fill("Be brief.")
    request = ask(chat, "Two?")
    assert request.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "All right."},
        {"role": "user", "content": "Two?"},
    ]
    chosen = {"temperature": 0.7, "top_k": 5, "penalty_decay": 0.99, "seed": 7, "stop": ["\n\nUser:", "End"]}
    assert request == chosen

    field(chat, "temperature").fill("11")
    expect(chat.get_by_test_id("error-set-temperature")).to_have_text("A number from 0 to 10. The last good value stays in use.")
    expect(field(chat, "temperature")).to_have_attribute("aria-invalid", "true")
    field(chat, "top_k").fill("1.5")
    expect(chat.get_by_test_id("error-set-top_k")).to_contain_text("whole number")
    assert {name: value for name, value in ask(chat, "Three?").items() if name != "messages"} == chosen
    chat.get_by_test_id("set-reset-temperature").click()
    expect(field(chat, "temperature")).to_have_value("")
    assert "temperature" not in ask(chat, "Four?")

    chat.get_by_test_id("new-chat").click()  # which begins with the values of new chats, not those of this one
    expect(field(chat, "top_k")).to_have_value("")
    assert ask(chat, "Another?") == {"messages": [{"role": "user", "content": "Another?"}]}
    chat.locator('[data-testid="conversation"] .talk-open').nth(1).click()
    expect(field(chat, "top_k")).to_have_value("5")
    expect(field(chat, "stop")).to_have_value("\\n\\nUser:\nEnd")
    chat.get_by_test_id("settings-keep").click()
    chat.get_by_test_id("new-chat").click()
    expect(field(chat, "system")).to_have_value("Be brief.")
    assert ask(chat, "New?")["top_k"] == 5
    field(chat, "seed").press("Escape")
    expect(chat.get_by_test_id("prompting")).to_be_hidden()
    expect(chat.get_by_test_id("settings")).to_be_focused()


def test_the_preview_is_what_the_model_reads(chat: Page) -> None:
    shown = chat.get_by_test_id("preview")
    field(chat, "system").fill("Be kind.")
    field(chat, "template").select_option("g1")
    field(chat, "thinking").select_option("short")
    chat.get_by_test_id("composer").fill("Who are you?")
    expect(shown).to_have_text("System: Be kind.\n\nUser: Who are you? (think a bit)\n\nAssistant: <think")
    request = ask(chat, "Who are you?")
    assert (request["template"], request["thinking"]) == ("g1", "short")
    chat.get_by_test_id("composer").fill("And  I?")
    expect(shown).to_contain_text("And  I?")
    messages = [*request["messages"], {"role": "assistant", "content": "All right.", "thinking": "short"}]
    messages.append({"role": "user", "content": "And  I?"})
    truth = chat.evaluate("(r) => rwkv.render(r)", {"messages": messages, "template": "g1", "thinking": "short"})
    assert shown.text_content() == truth["text"]
    expect(chat.get_by_test_id("preview-tokens")).to_have_text(f"{truth['tokens']} tokens")
    chat.get_by_test_id("preview-signs").check()
    expect(shown).to_contain_text("User:·And··I?·(think·a·bit)↵\n↵\nAssistant:")
    chat.get_by_test_id("preview-signs").uncheck()
    chat.get_by_test_id("composer").fill("")


def test_a_template_of_ones_own_is_checked_while_it_is_written(chat: Page) -> None:
    chat.get_by_test_id("composer").fill("Hi")
    field(chat, "template").select_option("custom")
    expect(field(chat, "custom-user")).to_have_value("User: {}\\n\\n")
    field(chat, "custom-user").fill("Q: {}\\n")
    expect(chat.get_by_test_id("preview")).to_have_text("Q: Hi\nAssistant:")
    field(chat, "custom-user").fill("Q:")
    complaint = chat.get_by_test_id("error-set-custom-user")
    expect(complaint).to_have_text("The text needs {} exactly once, where the question goes. It is now 'Q:'.")
    expect(field(chat, "custom-user")).to_have_attribute("aria-invalid", "true")
    assert ask(chat, "Hi")["template"]["user"] == "Q: {}\n"  # the last good one
    field(chat, "custom-user").fill("Q: {}\\n")
    expect(complaint).to_be_empty()
    field(chat, "custom-stops").fill("\\nQ:")
    chat.get_by_test_id("composer").fill("x")
    expect(chat.get_by_test_id("error-set-custom-stops")).to_be_empty()
    expect(chat.locator("#set-template")).to_have_value("custom")
    chat.get_by_test_id("composer").fill("")


def test_personas_are_made_used_shared_and_brought_back(chat: Page, tmp_path: Path) -> None:
    state = chat.evaluate(
        """async () => {
        const blob = await rwkv.states.save({ messages: [{ role: "user", content: "My name is Tavo." }, { role: "assistant", content: "Hello Tavo." }] });
        return btoa(Array.from(new Uint8Array(await blob.arrayBuffer()), (b) => String.fromCharCode(b)).join(""));
        }"""
    )
    field(chat, "system").fill("Talk like a pirate.")
    field(chat, "temperature").fill("0.9")
    chat.get_by_test_id("personas-create").click()
    chat.get_by_test_id("persona-save").click()
    expect(chat.get_by_test_id("persona-error")).to_have_text("Give it a name.")
    chat.get_by_test_id("persona-name").fill("Pirate")
    chat.get_by_test_id("persona-greeting").fill("Ahoy!")
    chat.get_by_test_id("persona-suggestions").fill("Where is the gold?\nWho are you?")
    chat.get_by_test_id("persona-file").set_input_files({"name": "half.rwkv", "mimeType": "", "buffer": base64.b64decode(state)[:999]})
    expect(chat.get_by_test_id("persona-state-error")).to_contain_text("half.rwkv is incomplete")
    chat.get_by_test_id("persona-drop").evaluate(DROP, state)
    expect(chat.get_by_test_id("persona-state")).to_contain_text("tavo.rwkv · ")
    chat.get_by_test_id("persona-save").click()
    pirate = chat.get_by_test_id("persona").filter(has_text="Pirate")
    pirate.get_by_test_id("persona-use").click()
    expect(chat.get_by_test_id("greeting")).to_have_text("Ahoy!")
    expect(chat.get_by_test_id("suggestion")).to_have_text(["Where is the gold?", "Who are you?"])
    request = ask(chat, "Who?")
    assert request["messages"][0] == {"role": "system", "content": "Talk like a pirate."}
    assert request["temperature"] == 0.9 and request["state"].startswith("start-")
    answer = chat.evaluate(
        """async ({ state }) => {
        const messages = [{ role: "user", content: "What is my name?" }];
        return (await real({ messages, state, temperature: 0, max_tokens: 12 })).choices[0].message.content;
        }""",
        request,
    )
    assert "Tavo" in answer  # the model begins where the file ends

    chat.get_by_test_id("personas-manage").click()
    with chat.expect_download() as download:
        pirate.get_by_test_id("persona-export").click()
    download.value.save_as(tmp_path / "pirate.json")
    file = json.loads((tmp_path / "pirate.json").read_text("utf-8"))
    [shared] = file["personas"]
    assert shared["state"] == {"name": "tavo.rwkv", "sha256": sha256(base64.b64decode(state)).hexdigest(), "data": state}
    pirate.get_by_test_id("persona-delete").click()
    expect(pirate).to_have_count(0)
    chat.get_by_test_id("personas-undo").click()
    expect(pirate).to_have_count(1)
    pirate.get_by_test_id("persona-delete").click()
    chat.get_by_test_id("personas-file").set_input_files(tmp_path / "pirate.json")
    expect(chat.get_by_test_id("personas-status")).to_have_text("Imported: 1.")
    with chat.expect_download() as download:
        pirate.get_by_test_id("persona-export").click()
    assert json.loads(Path(download.value.path()).read_text("utf-8")) == file

    lies: list[tuple[Any, str]] = [
        ({"version": 2}, "version: expected value 1"),
        ({"personas": {}}, "personas: expected list"),
        ({"personas": [shared | {"name": " "}]}, "personas[0].name: expected name"),
        ({"personas": [shared | {"id": "builtin-story"}]}, "personas[0].id: expected others"),
        ({"personas": [shared | {"sampling": {"top_p": 2}}]}, "personas[0].sampling.top_p: expected range 0 1"),
        ({"personas": [shared | {"sampling": {"stop": [""]}}]}, "personas[0].sampling.stop: expected"),
        (
            {"personas": [shared | {"prompt": {"template": {"evil": "x"}}}]},
            "personas[0].prompt.template.evil: expected value name / preamble",
        ),
        ({"personas": [shared | {"suggestions": ["x"] * 9}]}, "personas[0].suggestions: expected list 8"),
        ({"personas": [shared | {"state": shared["state"] | {"data": "!"}}]}, "personas[0].state.data: expected base64"),
        ({"personas": [shared | {"state": shared["state"] | {"data": "AAAA"}}]}, "personas[0].state.sha256: expected"),
    ]
    said = chat.evaluate(
        """async (texts) => {
        const { fromJson } = await import("./app/prompting/file.js");
        return Promise.all(texts.map((text) => fromJson(text).then(() => "taken", (e) => `${e.message}; ${e.expected}`)));
        }""",
        [json.dumps(file | lie) for lie, _ in lies],
    )
    for message, (_, expected) in zip(said, lies, strict=True):
        assert message.startswith(expected), message
        assert f"file.expected.{message.rpartition(' ')[2]}" in TEXTS
    chat.get_by_test_id("personas-dialog").locator("[data-close]").click()


def test_raw_text_is_continued_in_place_and_taken_back(loaded: Page) -> None:
    loaded.get_by_test_id("raw-open").click()
    raw, status = loaded.get_by_test_id("raw"), loaded.get_by_test_id("raw-status")
    expect(raw).to_be_focused()
    expect(loaded.get_by_test_id("composer")).to_be_hidden()
    if not loaded.get_by_test_id("prompting").is_visible():
        loaded.get_by_test_id("settings").click()
    expect(field(loaded, "system")).to_be_hidden()
    field(loaded, "temperature").fill("0")
    field(loaded, "max_tokens").fill("6")
    start = "User: What is the capital of Norway?\n\nAssistant:"
    raw.fill(start)
    raw.press("Control+Enter")
    expect(status).to_have_text(re.compile(r"^6 tokens · [\d.,]+ tokens/s$"))
    first = raw.input_value()
    assert first.startswith(start) and "Oslo" in first
    expect(loaded.locator(".paper-back mark")).to_have_text(first[len(start) :])
    loaded.get_by_test_id("raw-continue").click()
    expect(loaded.locator(".paper-back mark")).to_have_count(2)
    loaded.get_by_test_id("raw-undo").click()
    expect(raw).to_have_value(first)
    raw.evaluate("(area) => { area.setRangeText('!', 0, 0); area.dispatchEvent(new Event('input')); }")
    loaded.get_by_test_id("raw-undo").click()
    expect(raw).to_have_value("!" + start)
    expect(loaded.get_by_test_id("raw-undo")).to_be_disabled()

    loaded.reload()  # the draft and the mode are there before the model is
    expect(raw).to_have_value("!" + start)
    loaded.get_by_test_id("new-chat").click()
    expect(raw).to_be_hidden()
    expect(loaded.get_by_test_id("composer")).to_be_visible()


def test_pieces_of_the_models_follow_what_a_person_changes(loaded: Page) -> None:
    moved = loaded.evaluate(
        """async () => {
        const { moved } = await import("./app/completion.js");
        const one = [{ from: 2, to: 6, run: 1 }];
        return ["0123456789", "x0123456789", "0123x456789", "012345x6789", "0189", "01236789", "0123xx6789", ""]
          .map((after) => moved(one, "0123456789", after).map(({ from, to }) => after.slice(from, to)).join("|"));
        }"""
    )
    assert moved == ["2345", "2345", "23|45", "2345", "", "23", "23", ""]
