"""The picture of /stats: drawn beside the event loop, and sent again by Telegram's own id while nothing has changed."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from telegram import InlineKeyboardMarkup

from bot.client import TelegramGateway
from bot.picture_cache import PictureCache, picture_version
from domain.errors import FileGoneError, PictureError
from domain.history import ProgressHistory
from domain.models import Learner

logger = logging.getLogger(__name__)

_PAINTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="painter")
"""One picture at a time in a process: drawing needs all of a processor, and the others are needed for answers."""


async def send_progress(
    gateway: TelegramGateway,
    pictures: PictureCache,
    learner: Learner,
    history: ProgressHistory,
    caption: str,
    aim: float,
    keyboard: InlineKeyboardMarkup,
) -> None:
    """Send a learner's picture with its caption; the caption alone when there is nothing to draw, or drawing fails.

    Args:
        caption: Telegram's HTML, at most 1024 characters when shown.
        aim: the share of right answers that questions are chosen for, from 0 to 1.

    Raises:
        LearnerUnreachableError: the learner blocked the bot or is gone.
        TelegramUnavailableError: no answer came, so it may or may not have been sent.
        TelegramError: Telegram refused it for good.
    """
    if not history.answers:
        await gateway.send(learner.id, caption, keyboard)
        return
    version = picture_version(learner.version, history.today, aim)
    if file_id := await pictures.find(learner.id, version):
        try:
            await gateway.send_photo(learner.id, file_id, caption, keyboard)
        except FileGoneError:
            logger.info("Telegram no longer has a picture of /stats: drawing it again")
        else:
            return
    try:
        picture = await draw(history, aim)
    except PictureError:
        logger.exception("/stats is sent without its picture")
        await gateway.send(learner.id, caption, keyboard)
        return
    file_id = await gateway.send_photo(learner.id, picture, caption, keyboard)
    await pictures.keep(learner.id, version, file_id)


async def draw(history: ProgressHistory, aim: float) -> bytes:
    """Return a history's picture as PNG, drawn in a thread of its own while the event loop goes on.

    Args:
        history: with at least one answer.
        aim: the share of right answers that questions are chosen for, from 0 to 1.

    Raises:
        PictureError: the drawing library failed.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(_PAINTER, _draw, history, aim)
    except Exception as error:  # whatever a library may raise: the caption says the same
        raise PictureError(type(error).__name__) from error


def _draw(history: ProgressHistory, aim: float) -> bytes:
    from bot.charts.picture import draw_progress  # noqa: PLC0415 - it imports matplotlib, which only those who draw should pay for

    return draw_progress(history, aim)
