"""Grading: take a learner's answer, work out what it changes, keep it whole, and tell the learner.

Plain functions that may run again after any crash: each takes its work from rows and leaves its result in rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from adaptation.ratings import LEVEL_DIFFICULTY, QUESTION_PRIORS, expected_success, update_ratings
from adaptation.reviews import remember
from difficulty_adapter import Answer, Progress, Rules, Streak, calculate_adaptation
from domain.catalog import Level, QuizState
from domain.errors import LearnerUnreachableError, RateLimitedError, TelegramError, TelegramUnavailableError
from domain.ids import QuizId
from domain.learning import GradingFacts, Lesson, Rating
from domain.models import Delivery, Grade, Learner, Outcome, Quiz, Tap
from domain.settings import Settings
from observability import metrics
from quiz_session import SENDERS, Services, make_delivery

GRADE_ATTEMPTS = 8
"""Tries to keep a grade while other grades of the same learner come in between."""


def rules_of(settings: Settings) -> Rules:
    """Return the numbers of the level machine that the settings ask for.

    Args:
        settings: with bounds checked.
    """
    return Rules(
        limit=settings.correct_threshold_for_promotion,
        penalty=settings.points_per_miss,
        placement_answers=settings.placement_answers,
        placement_confidence=settings.placement_confidence,
        target_success=settings.target_success,
        confidence=settings.gate_confidence,
        freeze_days=settings.streak_freeze_days,
        most_freezes=settings.streak_freezes_kept,
    )


# ---------------------------------------------------------------- taking answers


async def record_tap(services: Services, tap: Tap) -> bool:
    """Take a learner's answer, if it is the first to an open quiz of theirs, and return whether it is.

    Args:
        services: what to work with.
        tap: who tapped which button when.
    """
    return await services.repository.record_tap(tap)


async def validate_answers(services: Services, quiz_ids: Iterable[QuizId]) -> list[Quiz]:
    """Return those quizzes whose answer waits to be graded.

    Args:
        services: what to work with.
        quiz_ids: candidates.
    """
    quizzes = await services.repository.get_quizzes(quiz_ids)
    return [quiz for quiz in quizzes if quiz.state is QuizState.ANSWERED]


# ---------------------------------------------------------------- working out what they change


@dataclass(frozen=True, slots=True)
class Proposal:
    """A grade that is worked out and not kept yet."""

    quiz: Quiz
    learner: Learner
    grade: Grade
    lesson: Lesson
    difficulties: Mapping[Level, float]
    """Mean difficulty of each level's questions that the grade goes by, in logits."""


async def adapt_difficulty(services: Services, quizzes: Sequence[Quiz]) -> list[Proposal]:
    """Work out what each answer changes, from the learners' present states.

    Args:
        services: what to work with.
        quizzes: answered quizzes; of two of one learner, the later is worked out when the earlier is kept.
    """
    if not quizzes:
        return []
    learners = await services.repository.get_user_states({quiz.learner_id for quiz in quizzes})
    facts = await services.repository.get_grading_facts([quiz.id for quiz in quizzes])
    difficulties = await services.repository.read_level_difficulties(LEVEL_DIFFICULTY)
    rules = rules_of(services.settings)
    return [
        propose(quiz, learners[quiz.learner_id], facts[quiz.id], difficulties, rules)
        for quiz in quizzes
        if quiz.learner_id in learners and quiz.id in facts
    ]


def propose(
    quiz: Quiz, learner: Learner, facts: GradingFacts, difficulties: Mapping[Level, float], rules: Rules
) -> Proposal:
    """Work out what one answer changes. Pure.

    Args:
        quiz: with what was chosen and when.
        learner: the state it starts from.
        facts: what is known of the question, and of this learner with it.
        difficulties: mean difficulty of each level's questions, in logits.
        rules: the numbers to go by.
    """
    lesson = learn(quiz, learner, facts)
    grade = grade_answer(quiz, learner, rules, lesson.ability_after, difficulties)
    return Proposal(quiz, learner, grade, lesson, difficulties)


def learn(quiz: Quiz, learner: Learner, facts: GradingFacts) -> Lesson:
    """Work out what one answer teaches about learner and question. Pure.

    Only a first answer moves ratings: whoever meets a question again may know its answer and not its matter.

    Args:
        quiz: with what was chosen and when.
        learner: the state it starts from.
        facts: what is known of the question, and of this learner with it.
    """
    ability = Rating(learner.ability, learner.ability_variance)
    question = facts.rating or QUESTION_PRIORS[facts.level]
    rated = not (quiz.is_review or facts.answered_before)
    after = update_ratings(ability, question, correct=quiz.is_correct) if rated else (ability, question)
    return Lesson(
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
    rules: Rules,
    ability: Rating | None = None,
    difficulties: Mapping[Level, float] = LEVEL_DIFFICULTY,
) -> Grade:
    """Work out what one answer changes for its learner. Pure.

    Args:
        quiz: with what was chosen and when.
        learner: the state it starts from.
        rules: the numbers to go by.
        ability: the learner's rating with this answer counted; None if ratings play no part.
        difficulties: mean difficulty of each level's questions, in logits.
    """
    streak = Streak(learner.streak_days, learner.last_day_here, learner.freezes)
    before = Progress(learner.level, learner.points, learner.run, learner.placement_left, streak)
    answer = Answer.RIGHT if quiz.is_correct else Answer.WRONG
    local_day = learner.local_day(answered_at(quiz))
    after = calculate_adaptation(before, answer, local_day, rules, ability, difficulties).after
    return Grade(
        quiz_id=quiz.id,
        learner_id=learner.id,
        correct=quiz.is_correct,
        level_before=before.level,
        level_after=after.level,
        points_before=before.points,
        points_after=after.points,
        run_before=before.run,
        run_after=after.run,
        placement_left=after.placement_left,
        was_placed=before.placement_left > 0 and after.placement_left == 0,
        streak_before=before.streak.days,
        streak_after=after.streak.days,
        freezes_before=before.streak.freezes,
        freezes_after=after.streak.freezes,
        local_day=local_day,
    )


def answered_at(quiz: Quiz) -> datetime:
    """Return when a quiz was answered.

    Args:
        quiz: an answered one.

    Raises:
        ValueError: it is not answered.
    """
    if quiz.answered_at is None:
        msg = f"quiz {quiz.id} is not answered"
        raise ValueError(msg)
    return quiz.answered_at


# ---------------------------------------------------------------- keeping and telling it


async def persist_answers(services: Services, proposals: Sequence[Proposal]) -> list[Grade]:
    """Keep grades, each whole or not at all; one whose learner moved on meanwhile is worked out anew.

    Args:
        services: what to work with.
        proposals: what was worked out.

    Returns:
        The grades that this call kept.
    """
    kept: list[Grade] = []
    pending = list(proposals)
    for _ in range(GRADE_ATTEMPTS):
        results = await asyncio.gather(*(_persist(services, proposal) for proposal in pending))
        kept += [proposal.grade for proposal, done in zip(pending, results, strict=True) if done]
        left = [proposal.quiz.id for proposal, done in zip(pending, results, strict=True) if not done]
        if not left:
            break
        pending = await adapt_difficulty(services, await validate_answers(services, left))
        if not pending:
            break
    return kept


async def _persist(services: Services, proposal: Proposal) -> bool:
    grade, learner = proposal.grade, proposal.learner
    latest = max(grade.local_day, learner.last_day_here or grade.local_day)
    kept = await services.repository.persist_answer(
        grade, proposal.lesson, proposal.difficulties, learner.version, latest
    )
    if not kept:
        return False
    metrics.ANSWERS_GRADED.labels(str(grade.correct).lower()).inc()
    if grade.level_after != grade.level_before:
        metrics.LEVEL_CHANGES.labels("up" if grade.level_after > grade.level_before else "down").inc()
    return True


async def give_feedback(services: Services, quiz_ids: Sequence[QuizId]) -> list[Delivery]:
    """Tell learners what became of their answers; what does not get through is told again by the upkeep.

    Args:
        services: what to work with.
        quiz_ids: graded quizzes.

    Returns:
        What became of each message.
    """
    grades = await services.repository.get_grades(quiz_ids)
    quizzes = [quiz for quiz in await services.repository.get_quizzes(grades) if quiz.state is QuizState.GRADED]
    turns = asyncio.Semaphore(SENDERS)

    async def tell(quiz: Quiz) -> tuple[Delivery, bool]:
        async with turns:
            return await _tell(services, quiz, grades[quiz.id])

    results = await asyncio.gather(*(tell(quiz) for quiz in quizzes))
    told = [quiz.id for quiz, (_, settled) in zip(quizzes, results, strict=True) if settled]
    if told:
        await services.repository.mark_told(told)
    return [delivery for delivery, _ in results]


async def _tell(services: Services, quiz: Quiz, grade: Grade) -> tuple[Delivery, bool]:
    """Send one feedback; return what became of it and whether that settles it."""
    try:
        await services.messenger.send_feedback(quiz, grade)
    except LearnerUnreachableError as error:
        await services.repository.set_blocked(quiz.learner_id, quiz.message_bot_id, blocked=True)
        return make_delivery(quiz, Outcome.FAILED, str(error)), True
    except (TelegramUnavailableError, RateLimitedError) as error:
        return make_delivery(quiz, Outcome.FAILED, f"{error} (will be tried again)"), False
    except TelegramError as error:
        return make_delivery(quiz, Outcome.FAILED, str(error)), True
    if quiz.answered_at:
        metrics.FEEDBACK_SECONDS.observe(max(0.0, (services.now() - quiz.answered_at).total_seconds()))
    return make_delivery(quiz, Outcome.SENT), True


async def grade_answers(services: Services, quiz_ids: Sequence[QuizId]) -> list[Delivery]:
    """Validate, adapt, persist and tell in one go: what the grading flow does step by step.

    Args:
        services: what to work with.
        quiz_ids: answered quizzes.
    """
    proposals = await adapt_difficulty(services, await validate_answers(services, quiz_ids))
    await persist_answers(services, proposals)
    return await give_feedback(services, quiz_ids)
