"""The use cases between the bot, the flows and the storage: plain functions that may run again after any crash.

Each takes its work from rows and leaves its result in rows, so that a retry, a second worker or an operator's rerun
finds what is still undone and does only that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from difficulty_adapter import Answer, Progress, calculate_adaptation
from domain.catalog import OPTION_COUNT, Priority, QuizKind, QuizState
from domain.errors import (
    LearnerUnreachableError,
    StorageUnavailableError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import LearnerId, QuizId
from domain.models import Delivery, Grade, Learner, Outcome, Quiz
from domain.settings import Settings
from observability import metrics
from quiz_generator import QuestionGenerator
from repository import Repository

logger = logging.getLogger(__name__)

SENDERS = 16
"""Messages under way at once: enough to fill Telegram's rate at its usual latency."""

MAX_SEND_ATTEMPTS = 3
GRADE_ATTEMPTS = 8
"""Tries to keep a grade while other grades of the same learner come in between."""


NOT_REGISTERED = "not registered"
NO_QUESTION = "no question for their level and topics"


class Messenger(Protocol):
    """What puts quizzes and feedback into a learner's chat."""

    async def send_question(self, quiz: Quiz, priority: Priority) -> int:
        """Send a question and return its message's id.

        Args:
            quiz: what to ask.
            priority: whether the learner waits for it.

        Raises:
            LearnerUnreachableError: the learner blocked the bot or is gone.
            TelegramUnavailableError: no answer came.
            TelegramError: Telegram refused it for good.
        """

    async def send_feedback(self, quiz: Quiz, grade: Grade) -> None:
        """Show what was right, why, and what the answer changed.

        Args:
            quiz: the answered quiz.
            grade: what the answer changed.

        Raises:
            LearnerUnreachableError: the learner blocked the bot or is gone.
            MessageGoneError: there is no message to show it in.
            TelegramUnavailableError: no answer came.
            TelegramError: Telegram refused it for good.
        """


@dataclass(frozen=True, slots=True)
class Services:
    """What the use cases work with; tests hand in their own clock and randomness."""

    settings: Settings
    repository: Repository
    generator: QuestionGenerator
    messenger: Messenger
    forget_runs: Callable[[LearnerId], Awaitable[None]] | None = None
    """Deletes the run records that are named after a learner, where there is something that keeps them."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    rng: random.Random = field(default_factory=random.SystemRandom)


# ---------------------------------------------------------------- who is due


async def find_due_learners(
    services: Services, at: datetime, among: Sequence[LearnerId] | None = None, limit: int | None = None
) -> list[LearnerId]:
    """Return who is to get the daily quiz.

    Args:
        services: what to work with.
        at: the moment up to which a learner is due.
        among: only these; everybody when None.
        limit: how many at most.
    """
    return await services.repository.find_due_learners(at, among, limit)


def deal_cohorts(learner_ids: Sequence[LearnerId], most: int) -> list[list[LearnerId]]:
    """Deal learners into at most so many cohorts of nearly the same size, in order.

    Args:
        learner_ids: everybody to deal.
        most: how many cohorts at most, at least 1.
    """
    count = min(most, len(learner_ids))
    size, extra = divmod(len(learner_ids), count) if count else (0, 0)
    cohorts, start = [], 0
    for place in range(count):
        end = start + size + (1 if place < extra else 0)
        cohorts.append(list(learner_ids[start:end]))
        start = end
    return cohorts


# ---------------------------------------------------------------- making quizzes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Quizzes that wait to be sent, and learners who get none, with the reason."""

    quiz_ids: list[QuizId]
    skipped: list[Delivery]


async def prepare_quizzes(services: Services, learner_ids: Sequence[LearnerId], kind: QuizKind) -> Prepared:
    """Make a quiz for each learner who is to have one.

    Run again, it makes none twice: a daily quiz belongs to its local day, and a learner has one open quiz on demand.

    Args:
        services: what to work with.
        learner_ids: who.
        kind: why.

    Raises:
        StorageUnavailableError: the database is away.
    """
    wanted = list(dict.fromkeys(learner_ids))
    learners = await services.repository.get_user_states(wanted)
    skipped = [Delivery(i, Outcome.SKIPPED, NOT_REGISTERED) for i in wanted if i not in learners]
    ready: list[Learner] = []
    for learner in learners.values():
        reason = _reason_to_skip(learner, kind)
        if reason:
            skipped.append(Delivery(learner.id, Outcome.SKIPPED, reason))
        else:
            ready.append(learner)
    waiting = await _quizzes_to_send_again(services, [learner.id for learner in ready], kind)
    missing = [learner for learner in ready if learner.id not in waiting]
    made = await _make_quizzes(services, missing, kind)
    for learner in missing:
        reason_or_id = made[learner.id]
        if isinstance(reason_or_id, Delivery):
            skipped.append(reason_or_id)
        else:
            waiting[learner.id] = reason_or_id
    return Prepared(list(waiting.values()), skipped)


def _reason_to_skip(learner: Learner, kind: QuizKind) -> str:
    if learner.blocked and kind is QuizKind.DAILY:
        return "blocked the bot"
    if not learner.daily_enabled and kind is QuizKind.DAILY:
        return "opted out of daily quizzes"
    return ""


async def _quizzes_to_send_again(
    services: Services, learner_ids: Sequence[LearnerId], kind: QuizKind
) -> dict[LearnerId, QuizId]:
    """Return open quizzes that serve instead of new ones: asked for again, or made before a crash and never sent."""
    open_quizzes = await services.repository.find_open_quizzes(learner_ids)
    return {
        quiz.learner_id: quiz.id
        for quiz in open_quizzes.values()
        if kind is QuizKind.ON_DEMAND or (quiz.kind is QuizKind.DAILY and quiz.state is QuizState.PENDING)
    }


async def _make_quizzes(
    services: Services, learners: Sequence[Learner], kind: QuizKind
) -> dict[LearnerId, QuizId | Delivery]:
    if not learners:
        return {}
    questions = await services.generator.generate(learners, live=kind is QuizKind.ON_DEMAND)
    made = await services.repository.create_quizzes(
        kind,
        [
            (learner.id, questions[learner.id].id, _shuffled(services))
            for learner in learners
            if learner.id in questions
        ],
        timedelta(hours=services.settings.quiz_expires_after_hours),
    )
    has_one = "had today's quiz already" if kind is QuizKind.DAILY else "has an open quiz"
    results: dict[LearnerId, QuizId | Delivery] = {}
    for learner in learners:
        if learner.id in made:
            results[learner.id] = made[learner.id]
        elif learner.id in questions:
            results[learner.id] = Delivery(learner.id, Outcome.SKIPPED, has_one)
        else:
            results[learner.id] = Delivery(learner.id, Outcome.FAILED, NO_QUESTION)
    return results


def _shuffled(services: Services) -> list[int]:
    return services.rng.sample(range(OPTION_COUNT), OPTION_COUNT)


# ---------------------------------------------------------------- sending quizzes


async def deliver_quizzes(
    services: Services,
    quiz_ids: Sequence[QuizId],
    priority: Priority,
    *,
    again: bool = False,
    on_progress: Callable[[int], Awaitable[None]] | None = None,
) -> list[Delivery]:
    """Send quizzes at Telegram's pace.

    Args:
        services: what to work with.
        quiz_ids: which.
        priority: whether learners wait for them.
        again: True to also send quizzes whose sending began before, or that a learner asked to see again.
        on_progress: called with the number of quizzes done, after each.

    Returns:
        What became of each.

    Raises:
        StorageUnavailableError: the database went away in the middle; the rows say what is done.
    """
    quizzes = iter(await services.repository.get_quizzes(quiz_ids))
    deliveries: list[Delivery] = []

    async def sender() -> None:
        for quiz in quizzes:
            deliveries.append(await _deliver(services, quiz, priority, again=again))
            if on_progress:
                await on_progress(len(deliveries))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(SENDERS, len(quiz_ids))):
                group.create_task(sender())
    except* StorageUnavailableError as errors:
        raise errors.exceptions[0] from None
    return deliveries


async def _deliver(services: Services, quiz: Quiz, priority: Priority, *, again: bool) -> Delivery:
    repository = services.repository
    if not await repository.begin_sending(quiz.id, again=again):
        return _delivery(quiz, Outcome.SKIPPED, "is being sent already, or answered")
    try:
        message_id = await services.messenger.send_question(quiz, priority)
    except LearnerUnreachableError as error:
        await repository.set_blocked(quiz.learner_id, blocked=True)
        return await _failed(services, quiz, error, for_good=True)
    except TelegramUnavailableError as error:
        return await _failed(services, quiz, error, for_good=_is_hopeless(quiz))
    except TelegramError as error:
        return await _failed(services, quiz, error, for_good=True)
    await repository.mark_sent(quiz.id, message_id)
    metrics.QUIZZES_SENT.labels(quiz.kind).inc()
    return _delivery(quiz, Outcome.SENT)


def _is_hopeless(quiz: Quiz) -> bool:
    """Say whether to give up on a quiz that never got through; one that is in the chat already stays answerable."""
    return quiz.message_id is None and quiz.attempts + 1 >= MAX_SEND_ATTEMPTS


async def _failed(services: Services, quiz: Quiz, error: TelegramError, *, for_good: bool) -> Delivery:
    await services.repository.mark_send_failed(quiz.id, str(error), for_good=for_good)
    metrics.QUIZZES_FAILED.labels(type(error).__name__).inc()
    return _delivery(quiz, Outcome.FAILED, f"{error}{'' if for_good else ' (will be tried again)'}")


def _delivery(quiz: Quiz, outcome: Outcome, reason: str = "") -> Delivery:
    return Delivery(quiz.learner_id, outcome, reason, quiz.question.topic, quiz.question.level, quiz.id)


# ---------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Tap:
    """A learner's tap on a quiz's button."""

    quiz_id: QuizId
    learner_id: LearnerId
    place: int
    at: datetime
    message_id: int | None


async def record_tap(services: Services, tap: Tap) -> bool:
    """Take a learner's answer, if it is the first to an open quiz of theirs, and return whether it is.

    Args:
        services: what to work with.
        tap: who tapped which button when.
    """
    return await services.repository.record_tap(tap.quiz_id, tap.learner_id, tap.place, tap.at, tap.message_id)


async def validate_answers(services: Services, quiz_ids: Iterable[QuizId]) -> list[Quiz]:
    """Return those quizzes whose answer waits to be graded.

    Args:
        services: what to work with.
        quiz_ids: candidates.
    """
    quizzes = await services.repository.get_quizzes(quiz_ids)
    return [quiz for quiz in quizzes if quiz.state is QuizState.ANSWERED]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A grade that is worked out and not kept yet."""

    quiz: Quiz
    learner: Learner
    grade: Grade


async def adapt_difficulty(services: Services, quizzes: Sequence[Quiz]) -> list[Proposal]:
    """Work out what each answer changes, from the learners' present states.

    Args:
        services: what to work with.
        quizzes: answered quizzes; of two of one learner, the later is worked out when the earlier is kept.
    """
    learners = await services.repository.get_user_states({quiz.learner_id for quiz in quizzes})
    limit = services.settings.correct_threshold_for_promotion
    return [
        Proposal(quiz, learners[quiz.learner_id], grade_answer(quiz, learners[quiz.learner_id], limit))
        for quiz in quizzes
        if quiz.learner_id in learners
    ]


def grade_answer(quiz: Quiz, learner: Learner, limit: int) -> Grade:
    """Work out what one answer changes. Pure.

    Args:
        quiz: with what was chosen and when.
        learner: the state it starts from.
        limit: points at which a level changes.
    """
    if quiz.answered_at is None:
        msg = f"quiz {quiz.id} is not answered"
        raise ValueError(msg)
    progress = Progress(learner.level, learner.points, learner.streak_days, learner.last_answer_day)
    answer = Answer.RIGHT if quiz.is_correct else Answer.WRONG
    local_day = learner.local_day(quiz.answered_at)
    after = calculate_adaptation(progress, answer, local_day, limit).after
    return Grade(
        quiz_id=quiz.id,
        learner_id=learner.id,
        correct=quiz.is_correct,
        level_before=learner.level,
        level_after=after.level,
        points_before=learner.points,
        points_after=after.points,
        streak_before=learner.streak_days,
        streak_after=after.streak_days,
        local_day=local_day,
    )


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
    latest = max(grade.local_day, learner.last_answer_day or grade.local_day)
    if not await services.repository.persist_answer(grade, learner.version, latest):
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
        await services.repository.set_blocked(quiz.learner_id, blocked=True)
        return _delivery(quiz, Outcome.FAILED, str(error)), True
    except TelegramUnavailableError as error:
        return _delivery(quiz, Outcome.FAILED, f"{error} (will be tried again)"), False
    except TelegramError as error:
        return _delivery(quiz, Outcome.FAILED, str(error)), True
    if quiz.answered_at:
        metrics.FEEDBACK_SECONDS.observe(max(0.0, (services.now() - quiz.answered_at).total_seconds()))
    return _delivery(quiz, Outcome.SENT), True


async def grade_answers(services: Services, quiz_ids: Sequence[QuizId]) -> list[Delivery]:
    """Validate, adapt, persist and tell in one go: what the grading flow does step by step.

    Args:
        services: what to work with.
        quiz_ids: answered quizzes.
    """
    proposals = await adapt_difficulty(services, await validate_answers(services, quiz_ids))
    await persist_answers(services, proposals)
    return await give_feedback(services, quiz_ids)


async def serve_quizzes(services: Services, learner_ids: Sequence[LearnerId], kind: QuizKind) -> list[Delivery]:
    """Prepare and deliver in one go: what the quiz flow does step by step.

    Args:
        services: what to work with.
        learner_ids: who.
        kind: why.
    """
    prepared = await prepare_quizzes(services, learner_ids, kind)
    on_demand = kind is QuizKind.ON_DEMAND
    priority = Priority.INTERACTIVE if on_demand else Priority.BROADCAST
    return prepared.skipped + await deliver_quizzes(services, prepared.quiz_ids, priority, again=on_demand)
