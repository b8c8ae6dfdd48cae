"""Delivery: make quizzes for learners and send them.

Plain functions that may run again after any crash: each takes its work from rows and leaves its result in rows, so that
a retry, a second worker or an operator's rerun finds what is still undone and does only that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from domain.catalog import OPTION_COUNT, Priority, QuizKind, QuizState
from domain.errors import (
    BotRefusedError,
    LearnerUnreachableError,
    RateLimitedError,
    StorageUnavailableError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import LearnerId, QuizId
from domain.models import Delivery, FailureKind, Learner, NewQuiz, Outcome, Quiz, StoredQuestion
from observability import metrics, tracing
from observability.background import first_error
from observability.logs import redact
from quizzes.cohorts import find_due_learners
from quizzes.context import QuizContext
from quizzes.sending import SendingRows
from quizzes.stale_messages import close_messages

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
PAUSED = "quizzes are paused"
TAKEN = "is being sent already, or answered"
JUST_SENT = "has the question in view"
CANCELLED = "the run was cancelled"

IN_VIEW = timedelta(seconds=5)
"""Who asks again so soon after a question came gets no second copy of it: that was a quick second tap."""

WILL_RETRY = "(will be tried again)"
WAITS_FOR_BOT = "(will be sent when Telegram accepts the bot again)"


# ---------------------------------------------------------------- making quizzes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Quizzes that wait to be sent, and learners who get none, with the reason."""

    quiz_ids: list[QuizId]
    skipped: list[Delivery]


async def prepare_quizzes(
    context: QuizContext, learner_ids: Sequence[LearnerId], kind: QuizKind, due_at: datetime | None = None
) -> Prepared:
    """Make a quiz for each learner who is to have one.

    Run again, it makes none twice: a daily quiz belongs to its local day, and a learner has one open quiz on demand.

    Args:
        due_at: only those whose daily quiz was due by then and is still to be made or sent; everybody when None.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    wanted = list(dict.fromkeys(learner_ids))
    with tracing.steps("prepare quizzes", wanted):
        return await _prepare(context, wanted, kind, due_at)


async def _prepare(
    context: QuizContext, wanted: Sequence[LearnerId], kind: QuizKind, due_at: datetime | None
) -> Prepared:
    learners = await context.repository.get_user_states(wanted)
    skipped = [Delivery(i, Outcome.SKIPPED, NOT_REGISTERED) for i in wanted if i not in learners]
    ready: list[Learner] = []
    for learner in learners.values():
        reason = _reason_to_skip(learner, kind)
        if reason:
            skipped.append(Delivery(learner.id, Outcome.SKIPPED, reason))
        else:
            ready.append(learner)
    reopened = await _quizzes_to_send_again(context, ready, kind)
    waiting = {quiz.learner_id: quiz.id for quiz in reopened if not _was_just_sent(quiz)}
    before_them = {quiz.learner_id for quiz in reopened} - waiting.keys()
    skipped += [Delivery(learner_id, Outcome.SKIPPED, JUST_SENT) for learner_id in before_them]
    missing = [learner for learner in ready if learner.id not in waiting.keys() | before_them]
    if due_at is not None:
        due = set(await find_due_learners(context, due_at, [learner.id for learner in missing]))
        skipped += [Delivery(learner.id, Outcome.SKIPPED, NOT_DUE) for learner in missing if learner.id not in due]
        missing = [learner for learner in missing if learner.id in due]
    made = await _make_quizzes(context, missing, kind)
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


async def _quizzes_to_send_again(context: QuizContext, learners: Sequence[Learner], kind: QuizKind) -> list[Quiz]:
    """Return open quizzes that serve instead of new ones: asked for again, or made before and never sent.

    Whoever asks, and has chosen other topics since, is to get a new one.
    """
    learner_ids = [learner.id for learner in learners]
    open_quizzes = await context.repository.find_open_quizzes(learner_ids)
    others = [one.id for one in learners if one.id in open_quizzes and _is_off_topic(open_quizzes[one.id], one)]
    if kind.is_awaited and others:
        await context.repository.close_other_topics(others)
        await close_messages(context, others)
        open_quizzes = await context.repository.find_open_quizzes(learner_ids)
    return [
        quiz
        for quiz in open_quizzes.values()
        if kind.is_awaited or (quiz.kind is QuizKind.DAILY and quiz.sent_at is None)
    ]


def _is_off_topic(quiz: Quiz, learner: Learner) -> bool:
    """Return whether a quiz is in the chat whose topic is none of the learner's any more."""
    return quiz.state is QuizState.SENT and bool(learner.topics) and quiz.question.topic not in learner.topics


def _was_just_sent(quiz: Quiz) -> bool:
    """Return whether an open quiz came a moment ago, to where it would come again."""
    is_there = quiz.state is QuizState.SENT and quiz.message_bot_id == quiz.bot_id
    return is_there and quiz.since_sent is not None and quiz.since_sent < IN_VIEW


async def _make_quizzes(
    context: QuizContext, learners: Sequence[Learner], kind: QuizKind
) -> dict[LearnerId, QuizId | Delivery]:
    if not learners:
        return {}
    reviews = await context.generator.draw_reviews(
        learners, context.now(), context.settings.review_every, asked_for=kind is QuizKind.REVIEW
    )
    questions: dict[LearnerId, StoredQuestion] = dict(reviews)
    if kind is not QuizKind.REVIEW:
        rest = [learner for learner in learners if learner.id not in reviews]
        questions |= await context.generator.generate(rest, live=kind is QuizKind.ON_DEMAND) if rest else {}
    made = await context.repository.create_quizzes(
        kind,
        [
            NewQuiz(learner.id, questions[learner.id].id, _shuffled(context), is_review=learner.id in reviews)
            for learner in learners
            if learner.id in questions
        ],
        timedelta(hours=context.settings.quiz_expires_after_hours),
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


def _shuffled(context: QuizContext) -> list[int]:
    return context.rng.sample(range(OPTION_COUNT), OPTION_COUNT)


# ---------------------------------------------------------------- sending quizzes


async def deliver_quizzes(
    context: QuizContext,
    quiz_ids: Sequence[QuizId],
    priority: Priority,
    *,
    again: bool = False,
    stalled_for: timedelta | None = None,
    on_progress: Callable[[], None] | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[Delivery]:
    """Send quizzes at Telegram's pace; those of a bot that Telegram refuses stay as they are until it is accepted.

    Args:
        again: True to also send quizzes whose sending began before, or that a learner asked to see again.
        stalled_for: only those that nobody has touched for so long, so that of several who find them one sends them.
        on_progress: called after each that was sent or failed.
        is_cancelled: asked before each; once it is true, the rest is not sent and waits.

    Returns:
        What became of each.

    Raises:
        StorageUnavailableError: the database was lost in the middle; the rows say what is done.
    """
    quizzes = await context.repository.get_quizzes(quiz_ids)
    rows = SendingRows(context, quizzes, again=again, stalled_for=stalled_for)
    deliveries: list[Delivery] = []

    async def sender() -> None:
        while not is_cancelled() and (quiz := await rows.take()):
            with quiz_step("send question", quiz):
                deliveries.append(await _deliver(context, rows, quiz, priority))
            if on_progress:
                on_progress()

    try:
        await _run_senders(sender, min(SENDERS, len(quizzes)))
    finally:
        await rows.close()
    deliveries += await _explain_left(context, rows.left_alone)
    if moved := [quiz.learner_id for quiz in quizzes if quiz.message_id is not None]:
        await close_messages(context, moved)
    for refusal, held in rows.held.items():
        deliveries += [_wait_for_bot(quiz, refusal) for quiz in held]
        await context.repository.return_quizzes([quiz.id for quiz in held], refusal, QuizState.PENDING)
    told = {delivery.quiz_id for delivery in deliveries}
    return deliveries + [make_delivery(quiz, Outcome.SKIPPED, CANCELLED) for quiz in quizzes if quiz.id not in told]


async def withdraw_unsent(context: QuizContext, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Take back what a cancelled run did not send, so that nobody sends it later, and return its report anew.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    unsent = [one.quiz_id for one in deliveries if one.quiz_id and one.outcome is not Outcome.SENT]
    withdrawn = await context.repository.withdraw_quizzes(unsent, CANCELLED)
    return [
        replace(one, outcome=Outcome.SKIPPED, reason=CANCELLED) if one.quiz_id in withdrawn else one
        for one in deliveries
    ]


async def _explain_left(context: QuizContext, quizzes: Sequence[Quiz]) -> list[Delivery]:
    """Return the lines of quizzes that were not taken for sending: others have them, or their bot is paused."""
    pauses = await context.repository.list_pauses() if quizzes else ()
    return [
        make_delivery(quiz, Outcome.SKIPPED, PAUSED if any(one.holds_for(quiz.bot_id) for one in pauses) else TAKEN)
        for quiz in quizzes
    ]


async def _run_senders(sender: Callable[[], Coroutine[None, None, None]], count: int) -> None:
    try:
        async with asyncio.TaskGroup() as senders:
            for _ in range(count):
                senders.create_task(sender())
    except BaseExceptionGroup as group:
        raise first_error(group) from None


async def _deliver(context: QuizContext, rows: SendingRows, quiz: Quiz, priority: Priority) -> Delivery:
    repository = context.repository
    try:
        message_id = await context.messenger.send_question(quiz, priority)
    except LearnerUnreachableError as error:
        await repository.set_blocked(quiz.learner_id, quiz.bot_id, blocked=True)
        return await _failed(context, quiz, error, for_good=True)
    except BotRefusedError as error:
        await repository.return_quizzes([quiz.id], str(error), QuizState.SENDING)
        return _wait_for_bot(quiz, str(error))
    except (TelegramUnavailableError, RateLimitedError) as error:
        return await _failed(context, quiz, error, for_good=False)
    except TelegramError as error:
        return await _failed(context, quiz, error, for_good=True)
    except StorageUnavailableError:
        raise
    except Exception as error:  # an unexpected error must not hold up other quizzes
        logger.exception("quiz %d could not be sent", quiz.id)
        return await _failed(context, quiz, TelegramError(type(error).__name__), for_good=False)
    await rows.mark_sent(quiz, message_id)
    metrics.QUIZZES_SENT.labels(quiz.kind).inc()
    return make_delivery(quiz, Outcome.SENT)


async def _failed(context: QuizContext, quiz: Quiz, error: TelegramError, *, for_good: bool) -> Delivery:
    await context.repository.mark_send_failed(quiz.id, redact(str(error)), for_good=for_good)
    metrics.QUIZZES_FAILED.labels(type(error).__name__).inc()
    kind = FailureKind.UNREACHABLE if isinstance(error, LearnerUnreachableError) else FailureKind.FAILED
    return make_delivery(quiz, Outcome.FAILED, str(error) if for_good else f"{error} {WILL_RETRY}", kind)


def _wait_for_bot(quiz: Quiz, refusal: str) -> Delivery:
    metrics.QUIZZES_FAILED.labels(BotRefusedError.__name__).inc()
    return make_delivery(quiz, Outcome.FAILED, f"{refusal} {WAITS_FOR_BOT}", FailureKind.REFUSED)


def make_delivery(
    quiz: Quiz, outcome: Outcome, reason: str = "", failure: FailureKind = FailureKind.FAILED
) -> Delivery:
    """Return the line of a run's report that is about a quiz."""
    question, trace_id = quiz.question, tracing.current_trace_id()
    return Delivery(quiz.learner_id, outcome, reason, question.topic, question.level, quiz.id, failure, trace_id)


def quiz_step(name: str, quiz: Quiz) -> AbstractContextManager[None]:
    """Do something about one quiz; see `tracing.step`."""
    about = {
        "quiz.kind": quiz.kind,
        "quiz.question.key": quiz.question.key,
        "quiz.question.source": quiz.question.source,
    }
    return tracing.step(name, quiz.learner_id, quiz=quiz.id, traceparent=quiz.traceparent, attributes=about)


# ---------------------------------------------------------------- both in one go


async def serve_quizzes(context: QuizContext, learner_ids: Sequence[LearnerId], kind: QuizKind) -> list[Delivery]:
    """Prepare and deliver in one go: what the quiz flow does step by step."""
    prepared = await prepare_quizzes(context, learner_ids, kind)
    priority = Priority.INTERACTIVE if kind.is_awaited else Priority.BROADCAST
    return prepared.skipped + await deliver_quizzes(context, prepared.quiz_ids, priority, again=kind.is_awaited)
