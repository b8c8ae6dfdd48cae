"""Finishing what was left: by one of several workers, and ever later if Telegram stays unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from domain.catalog import Priority, QuizKind, QuizState
from domain.errors import BotRefusedError
from domain.ids import BotId, QuizId
from domain.models import Delivery, Learner, Outcome, SentQuestion, StaleMessage
from domain.settings import Settings
from quizzes import cohorts, grading, maintenance, stale_messages
from quizzes import delivery as quiz_delivery
from quizzes.context import QuizContext
from repository import Repository
from tests.support.classroom import Classroom
from tests.support.factories import BOT_ID

pytestmark = pytest.mark.pooler

_LONG_AGO = """
UPDATE quizzes SET created_at = created_at - $2::interval, touched_at = touched_at - $2::interval,
                   expires_at = expires_at - $2::interval, local_day = (local_day - $2::interval)::date
WHERE id = $1
"""
_DUE = "UPDATE learners SET next_daily_at = now() - interval '1 minute' WHERE id = $1"
FOR_EVER_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_AGE = "UPDATE quizzes SET attempts = $2, touched_at = now() - $3::interval WHERE id = $1"


@pytest.fixture
def classroom(repository: Repository) -> Classroom:
    """Return a classroom with a database of its own, since recovery looks at everybody's quizzes."""
    return Classroom(repository, Settings(_env_file=None))


async def unsent_quiz(classroom: Classroom) -> QuizId:
    """Return a quiz that is made and that nobody has sent."""
    learner = await classroom.join()
    prepared = await quiz_delivery.prepare_quizzes(classroom.context, [learner.id], QuizKind.DAILY)
    return prepared.quiz_ids[0]


async def age(classroom: Classroom, quiz_id: QuizId, by: timedelta, attempts: int = 0) -> None:
    """Let some time go by since a quiz was touched."""
    await classroom.repository.database._pool.execute(_AGE, quiz_id, attempts, by)  # noqa: SLF001


@pytest.mark.parametrize(("attempts", "minutes"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 16), (40, 16)])
async def test_a_quiz_that_does_not_get_through_is_tried_ever_later(
    classroom: Classroom, attempts: int, minutes: int
) -> None:
    quiz_id = await unsent_quiz(classroom)
    for seconds, found in ((-5, []), (5, [quiz_id])):
        await age(classroom, quiz_id, timedelta(minutes=minutes, seconds=seconds), attempts)
        stalled = await classroom.repository.find_stalled_quizzes(maintenance.STALLED_AFTER, 10)
        assert [one for one, _ in stalled] == found


async def test_a_step_of_grading_that_is_tried_again_does_only_what_is_undone(classroom: Classroom) -> None:
    learners = [await classroom.join() for _ in range(2)]
    asked = [await classroom.ask(learner) for learner in learners]
    assert all([await classroom.tap(quiz, right=True) for quiz in asked])
    quizzes = await grading.validate_answers(classroom.context, [quiz.id for quiz in asked])
    await grading.persist_answers(classroom.context, await grading.adapt_difficulty(classroom.context, quizzes[:1]))
    pending_grades = await grading.adapt_difficulty(classroom.context, quizzes)  # as they were read before
    kept = await grading.persist_answers(classroom.context, pending_grades)
    assert [grade.quiz_id for grade in kept] == [quizzes[1].id]
    assert len(await grading.give_feedback(classroom.context, quizzes)) == 2
    assert [(await classroom.state_of(learner)).version for learner in learners] == [1, 1]


async def test_of_several_workers_who_find_a_stalled_quiz_one_sends_it(classroom: Classroom) -> None:
    quiz_ids = [await unsent_quiz(classroom) for _ in range(20)]
    for quiz_id in quiz_ids:
        await age(classroom, quiz_id, timedelta(minutes=5))
    await asyncio.gather(*(maintenance.recover(classroom.context) for _ in range(4)))
    assert sorted(quiz.id for quiz, _ in classroom.messenger.questions) == quiz_ids


async def test_a_stalled_quiz_whose_sender_finished_meanwhile_is_not_sent_again(classroom: Classroom) -> None:
    quiz_id = await unsent_quiz(classroom)
    await classroom.repository.begin_sending([quiz_id])
    await classroom.repository.mark_sent([SentQuestion(quiz_id, 7, BOT_ID)])
    await age(classroom, quiz_id, timedelta(minutes=5), attempts=1)
    assert not await classroom.repository.begin_sending([quiz_id], stalled_for=maintenance.STALLED_AFTER)


# ---------------------------------------------------------------- a bot that is refused


async def test_a_bot_that_is_known_to_be_refused_is_asked_nothing_and_its_quizzes_stay(classroom: Classroom) -> None:
    quiz_ids = [await unsent_quiz(classroom) for _ in range(5)]
    classroom.messenger.refusals[BOT_ID] = "Unauthorized"
    deliveries = await quiz_delivery.deliver_quizzes(classroom.context, quiz_ids, Priority.BROADCAST)
    reason = f"Telegram refuses a bot: {BOT_ID} (Unauthorized) (will be sent when Telegram accepts the bot again)"
    assert {(delivery.outcome, delivery.reason) for delivery in deliveries} == {(Outcome.FAILED, reason)}
    quizzes = await classroom.repository.get_quizzes(quiz_ids)
    assert {(quiz.state, quiz.attempts) for quiz in quizzes} == {(QuizState.PENDING, 0)}
    results = await classroom.repository.list_daily_results([quiz.learner_id for quiz in quizzes], FOR_EVER_AGO)
    assert {result.failure for result in results} == {f"Telegram refuses a bot: {BOT_ID} (Unauthorized)"}


async def test_a_quiz_whose_sending_met_a_refused_bot_waits_as_if_it_had_not_begun(classroom: Classroom) -> None:
    quiz_id = await unsent_quiz(classroom)
    (quiz,) = await classroom.repository.get_quizzes([quiz_id])
    classroom.messenger.failures[quiz.learner_id] = [BotRefusedError(BOT_ID, "Unauthorized")] * 9
    for _ in range(9):
        await quiz_delivery.deliver_quizzes(classroom.context, [quiz_id], Priority.BROADCAST)
    await age(classroom, quiz_id, timedelta(seconds=65))
    assert await maintenance.recover(classroom.context) == (1, 0, 0)


OTHER, DEPARTED = BotId(7), BotId(8)


def context_of_two_bots(classroom: Classroom) -> QuizContext:
    """Return the context of a service that has another bot as well."""
    tokens = tuple(SecretStr(f"{bot_id}:{'T' * 35}") for bot_id in (BOT_ID, OTHER))
    settings = classroom.context.settings.model_copy(update={"telegram_bot_tokens": tokens})
    return replace(classroom.context, settings=settings)


async def test_what_waits_for_a_refused_bot_stands_in_nobodys_way(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "RECOVERED_AT_ONCE", 2)
    context = context_of_two_bots(classroom)
    waiting = [await unsent_quiz(classroom) for _ in range(5)]
    served = [await unsent_quiz(classroom) for _ in range(5)]
    for quiz in await classroom.repository.get_quizzes(served):
        await classroom.repository.move_learner(quiz.learner_id, OTHER)
    for quiz_id in [*waiting, *served]:
        await age(classroom, quiz_id, timedelta(minutes=5))
    classroom.messenger.refusals[BOT_ID] = "Unauthorized"
    assert [(await maintenance.recover(context))[0] for _ in range(4)] == [2, 2, 1, 0]
    assert sorted(quiz.id for quiz, _ in classroom.messenger.questions) == served
    del classroom.messenger.refusals[BOT_ID]
    assert [(await maintenance.recover(context))[0] for _ in range(4)] == [2, 2, 1, 0]


# ---------------------------------------------------------------- stale messages

_STALE = """
INSERT INTO stale_messages (learner_id, bot_id, message_id, reason, since)
SELECT $1, $2, number, 'moved', now() - $4::interval FROM unnest($3::bigint[]) AS given (number)
"""


async def leave_stale(
    classroom: Classroom, message_ids: Sequence[int], bot_id: BotId = BOT_ID, since: timedelta = timedelta()
) -> None:
    """Leave messages of a bot behind that are to be closed."""
    learner = await classroom.join()
    await classroom.repository.database._pool.execute(_STALE, learner.id, bot_id, message_ids, since)  # noqa: SLF001


async def test_stale_messages_of_bots_that_are_refused_or_gone_stand_in_nobodys_way(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_messages, "CLOSED_AT_ONCE", 2)
    classroom.messenger.refusals[BOT_ID] = "Unauthorized"
    await leave_stale(classroom, [1, 2], BOT_ID, timedelta(hours=2))
    await leave_stale(classroom, [3, 4], DEPARTED, timedelta(hours=1))
    await leave_stale(classroom, [5], OTHER)
    await stale_messages.close_messages(context_of_two_bots(classroom))
    assert [one.message_id for one in classroom.messenger.closed] == [5]


async def test_a_message_that_one_worker_is_closing_is_closed_by_no_other(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = classroom.messenger.close_message

    async def closing(message: StaleMessage) -> None:
        monkeypatch.setattr(classroom.messenger, "close_message", close)
        await stale_messages.close_messages(classroom.context)  # another worker's recovery
        await close(message)

    monkeypatch.setattr(classroom.messenger, "close_message", closing)
    await leave_stale(classroom, [1])
    await stale_messages.close_messages(classroom.context)
    assert [one.message_id for one in classroom.messenger.closed] == [1]


async def test_a_message_that_could_not_be_closed_for_a_week_is_given_up(classroom: Classroom) -> None:
    await leave_stale(classroom, [1], since=timedelta(days=6))
    await leave_stale(classroom, [2], since=timedelta(days=8))
    await maintenance.run_upkeep(classroom.context)
    await stale_messages.close_messages(classroom.context)
    assert [one.message_id for one in classroom.messenger.closed] == [1]


# ---------------------------------------------------------------- the time to answer begins when it is sent


async def let_days_go_by(classroom: Classroom, quiz_id: QuizId, days: int) -> Learner:
    """Make a daily quiz some days older, let the next one be due by now, and return the learner."""
    pool = classroom.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    await pool.execute(_LONG_AGO, quiz_id, timedelta(days=days))
    (quiz,) = await classroom.repository.get_quizzes([quiz_id])
    await pool.execute(_DUE, quiz.learner_id)
    learner = await classroom.repository.get_user_state(quiz.learner_id)
    assert learner
    return learner


async def distribute(classroom: Classroom, learner: Learner, *, ignore_hour: bool = False) -> list[Delivery]:
    """Distribute the daily quiz, as the flow does."""
    at = datetime.max.replace(tzinfo=UTC) if ignore_hour else datetime.now(UTC)
    due = await cohorts.find_due_learners(classroom.context, at, [learner.id])
    return await quiz_delivery.serve_quizzes(classroom.context, due, QuizKind.DAILY)


@pytest.mark.parametrize("is_recovered", [True, False], ids=["by the recovery", "by the distribution"])
async def test_a_quiz_that_waited_for_days_is_sent_and_can_be_answered_as_long_as_any(
    classroom: Classroom, *, is_recovered: bool
) -> None:
    quiz_id = await unsent_quiz(classroom)
    learner = await let_days_go_by(classroom, quiz_id, 5)
    assert await classroom.repository.expire_quizzes() == 0
    prepared = await quiz_delivery.prepare_quizzes(classroom.context, [learner.id], QuizKind.DAILY)
    assert prepared.quiz_ids == [quiz_id]  # it serves instead of a new one
    if is_recovered:
        assert (await maintenance.recover(classroom.context))[0] == 1
    else:
        assert [delivery.outcome for delivery in await distribute(classroom, learner)] == [Outcome.SENT]
    assert await classroom.repository.expire_quizzes() == 0
    pool = classroom.repository.database._pool  # noqa: SLF001
    left = await pool.fetchval("SELECT expires_at - now() FROM quizzes WHERE id = $1", quiz_id)
    hours = classroom.context.settings.quiz_expires_after_hours
    assert left == pytest.approx(timedelta(hours=hours), abs=timedelta(minutes=1))
    assert await distribute(classroom, learner) == []  # it was today's: nobody gets two on one local day
    (delivery,) = await distribute(classroom, learner, ignore_hour=True)
    assert delivery.reason == quiz_delivery.HAD_ALREADY
    assert len(classroom.messenger.questions) == 1
    (quiz,) = await classroom.repository.get_quizzes([quiz_id])
    assert await classroom.tap(quiz, right=True)


async def test_a_daily_quiz_whose_sender_died_serves_instead_of_the_next_days(classroom: Classroom) -> None:
    quiz_id = await unsent_quiz(classroom)
    await classroom.repository.begin_sending([quiz_id])
    learner = await let_days_go_by(classroom, quiz_id, 1)
    (delivery,) = await distribute(classroom, learner)
    assert (delivery.outcome, delivery.quiz_id) == (Outcome.SKIPPED, quiz_id)
    assert (await maintenance.recover(classroom.context))[0] == 1
    assert await distribute(classroom, learner) == []


async def test_a_quiz_whose_sending_only_passes_midnight_takes_no_other_days_place(classroom: Classroom) -> None:
    quiz_id = await unsent_quiz(classroom)
    pool = classroom.repository.database._pool  # noqa: SLF001
    await pool.execute("UPDATE quizzes SET local_day = local_day - 1 WHERE id = $1", quiz_id)
    (quiz,) = await classroom.repository.get_quizzes([quiz_id])
    await pool.execute(_DUE, quiz.learner_id)
    await quiz_delivery.deliver_quizzes(classroom.context, [quiz_id], Priority.BROADCAST)
    assert await cohorts.find_due_learners(classroom.context, datetime.now(UTC), [quiz.learner_id])


async def test_showing_a_quiz_again_gives_no_more_time_to_answer_it(classroom: Classroom) -> None:
    quiz = await classroom.ask(await classroom.join())
    pool = classroom.repository.database._pool  # noqa: SLF001
    await pool.execute("UPDATE quizzes SET expires_at = now() + interval '1 hour' WHERE id = $1", quiz.id)
    await quiz_delivery.deliver_quizzes(classroom.context, [quiz.id], Priority.INTERACTIVE, again=True)
    left = await pool.fetchval("SELECT expires_at - now() FROM quizzes WHERE id = $1", quiz.id)
    assert left < timedelta(hours=1)


# ---------------------------------------------------------------- what is not sent any more


@pytest.mark.parametrize("kind", [QuizKind.DAILY, QuizKind.ON_DEMAND])
async def test_a_quiz_that_could_not_be_sent_for_a_week_is_closed(classroom: Classroom, kind: QuizKind) -> None:
    learner = await classroom.join()
    (quiz_id,) = (await quiz_delivery.prepare_quizzes(classroom.context, [learner.id], kind)).quiz_ids
    await let_days_go_by(classroom, quiz_id, 6)
    assert await classroom.repository.expire_quizzes() == 0
    assert await maintenance.find_stalled(classroom.context) == [quiz_id]
    await let_days_go_by(classroom, quiz_id, 1)
    assert await maintenance.find_stalled(classroom.context) == []
    assert await classroom.repository.expire_quizzes() == 1
    assert (await classroom.quiz(quiz_id)).state is QuizState.EXPIRED


@pytest.mark.parametrize("is_blocked", [True, False])
async def test_a_daily_quiz_that_waits_is_called_off_by_who_wants_none_any_more(
    classroom: Classroom, *, is_blocked: bool
) -> None:
    quiz_id, other = await unsent_quiz(classroom), await unsent_quiz(classroom)
    learner_id = (await classroom.quiz(quiz_id)).learner_id
    await age(classroom, quiz_id, timedelta(minutes=5))
    await age(classroom, other, timedelta(minutes=5))
    for is_off in (True, False):  # and does not come when they are back
        if is_blocked:
            await classroom.repository.set_blocked(learner_id, BOT_ID, blocked=is_off)
        else:
            await classroom.repository.set_daily_enabled(learner_id, enabled=not is_off)
        await maintenance.recover(classroom.context)
        assert [quiz.id for quiz, _ in classroom.messenger.questions] == [other]
    assert (await classroom.quiz(quiz_id)).state is QuizState.FAILED


# ---------------------------------------------------------------- many that wait


async def test_what_a_crash_left_is_sent_a_batch_at_a_time_and_keeps_nothing_else_waiting(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "RECOVERED_AT_ONCE", 2)
    for quiz_id in [await unsent_quiz(classroom) for _ in range(5)]:
        await age(classroom, quiz_id, timedelta(minutes=5))
    assert (await maintenance.run_upkeep(classroom.context)).sent_again == 2
    assert len(classroom.messenger.questions) == 2


async def test_bots_are_chosen_among_only_while_one_of_them_cannot_send(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    find = classroom.repository.find_stalled_quizzes

    async def spied(older_than: timedelta, limit: int, bot_ids: object = None) -> object:
        asked.append(bot_ids)
        return await find(older_than, limit, bot_ids)  # type: ignore[arg-type]

    monkeypatch.setattr(classroom.repository, "find_stalled_quizzes", spied)
    context = context_of_two_bots(classroom)
    await age(classroom, await unsent_quiz(classroom), timedelta(minutes=5))
    for refused, looks in (((), [None]), ((BOT_ID,), [None, [OTHER]]), ((BOT_ID, OTHER), [])):
        classroom.messenger.refusals = dict.fromkeys(refused, "Unauthorized")
        asked.clear()
        await maintenance.find_stalled(context)
        assert asked == looks
