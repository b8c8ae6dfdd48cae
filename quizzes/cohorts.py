"""Who is due, and how they are dealt into cohorts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from domain.ids import BotId, LearnerId
from quizzes.context import QuizContext

COHORT_SIZE = 200
"""Learners that are prepared and sent to together: what Telegram's rate takes in seven seconds."""

COHORTS_AT_ONCE = 3
"""Cohorts of a bot under way at once: while one is being prepared, others keep Telegram's rate filled."""


async def find_due_learners(
    context: QuizContext, at: datetime, among: Sequence[LearnerId] | None = None, limit: int | None = None
) -> list[LearnerId]:
    """Return who is to get the daily quiz.

    Args:
        among: only these; everybody when None.
    """
    return await context.repository.find_due_learners(at, among, limit, context.settings.bots or None)


def count_cohorts(learners: int, max_cohorts: int) -> int:
    """Return into how many cohorts learners are dealt that one process serves."""
    return min(max_cohorts, -(-learners // COHORT_SIZE))


def deal_cohorts(learner_ids: Sequence[LearnerId], max_cohorts: int) -> list[list[LearnerId]]:
    """Deal learners into at most so many cohorts of nearly the same size, in order."""
    count = min(max_cohorts, len(learner_ids))
    size, extra = divmod(len(learner_ids), count) if count else (0, 0)
    cohorts, start = [], 0
    for place in range(count):
        end = start + size + (1 if place < extra else 0)
        cohorts.append(list(learner_ids[start:end]))
        start = end
    return cohorts


async def share_out(
    context: QuizContext, learner_ids: Sequence[LearnerId], max_cohorts: int
) -> dict[BotId, list[list[LearnerId]]]:
    """Deal learners into cohorts of one bot each, a bot's share of the cohorts being that of its learners.

    Args:
        max_cohorts: how many cohorts at most; one a bot where there are more bots than that.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    bots = tuple(context.settings.bots)
    groups = {bots[0]: learner_ids} if len(bots) == 1 else await context.repository.group_by_bot(learner_ids)
    return {
        bot_id: deal_cohorts(group, max(1, max_cohorts * len(group) // len(learner_ids)))
        for bot_id, group in groups.items()
    }


class Turns:
    """The turns of a bot's cohorts, in their order."""

    def __init__(self, at_once: int = COHORTS_AT_ONCE) -> None:
        """Take how many are under way at once."""
        self.under_way = asyncio.Semaphore(at_once)
        self.preparing = asyncio.Lock()
        """One at a time, so that the first is sent soon and they do not all end at the same moment."""
