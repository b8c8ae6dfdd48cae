"""The whole service, started as `make run` starts it, once for all tests of this folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from domain.settings import Settings
from local import servers
from tests.support.waiting import WAIT_SECONDS, wait_for

ROOT = Path(__file__).parents[3]
FOREIGN_SECRET = "planted-secret-of-somebody-else"
"""What stands in the environment of whoever starts the service, and is none of its business."""


@dataclass
class RunningStack:
    """`python main.py` on ports and a data folder of its own."""

    data: Path
    webhook_port: int = field(default_factory=servers.free_port)
    prefect_port: int = field(default_factory=servers.free_port)
    simulator_port: int = field(default_factory=servers.free_port)
    process: subprocess.Popen[bytes] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    """Settings beyond a fresh clone's."""

    @property
    def chat(self) -> str:
        return f"http://127.0.0.1:{self.simulator_port}"

    @property
    def prefect(self) -> str:
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self.webhook_port}"

    @property
    def database(self) -> str:
        """Return the URL of the service's database: the embedded one unless told otherwise."""
        embedded = f"postgresql://postgres@/quiz?host={self.data / 'data' / 'postgres'}"
        return self.extra.get("DATABASE_URL", embedded)

    @property
    def output(self) -> str:
        return (self.data / "output").read_text(errors="replace")

    def environment(self) -> dict[str, str]:
        """Return a clean environment: nothing of this machine's settings, all ports free ones."""
        ours = {name.upper() for name in Settings.model_fields}
        kept = {name: value for name, value in os.environ.items() if name not in ours and "PREFECT" not in name}
        return kept | {
            "DATA_DIR": str(self.data / "data"),
            "WEBHOOK_PORT": str(self.webhook_port),
            "PREFECT_PORT": str(self.prefect_port),
            "SIMULATOR_PORT": str(self.simulator_port),
            "WORKER_METRICS_PORT": "0",
            "DISTRIBUTION_INTERVAL_MINUTES": "1",
            "AWS_SECRET_ACCESS_KEY": FOREIGN_SECRET,
            **self.extra,
        }

    def launch(self) -> None:
        """Start it without waiting."""
        with (self.data / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "main.py"], cwd=ROOT, env=self.environment(), stdout=output, stderr=subprocess.STDOUT
            )

    def start(self) -> None:
        """Start it and wait for the screen with the addresses."""
        self.launch()
        wait_for(lambda: "is running" in self.output or self.ended(), self.describe)
        assert not self.ended(), self.output

    def describe(self) -> str:
        return self.output

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self, number: int = signal.SIGINT) -> int:
        """Stop it as Ctrl-C does and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS)

    def descendants(self) -> list[psutil.Process]:
        """Return every process that belongs to it, the database's included."""
        assert self.process is not None
        folder = str(self.data)
        family = psutil.Process(self.process.pid).children(recursive=True)
        strangers = [p for p in psutil.process_iter(["cmdline"]) if folder in " ".join(p.info["cmdline"] or [])]
        return list({p.pid: p for p in [*family, *strangers]}.values())

    def workers(self) -> list[psutil.Process]:
        """Return the processes of the worker's role that are alive."""
        return [process for process in self.descendants() if command_of(process)[-1:] == ["worker"]]

    def runs(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return Prefect's flow runs."""
        body = {"flow_runs": wanted, "limit": 200, "sort": "START_TIME_DESC"}
        reply = httpx.post(f"{self.prefect}/api/flow_runs/filter", json=body, timeout=WAIT_SECONDS)
        reply.raise_for_status()
        return list(reply.json())

    def start_run(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a deployment as the Prefect UI does, and return the run's id."""
        address = f"{self.prefect}/api/deployments/name/{deployment}"
        wait_for(lambda: httpx.get(address, timeout=WAIT_SECONDS).is_success, self.describe)
        found = httpx.get(address, timeout=WAIT_SECONDS)
        url = f"{self.prefect}/api/deployments/{found.json()['id']}/create_flow_run"
        reply = httpx.post(url, json={"parameters": parameters}, timeout=WAIT_SECONDS)
        reply.raise_for_status()
        return str(reply.json()["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run of Prefect's."""
        return dict(httpx.get(f"{self.prefect}/api/flow_runs/{run_id}", timeout=WAIT_SECONDS).json())


def command_of(process: psutil.Process) -> list[str]:
    """Return a process's command line: empty for one that ended, though nobody has asked about it yet."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    """Yield a running stack."""
    with tempfile.TemporaryDirectory(prefix="quiz-stack-", ignore_cleanup_errors=True) as folder:
        stack = RunningStack(Path(folder))
        stack.start()
        yield stack
        if not stack.ended():
            assert stack.stop() == 0


def plain(text: str) -> str:
    """Return a terminal's output without its colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
