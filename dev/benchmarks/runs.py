"""Memory of the Prefect worker over many distributions, each of which is a process that it starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncpg
import httpx
import psutil

from dev.benchmarks.numbers import Figures
from dev.benchmarks.people import FAST, SENT, preparing, register
from dev.benchmarks.section import Section, Table, plain
from dev.probes import start_distribution
from dev.stack import Say, open_ground, rss_mb

ENDED_WITHIN = 120.0
POLL_SECONDS = 0.2
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_MAKE_DUE = "UPDATE learners SET next_daily_at = now() - interval '1 minute' WHERE id % $1 = $2"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    learners: int
    distributions: int
    """Each to an equal part of the learners."""


FULL = Size(learners=3_200, distributions=32)
QUICK = Size(learners=10, distributions=1)


async def measure(size: Size, say: Say) -> Figures:
    """Start one distribution after another as an operator does, and look at the Prefect worker meanwhile."""
    with open_ground() as stack:
        say("starting PostgreSQL, Valkey, the simulator, the Prefect server and a Prefect worker")
        stack.start_storage()
        simulator = stack.start_telegram()
        async with preparing(stack) as runtime:
            await register(simulator, runtime, size.learners)
        stack.environment |= FAST
        stack.start_prefect()
        worker = stack.start(stack.role("prefect"))
        database = await asyncpg.connect(stack.environment["DATABASE_URL"])
        try:
            async with httpx.AsyncClient(timeout=60) as client:
                runs = _Runs(client, stack.environment["PREFECT_API_URL"], database, worker.pid)
                samples = [await runs.distribute(size, number, say) for number in range(size.distributions)]
        finally:
            await database.close()
        return {"learners": size.learners, "distributions": samples}


class _Runs:
    """Starts runs and looks at the process that takes them."""

    def __init__(
        self, client: httpx.AsyncClient, api: str, database: asyncpg.Connection[asyncpg.Record], worker_pid: int
    ) -> None:
        self._client = client
        self._api = api
        self._database = database
        self._worker_pid = worker_pid

    async def distribute(self, size: Size, number: int, say: Say) -> Figures:
        """Serve a part of the learners; return how many that were, and what memory it took."""
        before = await self._database.fetchval(SENT)
        await self._database.execute(_MAKE_DUE, size.distributions, number)
        run = await start_distribution(self._client, self._api)
        most = 0.0
        async with asyncio.timeout(ENDED_WITHIN):
            while (state := await self._state_of(run)) not in ENDED:
                most = max(most, rss_mb(self._worker_pid))
                await asyncio.sleep(POLL_SECONDS)
            while psutil.Process(self._worker_pid).children():  # noqa: ASYNC110 - the process ends soon after its run
                await asyncio.sleep(POLL_SECONDS)
        if state != "COMPLETED":
            raise RuntimeError(f"distribution {number + 1} ended as {state}")
        sent, after = await self._database.fetchval(SENT) - before, rss_mb(self._worker_pid)
        say(
            f"distribution {number + 1} of {size.distributions}, to {sent} learners: {most:.0f} MB, then {after:.0f} MB"
        )
        return {"sent": sent, "max_mb": most, "after_mb": after}

    async def _state_of(self, run: str) -> str:
        reply = await self._client.get(f"{self._api}/flow_runs/{run}")
        reply.raise_for_status()
        return str(reply.json()["state_type"])


def present(figures: Figures) -> Section:
    """Show the figures."""
    runs = list(enumerate(figures["distributions"], start=1))
    rows = [
        [str(number), plain(one["sent"]), f"{one['max_mb']:.0f}", f"{one['after_mb']:.0f}"]
        for number, one in runs
        if number & (number - 1) == 0 or number == len(runs)  # what grows shows when their number doubles
    ]
    return Section(
        title="Memory of the Prefect worker over many distributions",
        about=(
            f"{len(runs)} distributions, one after another, each started as an operator does and run by "
            "`python main.py prefect` in a process that comes and goes."
        ),
        tables=[
            Table(
                "Resident memory in MB",
                ["distribution", "learners", "at most, with the run's own process", "afterwards"],
                rows,
            )
        ],
        notes=["What a run leaves behind in the worker is garbage until Python's next full collection."],
        limits=["Distributions that several Prefect workers share."],
    )
