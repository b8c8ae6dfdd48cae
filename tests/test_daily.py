"""The daily distribution on a real Prefect server: who gets a quiz, how often, and what operators see of it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.sorting import FlowRunSort

import prefect_flows
import quiz_session
from domain.errors import StorageUnavailableError
from domain.ids import LearnerId
from tests.support import Learner, Service, is_question

pytestmark = pytest.mark.prefect


async def due_learner(service: Service, bot_id: int | None = None) -> Learner:
    """Return a learner whose hour has just come."""
    learner = await service.new_learner(bot_id=bot_id)
    moment = datetime.now(UTC) - timedelta(minutes=1)
    await service.wiring.repository.set_daily_at(LearnerId(learner.id), time(moment.hour, moment.minute))
    await make_due(service, learner)
    return learner


async def make_due(service: Service, learner: Learner) -> None:
    """Move a learner's next daily quiz to a minute ago, as if the time had passed."""
    pool = service.wiring.repository.database._pool  # noqa: SLF001 - time cannot be sped up
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


async def test_an_operator_reads_the_run_by_its_name_and_its_tables(service_with_prefect: Service) -> None:
    learners = [await due_learner(service_with_prefect) for _ in range(2)]
    await prefect_flows.distribute_daily_quizzes()
    async with get_client() as client:
        named = FlowRunFilter(name=FlowRunFilterName(like_="· 2 learners"))
        runs = await client.read_flow_runs(
            flow_run_filter=named,
            sort=FlowRunSort.START_TIME_DESC,
        )
        assert any(run.name.startswith(f"daily {datetime.now(UTC):%Y-%m-%d}") for run in runs)
        own = FlowRunFilter(name=FlowRunFilterName(any_=[f"quiz {learner.id}" for learner in learners]))
        cohorts = await client.read_flow_runs(flow_run_filter=own)
        assert [run.state_name for run in cohorts] == ["Completed", "Completed"]
        assert all(run.parent_task_run_id and run.tags == ["daily"] for run in cohorts)
        for key in ("daily-distribution", "daily-progress"):
            found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
            assert found
    assert any('"learners": 2' in str(artifact.data) or artifact.data == 100.0 for artifact in found)


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
    state = await service_with_prefect.wiring.repository.get_user_state(LearnerId(learner.id))
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
    state = await service.wiring.repository.get_user_state(LearnerId(learner.id))
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
    really_prepare = quiz_session.prepare_quizzes

    async def prepare(*arguments: Any) -> quiz_session.Prepared:
        if failures:
            raise failures.pop()
        return await really_prepare(*arguments)

    monkeypatch.setattr(quiz_session, "prepare_quizzes", prepare)
    assert (await prefect_flows.distribute_daily_quizzes())["sent"] == 1
    assert await questions(learner) == 1


async def test_a_failure_stands_in_the_run_with_its_reason(
    service_with_prefect: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = await due_learner(service_with_prefect)

    async def prepare(*_: Any) -> quiz_session.Prepared:
        raise StorageUnavailableError("the disk is full")

    monkeypatch.setattr(quiz_session, "prepare_quizzes", prepare)
    monkeypatch.setattr(prefect_flows.prepare, "retries", 0)
    assert (await prefect_flows.distribute_daily_quizzes())["failed"] == 1
    async with get_client() as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=[f"quiz {learner.id}"]))
        [run] = await client.read_flow_runs(flow_run_filter=named)
    assert run.state is not None
    assert run.state.name == "Failed"
    assert "The database cannot be reached: the disk is full" in (run.state.message or "")
