"""The use cases between the bot, the flows and the storage: plain functions that may run again after any crash.

Each takes its work from rows and leaves its result in rows, so that a retry, a second worker or an operator's rerun
finds what is still undone and does only that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from domain.catalog import OPTION_COUNT, Priority, QuizKind, QuizState
from domain.errors import (
    LearnerUnreachableError,
    RateLimitedError,
    StorageUnavailableError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import BotId, LearnerId, QuizId
from domain.models import Delivery, Grade, Learner, NewQuiz, Outcome, Question, Quiz
from domain.settings import Settings
from observability import metrics
from quiz_generator import QuestionGenerator
from repository import Repository

logger = logging.getLogger(__name__)

SENDERS = 16
"""Messages under way at once: enough to fill Telegram's rate at its usual latency."""

NOT_REGISTERED = "not registered"
UNREACHABLE = "blocked the bot"
OPTED_OUT = "opted out of daily quizzes"
HAD_ALREADY = "had today's quiz already"
NOT_DUE = "is not due any more"
NO_QUESTION = "no question for their level and topics"
NO_REVIEW = "nothing to review"


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
    return await services.repository.find_due_learners(at, among, limit, services.settings.bots or None)


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


async def share_out(
    services: Services, learner_ids: Sequence[LearnerId], most: int
) -> dict[BotId, list[list[LearnerId]]]:
    """Deal learners into cohorts of one bot each, a bot's share of the cohorts being that of its learners.

    Args:
        services: what to work with.
        learner_ids: everybody to deal.
        most: how many cohorts at most; one a bot where there are more bots than that.

    Raises:
        StorageUnavailableError: the database is away.
    """
    bots = tuple(services.settings.bots)
    groups = {bots[0]: learner_ids} if len(bots) == 1 else await services.repository.group_by_bot(learner_ids)
    return {
        bot_id: deal_cohorts(group, max(1, most * len(group) // len(learner_ids))) for bot_id, group in groups.items()
    }


# ---------------------------------------------------------------- making quizzes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Quizzes that wait to be sent, and learners who get none, with the reason."""

    quiz_ids: list[QuizId]
    skipped: list[Delivery]


async def prepare_quizzes(
    services: Services, learner_ids: Sequence[LearnerId], kind: QuizKind, due_at: datetime | None = None
) -> Prepared:
    """Make a quiz for each learner who is to have one.

    Run again, it makes none twice: a daily quiz belongs to its local day, and a learner has one open quiz on demand.

    Args:
        services: what to work with.
        learner_ids: who.
        kind: why.
        due_at: only those whose daily quiz was due by then and is still to be made or sent; everybody when None.

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
    if due_at is not None:
        due = set(await find_due_learners(services, due_at, [learner.id for learner in missing]))
        skipped += [Delivery(learner.id, Outcome.SKIPPED, NOT_DUE) for learner in missing if learner.id not in due]
        missing = [learner for learner in missing if learner.id in due]
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
        return UNREACHABLE
    if not learner.daily_enabled and kind is QuizKind.DAILY:
        return OPTED_OUT
    return ""


async def _quizzes_to_send_again(
    services: Services, learner_ids: Sequence[LearnerId], kind: QuizKind
) -> dict[LearnerId, QuizId]:
    """Return open quizzes that serve instead of new ones: asked for again, or made before a crash and never sent."""
    open_quizzes = await services.repository.find_open_quizzes(learner_ids)
    return {
        quiz.learner_id: quiz.id
        for quiz in open_quizzes.values()
        if kind.is_awaited or (quiz.kind is QuizKind.DAILY and quiz.state is QuizState.PENDING)
    }


async def _make_quizzes(
    services: Services, learners: Sequence[Learner], kind: QuizKind
) -> dict[LearnerId, QuizId | Delivery]:
    if not learners:
        return {}
    reviews = await services.generator.draw_reviews(
        learners, services.now(), services.settings.review_every, asked_for=kind is QuizKind.REVIEW
    )
    questions: dict[LearnerId, Question] = dict(reviews)
    if kind is not QuizKind.REVIEW:
        rest = [learner for learner in learners if learner.id not in reviews]
        questions |= await services.generator.generate(rest, live=kind is QuizKind.ON_DEMAND) if rest else {}
    made = await services.repository.create_quizzes(
        kind,
        [
            NewQuiz(learner.id, questions[learner.id].id, _shuffled(services), is_review=learner.id in reviews)
            for learner in learners
            if learner.id in questions
        ],
        timedelta(hours=services.settings.quiz_expires_after_hours),
    )
    results: dict[LearnerId, QuizId | Delivery] = {}
    for learner in learners:
        if learner.id in made:
            results[learner.id] = made[learner.id]
        else:
            results[learner.id] = _not_made(learner.id, kind, drawn=learner.id in questions)
    return results


def _not_made(learner_id: LearnerId, kind: QuizKind, *, drawn: bool) -> Delivery:
    """Return why a learner got no new quiz, whether or not there was a question for them."""
    if drawn:
        reason = HAD_ALREADY if kind is QuizKind.DAILY else "has an open quiz"
        return Delivery(learner_id, Outcome.SKIPPED, reason)
    if kind is QuizKind.REVIEW:
        return Delivery(learner_id, Outcome.SKIPPED, NO_REVIEW)
    return Delivery(learner_id, Outcome.FAILED, NO_QUESTION)


def _shuffled(services: Services) -> list[int]:
    return services.rng.sample(range(OPTION_COUNT), OPTION_COUNT)


# ---------------------------------------------------------------- sending quizzes


async def deliver_quizzes(
    services: Services,
    quiz_ids: Sequence[QuizId],
    priority: Priority,
    *,
    again: bool = False,
    stalled_for: timedelta | None = None,
    on_progress: Callable[[int], Awaitable[None]] | None = None,
) -> list[Delivery]:
    """Send quizzes at Telegram's pace.

    Args:
        services: what to work with.
        quiz_ids: which.
        priority: whether learners wait for them.
        again: True to also send quizzes whose sending began before, or that a learner asked to see again.
        stalled_for: only those that nobody has touched for so long, so that of several who find them one sends them.
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
            if await services.repository.begin_sending(quiz.id, again=again, stalled_for=stalled_for):
                deliveries.append(await _deliver(services, quiz, priority))
            else:
                deliveries.append(make_delivery(quiz, Outcome.SKIPPED, "is being sent already, or answered"))
            if on_progress:
                await on_progress(len(deliveries))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(SENDERS, len(quiz_ids))):
                group.create_task(sender())
    except* StorageUnavailableError as errors:
        raise errors.exceptions[0] from None
    return deliveries


async def _deliver(services: Services, quiz: Quiz, priority: Priority) -> Delivery:
    repository = services.repository
    try:
        message_id = await services.messenger.send_question(quiz, priority)
    except LearnerUnreachableError as error:
        await repository.set_blocked(quiz.learner_id, quiz.bot_id, blocked=True)
        return await _failed(services, quiz, error, for_good=True)
    except (TelegramUnavailableError, RateLimitedError) as error:  # until it expires, it is tried again ever later
        return await _failed(services, quiz, error, for_good=False)
    except TelegramError as error:
        return await _failed(services, quiz, error, for_good=True)
    await repository.mark_sent(quiz.id, message_id, quiz.bot_id)
    metrics.QUIZZES_SENT.labels(quiz.kind).inc()
    return make_delivery(quiz, Outcome.SENT)


async def _failed(services: Services, quiz: Quiz, error: TelegramError, *, for_good: bool) -> Delivery:
    await services.repository.mark_send_failed(quiz.id, str(error), for_good=for_good)
    metrics.QUIZZES_FAILED.labels(type(error).__name__).inc()
    return make_delivery(quiz, Outcome.FAILED, f"{error}{'' if for_good else ' (will be tried again)'}")


def make_delivery(quiz: Quiz, outcome: Outcome, reason: str = "") -> Delivery:
    """Return the line of a run's report that is about a quiz.

    Args:
        quiz: which.
        outcome: what became of it.
        reason: why.
    """
    return Delivery(quiz.learner_id, outcome, reason, quiz.question.topic, quiz.question.level, quiz.id)


# ---------------------------------------------------------------- both in one go


async def serve_quizzes(services: Services, learner_ids: Sequence[LearnerId], kind: QuizKind) -> list[Delivery]:
    """Prepare and deliver in one go: what the quiz flow does step by step.

    Args:
        services: what to work with.
        learner_ids: who.
        kind: why.
    """
    prepared = await prepare_quizzes(services, learner_ids, kind)
    priority = Priority.INTERACTIVE if kind.is_awaited else Priority.BROADCAST
    return prepared.skipped + await deliver_quizzes(services, prepared.quiz_ids, priority, again=kind.is_awaited)
