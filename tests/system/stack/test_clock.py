"""A developer lets a day pass on the chat page: the whole local service follows its clock."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import WAIT_SECONDS, wait_for
from tests.system.stack.conftest import RunningStack

pytestmark = pytest.mark.stack

LEARNER = 1001
DAY = 24 * 3600


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """Yield a stack of its own: what happens a day ahead is no news for other tests."""
    with tempfile.TemporaryDirectory(prefix="quiz-clock-", ignore_cleanup_errors=True) as folder:
        stack = RunningStack(Path(folder), extra={"DISTRIBUTION_INTERVAL_MINUTES": "60"})
        stack.start()
        yield stack
        assert stack.stop() == 0


class Chat:
    """The chat of a learner, through the page's own requests."""

    def __init__(self, stack: RunningStack) -> None:
        self._http = httpx.Client(base_url=f"{stack.chat}/api", timeout=WAIT_SECONDS)

    def ask(self, method: str, path: str, **body: object) -> dict[str, object]:
        answer = self._http.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def last(self) -> dict[str, object]:
        messages = self.ask("GET", f"learners/{LEARNER}/messages")["messages"]
        assert isinstance(messages, list)
        return dict(messages[-1]) if messages else {}

    def wait(self, text: str) -> dict[str, object]:
        """Return the last message once it has this text."""
        return wait_for(lambda: message if text in str((message := self.last()).get("text")) else None, self.describe)

    def describe(self) -> str:
        return str(self.last())

    def say(self, text: str) -> None:
        self.ask("POST", f"learners/{LEARNER}/messages", text=text)

    def answer(self, message: dict[str, object]) -> dict[str, object]:
        """Press a question's first button, and return the feedback."""
        self.ask("POST", f"learners/{LEARNER}/taps", message_id=message["message_id"], row=0, column=0)
        return self.wait("Streak:")


def test_after_a_day_the_daily_comes_and_the_streak_grows(stack: RunningStack) -> None:
    chat = Chat(stack)
    chat.say("/start")
    chat.wait("Welcome")
    chat.say("/quiz")
    wait_for(lambda: "checking" not in str(chat.last()) and "A" in button_texts(chat.last()), chat.describe)
    assert "Streak: 1 day" in str(chat.answer(chat.last())["text"])

    assert chat.ask("POST", "clock", hours=24) == {"ahead": DAY}
    chat.ask("POST", "runs", label="Send the daily now")
    daily = chat.wait("Daily quiz")
    tomorrow = datetime.now(UTC) + timedelta(seconds=DAY)
    wait_for(lambda: stack.runs(name={"like_": f"daily {tomorrow:%Y-%m-%d}"}))  # Prefect's flows follow it as well
    assert "Streak: 2 days" in str(chat.answer(daily)["text"])

    assert chat.ask("DELETE", "clock") == {"ahead": 0}
    chat.say("/stats")
    wait_for(lambda: chat.last().get("photo"), chat.describe)


def button_texts(message: dict[str, object]) -> list[str]:
    """Return what is on a message's buttons."""
    markup = message.get("reply_markup")
    rows = markup["inline_keyboard"] if isinstance(markup, dict) else []
    return [button["text"] for row in rows for button in row]
