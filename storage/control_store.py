"""What operators do to a running service: pauses and announcements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson

from domain.announcements import Announced, Audience, Recipient
from domain.ids import AnnouncementId, BotId, LearnerId
from domain.models import Activity
from domain.service_state import Pause
from storage.database import Database
from storage.rows import read


class ControlStore:
    """Pauses and announcements."""

    database: Database

    async def pause(self, bot_id: BotId, reason: str | None, ends_at: datetime | None) -> None:
        """Pause a bot, or all of them (`ALL_BOTS`); a pause that holds already gets another reason and end."""
        await self.database.execute("pause", bot_id, reason, ends_at)

    async def resume(self, bot_id: BotId) -> bool:
        """End the pause of a bot, or that of all of them, and return whether there was one."""
        return await self.database.execute("resume", bot_id) > 0

    async def list_pauses(self) -> tuple[Pause, ...]:
        """Return the pauses that hold now, that of all bots first."""
        return tuple(read(Pause, row) for row in await self.database.fetch("list_pauses"))

    async def is_pause_news(self, learner_id: LearnerId) -> bool:
        """Return whether a learner's bot is paused and they have not been told yet."""
        return bool(await self.database.fetchval("is_pause_news", learner_id))

    async def note_told_of_pause(self, learner_id: LearnerId) -> None:
        """Note that a learner was told."""
        await self.database.execute("note_told_of_pause", learner_id)

    async def get_activity(self, learner_id: LearnerId) -> Activity:
        """Return what a learner did."""
        row = await self.database.fetchrow("get_activity", learner_id)
        return read(Activity, row) if row else Activity()

    async def set_announcements(self, learner_id: LearnerId, *, enabled: bool) -> None:
        """Switch a learner's announcements on or off."""
        await self.database.execute("set_announcements", learner_id, enabled)

    async def add_announcement(self, text: str) -> AnnouncementId:
        """Keep an announcement, and return its id, which is the same for the same text.

        Args:
            text: Telegram's HTML.
        """
        number: int = await self.database.fetchval("add_announcement", text)
        return AnnouncementId(number)

    async def find_announcement(self, text: str) -> AnnouncementId | None:
        """Return the announcement with a text, or None if there is none yet."""
        number: int | None = await self.database.fetchval("find_announcement", text)
        return None if number is None else AnnouncementId(number)

    async def get_announcement(self, announcement_id: AnnouncementId) -> str | None:
        """Return an announcement's text, or None if there is none of that id."""
        text: str | None = await self.database.fetchval("get_announcement", announcement_id)
        return text

    async def count_recipients(
        self, announcement_id: AnnouncementId | None, bot_ids: Sequence[BotId], audience: Audience
    ) -> int:
        """Return how many learners an announcement is still to be sent to, pauses aside."""
        columns = list(audience.topics), list(audience.levels)
        return int(await self.database.fetchval("count_recipients", announcement_id, list(bot_ids), *columns))

    async def begin_announcing(
        self,
        announcement_id: AnnouncementId,
        bot_ids: Sequence[BotId],
        audience: Audience,
        after: LearnerId,
        limit: int,
    ) -> list[Recipient]:
        """Take the next learners whom the caller is to send an announcement to; nobody else gets them any more.

        Args:
            after: only learners with a greater id.
        """
        columns = list(audience.topics), list(audience.levels)
        rows = await self.database.fetch("begin_announcing", announcement_id, list(bot_ids), *columns, after, limit)
        return [read(Recipient, row) for row in rows]

    async def end_announcing(
        self, announcement_id: AnnouncementId, ended: Sequence[tuple[LearnerId, str, str | None]]
    ) -> None:
        """Note what became of learners who were taken.

        Args:
            ended: of each the state (``waiting`` to be taken again), and what went wrong.
        """
        names = ("learner_id", "state", "failure")
        document = orjson.dumps([dict(zip(names, one, strict=True)) for one in ended]).decode()
        await self.database.execute("end_announcing", announcement_id, document)

    async def count_announced(self, announcement_id: AnnouncementId) -> list[Announced]:
        """Return what became of an announcement so far, by outcome and reason."""
        rows = await self.database.fetch("count_announced", announcement_id)
        return [read(Announced, row) for row in rows]

    async def delete_old_announcements(self) -> int:
        """Delete announcements of long ago, with who was sent them."""
        return await self.database.execute("delete_old_announcements")
