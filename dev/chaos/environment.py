"""The stage of a drill: the real servers and roles on free ports in a temporary folder, and ways to harm each of them.

The roles run under the service's own supervisor, as they do under `python main.py`; servers that a drill takes away and
brings back are started and ended here.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import httpx
import psutil

from dev.probes import start_distribution
from dev.stack import Postgres, Say, ServerStack, folder_of_logs
from local import servers
from local.embedded_postgres import get_server
from local.supervisor import Program, Supervisor

LOG_LINES = 25
SCHEDULE_MINUTES = 1
TELEGRAM_RATE = 30
ROLES = ("bot", "worker", "prefect")


class DrillEnvironment(ServerStack):
    """Everything that a drill runs on; use `open_environment`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Take where data and logs go and what ends everything.

        Args:
            folder: empty; the drill's alone.
        """
        super().__init__(folder, stack)
        self.environment |= {
            "PYTHONUNBUFFERED": "1",
            "TELEGRAM_RATE_PER_SECOND": str(TELEGRAM_RATE),
            "DISTRIBUTION_INTERVAL_MINUTES": str(SCHEDULE_MINUTES),
            "MAX_FLOW_RUNS_PER_DISTRIBUTION": "5",
            "LOG_LEVEL": "INFO",
        }
        self.supervisor = Supervisor()
        self.programs: dict[str, Program] = {}
        """The supervised ones, by role."""

    def launch(self, program: Program) -> None:
        """Start a role under the service's supervisor, and anything else as a benchmark does."""
        if program.name in ROLES:
            self.programs[program.name] = program
            self.supervisor.start(program)
        else:
            super().launch(program)

    # ------------------------------------------------------------ starting

    def start_all(self, say: Say) -> None:
        """Start everything and wait until learners can be served."""
        say("starting PostgreSQL and Valkey")
        self.start_postgres(self.stack)
        self.environment["DATABASE_URL"] = self.database_url("quiz")
        self.postgres = Postgres(get_server(self.folder / "postgres"))
        self.valkey = self.start_valkey()
        say("starting the simulator")
        self.simulator = self.start_simulator("--rate", str(TELEGRAM_RATE))
        say("starting the Prefect server")
        self.prefect = self.start_prefect()
        self.stack.callback(self.supervisor.stop)
        say("starting the roles")
        bot = self.start_bot()
        self.start(self.role("worker"))
        self.start(self.role("prefect"))
        watching = threading.Thread(target=self.supervisor.watch, name="supervisor", daemon=True)
        watching.start()
        self.stack.callback(watching.join)
        self.stack.callback(self.supervisor.ask_to_stop)
        servers.wait_until_ready(f"{bot.url}/ready", bot.running, self.log_of("worker"), "service")

    # ------------------------------------------------------------ roles

    def kill(self, role: str) -> None:
        """Kill a role and whatever it started; the supervisor starts it again."""
        process = psutil.Process(self.programs[role].pid)
        family = [process, *process.children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()

    async def restart(self, role: str, environment: dict[str, str]) -> None:
        """Let a role end properly and start again with another environment."""
        program = self.programs[role]
        process = program.running
        program.environment = environment
        process.terminate()
        while program.process is None or program.process is process:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.1)

    @contextmanager
    def second_bot(self) -> Iterator[str]:
        """Run another bot role behind the same public address, and yield where it listens itself."""
        bot = self.start_bot("second bot", WEBHOOK_PORT=str(servers.free_port()))
        try:
            yield bot.url
        finally:
            bot.stop()

    # ------------------------------------------------------------ looking and touching

    async def execute(self, *statements: str, arguments: tuple[object, ...] = ()) -> None:
        """Run statements on the service's database, each by itself."""
        async with self.connection() as connection:
            for statement in statements:
                await connection.execute(statement, *arguments)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Yield a connection of our own to the service's database."""
        connection = await asyncpg.connect(self.environment["DATABASE_URL"], timeout=5)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    async def start_distribution(self, client: httpx.AsyncClient) -> None:
        """Start a distribution to everybody who is due, as an operator does in the Prefect UI."""
        await start_distribution(client, self.environment["PREFECT_API_URL"])


@contextmanager
def open_environment(say: Say) -> Iterator[DrillEnvironment]:
    """Yield a stage on which everything runs, and stop it at the end."""
    with folder_of_logs("quiz-chaos-", LOG_LINES) as folder, ExitStack() as stack:
        env = DrillEnvironment(folder, stack)
        env.start_all(say)
        yield env
