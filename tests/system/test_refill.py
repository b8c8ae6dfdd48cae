"""An operator refills the stock as the Prefect UI does, with a model that answers, and a learner gets a question."""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from local import servers
from tests.conftest import run_psql
from tests.support.llm_server import LlmServer, Reply, serve_llm, written, written_question
from tests.support.waiting import WAIT_SECONDS, wait_for
from tests.system.stack.conftest import RunningStack
from tests.system.stack.leaks import find_leaks
from tests.system.stack.test_browser import answer, browser, last_message, page, picture

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
    ready.wait(WAIT_SECONDS)
    yield servers[0]
    end.set()
    thread.join(WAIT_SECONDS)


def another_question() -> Reply:
    """Return a question on streams that repeats none before it."""
    words = " ".join(random.sample(WORDS, 12)).replace("`", "")[:120]
    return written(written_question(prompt=f"Six consumers of one group are all busy. Partitions at least? ({words})"))


@pytest.fixture(scope="module")
def model() -> Iterator[LlmServer]:
    with model_in_a_thread() as model:
        yield model


SECRETS = {
    "webhook secret": "hush-Webhook_4711",
    "database password": "hush-Database4711",
    "Redis password": "hush-Redis4711",
    "model key": "hush-Model-4711-of-no-known-form",
}
_CUT_OFF = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
WORDS_OF_A_LEARNER = "Zq7xWord"
"""Stands in every name and every word of a learner."""


@pytest.fixture(scope="module")
def guarded_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a Valkey that wants a password."""
    port, folder, password = servers.free_port(), tmp_path_factory.mktemp("valkey"), SECRETS["Redis password"]
    (folder / "valkey.conf").write_text(f"requirepass {password}\n")
    command = servers.valkey_command(port, folder)
    process = subprocess.Popen([command[0], str(folder / "valkey.conf"), *command[1:]], stdout=subprocess.DEVNULL)
    servers.wait_until_listening(port, process, folder, "Valkey")
    yield f"redis://:{password}@127.0.0.1:{port}/0"
    process.terminate()
    process.wait(WAIT_SECONDS)


@pytest.fixture(scope="module")
def refilled(model: LlmServer, guarded_valkey: str, postgres_url: Callable[[str], str]) -> Iterator[RunningStack]:
    """Yield a whole service that has a language model, secrets of every kind, and the most talkative logs."""
    database = postgres_url("refilled").replace("postgres:@", f"postgres:{SECRETS['database password']}@")
    assert SECRETS["database password"] in database
    with tempfile.TemporaryDirectory(prefix="quiz-refill-", ignore_cleanup_errors=True) as folder:
        extra = {
            "OPENAI_API_KEY": SECRETS["model key"],
            "OPENAI_BASE_URL": model.url,
            "PREFERRED_TOPICS": "streaming",
            "LOG_LEVEL": "DEBUG",
            "TELEGRAM_WEBHOOK_SECRET": SECRETS["webhook secret"],
            "DATABASE_URL": database,
            "REDIS_URL": guarded_valkey,
        }
        stack = RunningStack(Path(folder), extra=extra)
        stack.start()
        yield stack
        if not stack.ended():
            stack.stop()


def test_a_refilled_stock_reaches_a_learner(refilled: RunningStack, model: LlmServer, page: Page) -> None:
    model.answer(*(another_question() for _ in range(20)))
    wanted = {"topics": ["streaming"], "levels": [2], "stock_per_cell": 2}
    run_id = refilled.start_run("refill_question_bank/refill", wanted)
    wait_for(lambda: refilled.run(run_id)["state_type"] in {"COMPLETED", "FAILED", "CRASHED"})
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


def test_no_log_at_debug_level_tells_a_secret_or_anything_about_a_learner(refilled: RunningStack) -> None:
    live_through_everything(refilled)
    secrets = SECRETS | {
        "bot token": (refilled.data / "data" / "simulator-token").read_text().strip(),
        "name or words of a learner": WORDS_OF_A_LEARNER,
    }
    assert "DEBUG" in refilled.output
    for there in ("Everything ready", "refill_question_bank", "database system is ready"):
        assert find_leaks(refilled, {"what is no secret": there})  # else finding none would mean nothing
    assert find_leaks(refilled, secrets) == []


def live_through_everything(stack: RunningStack) -> None:
    """Have a learner do all they can, with failures of Telegram, forged updates and wrong secrets in between."""
    with httpx.Client(base_url=stack.chat, timeout=WAIT_SECONDS) as chat:
        learner = Visitor(chat, 4711)
        for text in ("/start", WORDS_OF_A_LEARNER, "/help", f"/{WORDS_OF_A_LEARNER}", "/privacy", "/settings", "/quiz"):
            learner.say(text)
        learner.tap("a:")
        learner.tap(WORDS_OF_A_LEARNER)
        for text in ("/stats", "/review", "/export", "/stop", "/resume"):
            learner.say(text)
        for kind in ("429", "500", "502", "403", "reset"):
            chat.post("/api/faults", json={"method": "sendmessage", "kind": kind}).raise_for_status()
            learner.write("/help")  # after a 403 nobody answers
            wait_for(lambda: not chat.get("/api/faults").json()["remaining"], stack.describe)
        chat.post("/api/faults", json={"method": "sendphoto", "kind": "500", "count": 3}).raise_for_status()
        learner.say("/stats")
        for path in ("block", "unblock"):
            chat.post(f"/api/learners/{learner.id}/{path}").raise_for_status()
        learner.say("/quiz")
        knock(stack)
        run_psql(stack.database, _CUT_OFF)
        learner.say("/erase")
        learner.tap("x:1")


class Visitor:
    """A learner who is called and says what no log may repeat."""

    def __init__(self, chat: httpx.Client, learner_id: int) -> None:
        self._chat, self.id = chat, learner_id
        name = {"id": learner_id, "first_name": f"{WORDS_OF_A_LEARNER} Name"}
        chat.post("/api/learners", json=name).raise_for_status()

    def say(self, text: str) -> None:
        """Write, and wait for a reply."""
        known = len(self.messages())
        self.write(text)
        wait_for(lambda: any(not one["out"] for one in self.messages()[known:]))

    def write(self, text: str) -> None:
        """Write, and wait for nothing."""
        self._chat.post(f"/api/learners/{self.id}/messages", json={"text": text}).raise_for_status()

    def tap(self, data: str) -> None:
        """Tap the latest button whose data begins so, or forge it."""
        messages = [one for one in reversed(self.messages()) if not one["out"]]
        for message in messages:
            for row in message.get("reply_markup", {}).get("inline_keyboard", []):
                for button in row:
                    if button["callback_data"].startswith(data):
                        self._tap(message, button["callback_data"])
                        return
        self._tap(messages[0], data)

    def _tap(self, message: dict[str, Any], data: str) -> None:
        body = {"message_id": message["message_id"], "data": data, "forge": True}
        self._chat.post(f"/api/learners/{self.id}/taps", json=body).raise_for_status()

    def messages(self) -> list[dict[str, Any]]:
        """Return the chat."""
        return list(self._chat.get(f"/api/learners/{self.id}/messages").json()["messages"])


def knock(stack: RunningStack) -> None:
    """Post what is no update, and updates with a wrong secret, all full of somebody's words."""
    address = f"{stack.webhook}/telegram/webhook"
    words = {"message": {"text": WORDS_OF_A_LEARNER, "from": {"id": WORDS_OF_A_LEARNER}}, "update_id": 1}
    right = {"X-Telegram-Bot-Api-Secret-Token": SECRETS["webhook secret"]}
    post = partial(httpx.post, address, timeout=WAIT_SECONDS)
    assert post(json=words).status_code == 401
    assert post(json=words, headers={**right, "X-Name": WORDS_OF_A_LEARNER}).status_code == 400
    assert post(content=WORDS_OF_A_LEARNER * 100_000, headers=right).status_code == 400
    assert post(content=WORDS_OF_A_LEARNER * 200_000, headers=right).status_code == 413
    asked = httpx.get(f"{address}?{WORDS_OF_A_LEARNER}", headers=right, timeout=WAIT_SECONDS)
    assert asked.status_code == 405


def look_at_the_report(stack: RunningStack, page: Page) -> None:
    """Read the artifact that tells what was written, as an operator does."""
    query = {"artifacts": {"key": {"any_": ["refilled-questions"]}}}
    found = httpx.post(f"{stack.prefect}/api/artifacts/filter", json=query, timeout=WAIT_SECONDS).json()
    assert found[0]["data"].count('"accepted"') == 2
    assert "2 questions for US$" in found[0]["description"]
    page.set_viewport_size({"width": 1200, "height": 760})
    page.goto(f"{stack.prefect}/artifacts/artifact/{found[0]['id']}")
    expect(page.get_by_text("refilled-questions").first).to_be_visible()
    picture(page, "prefect-refill")
