"""What operators decide in Prefect holds, late runs do not pile up, and wrong parameters are refused with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled
from prefect.workers.process import ProcessWorker
from pydantic import SecretStr

from domain.settings import Settings
from flows.work_pool import SLUG, WAITING, PoolWorker, find_superseded, register_deployments
from tests.support.factories import some_id
from tests.support.roles import ROOT, running_role
from tests.support.waiting import WAIT_SECONDS, until

pytestmark = pytest.mark.prefect

LATE = 8
NOW = datetime(2026, 11, 3, 10, tzinfo=UTC)
Json = dict[str, Any]
Answer = TypeVar("Answer")

FLOWS = {
    "daily": "distribute_daily_quizzes",
    "quiz": "execute_user_quiz_flow",
    "hourly": "upkeep",
    "weekly": "analyze_questions",
    "announce": "send_announcement",
    "refill": "refill_question_bank",
    "backup": "back_up",
}
OFTEN = ("daily", "hourly", "refill")
SCHEDULED = (*OFTEN, "weekly")


class Operator:
    """Somebody with the Prefect UI, which does what its API lets it do."""

    def __init__(self, client: httpx.AsyncClient, pool: str) -> None:
        self._client = client
        self.pool = pool

    async def ask(self, method: str, path: str, body: Json | list[Json] | None = None) -> Any:
        reply = await self._client.request(method, path, json=body)
        assert reply.is_success, reply.text
        return reply.json() if reply.content else None

    async def deployment(self, name: str) -> Json:
        return dict(await self.ask("GET", f"/deployments/name/{FLOWS[name]}/{name}"))

    async def schedules(self, name: str) -> list[Json]:
        return list((await self.deployment(name))["schedules"])

    async def start(self, name: str, parameters: Json) -> httpx.Response:
        """Start a run from the form of a deployment."""
        found = await self.deployment(name)
        return await self._client.post(f"/deployments/{found['id']}/create_flow_run", json={"parameters": parameters})

    async def runs(self, name: str) -> list[Json]:
        """Return the runs of a deployment that were to begin by now, the earliest first."""
        found = await self.deployment(name)
        body = {
            "deployments": {"id": {"any_": [found["id"]]}},
            "flow_runs": {"expected_start_time": {"before_": datetime.now(UTC).isoformat()}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        return list(await self.ask("POST", "/flow_runs/filter", body))

    async def end_of(self, run_id: str) -> Json:
        """Return a run's state once it is final."""

        async def state() -> Json | None:
            found = dict((await self.ask("GET", f"/flow_runs/{run_id}"))["state"])
            return found if found["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

        return await until(state)


@pytest.fixture
def settings(settings: Settings, prefect_url: str) -> Settings:
    """Return settings with a work pool of the test's own."""
    return settings.model_copy(
        update={
            "prefect_api_url": prefect_url,
            "prefect_work_pool": f"pool-{some_id()}",
            "distribution_interval_minutes": 60,
            "openai_api_key": SecretStr("sk-planted-key-of-the-operator-0001"),
            "openai_base_url": "http://127.0.0.1:9/v1",
            "llm_stock_per_cell": 0,
        }
    )


@pytest.fixture
async def operator(settings: Settings, prefect_url: str) -> AsyncIterator[Operator]:
    """Yield somebody who sees freshly registered deployments, which go with the test."""
    async with httpx.AsyncClient(base_url=prefect_url, timeout=WAIT_SECONDS) as client:
        operator = Operator(client, settings.prefect_work_pool)
        for found in await operator.ask("POST", "/deployments/filter", {}):
            await operator.ask("DELETE", f"/deployments/{found['id']}")
        await register_deployments(settings)
        yield operator
        for name in FLOWS:
            await operator.ask("DELETE", f"/deployments/{(await operator.deployment(name))['id']}")
        await operator.ask("DELETE", f"/work_pools/{operator.pool}")


# ---------------------------------------------------------------- pauses


async def test_a_paused_deployment_schedule_pool_and_queue_stay_paused(operator: Operator, settings: Settings) -> None:
    daily, hourly = await operator.deployment("daily"), await operator.deployment("hourly")
    await operator.ask("POST", f"/deployments/{daily['id']}/pause_deployment")
    [schedule] = hourly["schedules"]
    await operator.ask("PATCH", f"/deployments/{hourly['id']}/schedules/{schedule['id']}", {"active": False})
    await operator.ask("PATCH", f"/work_pools/{operator.pool}", {"is_paused": True})
    await operator.ask("PATCH", f"/work_pools/{operator.pool}/queues/default", {"is_paused": True})

    await register_deployments(settings)

    assert (await operator.deployment("daily"))["paused"] is True
    assert [one["active"] for one in await operator.schedules("hourly")] == [False]
    assert (await operator.ask("GET", f"/work_pools/{operator.pool}"))["is_paused"] is True
    assert (await operator.ask("GET", f"/work_pools/{operator.pool}/queues/default"))["is_paused"] is True


async def test_a_changed_interval_takes_effect_on_a_schedule_that_stays_paused(
    operator: Operator, settings: Settings
) -> None:
    daily = await operator.deployment("daily")
    [schedule] = daily["schedules"]
    await operator.ask("PATCH", f"/deployments/{daily['id']}/schedules/{schedule['id']}", {"active": False})

    await register_deployments(settings.model_copy(update={"distribution_interval_minutes": 5}))

    [schedule] = await operator.schedules("daily")
    assert (schedule["schedule"]["cron"], schedule["active"]) == ("*/5 * * * *", False)


async def test_schedules_parameters_tags_and_limits_of_operators_survive(
    operator: Operator, settings: Settings
) -> None:
    for name in FLOWS:
        found = await operator.deployment(name)
        extra = {"schedule": {"cron": "0 3 * * 1"}, "active": False}
        await operator.ask("POST", f"/deployments/{found['id']}/schedules", [extra])
        await operator.ask("PATCH", f"/deployments/{found['id']}", {"concurrency_limit": 7, "tags": ["mine"]})
    daily = await operator.deployment("daily")
    await operator.ask("PATCH", f"/deployments/{daily['id']}", {"parameters": {"limit": 10}})

    await register_deployments(settings)

    for name in FLOWS:
        found = await operator.deployment(name)
        assert [s["active"] for s in found["schedules"] if s["schedule"]["cron"] == "0 3 * * 1"] == [False]
        assert len(found["schedules"]) == 1 + (name in SCHEDULED)
        assert (found["global_concurrency_limit"]["limit"], found["tags"]) == (7, ["mine"])
    assert (await operator.deployment("daily"))["parameters"] == {"limit": 10}


async def test_a_schedule_that_an_earlier_version_made_becomes_the_services_own(
    operator: Operator, settings: Settings
) -> None:
    daily = await operator.deployment("daily")
    address = f"/deployments/{daily['id']}/schedules"
    await operator.ask("DELETE", f"{address}/{daily['schedules'][0]['id']}")
    nameless = [{"schedule": {"cron": cron}, "active": False} for cron in ("0 3 * * 1", "*/15 * * * *")]
    await operator.ask("POST", address, nameless)

    await register_deployments(settings)

    found = {s["schedule"]["cron"]: (s["slug"], s["active"]) for s in await operator.schedules("daily")}
    assert found == {"0 3 * * 1": (None, False), "*/60 * * * *": (SLUG, False)}


async def test_refills_are_scheduled_only_while_there_is_a_key(operator: Operator, settings: Settings) -> None:
    await register_deployments(settings.model_copy(update={"openai_api_key": None}))
    assert await operator.schedules("refill") == []

    await asyncio.gather(*(register_deployments(settings) for _ in range(3)))  # three Prefect workers start at once
    assert [one["slug"] for one in await operator.schedules("refill")] == [SLUG]


async def test_backups_are_scheduled_only_where_there_is_a_folder_for_them(
    operator: Operator, settings: Settings, tmp_path: Path
) -> None:
    assert await operator.schedules("backup") == []
    for hours, cron in ((6, "27 */6 * * *"), (24, "27 3 * * *")):
        await register_deployments(settings.model_copy(update={"backup_dir": tmp_path, "backup_interval_hours": hours}))
        assert [one["schedule"]["cron"] for one in await operator.schedules("backup")] == [cron]


# ---------------------------------------------------------------- late runs


@pytest.fixture
def prefect_database(postgres_url: Callable[[str], str]) -> str:
    """Return the URL of the Prefect server's database."""
    return postgres_url("prefect")


BACK = """
UPDATE flow_run SET expected_start_time = expected_start_time - $2::interval,
    next_scheduled_start_time = next_scheduled_start_time - $2::interval, state_name = 'Late'
WHERE deployment_id = $1::uuid AND auto_scheduled
"""
SAID = """
UPDATE flow_run_state s
SET name = 'Late',
    state_details = jsonb_set(s.state_details::jsonb, '{scheduled_time}', to_jsonb(r.expected_start_time))
FROM flow_run r WHERE r.state_id = s.id AND r.deployment_id = $1::uuid AND r.auto_scheduled
"""


async def let_runs_be_late(operator: Operator, name: str, database: str) -> None:
    """Do what a worker's absence does: let each schedule of a deployment make its runs, and their time be over.

    They are Late at once, or the server would mark them one by one meanwhile and pass over those that it has locked.
    """
    found = await operator.deployment(name)
    await operator.ask("POST", f"/deployments/{found['id']}/schedule", {"min_runs": LATE, "max_runs": LATE})
    connection = await asyncpg.connect(database)
    await connection.execute(BACK, found["id"], timedelta(hours=LATE + 1))
    await connection.execute(SAID, found["id"])
    await connection.close()


async def test_after_an_absence_only_the_newest_late_run_of_a_schedule_starts(
    operator: Operator, settings: Settings, prefect_database: str, tmp_path: Path
) -> None:
    for name in OFTEN:
        await let_runs_be_late(operator, name, prefect_database)
        assert len(await operator.runs(name)) == LATE
    by_hand = [(await operator.start("daily", {"dry_run": True})).json()["id"] for _ in range(2)]

    async def ended(name: str) -> list[Json] | None:
        runs = await operator.runs(name)
        return runs if all(run["state_type"] in {"COMPLETED", "CANCELLED"} for run in runs) else None

    with running_role(settings, tmp_path, [str(ROOT / "main.py"), "prefect"]):
        for name in OFTEN:
            scheduled = [run for run in await until(partial(ended, name)) if run["auto_scheduled"]]
            began = [run["expected_start_time"] for run in scheduled if run["infrastructure_pid"]]  # got a process
            assert began == [scheduled[-1]["expected_start_time"]]
            assert {run["state_name"] for run in scheduled[:-1]} == {"Skipped"}
        for run_id in by_hand:  # what an operator starts is run, however much there is of it
            assert (await operator.end_of(run_id))["type"] == "COMPLETED"


async def test_schedules_with_parameters_of_their_own_do_not_stand_for_each_other(
    operator: Operator, settings: Settings, prefect_database: str, tmp_path: Path
) -> None:
    await let_runs_be_late(operator, "daily", prefect_database)
    daily = await operator.deployment("daily")
    await operator.ask("PATCH", f"/deployments/{daily['id']}", {"parameters": {"dry_run": True}})
    later = {"schedule": {"cron": "10 * * * *"}, "active": True}
    await operator.ask("POST", f"/deployments/{daily['id']}/schedules", [later])
    await let_runs_be_late(operator, "daily", prefect_database)

    async def began() -> set[bool] | None:
        runs = await operator.runs("daily")
        done = all(run["state_type"] in {"COMPLETED", "CANCELLED"} for run in runs)
        return {bool(run["parameters"].get("dry_run")) for run in runs if run["infrastructure_pid"]} if done else None

    with running_role(settings, tmp_path, [str(ROOT / "main.py"), "prefect"]):
        assert await until(began) == {True, False}


async def test_a_run_that_another_worker_has_begun_is_not_skipped(
    operator: Operator,
    settings: Settings,
    prefect_url: str,
    prefect_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await let_runs_be_late(operator, "hourly", prefect_database)
    begun, gone = [run["id"] for run in (await operator.runs("hourly"))[:2]]

    async def scheduled_when_asked(worker: ProcessWorker) -> list[WorkerFlowRunResponse]:
        found = await get_scheduled(worker)
        await operator.ask("POST", f"/flow_runs/{begun}/set_state", {"state": {"type": "PENDING"}})
        await operator.ask("DELETE", f"/flow_runs/{gone}")
        return found

    get_scheduled = ProcessWorker._get_scheduled_flow_runs  # noqa: SLF001 - as the service's overrides it
    monkeypatch.setattr(ProcessWorker, "_get_scheduled_flow_runs", scheduled_when_asked)
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        async with PoolWorker(settings.prefect_work_pool) as worker:
            left = await worker._get_scheduled_flow_runs()  # noqa: SLF001

    runs = await operator.runs("hourly")
    *others, last = [run["state_name"] for run in runs]
    assert others == ["Pending", *["Skipped"] * (LATE - 3)]
    assert last in WAITING
    assert [str(one.flow_run.id) for one in left] == [runs[-1]["id"]]


async def test_late_runs_that_the_server_passes_over_still_stand_for_earlier_ones(
    operator: Operator, settings: Settings, prefect_url: str, prefect_database: str
) -> None:
    await let_runs_be_late(operator, "hourly", prefect_database)
    *others, newest = [UUID(run["id"]) for run in await operator.runs("hourly")]
    connection = await asyncpg.connect(prefect_database)
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        async with PoolWorker(settings.prefect_work_pool) as worker:
            async with connection.transaction():  # as the service of the server does that marks runs late
                await connection.execute("SELECT FROM flow_run WHERE id <> $1 FOR UPDATE", others[0])
                assert await worker._get_scheduled_flow_runs() == []  # noqa: SLF001
            left = await worker._get_scheduled_flow_runs()  # noqa: SLF001
    await connection.close()

    assert [one.flow_run.id for one in left] == [newest]


def scheduled_run(minutes: float) -> FlowRun:
    """Return a run of one schedule that begins so many minutes from now."""
    return FlowRun(
        flow_id=UUID(int=1),
        deployment_id=UUID(int=2),
        auto_scheduled=True,
        state=Scheduled(),
        state_name="Scheduled",
        expected_start_time=NOW + timedelta(minutes=minutes),
    )


def test_a_run_stands_for_earlier_ones_only_when_it_is_due() -> None:
    runs = [scheduled_run(minutes) for minutes in (-30, -15, 0, 15, 30)]
    assert find_superseded(runs, NOW) == runs[:2]


# ---------------------------------------------------------------- parameters

WRONG: dict[str, tuple[str, Json]] = {
    "a mistyped name": ("daily", {"lerner_ids": [1]}),
    "a mistyped name beside a right one": ("quiz", {"learner_ids": [1], "knd": "daily"}),
    "a learner's id of 53 bits": ("daily", {"learner_ids": [2**52]}),
    "a learner's id of zero": ("quiz", {"learner_ids": [0]}),
    "no learner": ("quiz", {"learner_ids": []}),
    "a learner's name": ("quiz", {"learner_ids": ["Ada"]}),
    "a limit of zero": ("daily", {"limit": 0}),
    "a limit of a billion": ("daily", {"limit": 10**9}),
    "a word for a switch": ("daily", {"dry_run": "perhaps"}),
    "an unknown kind": ("quiz", {"learner_ids": [1], "kind": "weekly"}),
    "a moment that is none": ("quiz", {"learner_ids": [1], "due_at": "tomorrow"}),
    "a moment without an offset": ("quiz", {"learner_ids": [1], "due_at": "2026-11-03T10:00:00"}),
    "a parameter where there is none": ("hourly", {"hours": 2}),
    "an unknown topic": ("refill", {"topics": ["cooking"]}),
    "a fifth level": ("refill", {"levels": [5]}),
    "a stock beyond its bounds": ("refill", {"stock_per_cell": 101}),
    "nothing to write": ("refill", {"at_most": 0}),
}


@pytest.mark.parametrize("kind", sorted(WRONG))
async def test_a_wrong_parameter_is_refused_with_one_line_before_the_run_starts(kind: str, operator: Operator) -> None:
    name, parameters = WRONG[kind]
    reply = await operator.start(name, parameters)
    assert reply.status_code == httpx.codes.CONFLICT
    reason = reply.json()["detail"]
    assert reason.startswith("Error creating flow run: Validation failed")
    assert "\n" not in reason
    assert await operator.runs(name) == []


async def test_right_parameters_are_taken(operator: Operator) -> None:
    right: list[tuple[str, Json]] = [
        ("daily", {"learner_ids": [1, 2**52 - 1], "limit": None, "dry_run": True}),
        ("quiz", {"learner_ids": [1], "kind": "daily", "due_at": "2026-11-03T10:00:00.123456+00:00"}),
        ("quiz", {"learner_ids": [1], "due_at": "2026-11-03T10:00:00Z"}),
        ("hourly", {}),
        ("refill", {"topics": None, "levels": [1, 4], "stock_per_cell": 0, "at_most": 1000}),
    ]
    for name, parameters in right:
        reply = await operator.start(name, parameters)
        assert reply.is_success, reply.text


async def test_a_schedule_with_a_wrong_parameter_fails_in_one_line(
    operator: Operator, settings: Settings, prefect_database: str, tmp_path: Path
) -> None:
    hourly = await operator.deployment("hourly")
    address = f"/deployments/{hourly['id']}/schedules"
    await operator.ask("DELETE", f"{address}/{hourly['schedules'][0]['id']}")
    wrong = {"schedule": {"cron": "0 * * * *"}, "parameters": {"lerner_ids": [1]}}
    await operator.ask("POST", address, [wrong])
    await let_runs_be_late(operator, "hourly", prefect_database)
    newest = (await operator.runs("hourly"))[-1]
    with running_role(settings, tmp_path, [str(ROOT / "main.py"), "prefect"]) as role:
        state = await operator.end_of(newest["id"])
    assert state["type"] == "FAILED"
    assert "lerner_ids" in state["message"]
    assert "\n" not in state["message"]
    assert "Traceback" not in role.output
