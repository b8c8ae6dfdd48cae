"""`prefect deploy --all` makes what the service registers by itself."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect import get_client
from prefect.server.schemas.schedules import CronSchedule

from domain.settings import Settings
from flows.work_pool import register_deployments
from tests.support.waiting import WAIT_SECONDS
from tests.system.deploy.compose import ROOT

NOT_DECIDED = {"id", "created", "updated", "flow_id", "work_queue_id", "status", "last_polled", "version"}
"""What the server adds, what a life changes, and the version: `prefect deploy` takes the commit of a clone."""


async def deployments(api: str) -> dict[str, dict[str, Any]]:
    """Return every deployment by its name, as far as somebody decided about it."""
    async with httpx.AsyncClient(base_url=api, timeout=WAIT_SECONDS) as client:
        found = (await client.post("/deployments/filter", json={})).json()
    return {deployment["name"]: _decided(deployment) for deployment in found}


def _decided(deployment: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in deployment.items() if name not in NOT_DECIDED}
    kept["schedules"] = [(s["slug"], s["schedule"], s["active"], s["parameters"]) for s in deployment["schedules"]]
    return kept


async def forget_deployments() -> None:
    async with get_client() as client:
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)


async def prefect_deploy(api: str, folder: Path) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": api,
        "PREFECT_CLI_PROMPT": "false",
        "COLUMNS": "200",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "prefect",
        "deploy",
        "--all",
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.prefect
async def test_prefect_deploy_makes_the_deployments_that_the_service_registers(
    prefect_url: str, settings: Settings, tmp_path: Path
) -> None:
    await forget_deployments()
    await register_deployments(settings)
    registered = await deployments(prefect_url)
    await forget_deployments()
    assert await deployments(prefect_url) == {}

    await prefect_deploy(prefect_url, tmp_path)
    deployed = await deployments(prefect_url)

    assert set(deployed) == {"daily", "quiz", "hourly", "weekly", "announce", "refill", "backup"}
    for name, deployment in registered.items():
        assert deployment["parameter_openapi_schema"].pop("additionalProperties") is False  # which the file cannot say
        assert deployed[name] == deployment
    await forget_deployments()


def test_the_file_names_the_version_of_prefect_that_is_installed() -> None:
    import prefect

    assert yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["prefect-version"] == prefect.__version__


async def test_that_version_finds_the_moments_of_a_schedule() -> None:
    """With another release of a library that it allows, Prefect starts and schedules nothing."""
    schedule = CronSchedule(cron="7 * * * *", timezone="UTC")
    [moment] = await schedule.get_dates(n=1, start=datetime(2026, 3, 1, 9, tzinfo=UTC))
    assert moment == datetime(2026, 3, 1, 9, 7, tzinfo=UTC)
