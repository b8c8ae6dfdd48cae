"""Cohorts as runs of the work pool, with takers that work, die, dawdle or are not there at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.flow_engine import run_flow_async
from prefect.states import Cancelling, Completed, Crashed, Pending, Running
from pydantic import SecretStr

import prefect_flows
from domain.catalog import Level, Priority, QuizKind, QuizState, Topic
from domain.errors import StartupError
from domain.ids import LearnerId, QuizId
from domain.models import DailyResult, FailureKind, Outcome
from domain.service_state import DistributionCounts
from domain.settings import Settings
from flows import cohort_runs, progress
from flows.cohort_runs import count_runs, describe
from flows.work_pool import COHORT_QUEUE, DEFAULT_QUEUE, cohorts_each, register_deployments, workers_of
from local import servers
from quizzes import delivery as quiz_delivery
from quizzes.cohorts import count_cohorts
from tests.integration.test_daily import due_learner, questions
from tests.support.factories import BOT_ID, some_id
from tests.support.service import Learner, Service, running_service
from tests.support.waiting import WAIT_SECONDS

SECOND = 525252
"""A bot with few learners."""

DUE = 4
"""Two cohorts of two."""


@pytest.fixture
def cohort_pool() -> str | None:
    """Return the work pool that is set for cohorts."""
    return None


@pytest.fixture
async def service(
    settings: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch, cohort_pool: str | None
) -> AsyncIterator[Service]:
    """Yield a service whose distributions are shared by two Prefect workers, of which there are none yet."""
    shared: dict[str, object] = {
        "prefect_api_url": prefect_url,
        "prefect_work_pool": f"pool-{some_id()}",
        "prefect_cohort_pool": cohort_pool,
        "prefect_workers": 2,
        "min_cohort_size": 2,
        "telegram_bot_tokens": (SecretStr(f"{SECOND}:{'s' * 35}"),),
    }
    settings = settings.model_copy(update=shared)
    for name, seconds in {"POLL_SECONDS": 0.2, "COUNT_SECONDS": 0.2, "SILENT_SECONDS": WAIT_SECONDS}.items():
        monkeypatch.setattr(cohort_runs, name, seconds)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.2)
    if cohort_pool:
        async with get_client() as client:
            await client.create_work_pool(WorkPoolCreate(name=cohort_pool, type="process"))
    await register_deployments(settings)
    async with running_service(settings, servers.free_port()) as service:
        yield service
    for pool in filter(None, (settings.prefect_work_pool, cohort_pool)):
        await forget_deployments(pool)


async def forget_deployments(pool: str) -> None:
    """Delete a work pool and its deployments."""
    async with get_client() as client:
        for deployment in await client.read_deployments(work_pool_filter=named(pool)):
            await client.delete_deployment(deployment.id)
        await client.delete_work_pool(pool)


def named(pool: str) -> WorkPoolFilter:
    return WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))


async def runs_of(service: Service) -> list[FlowRun]:
    """Return the cohorts' runs, in the order in which they were made."""
    settings = service.runtime.settings
    async with get_client() as client:
        found = await client.read_flow_runs(
            work_pool_filter=named(settings.prefect_cohort_pool or settings.prefect_work_pool),
            sort=FlowRunSort.ID_DESC,
        )
    queue = DEFAULT_QUEUE if settings.prefect_cohort_pool else COHORT_QUEUE
    return sorted((run for run in found if run.work_queue_name == queue), key=lambda run: run.created or 0)


async def distribute(service: Service, *takers: Callable[[FlowRun], Awaitable[None]]) -> State[dict[str, int]]:
    """Distribute, let each run be taken by somebody as soon as all of them wait, and return the last state."""

    async def start() -> State[dict[str, int]]:
        return await prefect_flows.distribute_daily_quizzes(return_state=True)

    distribution = asyncio.create_task(start())
    async with asyncio.timeout(WAIT_SECONDS):
        while len(runs := await runs_of(service)) < DUE / 2:
            await asyncio.sleep(0.05)
        for run, take in zip(runs, takers, strict=False):
            await take(run)
        return await distribution


async def counts(service: Service) -> DistributionCounts:
    """Return what became of the learners of the latest distribution."""
    latest = (await service.runtime.repository.get_service_state([BOT_ID])).latest
    assert latest
    return DistributionCounts(*(getattr(latest, field.name) for field in fields(DistributionCounts)))


async def states(service: Service) -> list[str | None]:
    return [run.state_name for run in await runs_of(service)]


def learners_of(run: FlowRun) -> list[LearnerId]:
    return [LearnerId(learner_id) for learner_id in run.parameters["learner_ids"]]


async def work(run: FlowRun) -> None:
    """Take a run as its process does, and bring it to its end."""
    await run_flow_async(prefect_flows.execute_user_quiz_flow, flow_run=run, parameters=run.parameters)


async def die(run: FlowRun) -> None:
    """Take a run and lose power."""
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Running(), force=True)


# ---------------------------------------------------------------- takers


@pytest.mark.prefect
async def test_what_takers_did_is_read_from_the_rows(service: Service) -> None:
    learners = [await due_learner(service, BOT_ID) for _ in range(DUE)]
    await service.telegram.post("/api/faults", json={"method": "sendMessage", "kind": "403", "count": 1})
    assert (await distribute(service, work, work)).is_completed()  # who blocked the bot is nobody's fault
    assert await counts(service) == DistributionCounts(sent=3, unreachable=1)
    assert await states(service) == ["Completed", "Completed"]
    assert sorted([await questions(learner) for learner in learners]) == [0, 1, 1, 1]
    for run in await runs_of(service):
        assert run.parent_task_run_id
        assert run.name == "quiz · 2 learners"
        assert set(run.tags) == {"quiz", "daily"}


@pytest.mark.prefect
async def test_learners_of_a_run_that_died_unseen_are_served_all_the_same(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reports it: Prefect goes on to show it as running."""
    monkeypatch.setattr(cohort_runs, "SILENT_SECONDS", 2.0)
    learners = [await due_learner(service, BOT_ID) for _ in range(DUE)]
    await distribute(service, die)
    assert await counts(service) == DistributionCounts(sent=4)
    assert await states(service) == ["Crashed", "Cancelled"]  # the second one was never begun
    assert [await questions(learner) for learner in learners] == [1, 1, 1, 1]


@pytest.mark.prefect
async def test_what_a_run_did_before_it_crashed_is_not_done_again(service: Service) -> None:
    learners = [await due_learner(service, BOT_ID) for _ in range(DUE)]
    context = service.runtime.context

    async def crash_halfway(run: FlowRun) -> None:
        prepared = await quiz_delivery.prepare_quizzes(context, learners_of(run), QuizKind.DAILY)
        await quiz_delivery.deliver_quizzes(context, prepared.quiz_ids[:1], Priority.BROADCAST)
        async with get_client() as client:
            await client.set_flow_run_state(run.id, Crashed(), force=True)

    await distribute(service, crash_halfway, crash_halfway)
    assert await counts(service) == DistributionCounts(sent=4)
    assert await states(service) == ["Crashed", "Crashed"]
    assert [await questions(learner) for learner in learners] == [1, 1, 1, 1]


@pytest.mark.prefect
async def test_cancelling_the_distribution_stops_what_has_not_begun(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = [await due_learner(service, BOT_ID) for _ in range(DUE)]

    async def cancel(run: FlowRun) -> None:
        async with get_client() as client:
            assert run.parent_task_run_id
            parent = await client.read_task_run(run.parent_task_run_id)
            assert parent.flow_run_id
            await client.set_flow_run_state(parent.flow_run_id, Cancelling(), force=True)

    async def take_too_late(run: FlowRun) -> None:
        """A worker may have the run in its hands already when it is called off."""
        async with get_client() as client:
            await client.set_flow_run_state(run.id, Pending(), force=True)
        await run_flow_async(
            prefect_flows.execute_user_quiz_flow, flow_run=run, parameters=run.parameters, return_type="state"
        )

    cancelled = await distribute(service, cancel, take_too_late)
    assert (cancelled.name, cancelled.message) == ("Cancelled", "0 sent, 4 skipped")
    assert await states(service) == ["Cancelled", "Cancelled"]
    monkeypatch.setattr(cohort_runs, "SILENT_SECONDS", 2.0)  # nobody takes the next one's runs
    assert (await prefect_flows.distribute_daily_quizzes())["sent"] == 4
    assert [await questions(learner) for learner in learners] == [1, 1, 1, 1]


@pytest.mark.prefect
async def test_the_bar_moves_with_the_rows(service: Service) -> None:
    for _ in range(DUE):
        await due_learner(service, BOT_ID)

    async def look(run: FlowRun) -> None:
        """Wait until the other run's half is seen, then end this one as if there were no questions."""
        while await bar() != 50.0:
            await asyncio.sleep(0.1)
        async with get_client() as client:
            await client.set_flow_run_state(run.id, Completed(), force=True)

    failed = await distribute(service, work, look)
    assert (failed.name, failed.message) == (
        "Failed",
        "2 of 4 failed, most of them with: no question for their level and topics",
    )
    assert await bar() == 100.0


async def bar() -> float | None:
    """Return where the latest progress bar stands."""
    latest = ArtifactFilter(key=ArtifactFilterKey(any_=["daily-progress"]))
    async with get_client() as client:
        [artifact] = await client.read_artifacts(artifact_filter=latest, sort=ArtifactSort.CREATED_DESC, limit=1)
    return float(str(artifact.data))


@pytest.mark.prefect
async def test_a_bot_with_few_learners_waits_for_no_worker(service: Service) -> None:
    stranger = await due_learner(service, SECOND)
    for _ in range(DUE):
        await due_learner(service, BOT_ID)
    distribution = asyncio.create_task(prefect_flows.distribute_daily_quizzes())
    async with asyncio.timeout(WAIT_SECONDS):
        while not await questions(stranger):
            await asyncio.sleep(0.05)
        while not (runs := await runs_of(service)):
            await asyncio.sleep(0.05)
        await work(runs[0])
        assert await distribution == {"sent": 5, "skipped": 0, "failed": 0}
    assert [len(learners_of(run)) for run in await runs_of(service)] == [4]


@pytest.mark.prefect
async def test_without_a_deployment_the_distribution_serves_everybody_itself(service: Service) -> None:
    for _ in range(DUE):
        await due_learner(service, BOT_ID)
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(cohort_runs.DEPLOYMENT.format("quiz"))
        await client.delete_deployment(deployment.id)
    assert (await prefect_flows.distribute_daily_quizzes())["sent"] == 4


@pytest.mark.prefect
@pytest.mark.parametrize("cohort_pool", ["jobs"])
async def test_cohorts_go_to_the_pool_that_is_set_for_them(service: Service) -> None:
    for _ in range(DUE):
        await due_learner(service, BOT_ID)
    assert (await distribute(service, work, work)).is_completed()
    assert await states(service) == ["Completed", "Completed"]
    assert await counts(service) == DistributionCounts(sent=4)


@pytest.mark.prefect
async def test_a_pool_for_cohorts_that_is_not_there_is_named(prefect_url: str, settings: Settings) -> None:
    settings = settings.model_copy(update={"prefect_work_pool": f"pool-{some_id()}", "prefect_cohort_pool": "nowhere"})
    with pytest.raises(StartupError, match="PREFECT_COHORT_POOL: the Prefect server has no work pool nowhere"):
        await register_deployments(settings)


@pytest.mark.prefect
async def test_a_run_that_begins_late_serves_nobody_before_their_hour(service: Service) -> None:
    """The next distribution has served them meanwhile, and midnight has passed."""
    waiting, served = await due_learner(service, BOT_ID), await service.new_learner(bot_id=BOT_ID)
    at = datetime.now(UTC)
    ids = [waiting.id, served.id]
    deliveries = await prefect_flows.execute_user_quiz_flow(ids, QuizKind.DAILY, at)
    outcomes = {delivery.learner_id: (delivery.outcome, delivery.reason) for delivery in deliveries}
    assert outcomes == {waiting.id: (Outcome.SENT, ""), served.id: (Outcome.SKIPPED, "is not due any more")}
    assert await questions(served) == 0


@pytest.mark.prefect
async def test_before_their_hour_learners_are_served_by_the_distribution_itself(service: Service) -> None:
    learners: list[Learner] = [await service.new_learner(bot_id=BOT_ID) for _ in range(DUE)]
    ids = [learner.id for learner in learners]
    assert (await prefect_flows.distribute_daily_quizzes(learner_ids=ids, ignore_hour=True))["sent"] == 4
    assert await runs_of(service) == []


@pytest.mark.prefect
async def test_workers_that_start_at_once_register_each_schedule_once(prefect_url: str, settings: Settings) -> None:
    pool = f"pool-{some_id()}"
    settings = settings.model_copy(update={"prefect_work_pool": pool})
    for _ in range(2):  # the first time they make everything, the second time they change it
        await asyncio.gather(*(register_deployments(settings) for _ in range(3)))
        async with get_client() as client:
            found = await client.read_deployments(work_pool_filter=named(pool))
        counts = {deployment.name: len(deployment.schedules) for deployment in found}
        assert counts == {"daily": 1, "quiz": 0, "hourly": 1, "weekly": 1, "announce": 0, "refill": 0, "backup": 0}
    await forget_deployments(pool)


# ---------------------------------------------------------------- without a server


@pytest.mark.parametrize(
    ("learners", "workers", "runs"),
    [
        (100_000, 1, 1),  # one worker: all in the distribution's own process
        (599, 3, 1),  # too few for two
        (600, 3, 2),
        (899, 3, 2),
        (900, 3, 3),
        (10_000, 3, 3),
        (10_000, 50, 33),
        (90_000, 3, 6),  # not too many ids for one
        (0, 3, 1),
    ],
)
def test_a_distribution_is_worth_a_run_for_each_worker_if_there_is_enough_to_do(
    learners: int, workers: int, runs: int
) -> None:
    settings = Settings(_env_file=None, prefect_workers=workers, min_cohort_size=300)
    assert count_runs(learners, settings) == runs


@pytest.mark.parametrize(
    ("learners", "at_most", "count"),
    [(0, 50, 0), (1, 50, 1), (200, 50, 1), (201, 50, 2), (10_000, 50, 50), (100_000, 50, 50), (10_000, 5, 5)],
)
def test_there_are_no_more_cohorts_than_keep_the_ui_readable(learners: int, at_most: int, count: int) -> None:
    assert count_cohorts(learners, at_most) == count


def test_runs_stay_below_what_keeps_the_ui_readable() -> None:
    settings = Settings(_env_file=None, prefect_workers=20, max_flow_runs_per_distribution=4)
    assert count_runs(70_000, settings) == 5  # four would be too large
    assert count_runs(50_000, settings) == 4


def test_one_worker_takes_everything_and_of_several_each_takes_one_cohort_at_a_time() -> None:
    [alone] = workers_of(Settings(_env_file=None))
    assert (alone._limit, alone._work_queues) == (None, set())  # noqa: SLF001 - what Prefect goes by
    others, cohorts = workers_of(Settings(_env_file=None, prefect_workers=3))
    assert (others._limit, others._work_queues) == (None, {"default"})  # noqa: SLF001
    assert (cohorts._limit, cohorts._work_queues) == (1, {COHORT_QUEUE})  # noqa: SLF001
    assert len({alone.name, others.name, cohorts.name}) == 3


def test_with_more_bots_than_workers_a_worker_takes_as_many_cohorts_as_let_every_bot_send() -> None:
    tokens = [SecretStr(f"{number}:{'t' * 35}") for number in range(1, 6)]
    settings = Settings(_env_file=None, telegram_bot_token=tokens[0], telegram_bot_tokens=tokens[1:], prefect_workers=2)
    assert cohorts_each(settings) == 3
    assert workers_of(settings)[1]._limit == 3  # noqa: SLF001 - what Prefect goes by
    assert cohorts_each(settings.model_copy(update={"prefect_workers": 5})) == 1


def result(**fields: object) -> DailyResult:
    """Return what the rows say of a learner who is still due, unless told otherwise."""
    values: dict[str, object] = {
        "learner_id": LearnerId(1),
        "is_known": True,
        "is_blocked": False,
        "is_enabled": True,
        "is_due": True,
        "is_paused": False,
        "quiz_id": None,
        "state": None,
        "failure": None,
        "attempts": None,
        "topic": None,
        "level": None,
    }
    return DailyResult(**(values | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"is_known": False, "is_enabled": False, "is_due": False}, "not registered"),
        ({"is_blocked": True}, "blocked the bot"),
        ({"is_enabled": False}, "opted out of daily quizzes"),
        ({"is_due": False}, "had today's quiz already"),
    ],
)
def test_a_learner_without_a_quiz_is_passed_over_for_a_reason(fields: dict[str, object], reason: str) -> None:
    delivery = describe(result(**fields))
    assert delivery
    assert (delivery.outcome, delivery.reason) == (Outcome.SKIPPED, reason)


@pytest.mark.parametrize(
    ("state", "failure", "outcome", "reason"),
    [
        (QuizState.SENT, None, Outcome.SENT, ""),
        (QuizState.ANSWERED, None, Outcome.SENT, ""),
        (QuizState.GRADED, None, Outcome.SENT, ""),
        (QuizState.FAILED, "Telegram refused", Outcome.FAILED, "Telegram refused"),
        (QuizState.PENDING, "no answer", Outcome.FAILED, "no answer (will be tried again)"),
        (QuizState.SENDING, None, Outcome.FAILED, "cut off while it was sent (will be tried again)"),
    ],
)
def test_a_quizs_state_says_what_became_of_it(
    state: QuizState, failure: str | None, outcome: Outcome, reason: str
) -> None:
    made = {"quiz_id": QuizId(7), "topic": Topic.STREAMING, "level": Level.EXPERT, "is_due": False, "attempts": 1}
    delivery = describe(result(state=state, failure=failure, **made))
    assert delivery
    assert (delivery.outcome, delivery.reason, delivery.quiz_id) == (outcome, reason, QuizId(7))


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ({"state": QuizState.FAILED, "attempts": 1, "is_blocked": True}, FailureKind.UNREACHABLE),
        ({"state": QuizState.FAILED, "attempts": 1}, FailureKind.FAILED),
        ({"state": QuizState.PENDING, "attempts": 1}, FailureKind.FAILED),
        ({"state": QuizState.PENDING, "attempts": 0}, FailureKind.REFUSED),
    ],
)
def test_the_row_says_whose_fault_a_failure_is(found: dict[str, object], kind: FailureKind) -> None:
    delivery = describe(result(quiz_id=QuizId(7), failure="for a reason", **found))
    assert delivery
    assert delivery.failure is kind


def test_a_quiz_that_is_not_made_or_not_sent_is_left_to_do() -> None:
    assert describe(result()) is None
    assert describe(result(quiz_id=QuizId(7), state=QuizState.PENDING)) is None


@pytest.mark.parametrize("quiz_id", [None, 7])
def test_whoever_waits_for_the_end_of_a_pause_is_no_failure(quiz_id: int | None) -> None:
    waiting = result(is_paused=True, quiz_id=quiz_id, state=QuizState.PENDING if quiz_id else None)
    left = cohort_runs._unserved(waiting, was_cancelled=False)  # noqa: SLF001 - what a run that ended as it should has left
    assert (left.outcome, left.reason, left.quiz_id) == (Outcome.SKIPPED, "quizzes are paused", quiz_id)
