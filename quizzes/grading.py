"""Grading: work out what learners' answers change, keep each whole, and send the feedback.

Plain functions that may run again after any crash: each takes its work from rows and leaves its result in rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from adaptation.ratings import LEVEL_DIFFICULTY, QUESTION_PRIORS, expected_success, update_ratings
from adaptation.reviews import remember
from difficulty_adapter import DEFAULT_RULES, LEVEL_RULES, Answer, Rules, calculate_adaptation, rules_of
from domain.catalog import UNKNOWN_CHOICE, Level, QuizState
from domain.errors import (
    LearnerUnreachableError,
    RateLimitedError,
    StorageUnavailableError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import QuizId
from domain.learning import GradingFacts, Rating, RatingUpdate
from domain.models import Delivery, Grade, Learner, Outcome, Progress, Quiz, Streak
from observability import metrics, tracing
from quizzes.context import QuizContext
from quizzes.delivery import SENDERS, WILL_RETRY, make_delivery, quiz_step

logger = logging.getLogger(__name__)

MAX_GRADE_ATTEMPTS = 8
"""Attempts to keep a grade while other grades of the same learner come in between."""


# ---------------------------------------------------------------- working out what answers change


async def validate_answers(context: QuizContext, quiz_ids: Iterable[QuizId]) -> list[Quiz]:
    """Return those quizzes that are answered, graded or not."""
    quizzes = await context.repository.get_quizzes(quiz_ids)
    return [quiz for quiz in quizzes if quiz.state in {QuizState.ANSWERED, QuizState.GRADED}]


@dataclass(frozen=True, slots=True)
class PendingGrade:
    """A grade that is worked out and not kept yet."""

    quiz: Quiz
    item: str
    """What is rated: the question's key, or its template's name."""
    learner: Learner
    grade: Grade
    rating_update: RatingUpdate
    difficulties: Mapping[Level, float]
    """Mean difficulty of each level's questions that the grade goes by, in logits."""


async def adapt_difficulty(context: QuizContext, quizzes: Sequence[Quiz]) -> list[PendingGrade]:
    """Work out what each answer changes, from the learners' present states.

    Args:
        quizzes: answered ones, of which those that are graded are left alone; of two of one learner, the later is
            worked out when the earlier is kept.
    """
    ungraded = [quiz for quiz in quizzes if quiz.state is QuizState.ANSWERED]
    if not ungraded:
        return []
    with tracing.steps("adapt difficulty", [quiz.learner_id for quiz in ungraded]):
        return await _adapt(context, ungraded)


async def _adapt(context: QuizContext, ungraded: Sequence[Quiz]) -> list[PendingGrade]:
    learners = await context.repository.get_user_states({quiz.learner_id for quiz in ungraded})
    facts = await context.repository.get_grading_facts([quiz.id for quiz in ungraded])
    difficulties = await context.repository.get_level_difficulties(LEVEL_DIFFICULTY)
    rules, pending, ratings = rules_of(context.settings), list[PendingGrade](), dict[str, Rating | None]()
    for quiz in ungraded:
        if quiz.learner_id not in learners or quiz.id not in facts:
            continue
        known = facts[quiz.id]
        known = replace(known, rating=ratings.get(known.item, known.rating))  # many may answer a new question at once
        pending.append(prepare_grade(quiz, learners[quiz.learner_id], known, difficulties, rules))
        if pending[-1].rating_update.rated:
            ratings[known.item] = pending[-1].rating_update.question_after
    return pending


def prepare_grade(
    quiz: Quiz, learner: Learner, facts: GradingFacts, difficulties: Mapping[Level, float], rules: Rules
) -> PendingGrade:
    """Work out what one answer changes. Pure.

    Args:
        difficulties: mean difficulty of each level's questions, in logits.
    """
    rating_update = rate_answer(quiz, learner, facts)
    grade = grade_answer(quiz, learner, rating_update.ability_after, rules, difficulties)
    return PendingGrade(quiz, facts.item, learner, grade, rating_update, difficulties)


def rate_answer(quiz: Quiz, learner: Learner, facts: GradingFacts) -> RatingUpdate:
    """Work out what one answer teaches about learner and question. Pure.

    Only a first answer moves ratings: a learner who meets a question again may just remember its answer.
    """
    ability = Rating(learner.ability, learner.ability_variance)
    question = facts.rating or QUESTION_PRIORS[facts.level]
    rated = not (quiz.is_review or facts.answered_before)
    after = update_ratings(ability, question, correct=quiz.is_correct) if rated else (ability, question)
    return RatingUpdate(
        quiz_id=quiz.id,
        success=expected_success(ability.mean, question.mean),
        rated=rated,
        ability_before=ability,
        ability_after=after[0],
        question_before=question,
        question_after=after[1],
        memory=remember(facts.memory, answered_at(quiz), correct=quiz.is_correct),
    )


def grade_answer(
    quiz: Quiz,
    learner: Learner,
    ability: Rating,
    rules: Rules = DEFAULT_RULES,
    difficulties: Mapping[Level, float] = LEVEL_DIFFICULTY,
) -> Grade:
    """Work out what one answer changes for its learner. Pure.

    Args:
        ability: the learner's rating with this answer counted.
        difficulties: mean difficulty of each level's questions, in logits.
    """
    streak = Streak(learner.streak_days, learner.last_day_here, learner.freezes)
    before = Progress(learner.level, learner.level_progress, learner.run, learner.placement_left, streak)
    answer = read_answer(quiz.chosen, correct=quiz.is_correct)
    local_day = learner.local_day(answered_at(quiz))
    after = calculate_adaptation(before, answer, local_day, ability, rules, difficulties).after
    return Grade(
        quiz_id=quiz.id,
        learner_id=learner.id,
        correct=quiz.is_correct,
        before=before,
        after=after,
        local_day=local_day,
        level_rules=LEVEL_RULES,
        ability=ability.mean,
        difficulties=difficulties,
    )


def read_answer(chosen: int | None, *, correct: bool) -> Answer:
    """Return how a question was answered, from what is stored."""
    if chosen == UNKNOWN_CHOICE:
        return Answer.UNKNOWN
    return Answer.RIGHT if correct else Answer.WRONG


def answered_at(quiz: Quiz) -> datetime:
    """Return when a quiz was answered.

    Raises:
        ValueError: it is not answered.
    """
    if quiz.answered_at is None:
        msg = f"quiz {quiz.id} is not answered"
        raise ValueError(msg)
    return quiz.answered_at


# ---------------------------------------------------------------- keeping it and sending the feedback


async def persist_answers(context: QuizContext, pending_grades: Sequence[PendingGrade]) -> list[Grade]:
    """Store grades, each whole or not at all; one whose learner was graded meanwhile is worked out anew.

    Returns:
        The grades that this call kept.
    """
    kept: list[Grade] = []
    pending = list(pending_grades)
    for _ in range(MAX_GRADE_ATTEMPTS):
        by_item = defaultdict[str, list[PendingGrade]](list)
        for one in pending:
            by_item[one.item].append(one)
        done = await asyncio.gather(*(_persist_in_turn(context, ones) for ones in by_item.values()))
        kept += [one.grade for ones in done for one in ones]
        graded = {grade.quiz_id for grade in kept}
        left = [one.quiz.id for one in pending if one.quiz.id not in graded]
        if not left:
            break
        pending = await adapt_difficulty(context, await validate_answers(context, left))
        if not pending:
            break
    return kept


async def _persist_in_turn(context: QuizContext, pending: Sequence[PendingGrade]) -> list[PendingGrade]:
    """Store answers to one question in the order in which they move its rating; return those that were kept."""
    return [one for one in pending if await _persist(context, one)]


async def _persist(context: QuizContext, pending: PendingGrade) -> bool:
    grade, version = pending.grade, pending.learner.version
    with quiz_step("persist grade", pending.quiz):
        kept = await context.repository.persist_answer(grade, pending.rating_update, pending.difficulties, version)
    if not kept:
        return False
    metrics.ANSWERS_GRADED.labels(str(grade.correct).lower()).inc()
    if grade.after.level != grade.before.level:
        metrics.LEVEL_CHANGES.labels("up" if grade.after.level > grade.before.level else "down").inc()
    return True


async def give_feedback(context: QuizContext, quizzes: Sequence[Quiz]) -> list[Delivery]:
    """Send learners the feedback on their answers; the upkeep retries what could not be sent.

    Args:
        quizzes: answered ones, as they were read before or after the grading; those without a grade are left alone.

    Returns:
        What became of each message.
    """
    grades = await context.repository.get_grades([quiz.id for quiz in quizzes]) if quizzes else {}
    graded = [quiz for quiz in quizzes if quiz.id in grades]
    turns = asyncio.Semaphore(SENDERS)

    async def send(quiz: Quiz) -> tuple[Delivery, bool]:
        async with turns:
            with quiz_step("send feedback", quiz):
                return await _send_feedback(context, quiz, grades[quiz.id])

    results = await asyncio.gather(*(send(quiz) for quiz in graded))
    done = [quiz.id for quiz, (_, is_final) in zip(graded, results, strict=True) if is_final]
    if done:
        await context.repository.mark_feedback_sent(done)
    return [delivery for delivery, _ in results]


async def _send_feedback(context: QuizContext, quiz: Quiz, grade: Grade) -> tuple[Delivery, bool]:
    """Send the feedback on one answer; return what became of it and whether that is final."""
    try:
        await context.messenger.send_feedback(quiz, grade)
    except LearnerUnreachableError as error:
        await context.repository.set_blocked(quiz.learner_id, quiz.message_bot_id, blocked=True)
        return make_delivery(quiz, Outcome.FAILED, str(error)), True
    except (TelegramUnavailableError, RateLimitedError) as error:
        return make_delivery(quiz, Outcome.FAILED, f"{error} {WILL_RETRY}"), False
    except TelegramError as error:
        return make_delivery(quiz, Outcome.FAILED, str(error)), True
    except StorageUnavailableError:
        raise
    except Exception as error:  # an unexpected error must not hold up other feedback
        logger.exception("the feedback to quiz %d could not be sent", quiz.id)
        return make_delivery(quiz, Outcome.FAILED, f"{type(error).__name__} {WILL_RETRY}"), False
    if quiz.answered_at:
        metrics.FEEDBACK_SECONDS.observe(max(0.0, (context.now() - quiz.answered_at).total_seconds()))
    return make_delivery(quiz, Outcome.SENT), True


async def grade_answers(context: QuizContext, quiz_ids: Sequence[QuizId]) -> list[Delivery]:
    """Validate, adapt, persist and send the feedback in one go."""
    return await grade_validated(context, await validate_answers(context, quiz_ids))


async def grade_validated(context: QuizContext, quizzes: Sequence[Quiz]) -> list[Delivery]:
    """Adapt, persist and send the feedback.

    Args:
        quizzes: answered ones; of those that are graded already only the feedback is sent.
    """
    await persist_answers(context, await adapt_difficulty(context, quizzes))
    return await give_feedback(context, quizzes)
