"""The end of `make run`'s start: ready, or nothing missing but Telegram."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console

from domain.errors import StartupError
from domain.ids import BotId
from domain.service_state import BackupSummary, DailyBacklog, DistributionSum, ServiceState
from domain.settings import Settings
from local import servers
from local.stack import Stack
from roles.readiness import describe_problems
from tests.support.factories import TOKEN

REFUSED = "Telegram refuses bot 7 (Unauthorized): put its present token into TELEGRAM_BOT_TOKEN"
UPDATES = "bot 7 gets no updates: a webhook is set (quiz.example.org)"


@contextmanager
def ready_page(*says: list[str]) -> Iterator[int]:
    """Serve a `/ready` that says one thing after the other, and the last one for ever; yield its port."""
    left = list(says)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            problems = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(503 if problems else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"ready": not problems, "problems": problems}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def wait(port: int, tokens: str = "") -> str:
    """Wait as the stack does, and return what it shows."""
    shown = io.StringIO()
    settings = Settings(_env_file=None, webhook_port=port, telegram_bot_tokens=tokens)
    stack = Stack(settings, Console(file=shown, width=200))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        stack._worker = stack.role("worker")  # noqa: SLF001 - the start of it takes half a minute
        stack._worker.process = worker  # noqa: SLF001
        try:
            stack._wait_until_ready()  # noqa: SLF001
        finally:
            worker.kill()
    return shown.getvalue()


def test_a_bot_that_gets_no_updates_yet_keeps_nothing_from_starting() -> None:
    with ready_page(["no worker has sent a heartbeat lately", UPDATES], [UPDATES]) as port:
        assert wait(port) == f"{UPDATES}\n"


def test_daily_quizzes_that_became_due_while_nothing_ran_keep_nothing_from_starting() -> None:
    state = ServiceState(
        (), 0, 0, (DailyBacklog(BotId(7), 3, 90_000),), 0, None, None, DistributionSum(), BackupSummary(0)
    )
    *missing, overdue = map(str, describe_problems(state, Settings(_env_file=None)))
    with ready_page([*missing, overdue], [overdue]) as port:
        assert wait(port) == f"{overdue}\n"


def test_nothing_is_said_of_what_was_missing_at_first() -> None:
    with ready_page(["no worker has sent a heartbeat lately"], []) as port:
        assert wait(port) == ""


def test_anything_else_that_stays_missing_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "READY_SECONDS", 0.5)
    with ready_page(["the question bank is empty", UPDATES]) as port, pytest.raises(StartupError) as caught:
        wait(port)
    assert f"the service is not ready: the question bank is empty; {UPDATES}, at http://" in str(caught.value)


@pytest.mark.parametrize("tokens", ["", TOKEN])
def test_a_bot_that_telegram_refuses_ends_the_start_at_once(tokens: str) -> None:
    with ready_page(["no worker has sent a heartbeat lately", UPDATES, REFUSED]) as port:
        with pytest.raises(StartupError) as caught:
            wait(port, tokens)
        assert str(caught.value) == f"The service cannot start: {REFUSED}"


def test_one_refused_bot_of_two_is_told_and_the_other_serves() -> None:
    with ready_page(["the question bank is empty", REFUSED], [UPDATES, REFUSED]) as port:
        assert wait(port, f"{TOKEN},8{TOKEN}") == f"{UPDATES}\n{REFUSED}\n"
