"""The process whose secrets the attacks are after: it has them in its environment and arguments, and runs the attacks.

``python -m tests.unit.sandbox.victim ENGINE SECRET`` reads attacks from standard input and writes what became of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from sandbox import python
from sandbox.python import run_python
from sandbox.results import Limits
from sandbox.sql import measure_sql

LIMITS = Limits(seconds=0.3, memory_bytes=64 << 20, output_bytes=32 << 10)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attack."""

    kind: str
    text: str
    peak_bytes: int
    """Of the process that ran it; 0 where that is not known."""
    next_works: bool


def attack_python(code: str) -> Outcome:
    """Run Python, and something harmless after it."""
    result = run_python(code, LIMITS)
    return Outcome(type(result).__name__, repr(result), 0, "text='2\\n'" in repr(run_python("print(1 + 1)")))


def attack_sql(code: str) -> Outcome:
    """Run SQL, and something harmless after it."""
    result, peak = measure_sql("create table t as select 1 as a", code, LIMITS)
    return Outcome(type(result).__name__, repr(result), peak, "rows=((2,),)" in repr(measure_sql("", "select 1 + 1")))


class Watch:
    """Follows the memory of this process's children."""

    def __init__(self) -> None:
        self.largest_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def end(self) -> None:
        """Stop following."""
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ended.wait(0.005):
            for child in psutil.Process().children():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    self.largest_bytes = max(self.largest_bytes, int(status.split("VmHWM:")[1].split()[0]) << 10)


async def main(engine: str) -> None:
    """Run the attacks, several at a time."""
    patch.object(python, "find_ignored_method", return_value=None).start()  # Monty itself shall see everything
    attack = attack_python if engine == "python" else attack_sql
    idle, own = attack("").peak_bytes, psutil.Process().memory_info().rss
    watch = Watch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        text = sys.stdin.read().replace("@PID@", str(os.getpid())).replace("@PORT@", str(server.getsockname()[1]))
        attacks: dict[str, str] = json.loads(text)
        outcomes = await asyncio.gather(*(asyncio.to_thread(attack, code) for code in attacks.values()))
        connected = _has_connection(server)
    watch.end()
    report: dict[str, Any] = {
        "outcomes": {name: asdict(outcome) for name, outcome in zip(attacks, outcomes, strict=True)},
        "connected": connected,
        "idle_bytes": idle,
        "largest_child_bytes": watch.largest_bytes,
        "grown_bytes": psutil.Process().memory_info().rss - own,
    }
    sys.stdout.write(json.dumps(report))


def _has_connection(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
