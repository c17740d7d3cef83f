"""What the chat app asks of the engine, in a real browser: states that are kept (also over a reload), thoughts, logprobs, going on, traces, state files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page
from profiles import Profiles

ASK = """async (request) => {
    const { choices: [choice], usage } = await rwkv.chat.completions.create(request);
    return { ...choice.message, logprobs: choice.logprobs, cached: usage.prompt_tokens_details.cached_tokens, prompt: usage.prompt_tokens };
}"""
GREEDY = {"temperature": 0, "max_tokens": 12}


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]


def start(page: Page, site_url: str) -> None:
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    page.evaluate("rwkv.load().then(() => 0)")


def ask(page: Page, *texts: str, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate(ASK, {"messages": turns(*texts), **GREEDY, **options})
    return answer


@pytest.fixture(scope="module")
def demo(profiles: Profiles, site_url: str) -> Iterator[Page]:
    """A page with the demo loaded, shared by the tests of this file."""
    page = profiles.new().new_page()
    page.set_default_timeout(120_000)
    start(page, site_url)
    yield page
    page.context.close()


def test_states_are_kept_on_the_device_in_memory_and_over_a_reload(demo: Page, site_url: str) -> None:
    norway, sweden = "What is the capital of Norway?", "And of Sweden?"
    first = ask(demo, norway)
    assert first["cached"] == 0
    again = ask(demo, norway)
    assert (again["content"], again["cached"]) == (first["content"], first["prompt"])
    second = ask(demo, norway, first["content"], sweden)
    edited = ask(demo, norway, first["content"], "Thanks.")
    assert first["prompt"] < edited["cached"] < edited["prompt"]
    usage = demo.evaluate("rwkv.states.usage()")  # once all is written
    assert usage["persistent"] and usage["count"] >= 6 and usage["stored"] >= usage["memory"] > 0
    info = demo.evaluate("rwkv.info()")
    assert (info["states"]["count"], info["context"]["tokens"] > 0, len(info["context"]["slots"])) == (usage["count"], True, 3)
    start(demo, site_url)
    reopened = ask(demo, norway, first["content"], sweden)
    assert (reopened["content"], reopened["cached"]) == (second["content"], reopened["prompt"])
    demo.evaluate("rwkv.states.clear()")
    assert demo.evaluate("rwkv.states.usage()").items() >= {"memory": 0, "stored": 0, "count": 0}.items()


def test_kept_states_have_budgets_and_need_no_storage(page: Page, site_url: str) -> None:
    """`States` by itself: the least recently used leave memory and the store, and without a store they stay in memory."""
    page.goto(site_url)
    found = page.evaluate(
        """async () => {
            const [{ States }, { Store }] = await Promise.all([import("./engine/states.js"), import("./engine/store.js")]);
            const state = (n) => new Uint8Array(100).fill(n);
            const fill = async (states) => {
                await states.open();
                states.begin("model");
                for (const n of [1, 2, 3]) {
                    states.keep("k" + n, n, new Uint8Array([n]), Promise.resolve(state(n)));
                    await states.usage();
                    await new Promise((resolve) => setTimeout(resolve, 2));
                    if (n === 2) await states.find(["k1"]); // used since
                }
                states.keep("lost", 9, new Uint8Array(), Promise.reject(new Error("the device is gone")));
                const { memory, stored, count, persistent } = await states.usage();
                const found = await Promise.all(["k1", "k2", "k3", "lost"].map((key) => states.find(["none", key])));
                return [memory, stored, count, persistent, found.map((f) => f && [f.key, f.extra[0] ?? 0, f.data.length, f.data[99]])];
            };
            const store = Store.open();
            const budget = () => ({ memory: 101, stored: 215 });
            const full = { db: { getAll: async () => [], transaction: () => { throw new DOMException("", "QuotaExceededError"); } } };
            const states = new States(store, budget());
            const first = await fill(states);
            const later = new States(store, budget());
            await later.open();
            later.begin("another");
            const lengths = [Array.from(later.lengths())];
            later.begin("model");
            lengths.push(Array.from(later.lengths()).sort());
            return [first, await fill(new States(Promise.resolve(full), budget())), lengths];
        }"""
    )
    one, three = ["k1", 1, 100, 1], ["k3", 3, 100, 3]
    assert found[0] == [101, 210, 2, True, [one, None, three, None]]
    assert found[1] == [101, 0, 1, False, [None, None, three, None]]
    assert found[2] == [[], [1, 3]]


def test_what_the_chat_app_asks_for(demo: Page) -> None:
    norway = "What is the capital of Norway?"
    whole = ask(demo, norway)

    part = ask(demo, norway, max_tokens=2)
    rest = ask(demo, norway, part["content"], **{"continue": True})
    assert part["content"] + rest["content"] == whole["content"]
    assert rest["cached"] == rest["prompt"] - 1  # the last token had not entered the state

    request = {"messages": turns(norway), "temperature": 1, "top_p": 0.9, "seed": 5, "max_tokens": 12}
    plain = demo.evaluate(ASK, request)
    told = demo.evaluate(ASK, {**request, "logprobs": True, "top_logprobs": 3})
    assert told["content"] == plain["content"]
    entries = told["logprobs"]["content"]
    assert "".join(e["token"] for e in entries).strip() == told["content"]
    assert all(len(e["top_logprobs"]) == 3 and e["logprob"] <= 0 <= e["entropy"] and e["id"] >= 0 for e in entries)

    thought = demo.evaluate(
        """async (request) => {
            const deltas = [];
            for await (const chunk of await rwkv.chat.completions.create(request)) deltas.push(chunk.choices[0].delta);
            return deltas;
        }""",
        {"messages": turns(norway), **GREEDY, "template": "g1", "thinking": "short", "stream": True},
    )
    assert "".join(d.get("reasoning_content", "") for d in thought) and not "".join(d.get("content", "") for d in thought)

    shown = demo.evaluate("(request) => rwkv.render(request)", {"messages": turns(norway)})
    assert shown == {"text": f"User: {norway}\n\nAssistant:", "pieces": [shown["text"]], "tokens": whole["prompt"]}
    assert demo.evaluate("rwkv.templates()")["default"] == "world"

    traced = demo.evaluate(
        """async () => {
            const seen = [];
            const end = await rwkv.trace({ text: "Oslo is big" }, { onToken: (token) => seen.push(token) });
            const head = await rwkv.stateOf(1, 2);
            const norm = Math.hypot(...head);
            const stop = AbortSignal.timeout(1);
            const cancelled = await rwkv.trace({ text: "x ".repeat(200) }, { signal: stop }).catch((e) => e.code);
            return { seen, end, size: head.length, norm, cancelled, refused: await rwkv.stateOf(99, 0).catch((e) => e.code) };
        }"""
    )
    end, seen = traced["end"], traced["seen"]
    assert "".join(token["text"] for token in seen) == "Oslo is big"
    assert (seen[0]["logprob"], len(seen), end["tokens"]) == (None, len(seen), len(seen))
    assert all(len(token["change"]) == end["layers"] * end["heads"] == len(end["norms"]) for token in seen)
    assert min(seen[0]["change"]) == pytest.approx(1) and 0 < max(seen[-1]["change"]) < 2
    assert traced["norm"] == pytest.approx(end["norms"][end["heads"] + 2], rel=1e-4)
    assert (traced["size"], traced["cancelled"], traced["refused"]) == (end["head_size"] ** 2, "cancelled", "bad-setting")

    kept = demo.evaluate(
        """async (messages) => {
            const file = await rwkv.states.save({ messages });
            const id = await rwkv.states.load(await file.arrayBuffer(), "norway.state");
            const ask = (request) => rwkv.chat.completions.create({ temperature: 0, max_tokens: 12, ...request });
            const text = ({ choices: [{ message }] }) => message.content;
            const next = { role: "user", content: "And of Sweden?" };
            const found = [text(await ask({ messages: [...messages, next] })), text(await ask({ messages: [next], state: id }))];
            const codes = [await ask({ messages: [next], state: "start-1" }).catch((e) => e.code)];
            codes.push(await rwkv.states.load(new ArrayBuffer(99), "x.pth").catch((e) => e.code));
            return { size: file.size, found, codes };
        }""",
        turns(norway, whole["content"]),
    )
    assert kept["size"] > 100_000
    assert kept["found"][0] == kept["found"][1]
    assert kept["codes"][0] == "unknown-state" and kept["codes"][1] not in ("internal", "unknown-state")
