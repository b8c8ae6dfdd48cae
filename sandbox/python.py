"""Untrusted Python, in Monty: an interpreter in Rust, whose worker processes have no way to the machine.

The workers are confined by the thread that starts them, since they are the library's own program: a process inherits
what its starter gave up.
"""

from __future__ import annotations

import atexit
import os
import resource
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic_monty import Monty, MontyCrashedError, MontyError, MontySession, ResourceLimits
from pydantic_monty._binary import find_monty_binary  # there is no other way to learn which program it starts

from domain.errors import SandboxError, first_line
from sandbox.confinement import confine_thread, is_confined
from sandbox.results import Failed, Limits, OutOfMemory, Printed, PythonResult, TimedOut
from sandbox.unsupported import find_ignored_method, find_reason

GRACE_SECONDS = 0.25
"""A worker that has not stopped by itself so long after its deadline is killed."""

SLEEP_SECONDS = 1.0
"""What a snippet may sleep in all; it does not count as time that it runs."""

MEMORY_MARGIN = 1.5
"""Monty counts its heap up to the limit; the kernel refuses the worker more than this many times as much."""

_STANDARD_ERROR = 2

_lock = threading.Lock()
_pool: _Pool | None = None


def run_python(code: str, limits: Limits | None = None) -> PythonResult:
    """Run code in an empty module and return what it wrote to standard output.

    The language is Python 3.14's as Monty has it: some code runs that this CPython would not compile, such as an
    ``await`` or a ``return`` outside a function.

    The code has Monty's own modules, the clock in UTC and random numbers; no files, environment, network, processes or
    standard input. As many runs go on at a time as there are CPUs, each in a fresh process; further callers wait for
    their turn, which does not count.

    Returns:
        How it ended: ``Unsupported`` for what CPython would run and Monty lacks, as far as that can be told. A missing
        argument of a function cannot: it is a ``TypeError`` in both.

    Raises:
        SandboxError: the sandbox itself does not work.
    """
    limits = limits or Limits()
    if (method := find_ignored_method(code)) is not None:
        return method
    output = _Output(limits.output_bytes)
    try:
        with _open_pool().session(limits) as session:
            _limit_worker(session, limits)
            session.feed_run(f"{code}\nNone", print_callback=output)  # the value of a last expression stays there
    except MontyError as error:
        return _read_error(error, code, output)
    except (OSError, RuntimeError) as error:
        raise SandboxError(f"Python: {first_line(error)}") from error
    return Printed(output.text)


def close() -> None:
    """End the worker processes; the next run starts others."""
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.close()


atexit.register(close)


class _Pool:
    """Monty's pool, whose workers all start in one confined thread."""

    def __init__(self) -> None:
        program = Path(find_monty_binary())
        self._starter = ThreadPoolExecutor(1, "monty", confine_thread, (program,))
        self._monty = Monty(
            binary_path=program,
            min_processes=0,  # else this thread would start one
            max_checkouts_per_worker=1,  # what a run leaves behind ends with its process
            feed_duration_limit_grace=GRACE_SECONDS,
        )
        self._monty.__enter__()

    @contextmanager
    def session(self, limits: Limits) -> Iterator[MontySession]:
        checkout = self._monty.checkout(limits=_monty_limits(limits), assert_message_annotations=False)
        session = self._starter.submit(checkout.__enter__).result()
        try:
            yield session
        finally:
            checkout.__exit__(None, None, None)

    def close(self) -> None:
        self._monty.__exit__(None, None, None)
        self._starter.shutdown()


class _Output:
    """Takes what a snippet prints, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._pieces: list[str] = []

    @property
    def is_full(self) -> bool:
        return self._size > self._limit

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def __call__(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        self._size += len(text.encode())
        if self.is_full:
            raise MemoryError  # ends the run
        if stream == "stdout":
            self._pieces.append(text)


def _open_pool() -> _Pool:
    global _pool  # noqa: PLW0603 - one pool a process, made when it is first needed
    with _lock:
        _keep_descriptors()  # each time, since a run may start a worker
        if _pool is None:
            _pool = _Pool()
        return _pool


def _keep_descriptors() -> None:
    """Let what this process starts inherit no descriptor but the standard ones; those that Python opens never are."""
    for path in Path("/dev/fd").iterdir():
        with suppress(OSError):  # the one that lists them is closed by now
            os.set_inheritable(int(path.name), int(path.name) <= _STANDARD_ERROR)


def _monty_limits(limits: Limits) -> ResourceLimits:
    return {
        "max_feed_duration_secs": limits.seconds,
        "max_total_sleep_secs": min(SLEEP_SECONDS, limits.seconds),
        "max_memory": limits.memory_bytes,
    }


def _limit_worker(session: MontySession, limits: Limits) -> None:
    """Have the kernel hold a worker, should Monty itself fail to."""
    pid = session.worker_pid
    if sys.platform != "linux":
        return
    if pid is None:
        raise ProcessLookupError("a session without a worker")
    if not is_confined(pid):
        raise ProcessLookupError("a worker that is not confined")
    data = int(Path(f"/proc/{pid}/statm").read_text().split()[5]) * resource.getpagesize()
    for limit, value in (
        (resource.RLIMIT_DATA, data + int(limits.memory_bytes * MEMORY_MARGIN)),
        (resource.RLIMIT_CPU, int(limits.seconds) + 2),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.prlimit(pid, limit, (value, value))


def _read_error(error: MontyError, code: str, output: _Output) -> PythonResult:
    if output.is_full:
        return Failed("OutputTooLarge", f"it prints more than {output.limit} bytes")
    if isinstance(error, MontyCrashedError):
        return TimedOut() if error.timed_out else Failed("Crashed", first_line(error))
    raised = error.exception()
    message = first_line(raised)
    match raised:
        case TimeoutError() if "limit exceeded" in message:
            return TimedOut()
        case MemoryError() if "limit" in message:
            return OutOfMemory()
        case SystemExit() if not message:
            return Printed(output.text)
    return find_reason(raised, message, code) or Failed(_qualified_name(raised), message)


def _qualified_name(error: BaseException) -> str:
    """Return the name of its class as a traceback of CPython shows it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
