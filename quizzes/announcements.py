"""Announcements: sent at a broadcast's pace, to each learner at most once.

Theory of operation. A learner's row is made before the message is handed to Telegram, and whoever has a row is never
taken again. It is deleted only when the message certainly did not go out: the chat or the bot takes none just now. A
row that a killed process leaves at ``sending``, or to which no answer came, may have arrived: unlike a quiz, which is
worth sending twice, an announcement is left at that, and counted as not known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from domain.announcements import Announced, Audience, Recipient
from domain.errors import (
    BotRefusedError,
    LearnerUnreachableError,
    RateLimitedError,
    StorageUnavailableError,
    TelegramError,
    TelegramUnavailableError,
    UnknownBotError,
)
from domain.ids import AnnouncementId, LearnerId
from observability.logs import one_line
from quizzes.context import QuizContext

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Learners taken in one statement and sent to together: as many at most are in doubt when a process is killed."""

NOT_SENT = (BotRefusedError, UnknownBotError, RateLimitedError)
"""Errors after which a message certainly did not go out."""

SENT, FAILED, UNKNOWN, WAITING = "sent", "failed", "sending", "waiting"


async def send_announcement(
    context: QuizContext,
    announcement_id: AnnouncementId,
    text: str,
    audience: Audience,
    on_progress: Callable[[], None],
    is_cancelled: Callable[[], bool],
) -> None:
    """Send an announcement to those of an audience who have not been taken for it yet; run again, to the rest.

    Args:
        on_progress: called after each learner.
        is_cancelled: asked before each few learners.

    Raises:
        TelegramUnavailableError: Telegram answers nobody; the rest wait.
        StorageUnavailableError: the database was lost in the middle; the rows say what is done.
    """
    last = LearnerId(0)
    while not is_cancelled():
        bots = context.accepted_bots() or []
        taken = await context.repository.begin_announcing(announcement_id, bots, audience, last, AT_ONCE)
        if not taken:
            return
        ended = await asyncio.gather(*(_send(context, one, text, on_progress) for one in taken))
        await context.repository.end_announcing(announcement_id, ended)
        if all(state == UNKNOWN for _, state, _ in ended):
            raise TelegramUnavailableError(ended[0][2] or "")
        last = max(one.learner_id for one in taken)


async def count_left(context: QuizContext, announcement_id: AnnouncementId, audience: Audience) -> int:
    """Return how many learners an announcement is still to be sent to."""
    return await context.repository.count_recipients(announcement_id, list(context.settings.bots), audience)


async def _send(
    context: QuizContext, recipient: Recipient, text: str, on_progress: Callable[[], None]
) -> tuple[LearnerId, str, str | None]:
    """Return what became of a learner's message, and what went wrong."""
    state, failure = SENT, None
    try:
        await context.messenger.send_announcement(recipient, text)
    except NOT_SENT as error:
        state, failure = WAITING, one_line(error)
    except TelegramUnavailableError as error:
        state, failure = UNKNOWN, one_line(error)
    except LearnerUnreachableError as error:
        with contextlib.suppress(StorageUnavailableError):  # the next quiz notes it; those beside it must be noted
            await context.repository.set_blocked(recipient.learner_id, recipient.bot_id, blocked=True)
        state, failure = FAILED, one_line(error)
    except TelegramError as error:
        state, failure = FAILED, one_line(error)
    except Exception as error:  # an unexpected error must not hold up others
        logger.exception("an announcement could not be sent")
        state, failure = UNKNOWN, type(error).__name__
    on_progress()
    return recipient.learner_id, state, failure


def describe_announced(announced: list[Announced], left: int) -> str:
    """Return in one line what became of an announcement."""
    counts = {state: sum(one.learners for one in announced if one.state == state) for state in (SENT, FAILED, UNKNOWN)}
    parts = [f"{counts[SENT]:,} sent"]
    parts += [f"{counts[FAILED]:,} failed"] if counts[FAILED] else []
    parts += [f"{counts[UNKNOWN]:,} not known"] if counts[UNKNOWN] else []
    return ", ".join(parts + ([f"{left:,} not sent yet"] if left else []))
