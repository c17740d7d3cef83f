"""What a model writes is hostile until proven otherwise: known payloads go through the chat as answers, thoughts, questions and errors. Nothing runs, nothing is requested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from asking import ANSWER
from playwright.sync_api import Page, expect
from profiles import Profiles

HIT = "window.hit=(window.hit||0)+1"
EVIL = "https://evil.invalid"
PAYLOADS = [
    f"<script>{HIT}</script>",
    f"<ScRiPt/src='{EVIL}/a.js'></sCrIpT>",
    f"<img src=x onerror='{HIT}'>",
    f"<img src='{EVIL}/pixel.png' srcset='{EVIL}/2x.png 2x'>",
    f"![pixel]({EVIL}/markdown.png)",
    f"![pixel][ref]\n\n[ref]: {EVIL}/reference.png",
    f"<svg onload='{HIT}'><script>{HIT}</script></svg>",
    f"<svg><animate onbegin='{HIT}' attributeName=x dur=1s></svg>",
    f"<svg><use href='{EVIL}/x.svg#a'/></svg>",
    f"<iframe src='javascript:{HIT}'></iframe>",
    f'<iframe srcdoc="<script>parent.{HIT}</script>"></iframe>',
    f"<object data='{EVIL}/o'></object><embed src='{EVIL}/e'>",
    f"<link rel=stylesheet href='{EVIL}/s.css'><style>@import '{EVIL}/i.css';*{{background:url({EVIL}/b)}}</style>",
    f"<p style='background:url({EVIL}/inline)'>x</p>",
    f"<video poster='{EVIL}/poster' src='{EVIL}/video' onerror='{HIT}'></video><audio src='{EVIL}/audio'></audio>",
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={HIT}&gt;">',
    f"<form action='javascript:{HIT}'><button>go</button></form><input autofocus onfocus='{HIT}'>",
    f"<details open ontoggle='{HIT}'>x</details>",
    f"<a href='javascript:{HIT}'>a</a> [b](javascript:{HIT}) [c](data:text/html,<script>{HIT}</script>) [d](vbscript:x)",
    f"[e](&#106;avascript:{HIT}) [f](java\nscript:{HIT}) <a href=' &#14; javascript:{HIT}'>g</a>",
    f"<a href='{EVIL}/ping' ping='{EVIL}/pinged'>h</a> [https://bank.example]({EVIL}/phish)",
    f"<base href='{EVIL}/'><meta http-equiv=refresh content='0;url={EVIL}/refresh'>",
    f"<body onload='{HIT}'><div onmouseover='{HIT}' onclick='{HIT}'>i</div>",
    f"<template><img src=x onerror='{HIT}'></template><noscript><p title=\"</noscript><img src=x onerror='{HIT}'>\">",
    f"```html\n<img src=x onerror='{HIT}'><script>{HIT}</script>\n```",
    f"```js\" onmouseover=\"{HIT}\nlet a = '<img src=x onerror={HIT}>';\n```",
    f"`<img src=x onerror='{HIT}'>` $<img src=x onerror='{HIT}'>$ \\(<svg onload='{HIT}'>\\)",
    f"| <img src=x onerror='{HIT}'> | b |\n|---|---|\n| <script>{HIT}</script> | <svg onload='{HIT}'> |",
    f"<div id=composer name=rwkv><a id=send href=x>clobber</a></div><form id=log><input name=attributes></form>{{{{{HIT}}}}}",
]
FAKE = """(payloads) => {
    window.hit = 0;
    const failing = Object.assign(new Error(payloads[2]), { code: "internal", details: { reason: payloads.join(" ") }, hint: payloads[0] });
    rwkv.chat.completions.create = async ({ messages }) => {
        const which = Number(/#(\\d+)/.exec(messages.at(-1).content)?.[1] ?? -1);
        const cut = Math.ceil((payloads[which] ?? "").length / 3);
        return (async function* () {
            if (which < 0) throw failing;
            const text = payloads[which];
            yield { choices: [{ delta: { role: "assistant", content: "" } }] };
            yield { choices: [{ delta: { reasoning_content: text } }] };
            for (let at = 0; at < text.length; at += cut) yield { choices: [{ delta: { content: text.slice(at, at + cut) } }] };
            yield { choices: [{ delta: {}, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 1 } };
        })();
    };
}"""
FOUND = """() => {
    const inside = [...document.querySelectorAll('[data-testid="message"] *')];
    const foreign = "script,iframe,object,embed,link,style,base,meta,form,input,video,audio,template,math,frame,applet,portal";
    const attributes = inside.flatMap((e) => [...e.attributes].map((a) => [e.tagName, a.name, a.value]));
    return {
        foreign: inside.filter((e) => e.matches(foreign)).map((e) => e.outerHTML.slice(0, 120)),
        handlers: attributes.filter(([, name]) => /^on/i.test(name) || ["style", "srcset", "ping", "srcdoc", "formaction"].includes(name)),
        images: inside.filter((e) => e.matches("img")).map((e) => e.getAttribute("src") ?? ""),
        links: inside.filter((e) => e.matches("a[href]")).map((e) => ({
            href: e.getAttribute("href"), rel: e.rel, target: e.target, title: e.title, host: e.dataset.host ?? "", text: e.textContent })),
        hit: window.hit,
    };
}"""


@pytest.fixture(scope="module")
def requests() -> list[str]:
    return []


@pytest.fixture(scope="module")
def chat(profiles: Profiles, browser_context_args: dict[str, Any], site_url: str, requests: list[str]) -> Iterator[Page]:
    """A chat that is ready, with the demo model; every address that was asked for from then on."""
    context = profiles.new(**browser_context_args)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(site_url)
    page.get_by_test_id("start").click()
    page.wait_for_selector("html[data-state=ready]")
    context.on("request", lambda request: requests.append(request.url))
    yield page
    context.close()


def test_what_a_model_writes_runs_nothing_and_requests_nothing(chat: Page, site_url: str, requests: list[str]) -> None:
    chat.evaluate(FAKE, PAYLOADS)
    for i, payload in enumerate([*PAYLOADS, "this one fails"]):
        number = f"#{i} " if i < len(PAYLOADS) else ""
        chat.get_by_test_id("composer").fill(f"{number}{payload}")
        chat.get_by_test_id("send").click()
        expect(chat.locator(ANSWER)).to_have_count(i + 1)
        expect(chat.locator(ANSWER).nth(i)).to_have_attribute("data-state", "done" if number else "error")
    chat.wait_for_load_state("networkidle")
    found = chat.evaluate(FOUND)
    assert found["hit"] == 0
    assert found["foreign"] == [] and found["handlers"] == []
    assert [src for src in found["images"] if not src.startswith("data:")] == []
    assert [url for url in requests if not url.startswith((site_url, "data:", "blob:"))] == []
    assert len(chat.locator(ANSWER).all()) == len(PAYLOADS) + 1 and chat.url.startswith(site_url)
    assert chat.evaluate("document.getElementById('composer').tagName") == "TEXTAREA"  # nothing took its id away

    for link in found["links"]:
        assert link["href"].startswith("https://") and link["title"] == link["href"], link
        assert {"noopener", "noreferrer"} <= set(link["rel"].split()) and link["target"] == "_blank"
        assert link["host"] == "evil.invalid" or link["text"].startswith(EVIL), "nothing says where it leads"
    assert any(link["text"] == "https://bank.example" for link in found["links"])


def test_the_list_and_the_title_are_text(chat: Page) -> None:
    assert chat.evaluate("window.hit") == 0
    assert chat.evaluate("[...document.querySelectorAll('body script, body iframe, body img[src^=http]')].length") == 0


def test_the_policy_refuses_what_a_hole_would_need(chat: Page) -> None:
    refused = chat.evaluate(
        """async () => {
            const out = {};
            const attempt = (name, work) => { try { work(); out[name] = "allowed"; } catch (e) { out[name] = e.name; } };
            attempt("html", () => (document.createElement("div").innerHTML = "<b>x</b>"));
            attempt("worker", () => new Worker("app/main.js"));
            attempt("policy", () => trustedTypes.createPolicy("mine", { createHTML: (s) => s }));
            const script = document.createElement("script");
            attempt("script", () => (script.textContent = "window.hit = 1"));
            attempt("handler", () => document.body.setAttribute("onclick", "window.hit = 1"));
            const image = new Image();
            out.image = await new Promise((done) => {
                image.onload = () => done("allowed");
                image.onerror = () => done("refused");
                image.src = "https://evil.invalid/i.png";
            });
            out.hit = window.hit;
            return out;
        }"""
    )
    refusals = dict.fromkeys(("html", "worker", "policy", "script", "handler"), "TypeError")
    assert refused == {**refusals, "image": "refused", "hit": 0}


def test_an_imported_conversation_is_as_harmless_as_an_answer(chat: Page) -> None:
    html = chat.evaluate(
        """async (payloads) => {
            const { renderMarkdown } = await import("./app/markdown.js");
            const place = document.createElement("div");
            document.body.append(place);
            place.append(...payloads.map((text) => renderMarkdown(text)), renderMarkdown(payloads.join("\\n")));
            await new Promise((go) => setTimeout(go, 50));
            const hit = window.hit, bad = place.querySelectorAll("script,iframe,object,embed,style,link,form,svg:not(.icon),img:not([src^='data:'])").length;
            place.remove();
            return { hit, bad };
        }""",
        PAYLOADS,
    )
    assert html == {"hit": 0, "bad": 0}, json.dumps(html)
