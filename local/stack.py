"""`make run`: the whole service on one machine, from nothing to a chat page."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from domain.clock import read_offset
from domain.errors import StartupError
from domain.readiness import BOT_REFUSED, NO_UPDATES, OVERDUE
from domain.settings import Settings
from local import servers
from local.clock import FILE, INSTALL, LocalClock
from local.programs import Programs
from local.supervisor import Program, Supervisor

RUN_OFFERS = (
    {
        "label": "Send the daily now",
        "deployment": "distribute_daily_quizzes/daily",
        "parameters": {"ignore_hour": True},
    },
)
"""Runs that the chat page's menu starts, so that nobody has to wait for an hour or a schedule."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things are, for the screen at the end of the start."""

    chat: str | None
    prefect: str
    health: str
    metrics: str


class Stack(Programs):
    """The embedded servers and the service's roles."""

    def __init__(self, settings: Settings, console: Console) -> None:
        """Take settings, of which what they leave out is started here, and where to show progress."""
        folder = settings.data_dir.absolute()
        super().__init__(folder, {"DATA_DIR": str(folder), "WEBHOOK_PORT": str(settings.webhook_port)})
        self._settings = settings
        self._console = console
        self._supervisor = Supervisor(self._announce)
        self._worker: Program
        self._clock: LocalClock | None = None

    def launch(self, program: Program) -> None:
        """Start a program and keep it running."""
        self._supervisor.start(program)

    def given_up(self) -> bool:
        """Return whether the end was asked for."""
        return self._supervisor.stopping

    def run(self) -> int:
        """Start everything, show where it is, and stop it all on SIGINT or SIGTERM.

        Returns:
            The exit status.

        Raises:
            StartupError: something is in the way; nothing keeps running.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._supervisor.ask_to_stop())
        servers.prepare_data_folder(self.folder)
        self._check_ports()
        with contextlib.ExitStack() as stack:
            stack.callback(self._supervisor.stop)
            addresses = self._start(stack)
            if addresses and not self._supervisor.stopping:
                self._show(addresses)
                self._supervisor.watch()
        self._announce("Stopped. The data is kept; the next start finds it again.")
        return 0

    def _check_ports(self) -> None:
        settings = self._settings
        servers.require_free_port(settings.webhook_port, "webhook", "WEBHOOK_PORT")
        if settings.prefect_api_url is None:
            servers.require_free_port(settings.prefect_port, "Prefect server", "PREFECT_PORT")
        if not settings.bots:
            servers.require_free_port(settings.simulator_port, "chat page", "SIMULATOR_PORT")
        if settings.worker_metrics_port:
            servers.require_free_port(settings.worker_metrics_port, "worker's metrics", "WORKER_METRICS_PORT")

    def _start(self, stack: contextlib.ExitStack) -> Addresses | None:
        settings = self._settings
        steps: list[tuple[str, bool, Callable[[], object]]] = [
            (
                "Postgres",
                settings.database_url is None or settings.prefect_api_url is None,
                lambda: self._start_postgres(stack),
            ),
            ("Valkey", settings.redis_url is None, self.start_valkey),
            ("Simulator", not settings.bots, self._start_simulator),
            ("Prefect server", settings.prefect_api_url is None, lambda: self.start_prefect(settings.prefect_port)),
            ("Webhook", True, self.start_bot),
            ("Worker", True, self._start_worker),
            ("Schedules", True, lambda: self.start(self.role("prefect"))),
            ("Everything ready", True, self._wait_until_ready),
        ]
        for name, wanted, start in steps:
            if wanted:
                began = time.monotonic()
                with self._console.status(f"{name}…"):
                    start()
                if self.given_up():
                    break
                self._console.print(f"[green]✓[/] {name} [dim]{time.monotonic() - began:.1f} s[/]")
        return None if self._supervisor.stopping else self._addresses()

    def _announce(self, line: str) -> None:
        self._console.print(line, style="dim")

    # ------------------------------------------------------------ servers and roles

    def _start_postgres(self, stack: contextlib.ExitStack) -> None:
        self.start_postgres(stack)
        stack.callback(self._announce, "Stopping Postgres…")
        stack.callback(self._supervisor.stop)  # before Postgres: the roles finish their work on it
        if self._settings.database_url is None:
            self.environment["DATABASE_URL"] = self.database_url("quiz")
            self._prepare_clock(LocalClock(self.folder / "postgres" / FILE))

    def _prepare_clock(self, clock: LocalClock) -> None:
        """Let the time be moved from the chat page; with a real bot it is the real one.

        Raises:
            StartupError: the file that says how far it was moved is damaged.
        """
        if self._settings.bots:
            clock.reset()
            return
        read_offset(clock.file)  # a damaged one would fail each query that reads the time
        servers.run_psql(self.folder / "postgres", INSTALL)
        self._clock = clock

    def _start_simulator(self) -> None:
        if self._clock:
            self.environment["CLOCK_FILE"] = str(self._clock.file)
        options = ["--clock", str(self._clock.file)] if self._clock else []
        options += [part for offer in RUN_OFFERS for part in ("--run", json.dumps(offer))]
        self.start_simulator(*options, port=self._settings.simulator_port, PREFECT_UI_URL=self._prefect_ui)
        self.environment |= {
            "TELEGRAM_BOT_TOKEN": servers.local_token(self.folder),
            "TELEGRAM_MODE": "webhook",
            "WEBHOOK_URL": self._webhook,
        }

    def _start_worker(self) -> None:
        self._worker = self.start(self.role("worker"))

    def _wait_until_ready(self) -> None:
        """Return when learners can be served, or nothing is missing but what only time or Telegram can give.

        Raises:
            StartupError: Telegram refuses every bot, or something else stays missing.
        """
        url = f"{self._webhook}/ready"
        tolerated: list[str] = []

        def given_up() -> bool:
            problems = servers.problems_at(url)
            refused = [problem for problem in problems if problem.startswith(BOT_REFUSED)]
            if refused and len(refused) >= len(self._settings.bots):
                raise StartupError("; ".join(refused))
            if problems and all(problem in refused or _may_stay(problem) for problem in problems):
                tolerated[:] = problems
            return bool(tolerated) or self.given_up()

        process, log = self._worker.running, Path("the lines above")
        servers.wait_until_ready(url, process, log, "service", given_up)
        for problem in tolerated:
            self._console.print(problem, style="yellow", markup=False)

    # ------------------------------------------------------------ the screen at the end

    @property
    def _webhook(self) -> str:
        return f"http://{servers.LOOPBACK}:{self._settings.webhook_port}"

    @property
    def _prefect_ui(self) -> str:
        given = self._settings.prefect_api_url
        return given.removesuffix("/api") if given else f"http://{servers.LOOPBACK}:{self._settings.prefect_port}"

    def _addresses(self) -> Addresses:
        local = not self._settings.bots
        return Addresses(
            chat=f"http://{servers.LOOPBACK}:{self._settings.simulator_port}" if local else None,
            prefect=self._prefect_ui,
            health=f"{self._webhook}/ready",
            metrics=f"{self._webhook}/metrics",
        )

    def _show(self, addresses: Addresses) -> None:
        table = Table.grid(padding=(0, 2))
        if addresses.chat:
            table.add_row("Chat page", f"[bold]{addresses.chat}[/]", "be a learner: press START")
        else:
            table.add_row("Chat", "[bold]your bot in Telegram[/]", "write /start to it")
        table.add_row("Prefect UI", f"[bold]{addresses.prefect}[/]", "watch the runs")
        table.add_row("Health", addresses.health, "what is up and what is not")
        table.add_row("Metrics", addresses.metrics, "for Prometheus")
        self._console.print(Panel(table, title="The daily quiz is running", subtitle="Ctrl-C stops it", expand=False))


def _may_stay(problem: str) -> bool:
    """Return whether the service runs all the same, and only time or Telegram can help."""
    return NO_UPDATES in problem or OVERDUE in problem
