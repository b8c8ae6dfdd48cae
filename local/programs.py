"""The servers and the roles as programs on this machine: for `make run`, benchmarks, drills and tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from domain.processes import service_environment
from local import servers
from local.supervisor import Program

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


class Programs:
    """Starts servers and roles; each server adds to the environment where the roles find it."""

    cwd: Path | None = None
    """Where programs run; where this process does when None."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Take where data and logs go, and what roles get beyond this process's settings."""
        self.folder = folder
        self.environment = service_environment() | PREFECT_CLIENT | dict(environment)
        self.database_url: Callable[[str], str]
        """Makes a database if it is not there, and returns its URL; set once Postgres runs."""

    def launch(self, program: Program) -> None:
        """Run a program; subclasses may do more."""
        program.start()

    def given_up(self) -> bool:
        """Return whether nobody waits for servers any more."""
        return False

    def log_of(self, name: str) -> Path:
        """Return where a server, or a role if it does not write to the terminal, writes."""
        return self.folder / f"{name.lower().replace(' ', '-')}.log"

    def start(self, program: Program) -> Program:
        """Start a program, or start it again, and return it when it answers.

        Raises:
            StartupError: it ended, or did not answer in time.
        """
        self.launch(program)
        self.wait_for(program)
        return program

    def wait_for(self, program: Program) -> None:
        """Return when a program answers at its port, if it has one, or waiting is given up.

        Raises:
            StartupError: it ended, or did not answer in time.
        """
        log = program.log or Path("the lines above")
        if program.health:
            url = program.url + program.health
            servers.wait_until_ready(url, program.running, log, program.name, self.given_up)
        elif program.port:
            servers.wait_until_listening(program.port, program.running, log, program.name, self.given_up)

    # ------------------------------------------------------------ servers

    def start_postgres(self, stack: ExitStack) -> None:
        """Start PostgreSQL with its own defaults."""
        self.database_url = stack.enter_context(servers.postgres(self.folder / "postgres"))

    def start_valkey(self) -> Program:
        """Start Valkey."""
        port = servers.free_port()
        command = servers.valkey_command(port, self.folder / "valkey")
        program = self.start(self._server("Valkey", command, {}, port))
        self.environment["REDIS_URL"] = f"redis://{servers.LOOPBACK}:{port}/0"
        return program

    def start_simulator(self, *options: str, port: int = 0, **extra: str) -> Program:
        """Start the simulator; one that starts after another in the same folder finds the same chats.

        Args:
            port: where it listens; any that is free when 0.
        """
        port = port or servers.free_port()
        command = servers.python("-m", "simulator", "--host", servers.LOOPBACK, "--port", str(port), *options)
        command += ["--data", str(self.folder / "simulator")]
        program = self.start(self._server("simulator", command, extra, port, "/api/state"))
        self.environment["TELEGRAM_API_BASE_URL"] = program.url
        return program

    def start_prefect(self, port: int = 0) -> Program:
        """Start a Prefect server on the PostgreSQL that runs.

        Args:
            port: where it listens; any that is free when 0.
        """
        port, home = port or servers.free_port(), self.folder / "prefect"
        own = servers.prefect_environment(self.database_url("prefect"), port, home)
        program = self.start(self._server("Prefect server", servers.prefect_command(), own, port, "/api/health"))
        self.environment |= {"PREFECT_API_URL": f"{program.url}/api", "PREFECT_HOME": str(home)}
        return program

    def _server(self, name: str, command: list[str], extra: dict[str, str], port: int, health: str = "") -> Program:
        ours = {"PYTHONPATH": str(ROOT)} if self.cwd else {}
        return Program(name, command, servers.inherited(ours | extra), self.log_of(name), self.cwd, port, health)

    # ------------------------------------------------------------ roles

    def role(self, role: str, name: str = "", **extra: str) -> Program:
        """Return a role as a program, with the role's name unless another is given."""
        name = name or role
        log = self.log_of(name) if self.cwd else None
        command = servers.python(str(ROOT / "main.py"), role)
        return Program(name, command, self.environment | extra, log, self.cwd)

    def start_bot(self, name: str = "bot", **extra: str) -> Program:
        """Start the bot role, at the port that its environment says."""
        program = self.role("bot", name, **extra)
        program.port, program.health = int(program.environment["WEBHOOK_PORT"]), "/health"
        return self.start(program)
