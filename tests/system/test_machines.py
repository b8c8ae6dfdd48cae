"""Three bots, three workers and three Prefect workers on one PostgreSQL, Valkey and Prefect server, all at once.

Everything starts at the same moment on an empty database, as a deployment to several machines does. Then everybody who
is due gets the daily quiz in cohorts that the Prefect workers share, while learners tap; one of the cohorts' processes
is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dev.chaos.distribution import check_distribution
from dev.chaos.probe import count
from dev.stack import BOT_ID, TOKEN, ServerStack, open_ground
from difficulty_adapter import rules_of
from domain.ids import BotId, LearnerId
from domain.settings import Settings
from local import servers
from local.supervisor import Program
from repository import Repository
from roles.replay.checks import replay
from roles.replay.command import read_records
from roles.replay.records import Records
from roles.webhook_registration import PATH
from tests.support.factories import some_id
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS

pytestmark = [pytest.mark.stack, pytest.mark.prefect, pytest.mark.long]

EACH = 3
DUE = 60
RATE = 12
"""Messages a second: so few that all processes together come up against them."""

"""Longest for any one thing, on a machine that others use too."""

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
Json = dict[str, Any]
Answer = TypeVar("Answer")


@pytest.fixture
def ground(
    postgres_url: Callable[[str], str], valkey_url: str, prefect_url: str, bank_folder: Path
) -> Iterator[ServerStack]:
    """Yield a stack on the session's servers, with a database that is empty and a work pool that is new."""
    ours = {name.upper() for name in Settings.model_fields}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name in ours or name.startswith("PREFECT_")]:
            patch.delenv(name)
        with open_ground() as ground:
            ground.environment |= {
                "DATABASE_URL": postgres_url(f"machines_{some_id()}"),
                "REDIS_URL": valkey_url,
                "PREFECT_API_URL": prefect_url,
                "PREFECT_HOME": str(ground.folder / "prefect"),
                "PREFECT_WORK_POOL": f"machines-{some_id()}",
                "PREFECT_WORKERS": str(EACH),
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                "MIN_COHORT_SIZE": "10",
                "DISTRIBUTION_INTERVAL_MINUTES": "60",
                "TELEGRAM_RATE_PER_SECOND": str(RATE),
                "QUESTION_BANK_DIR": str(bank_folder),
            }
            yield ground


class Spreader:
    """One public address for several bots: each request goes to the next."""

    def __init__(self, bots: Sequence[str], client: httpx.AsyncClient) -> None:
        self._turns = itertools.cycle(bots)
        self._client = client
        self.app = Starlette(routes=[Route(PATH, self._pass_on, methods=["POST"])])

    async def _pass_on(self, request: Request) -> Response:
        kept = {name: value for name, value in request.headers.items() if name.startswith("x-telegram")}
        reply = await self._client.post(next(self._turns) + PATH, content=await request.body(), headers=kept)
        return Response(reply.content, reply.status_code, {"content-type": reply.headers.get("content-type", "")})


class Machines:
    """The roles, each several times, and what asks about them."""

    def __init__(self, ground: ServerStack, simulator: Program, client: httpx.AsyncClient) -> None:
        self.ground = ground
        self.simulator = simulator
        self.client = client
        self.started: list[Program] = []
        self.bots = [f"http://{servers.LOOPBACK}:{servers.free_port()}" for _ in range(EACH)]
        self.workers = [f"http://{servers.LOOPBACK}:{servers.free_port()}" for _ in range(EACH)]
        self.pool = ground.environment["PREFECT_WORK_POOL"]

    def start(self, role: str, number: int, **extra: str) -> None:
        """Start a role once more."""
        self.started.append(self.ground.start(self.ground.role(role, f"{role}-{number}", **extra)))

    def stop(self) -> None:
        """End all roles; one after the other they would take longer than all at once."""
        for one in self.started:
            one.running.terminate()
        for one in self.started:
            one.stop()

    async def wait_for(self, ask: Callable[[], Awaitable[Answer | None]]) -> Answer:
        """Return the first answer that is not empty."""
        end = time.monotonic() + WAIT_SECONDS
        while not (answer := await ask()):
            ended = [one.name for one in self.started if one.running.poll() is not None]
            assert not ended, f"{ended} ended"
            assert time.monotonic() < end, f"{ask} waits in vain"
            await asyncio.sleep(0.25)
        return answer

    async def are_up(self) -> bool:
        """Say whether every bot answers."""
        replies = await asyncio.gather(*(self.client.get(f"{url}/health") for url in self.bots), return_exceptions=True)
        return all(isinstance(reply, httpx.Response) and reply.is_success for reply in replies)

    async def ask_prefect(self, path: str, body: Json | None = None) -> Any:
        """Return the Prefect server's answer; None if it has none."""
        url = self.ground.environment["PREFECT_API_URL"] + path
        reply = await (self.client.get(url) if body is None else self.client.post(url, json=body))
        return reply.json() if reply.is_success else None

    async def runs(self, **wanted: Json) -> list[Json]:
        """Return flow runs of this pool."""
        pool = {"work_pools": {"name": {"any_": [self.pool]}}}
        return list(await self.ask_prefect("/flow_runs/filter", pool | wanted))

    async def distribute(self) -> Json:
        """Start a distribution as an operator does, as soon as there is a deployment of this pool; return the run."""

        async def find() -> Json | None:
            found = await self.ask_prefect("/deployments/name/distribute_daily_quizzes/daily")
            return found if found and found["work_pool_name"] == self.pool else None

        deployment = await self.wait_for(find)
        return dict(await self.ask_prefect(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {}}))

    def cohort_processes(self) -> list[psutil.Process]:
        """Return the processes of the cohorts' runs."""
        roles = [psutil.Process(one.pid) for one in self.started if one.name.startswith("prefect")]
        children = [child for role in roles for child in role.children(recursive=True)]
        return [child for child in children if deployment_of(child) == "quiz"]

    async def counter(self, url: str, name: str) -> float:
        """Return the sum of a counter of one process."""
        page = (await self.client.get(f"{url}/metrics")).text
        samples = [one for family in text_string_to_metric_families(page) for one in family.samples]
        return sum(one.value for one in samples if one.name == name)


def deployment_of(process: psutil.Process) -> str | None:
    """Return the deployment that a process runs."""
    try:
        return process.environ().get("PREFECT__DEPLOYMENT_NAME")
    except psutil.Error:  # it has just ended
        return None


@asynccontextmanager
async def running(ground: ServerStack) -> AsyncIterator[Machines]:
    """Start all roles at once on a database that is empty, and yield them when learners can be made."""
    simulator = ground.start_telegram(rate=RATE, chat_rate=1)
    async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        machines = Machines(ground, simulator, client)
        async with serving(Spreader(machines.bots, client).app, servers.free_port()) as address:
            ground.environment["WEBHOOK_URL"] = address
            for number in range(EACH):
                machines.start("bot", number, WEBHOOK_PORT=machines.bots[number].rpartition(":")[2])
                machines.start("prefect", number)
                machines.start("worker", number, WORKER_METRICS_PORT=machines.workers[number].rpartition(":")[2])
            try:
                await machines.wait_for(machines.are_up)
                yield machines
            finally:
                machines.stop()
                await forget(machines)


async def forget(machines: Machines) -> None:
    """Delete from the session's Prefect server what would schedule runs that nobody takes."""
    deployments = {"deployments": {}, "work_pools": {"name": {"any_": [machines.pool]}}}
    api = machines.ground.environment["PREFECT_API_URL"]
    for deployment in await machines.ask_prefect("/deployments/filter", deployments):
        await machines.client.delete(f"{api}/deployments/{deployment['id']}")
    await machines.client.delete(f"{api}/work_pools/{machines.pool}")


async def gather_learners(machines: Machines) -> list[LearnerId]:
    """Let some learners press START and go on tapping; return others whose hour has come, and who will answer."""
    crowd = f"{machines.simulator.url}/api/crowd"
    (await machines.client.get(f"{machines.simulator.url}/bot{TOKEN}/getMe")).raise_for_status()
    answering = {"count": DUE, "text": "", "probability": 0.8, "delay": [0.3, 2.0], "seed": 5}
    reply = await machines.client.post(crowd, json=answering)
    due = [LearnerId(learner_id) for learner_id in reply.json()["learners"]]
    settings = machines.ground.settings()
    repository = await Repository.open(settings)
    for learner_id in due:
        await repository.add_learner(learner_id, BotId(BOT_ID), settings)
    await repository.close()
    connection = await asyncpg.connect(machines.ground.environment["DATABASE_URL"])
    await connection.execute("UPDATE learners SET next_daily_at = now() - interval '1 minute'")
    await connection.close()
    people = {"count": 12, "text": "/start", "per_second": 1, "probability": 1, "seed": 7}
    (await machines.client.post(crowd, json=people)).raise_for_status()
    return due


async def settled(machines: Machines, due: Sequence[LearnerId]) -> tuple[Records, set[int], list[str]]:
    """Return what is stored, the updates that were made, and what is wrong, once nothing is or nobody waits longer."""
    end, rules = time.monotonic() + WAIT_SECONDS, rules_of(machines.ground.settings())
    while True:
        told = (await machines.client.get(f"{machines.simulator.url}/api/updates")).json()
        records = await read_records(machines.ground.environment["DATABASE_URL"])
        wrong = replay(records, rules) + list(check_distribution(records, due))
        wrong += [f"update {update['update_id']} is not accepted" for update in told["pending"]]
        if not wrong or time.monotonic() > end:
            return records, {int(update["update_id"]) for update in told["history"]}, wrong
        await asyncio.sleep(0.5)


async def test_any_number_of_each_role_serve_everybody_once(ground: ServerStack) -> None:
    async with running(ground) as machines:
        due = await gather_learners(machines)
        distribution = await machines.distribute()

        async def cohorts() -> list[psutil.Process]:
            return machines.cohort_processes()

        (victim, *_) = await machines.wait_for(cohorts)
        victim.kill()

        async def ended() -> Json | None:
            [run] = await machines.runs(flow_runs={"id": {"any_": [distribution["id"]]}})
            return run if run["state_type"] in FINAL else None

        assert (await machines.wait_for(ended))["state_name"] == "Completed"
        records, updates, wrong = await settled(machines, due)
        assert wrong == []
        outcome = count(records, updates, due)
        assert (outcome.lost, outcome.doubled) == (0, 0)
        assert outcome.processed == len(updates) > DUE / 2

        cohort_runs = await machines.runs(flow_runs={"tags": {"all_": ["quiz", "daily"]}})
        assert sorted(run["state_name"] for run in cohort_runs) == ["Completed", "Completed", "Crashed"]
        assert all(run["parent_task_run_id"] for run in cohort_runs)
        assert len({run["labels"]["prefect.worker.name"] for run in cohort_runs}) > 1
        received = [await machines.counter(url, "quiz_updates_received_total") for url in machines.bots]
        handled = [await machines.counter(url, "quiz_updates_handled_total") for url in machines.workers]
        assert all(received)
        assert sum(number > 0 for number in handled) > 1
        seen = (await machines.client.get(f"{machines.simulator.url}/api/statistics")).json()
        assert seen["too_many_requests"] == 0
