"""The use cases: what each does once, what it does when run again, and what it does when something fails."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalog import Level, Priority, QuizKind, QuizState
from domain.errors import (
    LearnerUnreachableError,
    MessageGoneError,
    RateLimitedError,
    StorageUnavailableError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import LearnerId
from domain.learning import UNKNOWN_ABILITY, Rating
from domain.models import Delivery, Learner, Outcome, Quiz
from quizzes import delivery as quiz_delivery
from quizzes import grading, maintenance
from quizzes.cohorts import deal_cohorts
from quizzes.grading import grade_answer
from repository import Repository
from tests.support.classroom import Classroom
from tests.support.factories import make_learner, make_question, make_quiz, some_id
from tests.support.pooler import connect
from tests.support.strategies import levels, moments, zones

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAILY, ON_DEMAND = QuizKind.DAILY, QuizKind.ON_DEMAND

learner_ids = st.lists(st.integers(1, 10**9).map(LearnerId), max_size=300)


# ---------------------------------------------------------------- dealing


@given(learner_ids, st.integers(1, 60))
def test_everybody_is_dealt_once_and_in_order(everybody: list[LearnerId], most: int) -> None:
    cohorts = deal_cohorts(everybody, most)
    assert [learner_id for cohort in cohorts for learner_id in cohort] == everybody


@given(learner_ids, st.integers(1, 60))
def test_cohorts_are_few_full_and_of_nearly_the_same_size(everybody: list[LearnerId], most: int) -> None:
    sizes = [len(cohort) for cohort in deal_cohorts(everybody, most)]
    assert len(sizes) == min(most, len(everybody))
    assert all(sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_ten_thousand_make_fifty_cohorts_of_two_hundred() -> None:
    cohorts = deal_cohorts([LearnerId(number) for number in range(10_000)], 50)
    assert [len(cohort) for cohort in cohorts] == [200] * 50


# ---------------------------------------------------------------- grading, without storage


@given(levels, st.integers(-6, 100), st.integers(0, 3), st.integers(0, 3), moments, zones)
def test_a_grade_tells_before_and_after_of_the_learner_it_was_made_for(
    level: Level, points: int, correct: int, chosen: int, at: datetime, zone: str
) -> None:
    learner = make_learner(level=level, level_progress=points, streak_days=3, timezone=zone)
    question = make_question(correct_index=correct)
    quiz = make_quiz(learner_id=learner.id, question=question, chosen=chosen, answered_at=at)
    grade = grade_answer(quiz, learner, UNKNOWN_ABILITY)
    assert (grade.quiz_id, grade.learner_id) == (quiz.id, learner.id)
    assert grade.correct == (chosen == correct)
    assert (grade.before.level, grade.before.points, grade.before.streak.days) == (level, points, 3)
    assert grade.local_day == learner.local_day(at)
    assert grade.after.streak.days == 1  # nobody answered before


def test_a_right_answer_on_the_next_local_day_lengthens_the_streak() -> None:
    learner = make_learner(timezone="Asia/Tokyo", streak_days=4, last_answer_day=date(2026, 3, 2))
    quiz = make_quiz(question=make_question(correct_index=2), chosen=2, answered_at=AT + timedelta(hours=3))
    grade = grade_answer(quiz, learner, Rating(1.0, 0.2))
    assert (grade.local_day, grade.after.streak.days) == (date(2026, 3, 3), 5)
    assert grade.after.level is Level.ADVANCED


def test_a_quiz_that_is_not_answered_cannot_be_graded() -> None:
    with pytest.raises(ValueError, match="is not answered"):
        grade_answer(make_quiz(answered_at=None), make_learner(), UNKNOWN_ABILITY)


# ---------------------------------------------------------------- preparing


async def test_preparing_twice_makes_no_second_quiz(classroom: Classroom) -> None:
    learners = [await classroom.join() for _ in range(3)]
    ids = [learner.id for learner in learners]
    for kind in (DAILY, ON_DEMAND):
        first = await quiz_delivery.prepare_quizzes(classroom.context, ids, kind)
        again = await quiz_delivery.prepare_quizzes(classroom.context, ids, kind)
        assert len(first.quiz_ids) == 3
        assert sorted(again.quiz_ids) == sorted(first.quiz_ids)
        assert first.skipped == again.skipped == []


async def test_a_learner_named_twice_gets_one_quiz(classroom: Classroom) -> None:
    learner = await classroom.join()
    prepared = await quiz_delivery.prepare_quizzes(classroom.context, [learner.id] * 3, DAILY)
    assert len(prepared.quiz_ids) == 1


async def test_who_gets_no_quiz_is_told_with_the_reason(classroom: Classroom) -> None:
    stranger = LearnerId(some_id())
    blocked, opted_out, served = [await classroom.join() for _ in range(3)]
    await classroom.repository.set_blocked(blocked.id, blocked.bot_id, blocked=True)
    await classroom.repository.set_daily_enabled(opted_out.id, enabled=False)
    await classroom.ask(served, DAILY)
    everybody = [stranger, blocked.id, opted_out.id, served.id]
    prepared = await quiz_delivery.prepare_quizzes(classroom.context, everybody, DAILY)
    assert prepared.quiz_ids == []
    assert {delivery.learner_id: (delivery.outcome, delivery.reason) for delivery in prepared.skipped} == {
        stranger: (Outcome.SKIPPED, "not registered"),
        blocked.id: (Outcome.SKIPPED, "blocked the bot"),
        opted_out.id: (Outcome.SKIPPED, "opted out of daily quizzes"),
        served.id: (Outcome.SKIPPED, "had today's quiz already"),
    }


async def test_a_learner_without_any_question_is_told(repository: Repository, classroom: Classroom) -> None:
    await repository.sync_static_questions({}, ())
    empty = Classroom(repository, classroom.context.settings)
    learner = await empty.join()
    (delivery,) = await empty.serve(learner, ON_DEMAND)
    assert (delivery.outcome, delivery.reason) == (Outcome.FAILED, "no question for their level and topics")


async def test_options_are_shuffled_and_the_right_one_stands_everywhere(classroom: Classroom) -> None:
    learners = [await classroom.join() for _ in range(80)]
    prepared = await quiz_delivery.prepare_quizzes(classroom.context, [learner.id for learner in learners], DAILY)
    quizzes = await classroom.repository.get_quizzes(prepared.quiz_ids)
    assert all(sorted(quiz.option_order) == [0, 1, 2, 3] for quiz in quizzes)
    places = Counter(quiz.option_order.index(quiz.question.correct_index) for quiz in quizzes)
    assert all(8 <= places[place] <= 40 for place in range(4))


async def test_the_same_randomness_gives_the_same_order(classroom: Classroom) -> None:
    orders = []
    for _ in range(2):
        context = replace(classroom.context, rng=random.Random(7))
        ids = [(await classroom.join()).id for _ in range(5)]
        prepared = await quiz_delivery.prepare_quizzes(context, ids, DAILY)
        quizzes = await classroom.repository.get_quizzes(prepared.quiz_ids)
        orders.append([quiz.option_order for quiz in sorted(quizzes, key=lambda quiz: quiz.learner_id)])
    assert orders[0] == orders[1]


# ---------------------------------------------------------------- sending


async def prepare(classroom: Classroom, kind: QuizKind = DAILY) -> tuple[Learner, Quiz]:
    """Return a learner and a quiz that waits to be sent to them."""
    learner = await classroom.join()
    prepared = await quiz_delivery.prepare_quizzes(classroom.context, [learner.id], kind)
    return learner, await classroom.quiz(prepared.quiz_ids[0])


async def deliver(classroom: Classroom, *quizzes: Quiz, again: bool = False) -> list[Delivery]:
    """Send quizzes."""
    return await quiz_delivery.deliver_quizzes(
        classroom.context, [quiz.id for quiz in quizzes], Priority.BROADCAST, again=again
    )


async def test_a_quiz_that_was_sent_is_in_the_chat(classroom: Classroom) -> None:
    learner, quiz = await prepare(classroom)
    (delivery,) = await deliver(classroom, quiz)
    assert delivery == Delivery(learner.id, Outcome.SENT, "", quiz.question.topic, quiz.question.level, quiz.id)
    sent = await classroom.quiz(quiz.id)
    assert (sent.state, sent.attempts) == (QuizState.SENT, 1)
    assert sent.message_id is not None
    assert sent.sent_at is not None
    assert [priority for _, priority in classroom.messenger.questions] == [Priority.BROADCAST]


async def test_delivering_twice_sends_once(classroom: Classroom) -> None:
    _, quiz = await prepare(classroom)
    await deliver(classroom, quiz)
    (again,) = await deliver(classroom, quiz)
    assert (again.outcome, again.reason) == (Outcome.SKIPPED, "is being sent already, or answered")
    assert len(classroom.messenger.questions) == 1


async def test_two_senders_at_once_send_once(classroom: Classroom) -> None:
    quizzes = [(await prepare(classroom))[1] for _ in range(10)]
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(deliver(classroom, *quizzes)) for _ in range(3)]
    outcomes = Counter(delivery.outcome for run in runs for delivery in run.result())
    assert outcomes == {Outcome.SENT: 10, Outcome.SKIPPED: 20}
    assert len(classroom.messenger.questions) == 10


async def test_progress_is_told_after_each(classroom: Classroom) -> None:
    quizzes = [(await prepare(classroom))[1] for _ in range(5)]
    told: list[int] = []
    await quiz_delivery.deliver_quizzes(
        classroom.context,
        [quiz.id for quiz in quizzes],
        Priority.BROADCAST,
        on_progress=lambda: told.append(len(classroom.messenger.questions)),
    )
    assert len(told) == len(quizzes)


async def test_a_learner_who_is_gone_is_marked_and_their_quiz_given_up(classroom: Classroom) -> None:
    learner, quiz = await prepare(classroom)
    classroom.messenger.failures[learner.id] = [LearnerUnreachableError("bot was blocked by the user")]
    (delivery,) = await deliver(classroom, quiz)
    assert delivery.outcome is Outcome.FAILED
    assert "bot was blocked" in delivery.reason
    assert (await classroom.state_of(learner)).blocked
    assert (await classroom.quiz(quiz.id)).state is QuizState.FAILED


async def test_a_telegram_that_does_not_answer_is_tried_again(classroom: Classroom) -> None:
    learner, quiz = await prepare(classroom)
    classroom.messenger.failures[learner.id] = [TelegramUnavailableError("TimedOut")]
    (failed,) = await deliver(classroom, quiz)
    assert (failed.outcome, "(will be tried again)" in failed.reason) == (Outcome.FAILED, True)
    assert (await classroom.quiz(quiz.id)).state is QuizState.PENDING
    assert not (await classroom.state_of(learner)).blocked
    (sent,) = await deliver(classroom, quiz)
    assert sent.outcome is Outcome.SENT


@pytest.mark.parametrize("error", [TelegramUnavailableError("TimedOut"), RateLimitedError(30)], ids=["away", "429"])
async def test_however_long_telegram_is_away_a_quiz_waits_for_it(classroom: Classroom, error: TelegramError) -> None:
    learner, quiz = await prepare(classroom)
    classroom.messenger.failures[learner.id] = [error] * 9
    for _ in range(9):
        await deliver(classroom, quiz)
        assert (await classroom.quiz(quiz.id)).state is QuizState.PENDING
    (sent,) = await deliver(classroom, quiz)
    assert sent.outcome is Outcome.SENT


async def test_a_refusal_gives_up_at_once(classroom: Classroom) -> None:
    learner, quiz = await prepare(classroom)
    classroom.messenger.failures[learner.id] = [TelegramError("message is too long")]
    (delivery,) = await deliver(classroom, quiz)
    assert "message is too long" in delivery.reason
    assert (await classroom.quiz(quiz.id)).state is QuizState.FAILED
    assert not (await classroom.state_of(learner)).blocked


@pytest.mark.parametrize("error", [LearnerUnreachableError("gone"), KeyError("what nobody foresaw")], ids=repr)
async def test_one_failure_does_not_keep_the_others_from_their_quiz(classroom: Classroom, error: Exception) -> None:
    pairs = [await prepare(classroom) for _ in range(20)]
    classroom.messenger.failures[pairs[3][0].id] = [error]
    deliveries = await deliver(classroom, *(quiz for _, quiz in pairs))
    assert Counter(delivery.outcome for delivery in deliveries) == {Outcome.SENT: 19, Outcome.FAILED: 1}


async def test_a_quiz_in_the_chat_stays_answerable_when_showing_it_again_fails(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    for _ in range(4):
        classroom.messenger.failures[learner.id] = [TelegramUnavailableError("TimedOut")]
        await deliver(classroom, quiz, again=True)
    assert await classroom.tap(quiz, right=True)


async def test_an_answered_quiz_is_not_sent_again(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    await classroom.tap(quiz, right=True)
    (delivery,) = await deliver(classroom, quiz, again=True)
    assert delivery.outcome is Outcome.SKIPPED


async def test_a_reply_on_demand_goes_ahead_of_broadcasts(classroom: Classroom) -> None:
    await classroom.ask(await classroom.join())
    assert classroom.messenger.questions[-1][1] is Priority.INTERACTIVE


# ---------------------------------------------------------------- grades


async def answered(classroom: Classroom, learner: Learner, *, right: bool = True) -> Quiz:
    """Return a quiz that the learner answered and nobody graded."""
    quiz = await classroom.ask(learner)
    assert await classroom.tap(quiz, right=right)
    return await classroom.quiz(quiz.id)


async def test_only_answered_quizzes_are_graded_and_that_once(classroom: Classroom) -> None:
    waiting, open_quiz = await answered(classroom, await classroom.join()), await classroom.ask(await classroom.join())
    (valid,) = await grading.validate_answers(classroom.context, [waiting.id, open_quiz.id])
    assert valid.id == waiting.id
    await grading.grade_answers(classroom.context, [waiting.id])
    (done,) = await grading.validate_answers(classroom.context, [waiting.id])
    assert await grading.adapt_difficulty(classroom.context, [done]) == []


async def test_grading_twice_counts_once_and_tells_once_more_at_most(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await answered(classroom, learner)
    for _ in range(2):
        pending_grades = await grading.adapt_difficulty(
            classroom.context, await grading.validate_answers(classroom.context, [quiz.id])
        )
        await grading.persist_answers(classroom.context, pending_grades)
    state = await classroom.state_of(learner)
    assert (state.run, state.version) == (1, 1)


async def test_a_learner_who_moved_on_meanwhile_is_graded_from_where_they_stand(classroom: Classroom) -> None:
    learner = await classroom.join()
    first = await answered(classroom, learner, right=True)
    second = await answered(classroom, learner, right=False)
    stale = await grading.adapt_difficulty(classroom.context, [first])
    await grading.grade_answers(classroom.context, [second.id])
    (kept,) = await grading.persist_answers(classroom.context, stale)
    assert stale[0].grade.before.run == 0
    assert (kept.before.run, kept.after.run) == (-1, 1)
    assert (await classroom.state_of(learner)).run == 1


async def test_many_answers_of_one_learner_graded_at_once_all_count(classroom: Classroom) -> None:
    learner = await classroom.join()
    quizzes = [await answered(classroom, learner, right=True) for _ in range(5)]
    pending_grades = await grading.adapt_difficulty(classroom.context, quizzes)
    kept = await grading.persist_answers(classroom.context, pending_grades)
    assert len(kept) == 5
    state = await classroom.state_of(learner)
    assert (state.ability, state.version) == (max(grade.ability or 0 for grade in kept), 5)
    assert len({grade.ability for grade in kept}) == 5


async def test_two_workers_that_grade_the_same_answers_count_them_once(classroom: Classroom) -> None:
    quizzes = [await answered(classroom, await classroom.join()) for _ in range(5)]
    ids = [quiz.id for quiz in quizzes]
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(grading.grade_answers(classroom.context, ids))
    grades = await classroom.repository.get_grades(ids)
    assert len(grades) == 5
    for quiz in quizzes:
        state = await classroom.repository.get_user_state(quiz.learner_id)
        assert state is not None
        assert (state.run, state.version) == (1, 1)


async def test_a_late_grade_of_an_earlier_day_keeps_the_latest_day(classroom: Classroom) -> None:
    learner = await classroom.join()
    yesterday = await classroom.ask(learner)
    await classroom.tap(yesterday, right=True, at=AT)
    today = await classroom.ask(learner)
    await classroom.tap(today, right=True, at=AT + timedelta(days=1))
    await grading.grade_answers(classroom.context, [today.id])
    await grading.grade_answers(classroom.context, [yesterday.id])
    state = await classroom.state_of(learner)
    assert (state.last_answer_day, state.streak_days) == (date(2026, 3, 3), 1)


async def test_an_answer_of_somebody_who_erased_everything_is_dropped(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await answered(classroom, learner)
    pending_grades = await grading.adapt_difficulty(classroom.context, [quiz])
    await classroom.repository.erase_learner(learner.id)
    assert await grading.persist_answers(classroom.context, pending_grades) == []
    assert await grading.adapt_difficulty(classroom.context, [quiz]) == []


# ---------------------------------------------------------------- feedback


async def graded(classroom: Classroom) -> tuple[Learner, Quiz]:
    """Return a learner and a graded quiz that they were not told of."""
    learner = await classroom.join()
    quiz = await answered(classroom, learner)
    pending_grades = await grading.adapt_difficulty(classroom.context, [quiz])
    await grading.persist_answers(classroom.context, pending_grades)
    return learner, quiz


@pytest.mark.parametrize(
    ("error", "blocked"),
    [
        (MessageGoneError("message to edit not found"), False),
        (TelegramError("refused"), False),
        (LearnerUnreachableError("blocked"), True),
    ],
    ids=["gone", "refused", "unreachable"],
)
async def test_feedback_that_can_never_be_given_is_settled(
    classroom: Classroom,
    error: TelegramError,
    blocked: bool,  # noqa: FBT001 - a parameter
) -> None:
    learner, quiz = await graded(classroom)
    classroom.messenger.failures[learner.id] = [error]
    (delivery,) = await grading.give_feedback(classroom.context, [quiz])
    assert delivery.outcome is Outcome.FAILED
    assert quiz.id not in await classroom.repository.find_missing_feedback(timedelta(), 1000)
    assert (await classroom.state_of(learner)).blocked is blocked


@pytest.mark.parametrize(
    "error",
    [TelegramUnavailableError("TimedOut"), RateLimitedError(30), KeyError("x")],
    ids=["away", "429", "unforeseen"],
)
async def test_feedback_that_got_no_answer_is_given_again(classroom: Classroom, error: Exception) -> None:
    learner, quiz = await graded(classroom)
    classroom.messenger.failures[learner.id] = [error]
    (failed,) = await grading.give_feedback(classroom.context, [quiz])
    assert "(will be tried again)" in failed.reason
    assert quiz.id in await classroom.repository.find_missing_feedback(timedelta(), 1000)
    (told,) = await grading.give_feedback(classroom.context, [quiz])
    assert told.outcome is Outcome.SENT
    assert quiz.id not in await classroom.repository.find_missing_feedback(timedelta(), 1000)


async def test_there_is_no_feedback_before_a_grade(classroom: Classroom) -> None:
    quiz = await answered(classroom, await classroom.join())
    assert await grading.give_feedback(classroom.context, [quiz]) == []
    assert classroom.messenger.feedback == []


# ---------------------------------------------------------------- after a crash


@pytest.fixture
def old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count as stuck whatever is not finished this very moment."""
    for name in ("STALLED_AFTER", "OVERDUE_AFTER"):
        monkeypatch.setattr(maintenance, name, timedelta())


@pytest.fixture
async def alone(repository: Repository, classroom: Classroom) -> Classroom:
    """Return a classroom with a database of its own, for what looks at everybody's quizzes."""
    return Classroom(repository, classroom.context.settings)


@pytest.mark.usefixtures("old_at_once")
async def test_whatever_a_crash_left_is_finished_once(alone: Classroom) -> None:
    _, never_sent = await prepare(alone)
    _, half_sent = await prepare(alone)
    await alone.repository.begin_sending([half_sent.id])
    ungraded = await answered(alone, await alone.join())
    _, untold = await graded(alone)
    alone.messenger.questions.clear()
    assert await maintenance.recover(alone.context) == (2, 1, 1)
    assert {quiz.id for quiz, _ in alone.messenger.questions} == {never_sent.id, half_sent.id}
    assert {quiz.id for quiz, _ in alone.messenger.feedback} == {ungraded.id, untold.id}
    assert await maintenance.recover(alone.context) == (0, 0, 0)


@pytest.mark.usefixtures("old_at_once")
async def test_upkeep_closes_what_nobody_answered(alone: Classroom) -> None:
    quiz = await alone.ask(await alone.join())
    report = await maintenance.run_upkeep(alone.context)
    assert (report.expired, report.sent_again) == (0, 0)
    settings = alone.context.settings.model_copy(update={"quiz_expires_after_hours": 0})
    hasty = Classroom(alone.repository, settings)
    closed = await hasty.ask(await hasty.join())
    assert (await maintenance.run_upkeep(hasty.context)).expired == 1
    assert (await hasty.quiz(closed.id)).state is QuizState.EXPIRED
    assert (await alone.quiz(quiz.id)).state is QuizState.SENT


async def test_what_is_under_way_is_left_alone(alone: Classroom) -> None:
    await prepare(alone)
    await answered(alone, await alone.join())
    assert await maintenance.recover(alone.context) == (0, 0, 0)


async def test_a_database_that_goes_away_is_told_as_such(database_url: str, classroom: Classroom) -> None:
    repository = Repository(await connect(database_url))
    leaving = Classroom(repository, classroom.context.settings)
    _, quiz = await prepare(leaving)
    send = leaving.messenger.send_question

    async def send_and_lose(quiz: Quiz, priority: Priority) -> int:
        await repository.close()
        return await send(quiz, priority)

    leaving.messenger.send_question = send_and_lose  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailableError):
        await deliver(leaving, quiz)
