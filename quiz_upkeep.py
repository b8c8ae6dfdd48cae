"""Upkeep: finish what a crash left in the middle, close what nobody answered, forget what nobody needs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

import quiz_reports
from domain.catalog import Priority
from domain.ids import LearnerId
from domain.models import Outcome
from quiz_grading import give_feedback, grade_answers
from quiz_session import Services, deliver_quizzes

logger = logging.getLogger(__name__)


async def erase_learner(services: Services, learner_id: LearnerId) -> None:
    """Erase everything about a learner, in the database and in the run records that are named after them.

    Args:
        services: what to work with.
        learner_id: who.

    Raises:
        StorageUnavailableError: the database is away; nothing is erased yet.
    """
    await services.repository.forget_learner(learner_id)
    if services.forget_runs:
        try:
            await services.forget_runs(learner_id)
        except Exception as error:  # noqa: BLE001 - the records fade by their retention as well
            logger.warning("run records of an erased learner stay until their retention ends: %s", type(error).__name__)


@dataclass(frozen=True, slots=True)
class UpkeepReport:
    """What the upkeep found and did."""

    expired: int
    purged_updates: int
    sent_again: int
    graded_late: int
    told_late: int
    quarantined: int
    """Questions that enough learners doubted, and that a crash left in use."""


STALLED_AFTER = timedelta(seconds=60)
UNTOLD_AFTER = timedelta(seconds=30)
RECOVERED_AT_ONCE = 500


async def recover(services: Services) -> tuple[int, int, int]:
    """Finish what a crash left in the middle: unsent quizzes, ungraded answers, untold grades.

    Args:
        services: what to work with.

    Returns:
        How many quizzes were sent, answers graded and grades told.
    """
    repository = services.repository
    stalled = await repository.find_stalled_quizzes(STALLED_AFTER, RECOVERED_AT_ONCE)
    quiz_ids = [quiz_id for quiz_id, _ in stalled]
    sent = await deliver_quizzes(services, quiz_ids, Priority.BROADCAST, stalled_for=STALLED_AFTER)
    ungraded = await repository.find_ungraded_quizzes(UNTOLD_AFTER, RECOVERED_AT_ONCE)
    await grade_answers(services, ungraded)
    untold = await repository.find_untold_grades(UNTOLD_AFTER, RECOVERED_AT_ONCE)
    told = await give_feedback(services, untold)
    return sum(delivery.outcome is Outcome.SENT for delivery in sent), len(ungraded), len(told)


async def tidy(services: Services) -> UpkeepReport:
    """Recover what is stuck, close what nobody answered, forget what nobody needs.

    Args:
        services: what to work with.
    """
    sent, graded, told = await recover(services)
    expired = await services.repository.expire_quizzes()
    purged = await services.repository.purge_updates(timedelta(days=services.settings.updates_kept_days))
    await services.repository.drop_old_heartbeats()
    quarantined = await quiz_reports.quarantine_reported(services)
    return UpkeepReport(expired, purged, sent, graded, told, len(quarantined))
