"""The daily distribution on a real Prefect server: who gets a quiz, how often, and what operators see of it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import get_client, runtime, states
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterStartTime,
    TaskRunFilter,
    TaskRunFilterName,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

import prefect_flows
from domain.catalog import Priority
from domain.errors import StorageUnavailableError, TelegramUnavailableError
from domain.ids import LearnerId
from domain.models import Delivery, Quiz
from domain.service_state import ALL_BOTS
from flows import progress
from quizzes import cohorts, delivery, maintenance
from quizzes.context import Messenger
from tests.support.service import Learner, Service, is_question
from tests.support.waiting import WAIT_SECONDS, until

pytestmark = pytest.mark.prefect


async def due_learner(service: Service, bot_id: int | None = None) -> Learner:
    """Return a learner whose hour has just come."""
    learner = await service.new_learner(bot_id=bot_id)
    moment = datetime.now(UTC) - timedelta(minutes=1)
    await service.runtime.repository.set_daily_at(LearnerId(learner.id), time(moment.hour, moment.minute))
    await make_due(service, learner)
    return learner


async def make_due(service: Service, learner: Learner) -> None:
    """Move a learner's next daily quiz to a minute ago, as if the time had passed."""
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    moment = datetime.now(UTC) - timedelta(minutes=1)
    await pool.execute("UPDATE learners SET next_daily_at = $2 WHERE id = $1", learner.id, moment)


async def questions(learner: Learner) -> int:
    return sum(not message["out"] and is_question(message) for message in await learner.messages())


async def test_everybody_due_gets_one_quiz_however_often_it_runs(service_with_prefect: Service) -> None:
    learners = [await due_learner(service_with_prefect) for _ in range(3)]
    later = await service_with_prefect.new_learner()
    assert await prefect_flows.distribute_daily_quizzes() == {"sent": 3, "skipped": 0, "failed": 0}
    assert await prefect_flows.distribute_daily_quizzes() == {"sent": 0, "skipped": 0, "failed": 0}
    for learner in learners:  # even if a clock or an operator makes them due once more on the same day
        await make_due(service_with_prefect, learner)
    assert await prefect_flows.distribute_daily_quizzes() == {"sent": 0, "skipped": 3, "failed": 0}
    assert [await questions(learner) for learner in learners] == [1, 1, 1]
    assert await questions(later) == 0
    assert "Daily quiz" in (await learners[0].messages())[-1]["text"]


async def task_runs(flow_run: FlowRun, *names: str) -> list[TaskRun]:
    """Return the task runs of a run with some names, once the server has seen all of them end."""
    in_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    named = TaskRunFilter(name=TaskRunFilterName(any_=list(names)))
    async with get_client() as client, asyncio.timeout(WAIT_SECONDS):
        while True:
            found = await client.read_task_runs(flow_run_filter=in_run, task_run_filter=named)
            if len(found) == len(names) and all(run.state and run.state.is_final() for run in found):
                return found
            await asyncio.sleep(0.05)


async def latest_distribution() -> FlowRun:
    """Return the distribution that began last; the schedules of other tests' deployments have runs that have not."""
    flow = FlowFilter(name=FlowFilterName(any_=["distribute_daily_quizzes"]))
    begun = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False))
    async with get_client() as client:
        (latest, *_) = await client.read_flow_runs(
            flow_filter=flow, flow_run_filter=begun, sort=FlowRunSort.START_TIME_DESC, limit=1
        )
    return latest


async def test_an_operator_reads_the_run_by_its_name_and_its_tables(service_with_prefect: Service) -> None:
    for _ in range(2):
        await due_learner(service_with_prefect)
    await prefect_flows.distribute_daily_quizzes()
    run = await latest_distribution()
    assert run.name.startswith(f"daily {datetime.now(UTC):%Y-%m-%d}")
    assert run.name.endswith("· 2 sent")
    steps = await task_runs(run, "prepare · 2 learners", "send · 2 questions")
    assert [step.state_name for step in steps] == ["Completed", "Completed"]
    async with get_client() as client:
        below = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        )
        assert below == []
        of_it = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        found = {str(artifact.key): artifact.data for artifact in await client.read_artifacts(flow_run_filter=of_it)}
    assert found["daily-progress"] == 100.0
    assert '"learners": 2' in str(found["daily-distribution"])


async def test_during_a_pause_a_distribution_says_so_and_leaves_everybody_due(service_with_prefect: Service) -> None:
    repository = service_with_prefect.runtime.repository
    learner = await due_learner(service_with_prefect)
    await repository.pause(ALL_BOTS, "a wrong question is out", None)
    assert await prefect_flows.distribute_daily_quizzes() == {"sent": 0, "skipped": 0, "failed": 0}
    run = await latest_distribution()
    assert run.name.endswith("· 0 sent · paused")
    assert run.state
    assert "all bots are paused since" in str(run.state.message)
    assert str(run.state.message).endswith(": a wrong question is out")
    assert await questions(learner) == 0
    await repository.resume(ALL_BOTS)
    assert await prefect_flows.distribute_daily_quizzes() == {"sent": 1, "skipped": 0, "failed": 0}


async def test_a_dry_run_sends_nothing_and_leaves_the_day_open(service_with_prefect: Service) -> None:
    learner = await due_learner(service_with_prefect)
    assert await prefect_flows.distribute_daily_quizzes(dry_run=True) == {"sent": 0, "skipped": 1, "failed": 0}
    assert await questions(learner) == 0
    assert (await prefect_flows.distribute_daily_quizzes())["sent"] == 1


async def test_an_operator_can_serve_named_learners_before_their_hour_once_a_day(service_with_prefect: Service) -> None:
    learner = await service_with_prefect.new_learner()
    first = await prefect_flows.distribute_daily_quizzes(learner_ids=[learner.id], ignore_hour=True)
    second = await prefect_flows.distribute_daily_quizzes(learner_ids=[learner.id], ignore_hour=True)
    assert (first["sent"], second["skipped"]) == (1, 1)
    state = await service_with_prefect.runtime.repository.get_user_state(LearnerId(learner.id))
    assert state is not None


async def test_who_opted_out_or_blocked_the_bot_is_left_in_peace(service_with_prefect: Service) -> None:
    service = service_with_prefect
    opted_out, blocked = await due_learner(service), await due_learner(service)
    await opted_out.ask("/stop", "Daily quizzes are off")
    await service.telegram.post(f"/api/learners/{blocked.id}/block")
    await service.settled()
    await make_due(service, opted_out)
    assert await prefect_flows.distribute_daily_quizzes() == {"sent": 0, "skipped": 0, "failed": 0}


async def test_a_learner_whom_telegram_refuses_is_reported_with_the_reason(service_with_prefect: Service) -> None:
    service = service_with_prefect
    learner = await due_learner(service)
    fault = {"method": "sendMessage", "kind": "403", "count": 1}
    await service.telegram.post("/api/faults", json=fault)
    assert (await prefect_flows.distribute_daily_quizzes())["failed"] == 1
    state = await service.runtime.repository.get_user_state(LearnerId(learner.id))
    assert state is not None
    assert state.blocked


@pytest.mark.parametrize(
    "parameters", [{"learner_ids": []}, {"learner_ids": [-1]}, {"limit": 0}, {"learner_ids": ["x"]}]
)
async def test_wrong_parameters_are_refused_before_anything_is_sent(
    service_with_prefect: Service, parameters: dict[str, Any]
) -> None:
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError):
        await prefect_flows.distribute_daily_quizzes(**parameters)


async def test_a_task_whose_database_hiccups_is_tried_again(
    service_with_prefect: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = await due_learner(service_with_prefect)
    failures = [StorageUnavailableError("a hiccup")]
    really_prepare = delivery.prepare_quizzes

    async def prepare(*arguments: Any) -> delivery.Prepared:
        if failures:
            raise failures.pop()
        return await really_prepare(*arguments)

    monkeypatch.setattr(delivery, "prepare_quizzes", prepare)
    assert (await prefect_flows.distribute_daily_quizzes())["sent"] == 1
    assert await questions(learner) == 1


async def test_a_failure_stands_in_the_run_with_its_reason(
    service_with_prefect: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await due_learner(service_with_prefect)

    async def prepare(*_: Any) -> delivery.Prepared:
        raise StorageUnavailableError("the disk is full")

    monkeypatch.setattr(delivery, "prepare_quizzes", prepare)
    monkeypatch.setattr(prefect_flows.prepare, "retries", 0)
    ended = await prefect_flows.distribute_daily_quizzes(return_state=True)
    reason = "StorageUnavailableError: The database cannot be reached: the disk is full"
    assert (ended.name, ended.message) == ("Failed", f"1 of 1 failed, most of them with: {reason}")
    run = await latest_distribution()
    assert (run.state_name, run.state and run.state.message) == (ended.name, ended.message)
    [step] = await task_runs(await latest_distribution(), "prepare · 1 learner")
    assert step.state is not None
    assert step.state.name == "Failed"
    assert "The database cannot be reached: the disk is full" in (step.state.message or "")


async def test_the_next_cohort_is_prepared_while_one_is_sent_and_never_two_at_once(
    service_with_prefect: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohorts, "COHORT_SIZE", 1)
    learners = [await due_learner(service_with_prefect) for _ in range(4)]
    really_prepare, really_deliver = delivery.prepare_quizzes, delivery.deliver_quizzes
    begun, second_begun = 0, asyncio.Event()

    async def prepare(*arguments: Any) -> delivery.Prepared:
        nonlocal begun
        begun += 1
        number = begun
        if number == 2:
            second_begun.set()
        prepared = await really_prepare(*arguments)
        assert begun == number
        return prepared

    async def deliver(*arguments: Any, **options: Any) -> list[Delivery]:
        async with asyncio.timeout(WAIT_SECONDS):
            await second_begun.wait()
        return await really_deliver(*arguments, **options)

    monkeypatch.setattr(delivery, "prepare_quizzes", prepare)
    monkeypatch.setattr(delivery, "deliver_quizzes", deliver)
    assert await prefect_flows.distribute_daily_quizzes() == {"sent": 4, "skipped": 0, "failed": 0}
    assert [await questions(learner) for learner in learners] == [1, 1, 1, 1]


class CancelMidway:
    """Cancels the run under way once so many questions are sent, and holds the next one up until the run knows."""

    def __init__(self, messenger: Messenger, sent: int) -> None:
        self._send, self._left, self._is_cancelled = messenger.send_question, sent, False

    async def __call__(self, quiz: Quiz, priority: Priority) -> int:
        if self._left:
            self._left -= 1
            return await self._send(quiz, priority)
        if not self._is_cancelled:
            self._is_cancelled = True
            watch, run_id = prefect_flows._watch.get(), UUID(runtime.flow_run.id)  # noqa: SLF001 - which knows of it
            async with get_client() as client:
                await client.set_flow_run_state(run_id, states.Cancelling(), force=True)
            await until(lambda: watch.is_cancelled)
        raise TelegramUnavailableError("a gateway's page")


async def test_cancelling_stops_what_is_not_sent_also_what_the_worker_would_finish_and_leaves_the_table(
    service_with_prefect: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_with_prefect
    monkeypatch.setattr(delivery, "SENDERS", 1)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.05)
    learners = [await due_learner(service) for _ in range(5)]
    with monkeypatch.context() as patched:
        messenger = service.runtime.context.messenger
        patched.setattr(messenger, "send_question", CancelMidway(messenger, sent=2))
        ended = await prefect_flows.distribute_daily_quizzes(return_state=True)
    assert (ended.name, ended.message) == ("Cancelled", "2 sent, 3 skipped")
    assert (await latest_distribution()).state_name == "Cancelled"
    assert {row["outcome"]: (row["learners"], row["reason"]) for row in await table("daily-distribution")} == {
        "sent": (2, ""),
        "skipped": (3, "the run was cancelled"),
    }

    pool = service.runtime.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    await pool.execute("UPDATE quizzes SET touched_at = touched_at - interval '1 hour'")
    assert await maintenance.recover(service.runtime.context) == (0, 0, 0)
    assert sorted([await questions(learner) for learner in learners]) == [0, 0, 0, 1, 1]
    assert (await prefect_flows.distribute_daily_quizzes())["sent"] == 2  # Telegram may have taken the one in between
    assert sorted([await questions(learner) for learner in learners]) == [0, 1, 1, 1, 1]


async def test_a_run_in_which_more_than_the_share_failed_has_failed(service_with_prefect: Service) -> None:
    service = service_with_prefect
    learner = await due_learner(service)
    await service.telegram.post("/api/faults", json={"method": "sendMessage", "kind": "500", "count": 100})
    for run in (
        await prefect_flows.distribute_daily_quizzes(return_state=True),
        await prefect_flows.execute_user_quiz_flow([learner.id], return_state=True),
    ):
        assert run.is_failed()
        assert (run.message or "").startswith("1 of 1 failed, most of them with: Telegram did not answer")
    await service.telegram.delete("/api/faults")


async def table(key: str) -> list[dict[str, Any]]:
    """Return the latest table of a key."""
    named = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    async with get_client() as client:
        (latest, *_) = await client.read_artifacts(artifact_filter=named, sort=ArtifactSort.CREATED_DESC, limit=1)
    return list(json.loads(str(latest.data)))


async def test_a_distribution_whose_bar_cannot_be_shown_serves_everybody(
    service_with_prefect: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(progress, "acreate_progress_artifact", fail)
    learner = await due_learner(service_with_prefect)
    assert (await prefect_flows.distribute_daily_quizzes())["sent"] == 1
    assert await questions(learner) == 1


async def test_a_distribution_through_a_refused_bot_says_what_waits_and_nobody_loses_the_day(
    service_with_prefect: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.client.PROBE_SECONDS", 0.05)
    service = service_with_prefect
    learners = [await due_learner(service) for _ in range(3)]
    account = service.runtime.accounts.first
    await service.telegram.post("/api/faults", json={"kind": "401", "count": 10**6, "bot": account.id})
    reason = f"Telegram refuses a bot: {account.id} (Unauthorized) (will be sent when Telegram accepts the bot again)"
    ended = await prefect_flows.distribute_daily_quizzes(return_state=True)
    assert (ended.name, ended.message) == ("Failed", f"3 of 3 failed, most of them with: {reason}")
    (row,) = await table("daily-distribution")
    assert (row["outcome"], row["learners"], row["reason"]) == ("failed", 3, reason)
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    assert [row["state"] for row in await pool.fetch("SELECT state FROM quizzes")] == ["pending"] * 3
    await service.telegram.delete("/api/faults")
    async with asyncio.timeout(WAIT_SECONDS):
        while account.refusal:
            await asyncio.sleep(0.02)
    await pool.execute("UPDATE quizzes SET touched_at = touched_at - interval '5 minutes'")
    await maintenance.recover(service.runtime.context)
    assert [await questions(learner) for learner in learners] == [1, 1, 1]
    assert (await prefect_flows.distribute_daily_quizzes())["sent"] == 0
