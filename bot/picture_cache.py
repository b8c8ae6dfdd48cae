"""The picture of /stats: drawn beside the event loop, and sent again by Telegram's own id while nothing has changed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path

from redis.asyncio import Redis
from telegram import InlineKeyboardMarkup

from bot.gateway import TelegramGateway
from domain.errors import FileGoneError, PictureError
from domain.history import ProgressHistory
from domain.ids import BotId, LearnerId
from observability import metrics
from redis_store import AWAY

logger = logging.getLogger(__name__)

KEPT_SECONDS = 24 * 60 * 60
"""A picture shows a calendar, so the next day's is another one."""

_PAINTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="painter")
"""One picture at a time in a process: drawing needs all of a processor, and the others are needed for answers."""


class PictureCache:
    """Remembers in Redis under which id Telegram keeps each learner's latest picture; without Redis, nothing."""

    def __init__(self, redis: Redis | None, bot_id: BotId) -> None:
        """Take the shared store.

        Args:
            redis: where ids are kept; None keeps none.
            bot_id: whose pictures; another bot cannot send them.
        """
        self._redis = redis
        self._bot_id = bot_id

    async def find(self, learner_id: LearnerId, version: str) -> str | None:
        """Return the id of a learner's picture, or None if there is none of this version.

        Args:
            learner_id: whose picture.
            version: as `picture_version` makes it.
        """
        if self._redis is None:
            return None
        try:
            stored = await self._redis.get(self._key(learner_id))
        except AWAY as error:
            _note_redis_away(error)
            return None
        text = stored.decode() if isinstance(stored, bytes) else stored or ""
        drawn, _, file_id = text.partition(" ")
        return file_id if file_id and drawn == version else None

    async def keep(self, learner_id: LearnerId, version: str, file_id: str) -> None:
        """Remember the id of a learner's picture, for a day and instead of any earlier one.

        Args:
            learner_id: whose picture.
            version: as `picture_version` makes it.
            file_id: Telegram's id.
        """
        if self._redis is None:
            return
        try:
            await self._redis.set(self._key(learner_id), f"{version} {file_id}", ex=KEPT_SECONDS)
        except AWAY as error:
            _note_redis_away(error)

    async def forget(self, learner_id: LearnerId) -> None:
        """Forget a learner's picture.

        Args:
            learner_id: whose picture.
        """
        if self._redis is None:
            return
        try:
            await self._redis.delete(self._key(learner_id))
        except AWAY as error:
            _note_redis_away(error)

    def _key(self, learner_id: LearnerId) -> str:
        return f"quiz:picture:{self._bot_id}:{learner_id}"


def picture_version(learner_version: int, today: date) -> str:
    """Return what a picture depends on, so that one of the same version looks the same.

    Args:
        learner_version: grows with each grade.
        today: on the learner's own calendar.
    """
    return f"{learner_version}:{today:%Y%m%d}:{design()}"


@cache
def design() -> str:
    """Return a mark that changes with the code that draws, so that nobody has to remember to change one."""
    folder = Path(__file__).parent
    files = [folder / "chart.py", *sorted((folder / "charts").glob("*.py"))]
    digest = hashlib.sha256(installed_version("matplotlib").encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


async def send_progress(
    gateway: TelegramGateway,
    pictures: PictureCache,
    learner_id: LearnerId,
    version: str,
    history: ProgressHistory,
    caption: str,
    keyboard: InlineKeyboardMarkup,
) -> None:
    """Send a learner's picture with its caption; the caption alone when there is nothing to draw, or drawing fails.

    Args:
        gateway: what sends.
        pictures: what remembers pictures that Telegram has already.
        learner_id: to whom.
        version: as `picture_version` makes it.
        history: what to draw.
        caption: Telegram's HTML, at most 1024 characters when shown.
        keyboard: buttons under it.

    Raises:
        LearnerUnreachableError: the learner blocked the bot or is gone.
        TelegramUnavailableError: no answer came, so it may or may not have been sent.
        TelegramError: Telegram refused it for good.
    """
    if not history.answers:
        await gateway.send(learner_id, caption, keyboard)
        return
    if file_id := await pictures.find(learner_id, version):
        try:
            await gateway.send_photo(learner_id, file_id, caption, keyboard)
        except FileGoneError:
            logger.info("Telegram has forgotten a picture: drawing it anew")
        else:
            return
    try:
        picture = await draw(history)
    except PictureError:
        logger.exception("/stats is sent without its picture")
        await gateway.send(learner_id, caption, keyboard)
        return
    file_id = await gateway.send_photo(learner_id, picture, caption, keyboard)
    await pictures.keep(learner_id, version, file_id)


async def draw(history: ProgressHistory) -> bytes:
    """Return a history's picture as PNG, drawn in a thread of its own while the event loop goes on.

    Args:
        history: with at least one answer.

    Raises:
        PictureError: the drawing library failed.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(_PAINTER, _draw, history)
    except Exception as error:  # whatever a library may raise: the caption says the same
        raise PictureError(type(error).__name__) from error


def _draw(history: ProgressHistory) -> bytes:
    from bot.chart import draw_progress  # noqa: PLC0415 - it imports matplotlib, which only those who draw should pay for

    return draw_progress(history)


def _note_redis_away(error: Exception) -> None:
    metrics.REDIS_ERRORS.inc()
    logger.warning("Redis is away (%s): pictures are not remembered", type(error).__name__)
