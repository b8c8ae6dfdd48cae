"""Stale messages: a question's buttons in which nobody is to answer it any more are taken away by an edit.

A message becomes stale in the statement that makes it so, and its row goes when Telegram has taken the edit, or will
not: the message is gone, or its bot has been refused for a week. A crash in between costs nothing: the edit says the
same when it is made again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from domain.errors import RateLimitedError, TelegramError, TelegramUnavailableError
from domain.ids import LearnerId
from domain.models import StaleMessage
from quizzes.context import QuizContext

logger = logging.getLogger(__name__)

CLOSED_AT_ONCE = 100


async def close_messages(context: QuizContext, learner_ids: Sequence[LearnerId] | None = None) -> None:
    """Close a batch of stale messages; what Telegram does not take now is tried again after a minute.

    Those of bots that Telegram refuses, or that have left the service, are left alone.

    Args:
        learner_ids: whose; everybody's when None.

    Raises:
        StorageUnavailableError: the database is unavailable; the rows say what is left.
    """
    stale = await context.repository.claim_stale_messages(learner_ids, context.accepted_bots(), CLOSED_AT_ONCE)
    await asyncio.gather(*(_close(context, message) for message in stale))


async def _close(context: QuizContext, message: StaleMessage) -> None:
    try:
        await context.messenger.close_message(message)
    except (TelegramUnavailableError, RateLimitedError) as error:
        logger.info("message %d is not closed yet: %s", message.message_id, error)
        return
    except TelegramError as error:  # it is gone, or the learner is
        logger.info("message %d cannot be closed: %s", message.message_id, error)
    await context.repository.delete_stale_message(message)
