"""What a distribution leaves in its row, however it ends."""

from __future__ import annotations

import asyncio

import pytest

from domain.ids import LearnerId
from domain.models import Delivery, FailureKind, Outcome
from domain.service_state import Distribution, DistributionCounts, DistributionState
from domain.settings import Settings
from quizzes.distributions import count_deliveries, find_failure, noted_distribution
from repository import Repository
from tests.support.classroom import Classroom
from tests.support.factories import BOT_ID


async def latest(repository: Repository) -> Distribution:
    """Return the distribution that began last."""
    found = (await repository.get_service_state([BOT_ID])).latest
    assert found
    return found


@pytest.fixture
def room(repository: Repository) -> Classroom:
    """Return the use cases on a database of their own."""
    return Classroom(repository, Settings(_env_file=None))


async def test_a_distribution_is_running_until_it_ends(room: Classroom) -> None:
    async with noted_distribution(room.context, 2) as ending:
        assert (await latest(room.repository)).state is DistributionState.RUNNING
        ending.deliveries = [Delivery(LearnerId(1), Outcome.SENT), Delivery(LearnerId(2), Outcome.SKIPPED)]
    ended = await latest(room.repository)
    assert (ended.state, ended.due, ended.reason) == (DistributionState.COMPLETED, 2, None)
    assert (ended.sent, ended.skipped, ended.failed) == (1, 1, 0)
    assert ended.ended_at


@pytest.mark.parametrize(("sent", "state"), [(18, DistributionState.FAILED), (19, DistributionState.COMPLETED)])
async def test_it_has_failed_when_more_than_a_twentieth_got_no_quiz(
    room: Classroom, sent: int, state: DistributionState
) -> None:
    blocked = [Delivery(LearnerId(99), Outcome.FAILED, "gone", failure=FailureKind.UNREACHABLE)] * 5
    failed = [Delivery(LearnerId(98), Outcome.FAILED, "Bad\nGateway")]
    async with noted_distribution(room.context, sent + 6) as ending:
        ending.deliveries = [Delivery(LearnerId(1), Outcome.SENT)] * sent + failed + blocked
    ended = await latest(room.repository)
    reason = None if state is DistributionState.COMPLETED else "1 of 19 failed, most of them with: Bad Gateway"
    assert (ended.state, ended.reason) == (state, reason)


async def test_one_through_a_refused_bot_has_failed_however_few_its_learners_are(room: Classroom) -> None:
    refused = Delivery(LearnerId(1), Outcome.FAILED, "Unauthorized", failure=FailureKind.REFUSED)
    async with noted_distribution(room.context, 100) as ending:
        ending.deliveries = [Delivery(LearnerId(2), Outcome.SENT)] * 99 + [refused]
    ended = await latest(room.repository)
    reason = "1 of 100 failed, most of them with: Unauthorized"
    assert (ended.state, ended.reason) == (DistributionState.FAILED, reason)


@pytest.mark.parametrize(("share", "has_failed"), [(0.0, True), (0.49, True), (0.5, False), (1.0, False)])
def test_the_share_that_may_fail_is_a_setting(share: float, has_failed: bool) -> None:  # noqa: FBT001
    deliveries = [Delivery(LearnerId(1), Outcome.SENT), Delivery(LearnerId(2), Outcome.FAILED, "no answer")]
    assert bool(find_failure(deliveries, share)) is has_failed


def test_nobody_failed_where_nobody_was_tried() -> None:
    assert find_failure([], 0.0) is None
    assert find_failure([Delivery(LearnerId(1), Outcome.SKIPPED)], 0.0) is None


async def test_only_one_that_has_been_silent_is_taken_for_crashed(room: Classroom) -> None:
    first = await room.repository.begin_distribution(1)
    await room.repository.begin_distribution(0)
    pool = room.repository.database._pool  # noqa: SLF001
    states = "SELECT state FROM distributions ORDER BY id"
    assert [row["state"] for row in await pool.fetch(states)] == ["running", "running"]
    await pool.execute("UPDATE distributions SET touched_at = now() - interval '2 minutes'")
    await room.repository.touch_distribution(first)
    await room.repository.begin_distribution(0)
    assert [row["state"] for row in await pool.fetch(states)] == ["running", "crashed", "running"]


async def test_an_operator_who_cancels_it_is_noted(room: Classroom) -> None:
    async with noted_distribution(room.context, 1) as ending:
        ending.was_cancelled = True
    assert (await latest(room.repository)).state is DistributionState.CANCELLED


async def test_an_error_is_noted_and_goes_on(room: Classroom) -> None:
    with pytest.raises(ZeroDivisionError):
        async with noted_distribution(room.context, 1):
            _ = 1 / 0
    ended = await latest(room.repository)
    assert (ended.state, ended.reason) == (DistributionState.FAILED, "ZeroDivisionError: division by zero")


async def test_a_cancelled_one_is_noted_as_cancelled(room: Classroom) -> None:
    begun = asyncio.Event()

    async def distribute() -> None:
        async with noted_distribution(room.context, 1):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(distribute())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await latest(room.repository)).state is DistributionState.CANCELLED


def test_whom_no_fault_of_the_service_kept_from_their_quiz_is_counted_apart() -> None:
    failed = [Delivery(LearnerId(1), Outcome.FAILED, failure=kind) for kind in FailureKind]
    others = [Delivery(LearnerId(8), Outcome.SENT), Delivery(LearnerId(9), Outcome.SKIPPED, "has it already")]
    assert count_deliveries(failed + others) == DistributionCounts(1, 1, 1, 1, 1)


async def test_a_signal_to_end_is_noted_and_goes_on(room: Classroom) -> None:
    async def distribute() -> None:
        async with noted_distribution(room.context, 2) as ending:
            ending.deliveries.append(Delivery(LearnerId(1), Outcome.SENT))
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        await distribute()
    ended = await latest(room.repository)
    assert (ended.state, ended.sent) == (DistributionState.CANCELLED, 1)
