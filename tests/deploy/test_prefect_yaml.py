"""`prefect deploy --all` makes what the service registers by itself."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect import get_client

from domain.settings import Settings
from tests.deploy.compose import ROOT
from work_pool import register_deployments

BY_THE_SERVER = {"id", "created", "updated", "flow_id", "work_queue_id", "status", "last_polled"}
"""What the server adds to a deployment, and what its life changes."""


async def deployments(api: str) -> dict[str, dict[str, Any]]:
    """Return every deployment by its name, as far as somebody decided about it."""
    async with httpx.AsyncClient(base_url=api) as client:
        found = (await client.post("/deployments/filter", json={})).json()
    return {deployment["name"]: _decided(deployment) for deployment in found}


def _decided(deployment: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in deployment.items() if name not in BY_THE_SERVER}
    kept["schedules"] = [(s["schedule"], s["active"], s["parameters"]) for s in deployment["schedules"]]
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

    assert set(deployed) == {"daily", "quiz", "hourly", "refill"}
    for name, deployment in registered.items():
        assert deployed[name] == deployment
    await forget_deployments()


def test_the_file_names_the_version_of_prefect_that_is_installed() -> None:
    import prefect

    assert yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["prefect-version"] == prefect.__version__
