"""A sender that dies, is cancelled or loses the database in the middle: what is in doubt, and that nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from domain.catalog import Priority, QuizKind, QuizState
from domain.errors import StorageUnavailableError
from domain.ids import QuizId
from domain.models import NewQuiz, Outcome, Quiz, SentQuestion
from domain.settings import Settings
from question_sources.stored import BANK
from quizzes import delivery as quiz_delivery
from quizzes import maintenance, sending
from repository import Repository
from tests.support.classroom import Classroom
from tests.support.factories import BOT_ID

pytestmark = pytest.mark.pooler

QUIZZES = 12
SENDERS = 3
STATEMENTS = ("begin_sending", "mark_sent", "return_quizzes", "mark_send_failed", "set_blocked")
_STEPS = range(1, 40, 2)
"""Beyond the last one a sender ends undisturbed."""

_AGE = "UPDATE quizzes SET touched_at = touched_at - interval '5 minutes' WHERE id = ANY($1)"


@pytest.fixture
def classroom(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Classroom:
    """Return a classroom with a database of its own, with few senders and short chunks."""
    monkeypatch.setattr(quiz_delivery, "SENDERS", SENDERS)
    monkeypatch.setattr(sending, "BEGUN_AT_ONCE", SENDERS + 1)
    return Classroom(repository, Settings(_env_file=None))


async def prepare(classroom: Classroom, count: int = QUIZZES) -> list[QuizId]:
    """Return quizzes that wait to be sent, in the order in which they will be."""
    learner_ids = [(await classroom.join()).id for _ in range(count)]
    prepared = await quiz_delivery.prepare_quizzes(classroom.context, learner_ids, QuizKind.DAILY)
    return sorted(prepared.quiz_ids)


async def deliver(classroom: Classroom, quiz_ids: list[QuizId]) -> None:
    await quiz_delivery.deliver_quizzes(classroom.context, quiz_ids, Priority.BROADCAST)


async def states(classroom: Classroom, quiz_ids: list[QuizId]) -> dict[QuizId, QuizState]:
    return {quiz.id: quiz.state for quiz in await classroom.repository.get_quizzes(quiz_ids)}


def sent(classroom: Classroom) -> Counter[QuizId]:
    """Return how often each quiz was handed over."""
    return Counter(quiz.id for quiz, _ in classroom.messenger.questions)


async def recover(classroom: Classroom, quiz_ids: list[QuizId]) -> None:
    """Let a minute and more go by, and another process finish what is left."""
    await classroom.repository.database._pool.execute(_AGE, quiz_ids)  # noqa: SLF001 - time cannot be sped up
    await maintenance.recover(classroom.context)


@contextlib.contextmanager
def each_step(classroom: Classroom, take: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> Iterator[None]:
    """Hand each statement of a sender and each message to a function, which may carry it out."""
    with pytest.MonkeyPatch.context() as patched:
        for owner, name in [
            *((classroom.repository, name) for name in STATEMENTS),
            (classroom.messenger, "send_question"),
        ]:
            act = getattr(owner, name)

            async def step(*arguments: Any, act: Callable[..., Awaitable[Any]] = act, **options: Any) -> Any:
                return await take(lambda: act(*arguments, **options))

            patched.setattr(owner, name, step)
        yield


# ---------------------------------------------------------------- a process that dies


@pytest.mark.parametrize("is_done", [False, True], ids=["before the step", "when it is done and not yet known"])
@pytest.mark.parametrize("last", _STEPS)
async def test_of_a_dead_senders_quizzes_none_is_lost_and_only_those_in_doubt_come_twice(
    classroom: Classroom, last: int, *, is_done: bool
) -> None:
    quiz_ids, steps, is_dead = await prepare(classroom), 0, False

    async def take(act: Callable[[], Awaitable[Any]]) -> Any:
        """Let nothing leave the process once it is dead, and tell it nothing any more."""
        nonlocal steps, is_dead
        steps += 1
        is_dead = is_dead or (steps == last and not is_done)
        mine = steps
        result = None if is_dead else await act()
        is_dead = is_dead or mine == last
        if is_dead:
            raise asyncio.CancelledError
        return result

    with each_step(classroom, take), contextlib.suppress(asyncio.CancelledError):
        await deliver(classroom, quiz_ids)
    left, handed = await states(classroom, quiz_ids), sent(classroom)
    in_doubt = {quiz_id for quiz_id in handed if left[quiz_id] is QuizState.SENDING}
    assert len(in_doubt) <= SENDERS
    assert not any(handed[quiz_id] for quiz_id in quiz_ids if left[quiz_id] is QuizState.PENDING)
    assert max(handed.values(), default=1) == 1

    await recover(classroom, quiz_ids)
    assert set((await states(classroom, quiz_ids)).values()) == {QuizState.SENT}
    assert sent(classroom) == {quiz_id: 2 if quiz_id in in_doubt else 1 for quiz_id in quiz_ids}


# ---------------------------------------------------------------- a task that is cancelled


@pytest.mark.parametrize("last", _STEPS)
async def test_a_cancelled_sender_notes_what_it_sent_and_gives_back_what_it_did_not(
    classroom: Classroom, last: int
) -> None:
    quiz_ids, steps = await prepare(classroom), 0

    async def take(act: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal steps
        steps += 1
        if steps == last:
            sender.cancel()
        return await act()

    with each_step(classroom, take):
        sender = asyncio.create_task(deliver(classroom, quiz_ids))
        with contextlib.suppress(asyncio.CancelledError):
            await sender
    left, handed = await states(classroom, quiz_ids), sent(classroom)
    assert {quiz_id for quiz_id in quiz_ids if left[quiz_id] is QuizState.SENT} == set(handed)
    in_hand = [quiz_id for quiz_id in quiz_ids if left[quiz_id] is QuizState.SENDING]
    assert len(in_hand) <= SENDERS + 1  # a chunk that was being begun

    await recover(classroom, quiz_ids)
    assert sent(classroom) == dict.fromkeys(quiz_ids, 1)


# ---------------------------------------------------------------- a database that is lost


async def test_what_a_failed_statement_did_not_note_is_noted_by_the_next(classroom: Classroom) -> None:
    quiz_ids = await prepare(classroom)
    failures = [StorageUnavailableError("a hiccup")]
    mark_sent = classroom.repository.mark_sent

    async def fail_once(sent: list[SentQuestion]) -> None:
        if failures:
            raise failures.pop()
        await mark_sent(sent)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(classroom.repository, "mark_sent", fail_once)
        with pytest.raises(StorageUnavailableError):
            await deliver(classroom, quiz_ids)
    await deliver(classroom, quiz_ids)
    await recover(classroom, quiz_ids)
    assert sent(classroom) == dict.fromkeys(quiz_ids, 1)


# ---------------------------------------------------------------- a bot that has to wait


async def test_quizzes_that_others_took_while_the_bot_had_to_wait_are_left_to_them(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiz_delivery, "SENDERS", 1)
    monkeypatch.setattr(sending, "LEASE_SECONDS", 0.0)
    quiz_ids = await prepare(classroom, 4)
    send_question = classroom.messenger.send_question
    others: list[asyncio.Task[None]] = []

    async def send_late(quiz: Quiz, priority: Priority) -> int:
        """Let others find two of the quizzes that were begun with this one stalled."""
        if not others:
            others.append(asyncio.create_task(recover(classroom, quiz_ids[1:3])))
            await others[0]
        return await send_question(quiz, priority)

    monkeypatch.setattr(classroom.messenger, "send_question", send_late)
    await deliver(classroom, quiz_ids)
    assert sent(classroom) == dict.fromkeys(quiz_ids, 1)
    assert set((await states(classroom, quiz_ids)).values()) == {QuizState.SENT}


# ---------------------------------------------------------------- several in one statement


_YESTERDAY = """
UPDATE quizzes SET created_at = created_at - $2::interval, local_day = (local_day - $2::interval)::date WHERE id = $1
"""


async def test_of_two_quizzes_that_a_learner_waited_for_one_is_todays(classroom: Classroom) -> None:
    learner = await classroom.join()
    pool = classroom.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    waiting: list[QuizId] = []
    for days in (3, 2):
        question = (await classroom.repository.pick_questions([learner], BANK))[learner.id]
        new = NewQuiz(learner.id, question.id, (0, 1, 2, 3))
        made = await classroom.repository.create_quizzes(QuizKind.DAILY, [new], timedelta(days=9))
        waiting += made.values()
        await pool.execute(_YESTERDAY, waiting[-1], timedelta(days=days))
    before = [(await classroom.quiz(quiz_id)).local_day for quiz_id in waiting]
    await classroom.repository.begin_sending(waiting)
    await classroom.repository.mark_sent([SentQuestion(quiz_id, quiz_id, BOT_ID) for quiz_id in waiting])
    first, second = [await classroom.quiz(quiz_id) for quiz_id in waiting]
    assert (first.local_day, second.local_day) == (before[0] + timedelta(days=3), before[1])
    assert {first.state, second.state} == {QuizState.SENT}


# ---------------------------------------------------------------- cancelled


async def rows(classroom: Classroom, statement: str, *arguments: object) -> list[Any]:
    return list(await classroom.repository.database._pool.fetch(statement, *arguments))  # noqa: SLF001


_SHOWN = "SELECT coalesce(sum(learners), 0) AS number FROM question_exposure"


async def test_a_withdrawn_quiz_leaves_no_trace_and_its_learner_is_due_again(classroom: Classroom) -> None:
    context, repository = classroom.context, classroom.repository
    [shown_before] = await rows(classroom, _SHOWN)
    learner = await classroom.join()
    await rows(classroom, "UPDATE learners SET next_daily_at = now() - interval '1 minute'")
    [quiz_id] = (await quiz_delivery.prepare_quizzes(context, [learner.id], QuizKind.DAILY)).quiz_ids
    [quiz] = await repository.get_quizzes([quiz_id])
    assert await repository.find_due_learners(context.now(), [learner.id], None) == []

    assert await repository.withdraw_quizzes([quiz_id], "cancelled") == {quiz_id}

    assert await states(classroom, [quiz_id]) == {}
    assert await rows(classroom, _SHOWN) == [shown_before]
    [due] = await rows(classroom, "SELECT next_daily_at, daily_at FROM learners")
    assert due["next_daily_at"].date() == quiz.local_day  # at their hour of the day that the quiz was for
    assert due["next_daily_at"].time() == due["daily_at"]


async def test_what_is_being_sent_or_is_sent_is_not_withdrawn_and_what_was_tried_is_given_up(
    classroom: Classroom,
) -> None:
    repository = classroom.repository
    sending_, sent_, tried, _ = quiz_ids = await prepare(classroom, 4)
    await repository.begin_sending([sending_, sent_, tried])
    await repository.mark_sent([SentQuestion(sent_, 1, BOT_ID)])
    await repository.mark_send_failed(tried, "no answer", for_good=False)
    assert await repository.withdraw_quizzes(quiz_ids, "cancelled") == set(quiz_ids[2:])
    assert await states(classroom, quiz_ids) == {
        sending_: QuizState.SENDING,
        sent_: QuizState.SENT,
        tried: QuizState.FAILED,
    }
    assert await repository.withdraw_quizzes(quiz_ids, "cancelled") == set()


async def test_a_cancelled_delivery_stops_before_the_next_quiz(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiz_delivery, "SENDERS", 1)
    quiz_ids = await prepare(classroom)
    deliveries = await quiz_delivery.deliver_quizzes(
        classroom.context, quiz_ids, Priority.BROADCAST, is_cancelled=lambda: len(sent(classroom)) == 2
    )
    assert Counter(one.outcome for one in deliveries) == {Outcome.SENT: 2, Outcome.SKIPPED: QUIZZES - 2}
    assert Counter((await states(classroom, quiz_ids)).values()) == {QuizState.SENT: 2, QuizState.PENDING: QUIZZES - 2}
    told = await quiz_delivery.withdraw_unsent(classroom.context, deliveries)
    assert {one.reason for one in told if one.outcome is Outcome.SKIPPED} == {quiz_delivery.CANCELLED}
    await recover(classroom, quiz_ids)
    assert set(sent(classroom)) == set(quiz_ids[:2])
