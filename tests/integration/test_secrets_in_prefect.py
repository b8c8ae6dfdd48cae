"""However a run fails with a secret in its hands, no log and no database keeps it."""

from __future__ import annotations

import asyncio
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prefect import get_client
from prefect.runner.storage import LocalStorage
from pydantic import SecretStr

from domain.settings import Settings
from flows.work_pool import register_deployments
from tests.support.factories import TOKEN, some_id
from tests.support.leaking_flows import PASSWORD, Way, leak
from tests.support.roles import ROOT, Role, running_role
from tests.support.service import Learner, is_question
from tests.support.waiting import WAIT_SECONDS
from tests.system.deploy.test_erasure_in_prefect import PG_DUMP, run

pytestmark = pytest.mark.prefect

KEY = "sk-planted-key-which-nobody-may-see"
SECRET = "planted_secret_of_no_known_form"
PLANTED = {PASSWORD, TOKEN, TOKEN.partition(":")[2], KEY, SECRET}

VERBOSE = {"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5"}
WAYS = typing.get_args(Way)
FAILED = {"task", "flow", "chain", "group", "state", "subflow"}
CRASHED = {"crash", "exit", "stopped"}


@pytest.fixture
def settings(settings: Settings, prefect_url: str) -> Settings:
    """Return settings with secrets, and a work pool of the test's own."""
    return settings.model_copy(
        update={
            "prefect_api_url": prefect_url,
            "prefect_work_pool": f"pool-{some_id()}",
            "openai_api_key": SecretStr(KEY),
            "openai_base_url": "http://127.0.0.1:9/v1",
            "telegram_webhook_secret": SecretStr(SECRET),
            "distribution_interval_minutes": 60,
        }
    )


@pytest.fixture
async def leaking(settings: Settings) -> AsyncIterator[str]:
    """Yield the id of a deployment whose runs leak."""
    await register_deployments(settings)
    async with get_client() as client:
        deployment = await client.create_deployment(
            await client.create_flow_from_name(leak.name),
            "leaking",
            work_pool_name=settings.prefect_work_pool,
            entrypoint="tests/support/leaking_flows.py:leak",
            pull_steps=[LocalStorage(path=str(ROOT)).to_pull_step()],
            parameter_openapi_schema=leak.parameters.model_dump(),
        )
        yield str(deployment)
        for found in await client.read_deployments():
            await client.delete_deployment(found.id)
        await client.delete_work_pool(settings.prefect_work_pool)


async def states_of(api: str, deployment: str) -> dict[str, str]:
    """Return by way of leaking what became of its run, as far as it has ended."""
    body = {"deployments": {"id": {"any_": [deployment]}}}
    async with httpx.AsyncClient(base_url=api, timeout=WAIT_SECONDS) as client:
        found = (await client.post("/flow_runs/filter", json=body)).json()
    ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    return {run["parameters"]["way"]: run["state_type"] for run in found if run["state_type"] in ended}


async def leaks_of(url: str) -> list[str]:
    """Return the rows of a database that hold a planted secret in any column."""
    dumped = await run(str(PG_DUMP), "--data-only", "--inserts", "-d", url)
    return [line for line in dumped.splitlines() if any(secret in line for secret in PLANTED)]


async def count_logs(url: str, text: str) -> int:
    return (await run(str(PG_DUMP), "--data-only", "-t", "log", "-d", url)).count(text)


async def test_no_secret_of_a_run_in_its_own_process_is_kept_anywhere(
    settings: Settings, leaking: str, prefect_url: str, postgres_url: Callable[[str], str], tmp_path: Path
) -> None:
    async with httpx.AsyncClient(base_url=prefect_url, timeout=WAIT_SECONDS) as client:
        for way in WAYS:
            path = f"/deployments/{leaking}/create_flow_run"
            (await client.post(path, json={"parameters": {"way": way}})).raise_for_status()
    with running_role(settings, tmp_path, [str(ROOT / "main.py"), "prefect"], **VERBOSE, LOG_FORMAT="json") as role:
        async with asyncio.timeout(2 * WAIT_SECONDS):  # each run is a process
            while len(states := await states_of(prefect_url, leaking)) < len(WAYS):
                assert role.process.poll() is None, role.output
                await asyncio.sleep(1)
    assert {way for way, state in states.items() if state == "FAILED"} == FAILED
    assert {way for way, state in states.items() if state == "CRASHED"} == CRASHED
    assert await count_logs(postgres_url("prefect"), "cannot reach postgresql://quiz:<password>@") >= len(FAILED)
    await check_that_nothing_leaked(settings, role, postgres_url)


async def count_kept(url: str) -> int:
    """Return how many updates are kept with why they could not be handled."""
    return (await run(str(PG_DUMP), "--data-only", "-t", "updates", "-d", url)).count(
        "cannot reach postgresql://quiz:<"
    )


async def check_that_nothing_leaked(settings: Settings, role: Role, postgres_url: Callable[[str], str]) -> None:
    assert "cannot reach postgresql://quiz:<password>@db.example.org/quiz" in role.output
    assert not [secret for secret in PLANTED if secret in role.output]
    assert settings.database_url is not None
    assert await leaks_of(settings.database_url.get_secret_value()) == []
    assert await leaks_of(postgres_url("prefect")) == []


@pytest.fixture
def public(settings: Settings) -> Settings:
    """Return settings with which Telegram calls the bot on this machine."""
    address = f"http://127.0.0.1:{settings.webhook_port}"
    return settings.model_copy(update={"telegram_mode": "webhook", "webhook_url": address})


@pytest.fixture
def worker(public: Settings, tmp_path: Path) -> Iterator[Role]:
    """Yield a worker whose grading fails with secrets in its hands, beside a bot."""
    with ExitStack() as stack:
        stack.enter_context(running_role(public, tmp_path, [str(ROOT / "main.py"), "bot"]))
        leaking = ["-m", "tests.support.leaking_worker", "worker"]
        yield stack.enter_context(running_role(public, tmp_path, leaking, **VERBOSE, PYTHONPATH=str(ROOT)))


async def test_no_secret_of_a_run_in_the_worker_is_kept_anywhere(
    settings: Settings, worker: Role, postgres_url: Callable[[str], str], telegram_url: str
) -> None:
    async with httpx.AsyncClient(base_url=telegram_url, timeout=WAIT_SECONDS) as client:
        learner = Learner(client, (await client.post("/api/learners", json={"id": some_id()})).json()["id"])
        async with asyncio.timeout(WAIT_SECONDS):
            while not (await client.get("/api/state")).json()["bots"]:
                await asyncio.sleep(1)
            await learner.say("/start")
            while not (questions := [message for message in await learner.messages() if is_question(message)]):
                assert worker.process.poll() is None, worker.output
                await learner.say("/quiz")
                await asyncio.sleep(3)
            await learner.press(questions[0], 0)
            while not await count_logs(postgres_url("prefect"), "cannot reach postgresql://quiz:<password>@"):
                await asyncio.sleep(1)
            while "will be handled again" not in worker.output:
                await asyncio.sleep(1)
            assert settings.database_url is not None
            while not await count_kept(settings.database_url.get_secret_value()):
                await asyncio.sleep(1)
    await check_that_nothing_leaked(settings, worker, postgres_url)
