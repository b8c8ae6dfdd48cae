"""`python main.py` as a whole: schedules, signals, a second start on the same data, and errors in one line."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.waiting import WAIT_SECONDS, wait_for
from tests.system.stack.conftest import ROOT, RunningStack, plain

pytestmark = pytest.mark.stack


def distribution_runs(stack: RunningStack, state: str) -> list[dict[str, Any]]:
    return stack.runs(state={"type": {"any_": [state]}}, tags={"all_": ["auto-scheduled", "daily"]})


def test_the_screen_at_the_end_of_the_start_tells_the_addresses(stack: RunningStack) -> None:
    screen = plain(stack.output)
    for address in (stack.chat, stack.prefect, f"{stack.webhook}/ready", f"{stack.webhook}/metrics"):
        assert address in screen
        assert httpx.get(address, timeout=WAIT_SECONDS, follow_redirects=True).status_code == 200
    assert "Traceback" not in screen


def test_distributions_are_scheduled_and_one_runs_to_the_end(stack: RunningStack) -> None:
    wait_for(lambda: distribution_runs(stack, "SCHEDULED"))
    wait_for(lambda: distribution_runs(stack, "COMPLETED"))
    assert not stack.runs(state={"type": {"any_": ["FAILED", "CRASHED"]}})


def test_prefect_adds_nothing_to_the_screen_and_reports_to_nobody(stack: RunningStack) -> None:
    wait_for(lambda: distribution_runs(stack, "COMPLETED"))
    assert "started!" not in stack.output
    [worker] = stack.workers()
    assert worker.environ()["DO_NOT_TRACK"] == "1"


def test_a_process_that_dies_is_started_again(stack: RunningStack) -> None:
    [worker] = stack.workers()
    worker.kill()
    wait_for(lambda: "the worker ended (SIGKILL)" in stack.output, stack.describe)
    wait_for(lambda: any(process.pid != worker.pid for process in stack.workers()), stack.describe)
    wait_for(lambda: answers(stack, 1002, "/help", "How it works"), stack.describe)


def answers(stack: RunningStack, learner: int, text: str, reply: str) -> bool:
    """Write to the bot once, and say whether its reply is there."""
    with httpx.Client(base_url=stack.chat, timeout=WAIT_SECONDS) as client:
        chat = client.get(f"/api/learners/{learner}/messages").json()["messages"]
        if not any(message["out"] and message["text"] == text for message in chat):
            client.post(f"/api/learners/{learner}/messages", json={"text": text}).raise_for_status()
        return any(not message["out"] and reply in message["text"] for message in chat)


def test_it_stops_with_all_its_processes_and_the_next_start_finds_the_data(stack: RunningStack) -> None:
    wait_for(lambda: answers(stack, 1003, "/start", "Welcome"))
    processes = stack.descendants()
    assert len(processes) >= 7  # three servers, the simulator, three roles
    assert stack.stop(signal.SIGTERM) == 0  # as a supervisor does; at the end of these tests it is Ctrl-C
    assert "Stopped. The data is kept" in plain(stack.output)
    assert "Traceback" not in stack.output
    wait_for(lambda: not any(map(is_alive, processes)))  # what is killed with its parent takes a moment
    stack.start()
    with httpx.Client(base_url=stack.chat, timeout=WAIT_SECONDS) as client:
        chat = client.get("/api/learners/1003/messages").json()["messages"]
    assert any("Welcome to the daily quiz" in message["text"] for message in chat)
    wait_for(lambda: answers(stack, 1003, "/stats", "Your progress"), stack.describe)
    wait_for(lambda: distribution_runs(stack, "SCHEDULED"))


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process still works; one that ended and that nobody has asked about is a zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_port_in_use_is_one_clear_line() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        stack = RunningStack(Path(folder), webhook_port=taken.getsockname()[1])
        done = run(stack)
    assert done.returncode == 1
    assert done.stdout == b""
    [line] = done.stderr.decode().splitlines()
    assert f"port {stack.webhook_port}, meant for the webhook, is in use" in line
    assert "set WEBHOOK_PORT" in line


def test_a_data_folder_that_cannot_be_written_is_one_clear_line() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").write_text("a file where a folder should be")
        done = run(RunningStack(Path(folder)))
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert "cannot be written" in line
    assert "DATA_DIR" in line


def run(stack: RunningStack) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "main.py"],
        cwd=ROOT,
        env=stack.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
