"""How quizzes come, and what a tap does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from bot.texts import question_text
from domain.catalog import UNKNOWN_CHOICE, Level, QuizKind, QuizState, StaleReason, Topic
from domain.errors import MessageGoneError, RateLimitedError, TelegramError, TelegramUnavailableError
from domain.models import Learner, Outcome, Quiz, SentQuestion, StaleMessage
from domain.updates import Tap
from quizzes import delivery
from quizzes.stale_messages import close_messages
from tests.support.classroom import Classroom, button_of
from tests.support.factories import QUESTIONS_PER_CELL

pytestmark = pytest.mark.pooler


async def test_a_daily_quiz_comes_once_a_local_day(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.ask(learner, QuizKind.DAILY)
    (again,) = await classroom.serve(learner, QuizKind.DAILY)
    assert (again.outcome, again.reason) == (Outcome.SKIPPED, "had today's quiz already")
    assert len(classroom.messenger.questions) == 1


async def test_another_hour_gives_no_second_daily_quiz_on_the_same_day(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.ask(learner, QuizKind.DAILY)
    await classroom.repository.set_daily_at(learner.id, time(23, 59))
    (again,) = await classroom.serve(learner, QuizKind.DAILY)
    assert again.outcome is Outcome.SKIPPED


async def test_a_learner_is_due_at_their_own_hour(classroom: Classroom) -> None:
    learner = await classroom.join(quiz_timezone="Asia/Tokyo", quiz_schedule_time=time(8))
    now = datetime.now(UTC)
    eight_in_tokyo = datetime.combine(learner.local_day(now), time(8), ZoneInfo("Asia/Tokyo"))
    due_at = eight_in_tokyo if eight_in_tokyo > now else eight_in_tokyo + timedelta(days=1)
    find = classroom.repository.find_due_learners
    assert await find(due_at - timedelta(seconds=1), [learner.id], None) == []
    assert await find(due_at, [learner.id], None) == [learner.id]


async def test_a_learner_who_got_todays_quiz_is_due_no_more(classroom: Classroom) -> None:
    learner = await classroom.join()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert await classroom.repository.find_due_learners(tomorrow, [learner.id], None) == [learner.id]
    await classroom.ask(learner, QuizKind.DAILY)
    assert await classroom.repository.find_due_learners(datetime.now(UTC), [learner.id], None) == []


async def test_who_opts_out_gets_no_daily_quiz_but_may_ask_for_one(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.repository.set_daily_enabled(learner.id, enabled=False)
    (daily,) = await classroom.serve(learner, QuizKind.DAILY)
    assert (daily.outcome, daily.reason) == (Outcome.SKIPPED, "opted out of daily quizzes")
    assert (await classroom.ask(learner)).kind is QuizKind.ON_DEMAND


async def test_a_question_never_repeats_before_the_bank_is_exhausted(classroom: Classroom) -> None:
    learner = await classroom.join(preferred_topics=(Topic.STREAMING,))
    bank = len(Level) * QUESTIONS_PER_CELL
    keys = []
    for _ in range(bank + 1):
        await classroom.answer(learner, right=True)
        keys.append(classroom.messenger.questions[-1][0].question.key)
    assert len(set(keys[:bank])) == bank
    assert keys[bank] in keys[:bank]


async def test_only_chosen_topics_are_asked(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.repository.set_topics(learner.id, [Topic.DATA_QUALITY])
    for right in (True, True, True):
        await classroom.answer(learner, right=right)
    assert {quiz.question.topic for quiz, _ in classroom.messenger.questions} == {Topic.DATA_QUALITY}


async def test_who_asks_again_gets_the_open_question_anew_and_its_old_copy_is_closed(classroom: Classroom) -> None:
    learner = await classroom.join()
    first = await classroom.ask(learner)
    await later(classroom)
    second = await classroom.ask(learner)
    assert first.id == second.id
    assert question_text(first) == question_text(second)
    assert first.message_id != second.message_id
    assert first.message_id is not None
    assert classroom.messenger.closed == [
        StaleMessage(learner.id, first.message_bot_id, first.message_id, StaleReason.MOVED, first.bot_id)
    ]


async def later(classroom: Classroom) -> None:
    """Let some seconds go by, after which a question is no longer in view."""
    pool = classroom.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    await pool.execute("UPDATE quizzes SET sent_at = sent_at - $1::interval WHERE state = 'sent'", delivery.IN_VIEW)


@pytest.mark.parametrize("hours", [-2, 2])
async def test_what_a_workers_clock_says_is_no_matter_of_who_asks_again(
    classroom: Classroom, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "IN_VIEW", timedelta(hours=1))
    classroom.context = replace(classroom.context, now=lambda: datetime.now(UTC) + timedelta(hours=hours))
    learner = await classroom.join()
    await classroom.ask(learner)
    (again,) = await classroom.serve(learner, QuizKind.ON_DEMAND)
    assert again.reason == delivery.JUST_SENT
    await later(classroom)
    await classroom.ask(learner)
    assert len(classroom.messenger.questions) == 2


async def test_quick_requests_give_one_question(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.ask(learner)
    for kind in (QuizKind.ON_DEMAND, QuizKind.REVIEW):
        (again,) = await classroom.serve(learner, kind)
        assert (again.outcome, again.reason) == (Outcome.SKIPPED, delivery.JUST_SENT)
    assert len(classroom.messenger.questions) == 1


async def let_claims_run_out(classroom: Classroom) -> None:
    """Let the minute go by after which a message that could not be closed is closed again."""
    await classroom.repository.database._pool.execute("UPDATE stale_messages SET claimed_until = now()")  # noqa: SLF001


@pytest.mark.parametrize("error", [TelegramUnavailableError("no answer"), MessageGoneError("it is gone")])
async def test_an_old_copy_is_closed_until_telegram_takes_it_or_it_is_gone(
    classroom: Classroom, error: TelegramError
) -> None:
    learner = await classroom.join()
    await classroom.ask(learner)
    await later(classroom)
    classroom.messenger.failures[learner.id] = [None, error]  # the question comes, the edit fails
    await classroom.ask(learner)
    assert classroom.messenger.closed == []
    for _ in range(2):
        await let_claims_run_out(classroom)
        await close_messages(classroom.context)
    assert len([one for one in classroom.messenger.closed if one.learner_id == learner.id]) == (
        0 if isinstance(error, MessageGoneError) else 1
    )


@pytest.mark.parametrize("tapped", ["old", "new"])
async def test_an_answer_to_either_copy_is_explained_in_the_newer_and_closes_the_older(
    classroom: Classroom, tapped: str
) -> None:
    learner = await classroom.join()
    first = await classroom.ask(learner)
    await later(classroom)
    classroom.messenger.failures[learner.id] = [None, TelegramUnavailableError("no answer")]
    second = await classroom.ask(learner)
    assert await classroom.tap(first if tapped == "old" else second, right=True)
    await let_claims_run_out(classroom)
    await close_messages(classroom.context, [learner.id])
    assert [one.message_id for one in classroom.messenger.closed] == [first.message_id]
    assert (await classroom.quiz(first.id)).message_id == second.message_id


async def test_a_new_copy_that_is_tapped_before_it_is_noted_shows_the_feedback(classroom: Classroom) -> None:
    learner = await classroom.join()
    first = await classroom.ask(learner)
    assert first.message_id is not None
    new = replace(first, message_id=first.message_id + 1)
    await classroom.repository.begin_sending([first.id], again=True)
    assert await classroom.tap(new, right=True)
    await classroom.repository.mark_sent([SentQuestion(new.id, new.message_id or 0, new.bot_id)])
    await close_messages(classroom.context, [learner.id])
    assert [one.message_id for one in classroom.messenger.closed] == [first.message_id]
    assert (await classroom.quiz(first.id)).message_id == new.message_id


def answer_while_a_message_is_closed(classroom: Classroom, quiz: Quiz, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tap that was made in time be taken and explained while the edit is under way that closes a message."""
    close, tapped_at = classroom.messenger.close_message, datetime.now(UTC)

    async def closing(message: StaleMessage) -> None:
        assert await classroom.tap(quiz, right=True, at=tapped_at)
        await classroom.grade(quiz)
        await close(message)

    monkeypatch.setattr(classroom.messenger, "close_message", closing)


async def test_an_edit_that_closes_a_copy_covers_no_feedback(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = await classroom.join()
    first = await classroom.ask(learner)
    await later(classroom)
    answer_while_a_message_is_closed(classroom, first, monkeypatch)
    second = await classroom.ask(learner)
    ((explained, _),) = classroom.messenger.feedback
    assert explained.message_id == second.message_id != first.message_id
    assert [one.message_id for one in classroom.messenger.closed] == [first.message_id]


async def test_feedback_that_an_edit_for_other_topics_covers_is_shown_again(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    answer_while_a_message_is_closed(classroom, quiz, monkeypatch)
    await classroom.repository.set_topics(learner.id, [topic for topic in Topic if topic is not quiz.question.topic])
    await classroom.ask(learner)
    assert quiz.id in await classroom.repository.find_missing_feedback(timedelta(), 1000)


@pytest.mark.parametrize(
    "error", [TelegramUnavailableError("no answer"), RateLimitedError(9), TelegramError("it is refused")]
)
async def test_an_old_copy_stays_open_as_long_as_no_new_one_comes(classroom: Classroom, error: TelegramError) -> None:
    learner = await classroom.join()
    first = await classroom.ask(learner)
    await later(classroom)
    classroom.messenger.failures[learner.id] = [error]
    (again,) = await classroom.serve(learner, QuizKind.ON_DEMAND)
    assert again.outcome is Outcome.FAILED
    await close_messages(classroom.context, [learner.id])
    assert classroom.messenger.closed == []
    assert await classroom.tap(first, right=True)


async def test_a_copy_that_comes_after_the_old_one_is_answered_is_closed(classroom: Classroom) -> None:
    learner = await classroom.join()
    first = await classroom.ask(learner)
    assert first.message_id is not None
    new = SentQuestion(first.id, first.message_id + 1, first.bot_id)
    await classroom.repository.begin_sending([first.id], again=True)
    assert await classroom.tap(first, right=True)
    await classroom.repository.mark_sent([new])
    await close_messages(classroom.context, [learner.id])
    closed = StaleMessage(learner.id, first.bot_id, new.message_id, StaleReason.ANSWERED, first.bot_id)
    assert classroom.messenger.closed == [closed]
    assert (await classroom.quiz(first.id)).message_id == first.message_id


async def test_of_copies_that_are_noted_in_another_order_the_newest_stays_open(classroom: Classroom) -> None:
    learner = await classroom.join()
    first = await classroom.ask(learner)
    assert first.message_id is not None
    for place in (2, 1):
        await classroom.repository.mark_sent([SentQuestion(first.id, first.message_id + place, first.bot_id)])
    await close_messages(classroom.context, [learner.id])
    closed = {one.message_id - first.message_id for one in classroom.messenger.closed}
    assert closed == {0, 1}
    assert (await classroom.quiz(first.id)).message_id == first.message_id + 2


@pytest.mark.parametrize("kind", [QuizKind.ON_DEMAND, QuizKind.REVIEW])
async def test_who_asks_after_choosing_other_topics_gets_a_new_question(classroom: Classroom, kind: QuizKind) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    before = datetime.now(UTC)
    for topics in ([], [quiz.question.topic]):
        await classroom.repository.set_topics(learner.id, topics)
        await classroom.serve(learner, kind)
        assert (await classroom.quiz(quiz.id)).state is QuizState.SENT
    await classroom.repository.set_topics(learner.id, [topic for topic in Topic if topic is not quiz.question.topic])
    await classroom.serve(learner, kind)
    assert [(one.message_id, one.reason) for one in classroom.messenger.closed] == [
        (quiz.message_id, StaleReason.TOPICS)
    ]
    assert not await classroom.tap(quiz, right=True, at=datetime.now(UTC) + timedelta(seconds=1))
    await later(classroom)
    assert (await classroom.ask(learner)).question.topic is not quiz.question.topic
    assert await classroom.tap(quiz, right=True, at=before)  # what was tapped in time counts


async def test_who_does_not_know_keeps_points_and_run_and_gets_a_streak_and_a_review(classroom: Classroom) -> None:
    learner = await classroom.join()
    for _ in range(2):
        await classroom.answer(learner, right=True)
    quiz = await classroom.ask(learner)
    tap = Tap(quiz.id, learner.id, UNKNOWN_CHOICE, datetime.now(UTC), quiz.message_id, quiz.bot_id)
    assert await classroom.repository.record_taps([tap]) == [quiz.id]
    before, grade = await classroom.state_of(learner), await classroom.grade(quiz)
    after = await classroom.state_of(learner)
    assert (await classroom.quiz(quiz.id)).is_unknown
    assert not grade.correct
    assert (grade.after.points, grade.after.run, grade.after.level) == (before.level_progress, 2, before.level)
    assert after.ability < before.ability
    assert after.streak_days == 1
    assert (await classroom.repository.count_reviews(learner.id, datetime.now(UTC))).later == 1


async def test_the_button_decides_not_the_place_of_the_option_in_the_bank(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    place = button_of(quiz, right=True)
    tap = Tap(quiz.id, learner.id, place, datetime.now(UTC), None, quiz.bot_id)
    assert await classroom.repository.record_taps([tap]) == [quiz.id]
    assert (await classroom.quiz(quiz.id)).is_correct


async def test_the_first_tap_counts(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    assert await classroom.tap(quiz, right=False)
    assert not await classroom.tap(quiz, right=True)
    assert not (await classroom.quiz(quiz.id)).is_correct


async def test_a_tap_on_somebody_elses_question_counts_for_nothing(classroom: Classroom) -> None:
    owner, other = await classroom.join(), await classroom.join()
    quiz = await classroom.ask(owner)
    tap = Tap(quiz.id, other.id, 0, datetime.now(UTC), None, quiz.bot_id)
    assert await classroom.repository.record_taps([tap]) == []
    assert (await classroom.quiz(quiz.id)).state is QuizState.SENT


async def test_of_many_taps_at_once_each_quizs_first_by_its_learner_in_time_counts(classroom: Classroom) -> None:
    ada, bob = await classroom.join(), await classroom.join()
    hers, his = await classroom.ask(ada), await classroom.ask(bob)
    now = datetime.now(UTC)

    def tap(quiz: Quiz, learner: Learner, place: int, days: int = 0) -> Tap:
        return Tap(quiz.id, learner.id, place, now + timedelta(days=days), 10**6 + place, quiz.bot_id)

    taps = [
        tap(hers, bob, 0),
        tap(hers, ada, 1, days=365),
        tap(hers, ada, 2),
        tap(his, bob, 3),
        tap(hers, ada, 3),
        tap(his, bob, 0),
    ]
    assert sorted(await classroom.repository.record_taps(taps)) == sorted([hers.id, his.id])
    assert await classroom.repository.record_taps(taps) == []
    hers, his = await classroom.quiz(hers.id), await classroom.quiz(his.id)
    assert (hers.option_order.index(hers.chosen or 0), hers.message_id, hers.answered_at) == (2, 10**6 + 2, now)
    assert (his.option_order.index(his.chosen or 0), his.message_id) == (3, 10**6 + 3)


async def test_workers_that_take_the_same_taps_at_once_take_each_answer_once(classroom: Classroom) -> None:
    quizzes = [await classroom.ask(await classroom.join()) for _ in range(10)]
    taps = [Tap(quiz.id, quiz.learner_id, 0, datetime.now(UTC), None, quiz.bot_id) for quiz in quizzes]
    batches = [taps, taps[::-1], taps[5:] + taps[:5], taps]
    taken = await asyncio.gather(*(classroom.repository.record_taps(batch) for batch in batches))
    assert sorted(quiz_id for batch in taken for quiz_id in batch) == sorted(quiz.id for quiz in quizzes)


async def test_a_tap_after_the_quiz_expired_counts_for_nothing(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    lifetime = timedelta(hours=classroom.context.settings.quiz_expires_after_hours)
    assert not await classroom.tap(quiz, right=True, at=datetime.now(UTC) + lifetime)


async def test_each_answer_is_graded_and_told_once(classroom: Classroom) -> None:
    learner = await classroom.join()
    grade = await classroom.answer(learner, right=True)
    ((told_quiz, told_grade),) = classroom.messenger.feedback
    assert told_grade == grade
    assert (await classroom.quiz(told_quiz.id)).state is QuizState.GRADED
    assert told_quiz.id not in await classroom.repository.find_missing_feedback(timedelta(), 100)


async def test_a_tap_in_time_counts_although_the_quiz_was_closed_while_it_waited(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    tapped_at = datetime.now(UTC)
    pool = classroom.repository.database._pool  # noqa: SLF001
    await pool.execute("UPDATE quizzes SET expires_at = now() WHERE id = $1", quiz.id)
    await classroom.repository.expire_quizzes()
    assert (await classroom.quiz(quiz.id)).state is QuizState.EXPIRED
    assert await classroom.tap(quiz, right=True, at=tapped_at)
    assert (await classroom.grade(quiz)).correct
