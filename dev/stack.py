"""The servers of a benchmark: real ones and roles on free ports in a temporary folder, all stopped at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from pydantic import SecretStr

from domain.settings import Settings
from local import servers
from local.embedded_postgres import POSTGRES_BIN_PATH, EmbeddedPostgres
from local.programs import ROOT, Programs
from local.supervisor import Program

TOKEN = "515151:" + "b" * 35
BOT_ID = 515151
SECRET = "for-the-benchmark"  # noqa: S105 - guards a webhook on this machine for some minutes
LOG_LINES = 15

Say = Callable[[str], None]
"""Shows one line of progress."""


def forget_settings() -> None:
    """Take the service's and Prefect's settings out of this process's environment: they would change the figures."""
    own = {name.upper() for name in Settings.model_fields}
    for name in [name for name in os.environ if name.upper() in own or name.startswith("PREFECT_")]:
        del os.environ[name]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children have used."""
    total = 0.0
    for one in _family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):  # a child that ended is counted by its parent
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return float(total)


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB; what they share counts once."""
    own, shared = 0, [0]
    for one in _family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = one.memory_info()
            shared.append(getattr(memory, "shared", 0))  # which only Linux tells
            own += memory.rss - shared[-1]
    return float(round((own + max(shared)) / 2**20, 1))


def _family(pid: int) -> list[psutil.Process]:
    main = psutil.Process(pid)
    return [main, *main.children(recursive=True)]


class ServerStack(Programs):
    """Servers and roles on free ports of their own; use `open_ground`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Take where data and logs go and what ends everything.

        Args:
            folder: empty; the benchmark's alone.
        """
        own = {
            "PYTHONPATH": str(ROOT),
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "WEBHOOK_PORT": str(port := servers.free_port()),
            "WEBHOOK_URL": f"http://{servers.LOOPBACK}:{port}",
            "WORKER_METRICS_PORT": "0",
            "LOG_LEVEL": "WARNING",
        }
        super().__init__(folder, own)
        self.cwd = folder  # out of reach of the developer's .env
        self.stack = stack

    def launch(self, program: Program) -> None:
        """Start a program that lives until it is stopped, at the latest with the stack."""
        program.start()
        self.stack.callback(program.stop)

    def start_python(self, name: str, *arguments: str, port: int = 0, extra: dict[str, str] | None = None) -> Program:
        """Start a Python program in the environment of the roles."""
        command, environment = servers.python(*arguments), self.environment | (extra or {})
        return self.start(Program(name, command, environment, self.log_of(name), self.cwd, port))

    def start_storage(self) -> Program:
        """Start PostgreSQL, with a database for the service, and Valkey, which is returned."""
        self.start_postgres(self.stack)
        self.environment["DATABASE_URL"] = self.database_url("quiz")
        return self.start_valkey()

    @property
    def postgres_pid(self) -> int:
        """Return the id of the server's own process, which is the parent of one for each connection."""
        return int((self.folder / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def start_telegram(self, *, rate: float = 0, chat_rate: float = 0) -> Program:
        """Start the simulator.

        Args:
            rate: messages and edits a second that it lets a bot send; 0 for no limit.
        """
        return self.start_simulator("--rate", str(rate), "--chat-rate", str(chat_rate))

    def start_worker(self, bot: Program) -> Program:
        """Start the worker role, with a port for its metrics, and return it when learners can be served."""
        port = servers.free_port()
        worker = self.start(self.role("worker", WORKER_METRICS_PORT=str(port)))
        worker.port = port
        for program, role in ((bot, "bot"), (worker, "worker")):
            servers.wait_until_ready(f"{program.url}/ready?role={role}", program.running, self.log_of(role), role)
        return worker

    def settings(self, **fields: object) -> Settings:
        """Return settings for work in this process, with the addresses of what is started."""
        values: dict[str, object] = {
            "database_url": SecretStr(self.environment["DATABASE_URL"]),
            "redis_url": SecretStr(self.environment["REDIS_URL"]),
            "telegram_bot_token": SecretStr(TOKEN),
            "telegram_api_base_url": self.environment["TELEGRAM_API_BASE_URL"],
        }
        return Settings(_env_file=None, **(values | fields))  # type: ignore[arg-type]


@contextmanager
def open_ground() -> Iterator[ServerStack]:
    """Yield a stack with nothing started, and stop everything at the end, the last one started first."""
    with folder_of_logs("quiz-bench-", LOG_LINES) as folder, ExitStack() as stack:
        yield ServerStack(folder, stack)


@contextmanager
def folder_of_logs(prefix: str, max_lines: int) -> Iterator[Path]:
    """Yield a temporary folder and remove it at the end; after a failure, print the ends of its logs to stderr."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    except BaseException:
        _show_logs(folder, max_lines)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _show_logs(folder: Path, max_lines: int) -> None:
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-max_lines:]
        if lines:
            print(f"--- the end of {log.name}", *lines, sep="\n", file=sys.stderr)


class Postgres:
    """The embedded PostgreSQL, which can be stopped, frozen and started again."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._rules = server.pgdata / "pg_hba.conf"
        self._rules_before = self._rules.read_text()

    def stop(self) -> None:
        """Shut it down at once, as `pg_ctl stop -m fast` does: clients are cut off."""
        command = [str(POSTGRES_BIN_PATH / "pg_ctl"), "-D", str(self._server.pgdata), "-w", "-m", "fast", "stop"]
        subprocess.run(command, user=self._server.system_user, check=True, capture_output=True)  # noqa: S603 - ours

    def start(self) -> None:
        """Start it again at the same address."""
        self._server.ensure_postgres_running()

    def refuse(self, database: str) -> None:
        """Reject every login to a database (SQLSTATE 28000), and cut off whoever is in it."""
        self._rules.write_text(f"local {database} all reject\nhost {database} all all reject\n{self._rules_before}")
        self._server.psql("SELECT pg_reload_conf();")
        self._server.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}';")

    def accept(self) -> None:
        """Let everybody in again."""
        self._rules.write_text(self._rules_before)
        self._server.psql("SELECT pg_reload_conf();")

    def processes(self) -> list[psutil.Process]:
        """Return its processes, the first of all first."""
        main = psutil.Process(self._server.get_pid())
        return [main, *main.children(recursive=True)]
