"""An operator refills the stock as the Prefect UI does, with a model that answers, and a learner gets a question."""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.llm_server import LlmServer, Reply, serve_llm, written, written_question
from tests.stack.conftest import RunningStack, wait_until
from tests.stack.test_browser import answer, browser, last_message, page, picture

pytestmark = [pytest.mark.browser, pytest.mark.stack]

__all__ = ["browser", "page"]

LEARNER = 1001
WORDS = Path(__file__).read_text(encoding="utf-8").split()


@contextmanager
def model_in_a_thread() -> Iterator[LlmServer]:
    """Yield a model that answers on an event loop of its own, since the browser blocks this thread."""
    ready, end = threading.Event(), threading.Event()
    servers: list[LlmServer] = []

    async def serve() -> None:
        async with serve_llm() as server:
            servers.append(server)
            ready.set()
            await asyncio.to_thread(end.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    yield servers[0]
    end.set()
    thread.join(10)


def another_question() -> Reply:
    """Return a question on streams that repeats none before it."""
    words = " ".join(random.sample(WORDS, 12)).replace("`", "")[:120]
    return written(written_question(prompt=f"Six consumers of one group are all busy. Partitions at least? ({words})"))


@pytest.fixture(scope="module")
def model() -> Iterator[LlmServer]:
    with model_in_a_thread() as model:
        yield model


@pytest.fixture(scope="module")
def refilled(model: LlmServer) -> Iterator[RunningStack]:
    """Yield a whole service that has a language model."""
    with tempfile.TemporaryDirectory(prefix="quiz-refill-", ignore_cleanup_errors=True) as folder:
        extra = {"OPENAI_API_KEY": "sk-stack", "OPENAI_BASE_URL": model.url, "PREFERRED_TOPICS": "streaming"}
        stack = RunningStack(Path(folder), extra=extra)
        stack.start()
        yield stack
        if not stack.ended():
            stack.stop()


def test_a_refilled_stock_reaches_a_learner(refilled: RunningStack, model: LlmServer, page: Page) -> None:
    model.answer(*(another_question() for _ in range(20)))
    wanted = {"topics": ["streaming"], "levels": [2], "stock_per_cell": 2}
    run_id = refilled.start_run("refill_question_bank/refill", wanted)
    wait_until(lambda: refilled.run(run_id)["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}, 120)
    assert refilled.run(run_id)["state_type"] == "COMPLETED", refilled.run(run_id)["state"]["message"]
    assert len(model.requests) == 2
    assert len(model.blind_requests) == 6
    look_at_the_report(refilled, page)
    page.goto(refilled.chat)
    page.get_by_test_id(f"learner-{LEARNER}").click()
    page.get_by_role("button", name=re.compile("^start$", re.IGNORECASE)).click()
    expect(last_message(page)).to_contain_text("Welcome")
    last_message(page).get_by_test_id("keyboard-button").filter(has_text="Skip").click()
    expect(last_message(page)).to_contain_text("Streaming")
    answer(page, right=True, stack=refilled)  # the learner's second turn is the model's
    last_message(page).get_by_test_id("keyboard-button").first.click()
    expect(last_message(page)).to_contain_text("Six consumers of one group are all busy")
    answer(page, right=True, stack=refilled)


def look_at_the_report(stack: RunningStack, page: Page) -> None:
    """Read the artifact that tells what was written, as an operator does."""
    query = {"artifacts": {"key": {"any_": ["refilled-questions"]}}}
    found = httpx.post(f"{stack.prefect}/api/artifacts/filter", json=query, timeout=20).json()
    assert found[0]["data"].count('"accepted"') == 2
    assert "2 questions for US$" in found[0]["description"]
    page.set_viewport_size({"width": 1200, "height": 760})
    page.goto(f"{stack.prefect}/artifacts/artifact/{found[0]['id']}")
    expect(page.get_by_text("refilled-questions").first).to_be_visible()
    picture(page, "prefect-refill")
