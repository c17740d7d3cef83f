"""What a project tests with `rwkv_page`: its own code against a model that answers for real, the same on every run and every machine."""

import pytest
from haiku import best, capital

from py_rwkv.errors import RwkvError
from py_rwkv.testing import RwkvPage


def test_the_project_s_code_with_a_real_model(rwkv_page: RwkvPage) -> None:
    assert capital("Norway", rwkv_page.chat) == "Oslo"


def test_answers_are_the_same_every_time(rwkv_page: RwkvPage) -> None:
    first, second = (rwkv_page.complete("Once upon a time", max_tokens=8) for _ in range(2))
    assert first == second != ""
    warm = {"temperature": 1.5, "top_p": 1, "max_tokens": 8}  # the seed is fixed as well
    assert rwkv_page.complete("Once upon a time", **warm) == rwkv_page.complete("Once upon a time", **warm)


def test_logits_say_what_a_greedy_answer_begins_with(rwkv_page: RwkvPage) -> None:
    tokens = rwkv_page.tokenize("User: What is the capital of Norway?\n\nAssistant:")
    logits = rwkv_page.logits(tokens)
    drawn = rwkv_page.create(messages=[{"role": "user", "content": "What is the capital of Norway?"}], logprobs=True, max_tokens=1)
    assert len(logits) == 65536
    assert best(logits) == drawn["choices"][0]["logprobs"]["content"][0]["id"]
    assert drawn["choices"][0]["finish_reason"] == "length" and drawn["usage"]["completion_tokens"] == 1


def test_an_error_has_a_code(rwkv_page: RwkvPage) -> None:
    with pytest.raises(RwkvError, match="temperature must be") as caught:
        rwkv_page.chat("Hello", temperature=-1)
    assert caught.value.code == "bad-setting"
    rwkv_page.timeout, before = 1e-3, rwkv_page.timeout
    with pytest.raises(TimeoutError, match=r"rwkv\.info"):
        rwkv_page.info()
    rwkv_page.timeout = before


def test_the_whole_page_is_there(rwkv_page: RwkvPage, rwkv_site: str) -> None:
    assert rwkv_page.page.url == rwkv_site and rwkv_page.page.locator("html[data-state=ready]").count() == 1
    assert rwkv_page.evaluate("rwkv.status().model.name") == rwkv_page.info()["model"]["name"]
    rwkv_page.page.close()  # a test may do anything: the next one gets a page of its own


def test_a_page_that_is_gone_is_replaced(rwkv_page: RwkvPage) -> None:
    assert rwkv_page.tokenize("a") == [98]
