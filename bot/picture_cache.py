"""Which picture of /stats Telegram already has of each learner, so that an unchanged one is not drawn again."""

from __future__ import annotations

import hashlib
from datetime import date
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path

from redis.asyncio import Redis

from domain.ids import BotId, LearnerId
from storage.redis_client import redis_optional

KEPT_SECONDS = 24 * 60 * 60
"""A picture shows a calendar, so the next day's is another one."""


class PictureCache:
    """Keeps in Redis the id under which Telegram has each learner's latest picture, as long as Redis is available."""

    def __init__(self, redis: Redis, bot_id: BotId) -> None:
        self._redis = redis
        self._bot_id = bot_id

    async def find(self, learner_id: LearnerId, version: str) -> str | None:
        """Return the id of a learner's picture, or None if there is none of this version.

        Args:
            version: as `picture_version` makes it.
        """
        stored = None
        with redis_optional():
            stored = await self._redis.get(self._key(learner_id))
        text = stored.decode() if isinstance(stored, bytes) else stored or ""
        drawn, _, file_id = text.partition(" ")
        return file_id if file_id and drawn == version else None

    async def keep(self, learner_id: LearnerId, version: str, file_id: str) -> None:
        """Remember the id of a learner's picture, for a day and instead of any earlier one.

        Args:
            version: as `picture_version` makes it.
        """
        with redis_optional():
            await self._redis.set(self._key(learner_id), f"{version} {file_id}", ex=KEPT_SECONDS)

    async def forget(self, learner_id: LearnerId) -> None:
        """Forget a learner's picture."""
        with redis_optional():
            await self._redis.delete(self._key(learner_id))

    def _key(self, learner_id: LearnerId) -> str:
        return f"quiz:picture:{self._bot_id}:{learner_id}"


def picture_version(learner_version: int, today: date, aim: float) -> str:
    """Return what a picture depends on, so that one of the same version looks the same."""
    return f"{learner_version}:{today:%Y%m%d}:{aim}:{design()}"


@cache
def design() -> str:
    """Return a mark that changes with the code that draws, so that nobody has to remember to change one."""
    folder = Path(__file__).parent / "charts"
    files = sorted(folder.glob("*.py"))
    digest = hashlib.sha256(installed_version("matplotlib").encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
