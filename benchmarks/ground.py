"""The ground of a benchmark: real servers and roles on free ports in a temporary folder, all stopped at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from domain.settings import Settings
from local import servers
from local.stack import PREFECT_CLIENT

ROOT = Path(__file__).parent.parent
TOKEN = "515151:" + "b" * 35
BOT_ID = 515151
SECRET = "benchmark"  # noqa: S105 - guards a webhook on this machine for some minutes
STOP_SECONDS = 20.0
LOG_LINES = 15

Say = Callable[[str], None]
"""Shows one line of progress."""


def forget_settings() -> None:
    """Take the service's and Prefect's settings out of this process's environment: they would change the figures."""
    own = {name.upper() for name in Settings.model_fields}
    for name in [name for name in os.environ if name.upper() in own or name.startswith("PREFECT_")]:
        del os.environ[name]


@dataclass(frozen=True, slots=True)
class Started:
    """A process of ours."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Return its id."""
        return self.process.pid

    def stop(self) -> None:
        """End it, by force if it does not end in time."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass(frozen=True, slots=True)
class Simulator:
    """A simulator that listens."""

    started: Started
    port: int

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://{servers.LOOPBACK}:{self.port}"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children have used.

    Args:
        pid: the process's id.
    """
    total = 0.0
    for one in _family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):  # a child that ended is counted by its parent
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return float(total)


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB.

    Args:
        pid: the process's id.
    """
    total = 0
    for one in _family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return float(round(total / 2**20, 1))


def _family(pid: int) -> list[psutil.Process]:
    main = psutil.Process(pid)
    return [main, *main.children(recursive=True)]


class Ground:
    """Starts what a benchmark needs; use `open_ground`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Take where data and logs go and what ends everything.

        Args:
            folder: empty; the benchmark's alone.
            stack: closed at the end of the benchmark.
        """
        self.folder = folder
        self._stack = stack
        self.environment = {**os.environ, **PREFECT_CLIENT} | {
            "PYTHONPATH": str(ROOT),
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "WORKER_METRICS_PORT": "0",
            "LOG_LEVEL": "WARNING",
        }
        """What every process gets; each server adds its address."""
        self._postgres_url: Callable[[str], str] | None = None

    def start(self, name: str, arguments: Sequence[str], extra: dict[str, str] | None = None) -> Started:
        """Start a Python process that lives until it is stopped, at the latest with the ground.

        Args:
            name: for its log.
            arguments: of the interpreter.
            extra: environment variables of its own.
        """
        return self._start(name, [sys.executable, *arguments], extra)

    def _start(self, name: str, command: Sequence[str], extra: dict[str, str] | None = None) -> Started:
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            # A folder of its own keeps the developer's .env out; a session of its own, Ctrl-C.
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                cwd=self.folder,
                env=self.environment | (extra or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = Started(name, process, log)
        self._stack.callback(started.stop)
        return started

    # ------------------------------------------------------------ servers

    def start_postgres(self) -> None:
        """Start PostgreSQL with its own defaults, and give the service a database."""
        self._postgres_url = self._stack.enter_context(servers.postgres(self.folder / "postgres"))
        self.environment["DATABASE_URL"] = self._postgres_url("quiz")

    def database_url(self, name: str) -> str:
        """Return the URL of a database, made if it is not there.

        Args:
            name: a plain identifier.
        """
        if self._postgres_url is None:
            msg = "start PostgreSQL first"
            raise RuntimeError(msg)
        return self._postgres_url(name)

    @property
    def postgres_pid(self) -> int:
        """Return the id of the server's own process, which is the parent of one for each connection."""
        return int((self.folder / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def start_valkey(self) -> None:
        """Start Valkey."""
        port = servers.free_port()
        started = self._start("valkey", servers.valkey_command(port, self.folder / "valkey"))
        servers.wait_until_listening(port, started.process, started.log, "Valkey")
        self.environment["REDIS_URL"] = f"redis://{servers.LOOPBACK}:{port}/0"

    def start_simulator(self, *, rate: float, chat_rate: float) -> Simulator:
        """Start the simulator; a second one after the first has stopped finds the same chats.

        Args:
            rate: messages and edits a second that it lets a bot send; 0 for no limit.
            chat_rate: the same for one chat.
        """
        port = servers.free_port()
        options = ["--port", str(port), "--rate", str(rate), "--chat-rate", str(chat_rate)]
        started = self.start("simulator", ["-m", "simulator", *options, "--data", str(self.folder / "simulator")])
        simulator = Simulator(started, port)
        servers.wait_until_ready(f"{simulator.url}/api/state", started.process, started.log, "simulator")
        self.environment["TELEGRAM_API_BASE_URL"] = simulator.url
        return simulator

    def start_prefect(self) -> Started:
        """Start a Prefect server on the same PostgreSQL."""
        if self._postgres_url is None:
            msg = "Prefect needs PostgreSQL: start that first"
            raise RuntimeError(msg)
        port, home = servers.free_port(), self.folder / "prefect"
        own = servers.prefect_environment(self._postgres_url("prefect"), port, home)
        arguments = ["-m", "prefect", "server", "start", "--host", servers.LOOPBACK, "--port", str(port)]
        started = self.start("prefect-server", arguments, own)
        api = f"http://{servers.LOOPBACK}:{port}/api"
        servers.wait_until_ready(f"{api}/health", started.process, started.log, "Prefect server")
        self.environment |= {"PREFECT_API_URL": api, "PREFECT_HOME": str(home)}
        return started

    # ------------------------------------------------------------ roles

    def start_bot(self) -> tuple[Started, int]:
        """Start the bot role and return it with its port."""
        port = servers.free_port()
        self.environment |= {"WEBHOOK_PORT": str(port), "WEBHOOK_URL": f"http://{servers.LOOPBACK}:{port}"}
        started = self.start("bot", [str(ROOT / "main.py"), "bot"])
        servers.wait_until_ready(f"http://{servers.LOOPBACK}:{port}/health", started.process, started.log, "webhook")
        return started, port

    def start_prefect_worker(self) -> Started:
        """Start the role that registers the deployments and runs them."""
        return self.start("prefect-worker", [str(ROOT / "main.py"), "prefect"])

    def start_worker(self, bot_port: int) -> tuple[Started, int]:
        """Start the worker role, wait until learners can be served, and return it with the port of its metrics.

        Args:
            bot_port: of the bot role, which knows when everything is ready.
        """
        port = servers.free_port()
        started = self.start("worker", [str(ROOT / "main.py"), "worker"], {"WORKER_METRICS_PORT": str(port)})
        servers.wait_until_ready(f"http://{servers.LOOPBACK}:{bot_port}/ready", started.process, started.log, "worker")
        return started, port

    def settings(self, **fields: object) -> Settings:
        """Return settings for work in this process, with the addresses of what is started.

        Args:
            fields: what else is to differ from the defaults.
        """
        values: dict[str, object] = {
            "database_url": SecretStr(self.environment["DATABASE_URL"]),
            "redis_url": SecretStr(self.environment["REDIS_URL"]),
            "telegram_bot_token": SecretStr(TOKEN),
            "telegram_api_base_url": self.environment["TELEGRAM_API_BASE_URL"],
        }
        return Settings(_env_file=None, **(values | fields))  # type: ignore[arg-type]


@contextmanager
def open_ground() -> Iterator[Ground]:
    """Yield a ground with nothing started, and stop everything at the end, the last one started first."""
    with folder_of_logs("quiz-bench-", LOG_LINES) as folder, ExitStack() as stack:
        yield Ground(folder, stack)


@contextmanager
def folder_of_logs(prefix: str, most_lines: int) -> Iterator[Path]:
    """Yield a temporary folder and remove it at the end; after a failure, print the ends of the logs in it to stderr.

    Args:
        prefix: of the folder's name.
        most_lines: lines of each log that are printed.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    except BaseException:
        _show_logs(folder, most_lines)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _show_logs(folder: Path, most_lines: int) -> None:
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-most_lines:]
        if lines:
            print(f"--- the end of {log.name}", *lines, sep="\n", file=sys.stderr)
