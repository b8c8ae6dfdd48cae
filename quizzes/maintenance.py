"""Upkeep: finish what a crash left in the middle, close what nobody answered, forget what nobody needs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from domain.catalog import Priority
from domain.ids import BotId, LearnerId, QuizId
from domain.models import Outcome
from quizzes import reports
from quizzes.context import QuizContext
from quizzes.delivery import deliver_quizzes
from quizzes.grading import give_feedback, grade_answers, validate_answers

logger = logging.getLogger(__name__)


async def erase_learner(context: QuizContext, learner_id: LearnerId) -> None:
    """Erase everything about a learner, in the database and in the run records that are named after them.

    Raises:
        StorageUnavailableError: the database is unavailable; nothing is erased yet.
    """
    await context.repository.erase_learner(learner_id)
    if context.forget_runs:
        try:
            await context.forget_runs(learner_id)
        except Exception as error:  # noqa: BLE001 - the records fade by their retention as well
            logger.warning(
                "an erased learner's runs stay in Prefect until their retention ends: %s", type(error).__name__
            )


@dataclass(frozen=True, slots=True)
class UpkeepReport:
    """What the upkeep found and did."""

    expired: int
    purged_updates: int
    sent_again: int
    graded_late: int
    feedback_late: int
    quarantined: int
    """Questions that enough learners doubted, and that a crash left in use."""


STALLED_AFTER = timedelta(seconds=60)
OVERDUE_AFTER = timedelta(seconds=30)
RECOVERED_AT_ONCE = 500


async def recover(context: QuizContext) -> tuple[int, int, int]:
    """Finish some of what a crash left in the middle: unsent quizzes, ungraded answers, missing feedback.

    Returns:
        How many quizzes were sent, answers graded and feedback sent.
    """
    graded, feedback = await finish_answers(context)
    return await send_stalled(context, await find_stalled(context)), graded, feedback


async def finish_answers(context: QuizContext) -> tuple[int, int]:
    """Grade answers and send feedback that is overdue, a batch of each, and return how many of each."""
    bots = context.accepted_bots()
    ungraded = await context.repository.find_ungraded_quizzes(OVERDUE_AFTER, RECOVERED_AT_ONCE)
    await grade_answers(context, ungraded)
    missing = await context.repository.find_missing_feedback(OVERDUE_AFTER, RECOVERED_AT_ONCE, bots)
    return len(ungraded), len(await give_feedback(context, await validate_answers(context, missing)))


async def find_stalled(context: QuizContext) -> list[QuizId]:
    """Return a batch of quizzes that were made and not sent; those of bots that cannot send are passed over."""
    bots = await find_sending_bots(context)
    if bots == []:
        return []
    stalled = await context.repository.find_stalled_quizzes(STALLED_AFTER, RECOVERED_AT_ONCE)
    if bots is not None and any(bot_id not in bots for _, bot_id in stalled):  # else the slow query is spared
        stalled = await context.repository.find_stalled_quizzes(STALLED_AFTER, RECOVERED_AT_ONCE, bots)
    return [quiz_id for quiz_id, _ in stalled]


async def send_stalled(context: QuizContext, quiz_ids: Sequence[QuizId]) -> int:
    """Send quizzes that were found stalled, unless others do by now, and return how many were sent."""
    if not quiz_ids:
        return 0
    deliveries = await deliver_quizzes(context, quiz_ids, Priority.BROADCAST, stalled_for=STALLED_AFTER)
    return sum(delivery.outcome is Outcome.SENT for delivery in deliveries)


async def find_sending_bots(context: QuizContext) -> list[BotId] | None:
    """Return the bots that Telegram accepts and nobody has paused; None where the settings name none."""
    accepted, pauses = context.accepted_bots(), await context.repository.list_pauses()
    return accepted and [bot_id for bot_id in accepted if not any(pause.holds_for(bot_id) for pause in pauses)]


async def run_upkeep(context: QuizContext) -> UpkeepReport:
    """Recover a batch of what is stuck, close what nobody answered, forget what nobody needs."""
    sent, graded, feedback = await recover(context)
    expired = await context.repository.expire_quizzes()
    purged = await context.repository.delete_old_updates(timedelta(days=context.settings.updates_kept_days))
    await context.repository.delete_old_heartbeats()
    await context.repository.delete_old_distributions()
    await context.repository.delete_old_announcements()
    await context.repository.delete_old_stale_messages()
    quarantined = await reports.quarantine_reported(context)
    return UpkeepReport(expired, purged, sent, graded, feedback, len(quarantined))
