"""`make run`: the whole service on one machine, from nothing to a chat page."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from domain.settings import Settings
from local import servers
from local.supervisor import Program, Supervisor

ROOT = Path(__file__).parent.parent

PREFECT_CLIENT = {
    "PREFECT_CLIENT_MAX_RETRIES": "1",
    "PREFECT_API_REQUEST_TIMEOUT": "5",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    "PREFECT_RUNNER_POLL_FREQUENCY": "5",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "DO_NOT_TRACK": "1",
}
"""What every role gets. With Prefect's own defaults a run that loses its server ends after 149 s."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things are, for the screen at the end of the start."""

    chat: str | None
    prefect: str
    health: str
    metrics: str


class Stack:
    """The embedded servers and the service's roles."""

    def __init__(self, settings: Settings, console: Console) -> None:
        """Take what to run and where to show progress.

        Args:
            settings: what they leave out is started here.
            console: the terminal.
        """
        self._settings = settings
        self._console = console
        self._supervisor = Supervisor()
        self._environment: dict[str, str] = {}
        self._data = Path()
        self._prefect_database = ""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> int:
        """Start everything, show where it is, and stop it all on SIGINT or SIGTERM.

        Returns:
            The exit status.

        Raises:
            StartupError: something is in the way; nothing keeps running.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._supervisor.ask_to_stop())
        self._data = servers.prepare_data_folder(self._settings.data_dir)
        self._check_ports()
        with contextlib.ExitStack() as stack:
            stack.callback(self._supervisor.stop)
            addresses = self._start(stack)
            if addresses and not self._supervisor.stopping:
                self._show(addresses)
                self._supervisor.watch()
            self._console.print("Stopping…", style="dim")
        self._console.print("Stopped. The data is kept; the next start finds it again.", style="dim")
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
        self._environment = {**PREFECT_CLIENT, "DATA_DIR": str(self._data)}
        settings = self._settings
        steps: list[tuple[str, bool, Callable[[], None]]] = [
            (
                "Postgres",
                settings.database_url is None or settings.prefect_api_url is None,
                lambda: self._start_postgres(stack),
            ),
            ("Valkey", settings.redis_url is None, self._start_valkey),
            ("Simulator", not settings.bots, self._start_simulator),
            ("Prefect server", settings.prefect_api_url is None, self._start_prefect),
            ("Webhook", True, self._start_bot),
            ("Worker", True, lambda: self._start_role("worker")),
            ("Schedules", True, lambda: self._start_role("prefect")),
            ("Everything ready", True, self._wait_until_ready),
        ]
        for name, wanted, start in steps:
            if wanted:
                began = time.monotonic()
                with self._console.status(f"{name}…"):
                    start()
                if self._given_up():
                    break
                self._console.print(f"[green]✓[/] {name} [dim]{time.monotonic() - began:.1f} s[/]")
        return None if self._supervisor.stopping else self._addresses()

    def _given_up(self) -> bool:
        return self._supervisor.stopping

    # ------------------------------------------------------------ servers

    def _start_postgres(self, stack: contextlib.ExitStack) -> None:
        url_of = stack.enter_context(servers.postgres(self._data / "postgres"))
        stack.callback(self._supervisor.stop)  # before Postgres: the roles finish their work on it
        if self._settings.database_url is None:
            self._environment["DATABASE_URL"] = url_of("quiz")
        if self._settings.prefect_api_url is None:
            self._prefect_database = url_of("prefect")

    def _start_valkey(self) -> None:
        port, log = servers.free_port(), self._data / "valkey.log"
        command = servers.valkey_command(port, self._data / "valkey")
        process = self._supervisor.start(Program("Valkey", command, servers.inherited({}), log))
        servers.wait_until_listening(port, process, log, "Valkey", self._given_up)
        self._environment["REDIS_URL"] = f"redis://{servers.LOOPBACK}:{port}/0"

    def _start_simulator(self) -> None:
        port = self._settings.simulator_port
        base = f"http://{servers.LOOPBACK}:{port}"
        log = self._data / "simulator.log"
        command = servers.python("-m", "simulator", "--host", servers.LOOPBACK, "--port", str(port))
        environment = servers.inherited({"PREFECT_UI_URL": self._prefect_ui})
        command += ["--data", str(self._data / "simulator")]
        process = self._supervisor.start(Program("simulator", command, environment, log))
        servers.wait_until_ready(f"{base}/api/state", process, log, "simulator", self._given_up)
        self._environment |= {
            "TELEGRAM_BOT_TOKEN": servers.local_token(self._data),
            "TELEGRAM_API_BASE_URL": base,
            "TELEGRAM_MODE": "webhook",
            "WEBHOOK_URL": f"http://{servers.LOOPBACK}:{self._settings.webhook_port}",
        }

    def _start_prefect(self) -> None:
        port, log = self._settings.prefect_port, self._data / "prefect-server.log"
        home = self._data / "prefect"
        environment = servers.prefect_environment(self._prefect_database, port, home)
        command = servers.python("-m", "prefect", "server", "start", "--host", servers.LOOPBACK, "--port", str(port))
        process = self._supervisor.start(Program("Prefect server", command, servers.inherited(environment), log))
        api = f"{self._prefect_ui}/api"
        servers.wait_until_ready(f"{api}/health", process, log, "Prefect server", self._given_up)
        self._environment |= {"PREFECT_API_URL": api, "PREFECT_HOME": str(home)}

    # ------------------------------------------------------------ roles

    def _start_role(self, role: str) -> None:
        command = servers.python(str(ROOT / "main.py"), role)
        self._processes[role] = self._supervisor.start(Program(role, command, servers.inherited(self._environment)))

    def _start_bot(self) -> None:
        self._start_role("bot")
        process, log = self._processes["bot"], Path("the lines above")
        servers.wait_until_ready(f"{self._webhook}/health", process, log, "webhook", self._given_up)

    def _wait_until_ready(self) -> None:
        process, log = self._processes["worker"], Path("the lines above")
        servers.wait_until_ready(f"{self._webhook}/ready", process, log, "service", self._given_up)

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
