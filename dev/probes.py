"""What the simulator, the worker's metrics page and the Prefect server say about a run."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from local.servers import LOOPBACK
from local.supervisor import Program

ALL = 1_000_000
REGISTERED_WITHIN = 60.0


class SimulatorClient:
    """Asks a simulator what it has seen."""

    def __init__(self, simulator: Program, client: httpx.AsyncClient) -> None:
        self._url = simulator.url
        self._client = client

    async def statistics(self) -> dict[str, Any]:
        """Return counts and latencies since the last reset."""
        return dict(await self._get("/api/statistics"))

    async def reset_statistics(self) -> None:
        """Begin to count anew."""
        (await self._client.delete(f"{self._url}/api/statistics")).raise_for_status()

    async def requests(self, method: str) -> list[dict[str, Any]]:
        """Return the bot's calls of a method since the last reset, oldest first."""
        return list(await self._get(f"/api/requests?method={method}&limit={ALL}"))

    async def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        reply = await self._client.get(self._url + path, timeout=60)
        reply.raise_for_status()
        return reply.json()


async def read_metrics(client: httpx.AsyncClient, port: int) -> dict[str, float]:
    """Return the values of a metrics page that carry no labels."""
    reply = await client.get(f"http://{LOOPBACK}:{port}/metrics")
    reply.raise_for_status()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
        if not sample.labels
    }


async def count_runs(
    client: httpx.AsyncClient, api: str, flow: str | None, state: str | None = None, kind: str = "flow_runs"
) -> int:
    """Return how many runs of a flow, or of its tasks, a Prefect server knows.

    Args:
        api: the server's address, ending in ``/api``.
        flow: None for all of them.
        state: only runs in this state, such as ``COMPLETED``.
        kind: ``flow_runs`` or ``task_runs``.
    """
    question: dict[str, Any] = {"flows": {"name": {"any_": [flow]}}} if flow else {}
    if state:
        question[kind] = {"state": {"type": {"any_": [state]}}}
    reply = await client.post(f"{api}/{kind}/count", json=question, timeout=60)
    reply.raise_for_status()
    return int(reply.json())


async def start_distribution(client: httpx.AsyncClient, api: str) -> str:
    """Start a distribution to everybody who is due, as an operator does in the Prefect UI; return the run's id.

    Args:
        api: the server's address, ending in ``/api``.

    Raises:
        TimeoutError: no role registers the deployment.
    """
    async with asyncio.timeout(REGISTERED_WITHIN):
        while not (found := await client.get(f"{api}/deployments/name/distribute_daily_quizzes/daily")).is_success:  # noqa: ASYNC110
            await asyncio.sleep(0.5)  # the role is still registering it
    reply = await client.post(f"{api}/deployments/{found.json()['id']}/create_flow_run", json={"parameters": {}})
    reply.raise_for_status()
    return str(reply.json()["id"])
