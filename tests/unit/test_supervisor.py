"""Keeping processes running: what dies is started again, and the end is orderly."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import supervisor as module
from local.supervisor import Program, Supervisor
from tests.support.waiting import WAIT_SECONDS, wait_for

PATIENT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("{name} ends", flush=True), sys.exit(0)))
print("{name} runs", flush=True)
while True: time.sleep(0.05)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("runs", flush=True)
while True: time.sleep(0.05)
"""


def make_program(name: str, code: str, log: Path) -> Program:
    """Return a program that runs some Python."""
    return Program(name, [sys.executable, "-c", code.replace("{name}", name)], dict(os.environ), log)


def lines(log: Path) -> list[str]:
    """Return what was written so far."""
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


@pytest.fixture
def watched() -> Iterator[Supervisor]:
    """Yield a supervisor that watches in a thread, and stop it."""
    supervisor = Supervisor()
    thread = threading.Thread(target=supervisor.watch)
    thread.start()
    yield supervisor
    supervisor.ask_to_stop()
    thread.join(WAIT_SECONDS)
    supervisor.stop()


def test_what_dies_is_started_again(watched: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = tmp_path / "worker.log"
    program = make_program("worker", PATIENT, log)
    first = watched.start(program)
    wait_for(lambda: lines(log) == ["worker runs"])
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: lines(log) == ["worker runs", "worker runs"])
    assert program.process is not None
    assert program.process.pid != first.pid
    assert "the worker ended (SIGKILL), starting again in 0.5 s" in caplog.text


def test_what_keeps_dying_is_given_longer_pauses(
    watched: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RESTART_PAUSES", (0.01, 0.02, 0.03))
    log = tmp_path / "bot.log"
    watched.start(make_program("bot", "print('again', flush=True); raise SystemExit(3)", log))
    wait_for(lambda: len(lines(log)) >= 4)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR][:4]
    assert told[:3] == [f"the bot ended (exit status 3), starting again in {pause} s" for pause in (0.01, 0.02, 0.03)]


def test_a_long_life_forgives_earlier_deaths(
    watched: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STABLE_SECONDS", 0.0)
    monkeypatch.setattr(module, "RESTART_PAUSES", (0.01, 60))
    log = tmp_path / "bot.log"
    watched.start(make_program("bot", "print('again', flush=True)", log))
    wait_for(lambda: len(lines(log)) >= 3)


def test_a_program_that_has_ended_is_not_started_again_after_the_stop(tmp_path: Path) -> None:
    supervisor = Supervisor()
    program = make_program("bot", "pass", tmp_path / "log")
    supervisor.start(program).wait(WAIT_SECONDS)
    supervisor.ask_to_stop()
    supervisor.watch()
    supervisor.stop()
    assert program.process is not None
    assert program.process.returncode == 0


def test_programs_stop_in_the_opposite_order(tmp_path: Path) -> None:
    announced: list[str] = []
    supervisor, log = Supervisor(announced.append), tmp_path / "log"
    for name in ("database", "webhook", "worker"):
        supervisor.start(make_program(name, PATIENT, log))
        wait_for(lambda name=name: f"{name} runs" in lines(log))  # type: ignore[misc]
    supervisor.stop()
    assert lines(log)[3:] == ["worker ends", "webhook ends", "database ends"]
    assert announced == ["Stopping the worker…", "Stopping the webhook…", "Stopping the database…"]


def test_what_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
    supervisor, log = Supervisor(), tmp_path / "log"
    process = supervisor.start(make_program("worker", DEAF, log))
    wait_for(lambda: lines(log) == ["runs"])
    supervisor.stop()
    assert process.returncode == -signal.SIGKILL
    assert "the worker did not end in 0.3 s and is killed" in caplog.text


def test_stopping_twice_does_no_harm(tmp_path: Path) -> None:
    supervisor, log = Supervisor(), tmp_path / "log"
    supervisor.start(make_program("worker", PATIENT, log))
    wait_for(lambda: lines(log) == ["worker runs"])
    supervisor.stop()
    supervisor.stop()
    assert supervisor.stopping
    assert lines(log) == ["worker runs", "worker ends"]


def test_a_program_runs_in_a_session_of_its_own_and_reads_no_keys(tmp_path: Path) -> None:
    supervisor, log = Supervisor(), tmp_path / "log"
    code = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()), flush=True)"
    supervisor.start(make_program("worker", code, log)).wait(WAIT_SECONDS)
    assert lines(log) == ["True ''"]


def test_the_log_of_an_earlier_life_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        Supervisor().start(make_program("worker", "print('hello')", log)).wait(WAIT_SECONDS)
    assert lines(log) == ["hello", "hello"]


def test_what_cannot_be_started_again_at_once_is_started_later(
    watched: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RESTART_PAUSES", (0.05,))
    log = tmp_path / "log"
    program = make_program("patient", PATIENT, log)
    process = watched.start(program)
    wait_for(lambda: bool(lines(log)))
    python, program.command[0] = program.command[0], str(tmp_path)  # no program, as little as without memory
    process.kill()
    wait_for(lambda: "cannot be started (Permission denied)" in caplog.text)
    program.command[0] = python
    wait_for(lambda: lines(log).count("patient runs") == 2)
