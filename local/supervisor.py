"""Keeps the service's processes running: starts them, starts again what dies, and stops them in order."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
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
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        if output:
            output.close()
        self.started_at = time.monotonic()
        return self.process


class Supervisor:
    """Runs programs until told to stop."""

    def __init__(self) -> None:
        """Begin with none."""
        self._programs: list[Program] = []
        self._stopping = threading.Event()

    def start(self, program: Program) -> subprocess.Popen[bytes]:
        """Start a program and keep it running.

        Args:
            program: what to run.
        """
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
                program.start()
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
            process = program.process
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                logger.warning("the %s did not end in %g s and is killed", program.name, STOP_SECONDS)
                os.killpg(process.pid, signal.SIGKILL)  # its session: what it started goes with it
                process.wait()


def _reason(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
