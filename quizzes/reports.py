"""What learners say and show about questions: doubts are heeded as soon as enough agree, answers once a week."""

from __future__ import annotations

import logging

from adaptation.item_analysis import MIN_ANSWERS, analyze_items
from domain.bank import Finding, ReportedQuestion
from domain.catalog import ReportReason
from domain.ids import LearnerId, QuizId
from observability import metrics
from quizzes.context import QuizContext

logger = logging.getLogger(__name__)

MAX_LISTED = 100
"""Reported questions that an operator reads in one table, those with the most reports first."""


async def may_report(context: QuizContext, quiz_id: QuizId, learner_id: LearnerId) -> bool:
    """Return whether a learner may report the question of a quiz: it is theirs, and they answered it.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    quizzes = await context.repository.get_quizzes([quiz_id])
    return any(quiz.learner_id == learner_id and quiz.chosen is not None for quiz in quizzes)


async def report_question(context: QuizContext, quiz_id: QuizId, learner_id: LearnerId, reason: ReportReason) -> bool:
    """Keep a learner's doubt about a question, and ask it no more once enough learners doubt it.

    A learner counts once for a question: reporting it again only changes the reason.

    Returns:
        False if nothing was kept, for it is not their quiz, not answered, or gone.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    if not await context.repository.report_question(quiz_id, learner_id, reason):
        return False
    await quarantine_reported(context)
    metrics.QUESTIONS_REPORTED.labels(reason).inc()
    return True


async def quarantine_reported(context: QuizContext) -> list[str]:
    """Stop asking what enough learners reported; quizzes that are out already are still graded.

    Returns:
        The keys of what was stopped now.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    threshold = context.settings.reports_to_quarantine
    keys = await context.repository.quarantine_reported(threshold)
    for key in keys:
        logger.warning("question %s is quarantined: %d or more learners reported it", key, threshold)
    return keys


async def find_reported(context: QuizContext) -> list[ReportedQuestion]:
    """Return what learners reported and nobody has settled, the most reported first.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    return await context.repository.list_reported(MAX_LISTED)


async def find_unfit(context: QuizContext) -> list[Finding]:
    """Return the questions and templates against which learners' answers speak, the worst first.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    return analyze_items(await context.repository.list_item_answers(MIN_ANSWERS))
