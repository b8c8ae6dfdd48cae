"""A real Prometheus and a real Alertmanager on the files of `deploy/`, hurried."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from fastapi import FastAPI, Request

from local import servers
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS, until

DEPLOY = Path(__file__).parents[2] / "deploy"

PROGRAMS = {name: shutil.which(name) for name in ("prometheus", "promtool", "prometheus-alertmanager", "amtool")}

MISSING = "Prometheus and Alertmanager are not on this machine (apt install prometheus prometheus-alertmanager)"

USABLE = bool(all(PROGRAMS.values()) or os.environ.get("QUIZ_REQUIRE_PROMETHEUS"))
"""Whether tests that need them run: continuous integration wants them to fail where they are missing."""

HURRY = 900
"""By which durations are divided: a quarter of an hour is a second."""

_DURATION = re.compile(r"^(\s*(?:for|group_wait|group_interval|repeat_interval): )(\d+)([smhd])$", re.MULTILINE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def hurry(text: str) -> str:
    """Divide what alerts wait `for`, and Alertmanager before it tells; expressions stay as they are."""
    return _DURATION.sub(lambda one: f"{one[1]}{int(one[2]) * _SECONDS[one[3]] * 1000 // HURRY}ms", text)


def run_tool(name: str, *arguments: str) -> str:
    """Run `promtool` or `amtool`, and return what it says; fails if it finds something wrong."""
    program = PROGRAMS[name]
    assert program, MISSING
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(slots=True)
class Monitoring:
    """Where Prometheus answers, and what Alertmanager has told."""

    client: httpx.AsyncClient
    told: dict[str, dict[str, list[dict[str, str]]]] = field(default_factory=lambda: defaultdict(dict))
    """The labels of each alert that fired, by its name and by the receiver that was told."""

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression yields now."""
        reply = await self.client.get("/api/v1/query", params={"query": expression})
        return list(reply.raise_for_status().json()["data"]["result"])

    async def query_since(self, expression: str, begin: float, end: float) -> list[dict[str, Any]]:
        """Return the series of an expression between two moments (Unix time), a value a second."""
        asked: dict[str, str | float] = {"query": expression, "start": begin, "end": end, "step": 1}
        reply = await self.client.get("/api/v1/query_range", params=asked)
        assert reply.is_success, reply.text
        return list(reply.json()["data"]["result"])

    async def has_told(self, *alerts: str) -> None:
        """Return when a receiver knows of alerts."""
        await until(lambda: set(alerts) <= self.told.keys(), lambda: f"only {set(self.told)} of {alerts} fired")


@asynccontextmanager
async def monitoring(folder: Path, targets: Mapping[str, Sequence[int]]) -> AsyncIterator[Monitoring]:
    """Run both, and yield them.

    Args:
        targets: the ports of each job of `deploy/prometheus.yml`, in place of what DNS would find.
    """
    prometheus_port, alertmanager_port, receiver_port = (servers.free_port() for _ in range(3))
    url = f"http://{servers.LOOPBACK}:{prometheus_port}"
    _configure(folder, targets, alertmanager_port, f"http://{servers.LOOPBACK}:{receiver_port}")
    async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
        watched = Monitoring(client)
        async with serving(_receiver(watched), receiver_port):
            with (
                _running("prometheus-alertmanager", folder, alertmanager_port, "--cluster.listen-address="),
                _running("prometheus", folder, prometheus_port),
            ):
                yield watched


def _configure(folder: Path, targets: Mapping[str, Sequence[int]], alertmanager_port: int, receiver: str) -> None:
    """Write the files of `deploy/`, hurried and with the addresses of this machine."""
    (folder / "alerts.yml").write_text(hurry(read("alerts.yml")), encoding="utf-8")
    config = yaml.safe_load(read("prometheus.yml"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "500ms"}
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"{servers.LOOPBACK}:{port}" for port in targets[job["job_name"]]]}]
        del job["dns_sd_configs"]
    config["alerting"] = {
        "alertmanagers": [{"static_configs": [{"targets": [f"{servers.LOOPBACK}:{alertmanager_port}"]}]}]
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    config = yaml.safe_load(hurry(read("alertmanager.yml")))
    for one in config["receivers"]:
        one["webhook_configs"][0]["url"] = f"{receiver}/{one['name']}"
    (folder / "prometheus-alertmanager.yml").write_text(yaml.safe_dump(config), encoding="utf-8")


def read(name: str) -> str:
    """Return the text of a file of `deploy/`."""
    return (DEPLOY / name).read_text(encoding="utf-8")


@contextmanager
def _running(name: str, folder: Path, port: int, *options: str) -> Iterator[None]:
    program, log = PROGRAMS[name], folder / f"{name}.log"
    assert program, MISSING
    command = [
        program,
        f"--config.file={folder / name}.yml",
        f"--web.listen-address={servers.LOOPBACK}:{port}",
        f"--storage{'.tsdb' if name == 'prometheus' else ''}.path={folder / name}-data",
        *options,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        servers.wait_until_ready(f"http://{servers.LOOPBACK}:{port}/-/ready", process, log, name)
        yield
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def _receiver(watched: Monitoring) -> FastAPI:
    """Return an application that notes what Alertmanager tells each receiver."""
    app = FastAPI()

    @app.post("/{receiver}")
    async def note(receiver: str, request: Request) -> None:
        for alert in (await request.json())["alerts"]:
            if alert["status"] == "firing":
                labels = watched.told[alert["labels"]["alertname"]].setdefault(receiver, [])
                labels.append(alert["labels"])

    return app
