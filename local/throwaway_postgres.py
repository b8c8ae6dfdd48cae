"""A PostgreSQL that leaves nothing behind: for untrusted statements, or to try a backup on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from domain import kernel
from domain.errors import StartupError
from local.embedded_postgres import (
    POSTGRES_BIN_PATH,
    EmbeddedPostgres,
    PostmasterInfo,
    in_short,
    server_environment,
)

STATEMENT_SECONDS = 10
PROCESS_BYTES = 512 << 20
"""Address space of each of the server's processes."""
FILE_BYTES = 64 << 20
"""Of each table and of the temporary files of a session."""
PROCESS_SECONDS = 60
"""CPU time of each of the server's processes, which ends a session that listens to no other signal."""
READY_SECONDS = 30.0
_PREFIX = "quiz-checks-"
_LOCK = "in-use"

_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "16MB",
    "max_worker_processes": "0",
    "autovacuum": "off",
    "jit": "off",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "fsync": "off",
    "timezone": "UTC",
}
_LIMITS = {"statement_timeout": f"{STATEMENT_SECONDS}s", "temp_file_limit": f"{FILE_BYTES >> 20}MB"}


def _end_with(parent: int) -> None:
    kernel.end_with_parent(signal.SIGQUIT)  # which PostgreSQL hands on to its processes
    if os.getppid() != parent:  # it was killed before
        os._exit(1)


def _limit_process(parent: int) -> None:
    _end_with(parent)
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES, PROCESS_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESS_SECONDS, PROCESS_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Server(EmbeddedPostgres):
    """Starts it as a child of this process, which the library does not."""

    process: subprocess.Popen[bytes]
    limited = False
    _sockets: Path

    def ensure_postgres_running(self) -> None:
        self._sockets = self.make_socket_folder()
        given = _SETTINGS | (_LIMITS if self.limited else {})
        settings = [f"--{name}={value}" for name, value in given.items()]
        account: dict[str, Any] = {}
        if self.system_user:
            account = {"user": self.system_user, "group": self.system_user, "extra_groups": []}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [str(POSTGRES_BIN_PATH / "postgres"), "-D", str(self.pgdata), "-k", str(self._sockets), *settings],
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=partial(_limit_process if self.limited else _end_with, os.getpid()),  # noqa: PLW1509 - it only makes system calls
                start_new_session=True,  # Ctrl-C is for this process, which then stops the server
                **account,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                self.wait_until_gone()
                raise StartupError(f"the throw-away PostgreSQL does not start: {_last_words(self.log)}")
            time.sleep(0.02)

    def wait_until_gone(self) -> None:
        """Return when the process has ended, and take a socket folder beside the data away."""
        self.process.wait()
        if self._sockets != self.pgdata:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _is_ready(self) -> bool:
        with contextlib.suppress(AssertionError):  # half written
            self._postmaster_info = PostmasterInfo.read_from_pgdata(self.pgdata)
            return bool(self._postmaster_info and self._postmaster_info.status == "ready")
        return False


class _LimitedServer(_Server):
    """Limits memory, CPU and files of each of its processes."""

    limited = True


@contextlib.contextmanager
def throwaway_postgres(*, limited: bool = True) -> Iterator[str]:
    """Run a PostgreSQL in TMPDIR.

    It ends with the thread that calls, even if that is killed (Linux). What is left of others that were killed is
    removed first; a server that loses its folder ends within a minute.

    Args:
        limited: for untrusted statements, with limits on memory, CPU and files of each of its processes.

    Yields:
        The URL of its superuser, who makes a database, and a role without rights for what is untrusted.

    Raises:
        StartupError: the server does not start.
    """
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder, _locked(Path(folder)):
        data = Path(folder) / "postgres"
        data.mkdir()
        try:
            server = (_LimitedServer if limited else _Server)(data)
        except (OSError, subprocess.SubprocessError, AssertionError, RuntimeError) as error:
            raise StartupError(f"the throw-away PostgreSQL does not start: {in_short(error, 'TMPDIR')}") from error
        try:
            server.psql(
                "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;\n"
                "\\connect template1\n"  # every database is made after it
                "GRANT CREATE ON SCHEMA public TO PUBLIC;"
            )
            yield server.get_uri()
        finally:
            server.cleanup()
            server.wait_until_gone()


def _last_words(log: Path) -> str:
    """Return what a log, which goes with its folder, says of the end."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or ["it wrote nothing"]
    return next((line for line in reversed(lines) if "FATAL" in line), lines[-1])


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Show that a folder is in use for as long as this process lives."""
    with (folder / "new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(folder / _LOCK)  # nobody sees it unlocked
        yield


def _remove_left() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is in use, another user's, or gone by now
            if folder.lstat().st_uid == os.getuid():
                with (folder / _LOCK).open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
