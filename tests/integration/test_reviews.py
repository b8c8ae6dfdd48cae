"""How a missed question comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from domain.catalog import QuestionSource, QuizKind, Topic
from domain.models import Learner, Quiz
from question_sources.computed import ComputedSource, ReviewSource
from question_sources.stored import SeenSource
from quiz_generator import QuestionGenerator
from tests.support.classroom import Classroom

MORNING = datetime(2026, 3, 2, 9, tzinfo=UTC)
A_DAY = timedelta(days=1)


def on_day(classroom: Classroom, number: int) -> datetime:
    """Set the classroom's clock to a day counted from a Monday, and return its morning."""
    moment = MORNING + number * A_DAY
    classroom.context = replace(classroom.context, now=lambda: moment)
    return moment


async def asked_on(classroom: Classroom, learner: Learner, day: int, *, right: bool) -> Quiz:
    """Let a learner answer a question on a day, and return its quiz."""
    await classroom.answer(learner, right=right, at=on_day(classroom, day))
    return classroom.messenger.questions[-1][0]


async def test_a_missed_question_comes_back_the_day_after(classroom: Classroom) -> None:
    learner = await classroom.join()
    for _ in range(2):
        await asked_on(classroom, learner, 0, right=True)
    missed = await asked_on(classroom, learner, 0, right=False)
    again = await asked_on(classroom, learner, 1, right=True)
    assert again.question.key == missed.question.key
    assert again.is_review
    assert not missed.is_review


async def test_what_was_known_at_once_does_not_come_back(classroom: Classroom) -> None:
    learner = await classroom.join()
    for day in range(6):
        assert not (await asked_on(classroom, learner, day, right=True)).is_review


async def test_at_most_one_quiz_in_four_is_a_review(classroom: Classroom) -> None:
    learner = await classroom.join()
    for _ in range(8):
        await asked_on(classroom, learner, 0, right=False)
    reviews = [(await asked_on(classroom, learner, 30 + n, right=True)).is_review for n in range(8)]
    assert reviews == [True, False, False, False, True, False, False, False]


async def test_a_review_that_is_asked_for_comes_however_many_there_were(classroom: Classroom) -> None:
    learner = await classroom.join()
    missed = {(await asked_on(classroom, learner, 0, right=False)).question.key for _ in range(3)}
    at = on_day(classroom, 30)
    for _ in range(3):
        (delivery,) = await classroom.serve(learner, QuizKind.REVIEW)
        assert delivery.quiz_id is not None
        quiz = await classroom.quiz(delivery.quiz_id)
        missed.remove(quiz.question.key)
        assert await classroom.tap(quiz, right=True, at=at)
        await classroom.grade(quiz)
    (delivery,) = await classroom.serve(learner, QuizKind.REVIEW)
    assert delivery.reason == "nothing to review"


async def test_a_review_known_comes_back_later_and_one_missed_comes_back_soon(classroom: Classroom) -> None:
    learner = await classroom.join()
    await asked_on(classroom, learner, 0, right=False)
    for day, right, waits in ((1, True, 2), (3, True, 6), (9, False, 2)):
        at = on_day(classroom, day)
        (delivery,) = await classroom.serve(learner, QuizKind.REVIEW)
        assert delivery.quiz_id is not None, (day, delivery)
        quiz = await classroom.quiz(delivery.quiz_id)
        assert await classroom.tap(quiz, right=right, at=at)
        await classroom.grade(quiz)
        waiting = await classroom.repository.count_reviews(learner.id, at)
        assert (waiting.due, waiting.later) == (0, 1)
        assert waiting.next_at is not None
        assert (waiting.next_at - at).days >= waits - 1


async def test_a_review_moves_no_rating(classroom: Classroom) -> None:
    learner = await classroom.join()
    missed = await asked_on(classroom, learner, 0, right=False)
    before, item = await classroom.state_of(learner), missed.question.key
    rating = await classroom.repository.get_item_ratings([item])
    on_day(classroom, 1)
    (delivery,) = await classroom.serve(learner, QuizKind.REVIEW)
    assert delivery.quiz_id is not None
    quiz = await classroom.quiz(delivery.quiz_id)
    assert await classroom.tap(quiz, right=True, at=on_day(classroom, 1))
    await classroom.grade(quiz)
    after = await classroom.state_of(learner)
    assert (after.ability, after.ability_variance) == (before.ability, before.ability_variance)
    assert await classroom.repository.get_item_ratings([item]) == rating
    assert (after.run, after.version) == (1, before.version + 1)


async def test_only_chosen_topics_come_back(classroom: Classroom) -> None:
    learner = await classroom.join(preferred_topics=(Topic.STREAMING,))
    await asked_on(classroom, learner, 0, right=False)
    await classroom.repository.set_topics(learner.id, [Topic.DATA_QUALITY])
    assert (await classroom.repository.count_reviews(learner.id, on_day(classroom, 5))).due == 0
    await classroom.repository.set_topics(learner.id, [])
    assert (await classroom.repository.count_reviews(learner.id, on_day(classroom, 5))).due == 1


async def test_a_question_in_doubt_does_not_come_back(classroom: Classroom) -> None:
    learner = await classroom.join()
    missed = await asked_on(classroom, learner, 0, right=False)
    await classroom.repository.quarantine_question(missed.question.key, "doubted")
    (delivery,) = await classroom.serve(learner, QuizKind.REVIEW)
    assert delivery.reason == "nothing to review"
    await classroom.repository.restore_question(missed.question.key)


async def test_a_review_that_is_open_in_the_chat_is_not_given_a_second_time(classroom: Classroom) -> None:
    learner = await classroom.join()
    for _ in range(3):
        await asked_on(classroom, learner, 0, right=True)
    missed = await asked_on(classroom, learner, 0, right=False)
    at = on_day(classroom, 1)
    daily = await classroom.ask(learner, QuizKind.DAILY)
    assert (daily.question.key, daily.is_review) == (missed.question.key, True)
    assert await classroom.repository.find_due_reviews([learner.id], at, 4, asked_for=True) == {}


async def test_a_computed_question_comes_back_with_fresh_numbers(classroom: Classroom) -> None:
    computed = ComputedSource(classroom.repository)
    generator = QuestionGenerator(
        [computed], last=SeenSource(classroom.repository), reviews=ReviewSource(classroom.repository, computed)
    )
    classroom.context = replace(classroom.context, generator=generator)
    learner = await classroom.join()
    missed = await asked_on(classroom, learner, 0, right=False)
    assert missed.question.source is QuestionSource.COMPUTED
    at = on_day(classroom, 1)
    (delivery,) = await classroom.serve(learner, QuizKind.REVIEW)
    assert delivery.quiz_id is not None
    again = await classroom.quiz(delivery.quiz_id)
    template, _, seed = missed.question.key.rpartition("-")
    assert again.question.key == f"{template}-{int(seed) + 1}"
    assert await classroom.tap(again, right=True, at=at)
    await classroom.grade(again)
    assert (await classroom.repository.count_reviews(learner.id, at)).later == 1
