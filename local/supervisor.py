"""Keeps the service's processes running: starts them, starts again what dies, and stops them in order."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

STOP_SECONDS = 12.0
RESTART_PAUSES = (0.5, 1, 2, 5, 10, 30)
"""Seconds before a process that died is started again; the last one holds for good."""

STABLE_SECONDS = 60.0
"""A process that lived for so long has its pauses forgiven."""


@dataclass(slots=True)
class Program:
    """One process to keep running."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path | None = None
    """Where its output goes; to this process's own when None."""
    folder: Path | None = None
    """Where it runs; where this process does when None."""
    port: int = 0
    """Where it listens on this machine; 0 when it does not."""
    health: str = ""
    """The path that answers 200 when all is well."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    deaths: int = field(default=0, init=False)
    started_at: float = field(default=0.0, init=False)
    restart_at: float = field(default=0.0, init=False)

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, in a session of its own, so that Ctrl-C reaches only the supervisor."""
        output = self.log.open("ab") if self.log else None
        self.process = subprocess.Popen(  # noqa: S603 - our own programs
            self.command,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        if output:
            output.close()
        self.started_at = time.monotonic()
        return self.process

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """Return its present process.

        Raises:
            RuntimeError: it was never started, or is being started again.
        """
        if self.process is None:
            msg = f"the {self.name} is not started"
            raise RuntimeError(msg)
        return self.process

    @property
    def pid(self) -> int:
        """Return the id of its present process."""
        return self.running.pid

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Return whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """End it, by force if it does not end in time."""
        if self.process is None or not self.is_running:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("the %s did not end in %g s and is killed", self.name, STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """Kill it and what it started, which is in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.running.wait()


class Supervisor:
    """Runs programs until told to stop."""

    def __init__(self, announce: Callable[[str], object] = logger.debug) -> None:
        """Take what shows a line for each program that is being stopped."""
        self._announce = announce
        self._programs: list[Program] = []
        self._stopping = threading.Event()

    def start(self, program: Program) -> subprocess.Popen[bytes]:
        """Start a program and keep it running."""
        self._programs.append(program)
        return program.start()

    def ask_to_stop(self) -> None:
        """Let `watch` return; safe in a signal handler."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Return whether the end was asked for."""
        return self._stopping.is_set()

    def watch(self) -> None:
        """Start again what dies, until asked to stop."""
        while not self._stopping.wait(0.25):
            for program in self._programs:
                self._look_after(program)

    def _look_after(self, program: Program) -> None:
        process, now = program.process, time.monotonic()
        if process is None:
            if now >= program.restart_at:
                _start_again(program, now)
            return
        status = process.poll()
        if status is None:
            return
        if now - program.started_at > STABLE_SECONDS:
            program.deaths = 0
        pause = RESTART_PAUSES[min(program.deaths, len(RESTART_PAUSES) - 1)]
        program.deaths += 1
        program.process = None
        program.restart_at = now + pause
        logger.error("the %s ended (%s), starting again in %g s", program.name, _reason(status), pause)

    def stop(self) -> None:
        """Stop the programs, the last one started first; what does not end in time is killed."""
        self._stopping.set()
        for program in reversed(self._programs):
            if program.is_running:
                self._announce(f"Stopping the {program.name}…")
                program.stop()


def _start_again(program: Program, now: float) -> None:
    try:
        program.start()
    except OSError as error:  # no memory, no process, no disk: there may be later
        program.restart_at = now + RESTART_PAUSES[-1]
        logger.error("the %s cannot be started (%s), trying in %g s", program.name, error.strerror, RESTART_PAUSES[-1])  # noqa: TRY400 - a line says it


def _reason(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
