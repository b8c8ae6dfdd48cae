"""Learners' doubts about questions: kept, counted, and heeded as soon as enough of them agree."""

from __future__ import annotations

import logging

from domain.bank import ReportedQuestion
from domain.catalog import ReportReason
from domain.ids import LearnerId, QuizId
from observability import metrics
from quiz_session import Services

logger = logging.getLogger(__name__)

LISTED_AT_ONCE = 100
"""Reported questions that an operator reads in one table, those with the most reports first."""


async def may_report(services: Services, quiz_id: QuizId, learner_id: LearnerId) -> bool:
    """Say whether a learner may report the question of a quiz: it is theirs, and they answered it.

    Args:
        services: what to work with.
        quiz_id: the quiz under which they would.
        learner_id: who.

    Raises:
        StorageUnavailableError: the database is away.
    """
    quizzes = await services.repository.get_quizzes([quiz_id])
    return any(quiz.learner_id == learner_id and quiz.chosen is not None for quiz in quizzes)


async def report_question(services: Services, quiz_id: QuizId, learner_id: LearnerId, reason: ReportReason) -> bool:
    """Keep a learner's doubt about a question, and ask it no more once enough learners doubt it.

    A learner counts once for a question: whoever reports it again only changes the reason.

    Args:
        services: what to work with.
        quiz_id: the quiz under which they said so.
        learner_id: who.
        reason: what is wrong with the question.

    Returns:
        False if nothing was kept, for it is not their quiz, not answered, or gone.

    Raises:
        StorageUnavailableError: the database is away.
    """
    if not await services.repository.report_question(quiz_id, learner_id, reason):
        return False
    await quarantine_reported(services)
    metrics.QUESTIONS_REPORTED.labels(reason).inc()
    return True


async def quarantine_reported(services: Services) -> list[str]:
    """Stop asking what enough learners reported; quizzes that are out already are still graded.

    Args:
        services: what to work with.

    Returns:
        The keys of what was stopped now.

    Raises:
        StorageUnavailableError: the database is away.
    """
    threshold = services.settings.reports_to_quarantine
    keys = await services.repository.quarantine_reported(threshold)
    for key in keys:
        logger.warning("question %s is not asked any more: learners reported it, %d are enough", key, threshold)
    return keys


async def find_reported(services: Services) -> list[ReportedQuestion]:
    """Return what learners reported and nobody has settled, the most reported first.

    Args:
        services: what to work with.

    Raises:
        StorageUnavailableError: the database is away.
    """
    return await services.repository.list_reported(LISTED_AT_ONCE)
