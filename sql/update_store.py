"""The queue of received updates and the signs of life of those who work on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from domain.ids import BotId, LearnerId, QuizId, UpdateRow
from domain.models import ClaimedUpdate, Incoming, TapVerdict
from sql.database import Database

CLAIM_SECONDS = 15
"""How long a claimed update stays with a worker that gives no sign of life."""


class UpdateStore:
    """Updates and heartbeats."""

    database: Database

    async def store_update(self, bot_id: BotId, update: Incoming, quiz_id: QuizId | None) -> tuple[bool, TapVerdict]:
        """Keep an update; a redelivery changes nothing.

        Args:
            bot_id: the bot that received it.
            update: what is left of it.
            quiz_id: the quiz that a tap refers to, if any.

        Returns:
            Whether it is new, and what a tap in it amounts to.
        """
        row = await self.database.fetchrow(
            "store_update",
            bot_id,
            update.update_id,
            update.learner_id,
            update.kind,
            update.content,
            update.message_id,
            quiz_id,
        )
        return (row["is_new"], TapVerdict(row["verdict"])) if row else (False, TapVerdict.UNKNOWN)

    async def claim_updates(self, limit: int) -> list[ClaimedUpdate]:
        """Take updates to handle: of what a learner wrote to a bot only the oldest.

        Args:
            limit: how many at most.
        """
        rows = await self.database.fetch("claim_updates", limit, timedelta(seconds=CLAIM_SECONDS))
        return sorted((ClaimedUpdate.from_row(row) for row in rows), key=lambda update: update.row)

    async def extend_claims(self, rows: Sequence[UpdateRow]) -> None:
        """Say that these are still being worked on.

        Args:
            rows: claimed updates.
        """
        await self.database.execute("extend_claims", list(rows), timedelta(seconds=CLAIM_SECONDS))

    async def finish_updates(self, rows: Sequence[UpdateRow]) -> None:
        """Mark updates as handled.

        Args:
            rows: claimed updates.
        """
        await self.database.execute("finish_updates", list(rows))

    async def release_update(self, row: UpdateRow, error: str, *, give_up: bool, pause: timedelta) -> None:
        """Give an update back after a failure.

        Args:
            row: the claimed update.
            error: what went wrong, in one line.
            give_up: True if it is not to be tried again.
            pause: how long to wait before the next try.
        """
        await self.database.execute("release_update", row, error, give_up, pause)

    async def return_updates(self, rows: Sequence[UpdateRow]) -> None:
        """Leave updates to other workers at once; those that are finished stay so.

        Args:
            rows: claimed updates.
        """
        await self.database.execute("return_updates", list(rows))

    async def purge_updates(self, older_than: timedelta) -> int:
        """Forget finished updates and return how many.

        Args:
            older_than: the age at which they go.
        """
        return await self.database.execute("purge_updates", older_than)

    async def count_waiting_updates(self) -> tuple[int, float]:
        """Return how many updates wait, and the oldest one's age in seconds."""
        row = await self.database.fetchrow("count_waiting_updates")
        return (row["waiting"], row["oldest_seconds"]) if row else (0, 0.0)

    async def count_waiting_of_learner(self, learner_id: LearnerId, most: int) -> int:
        """Return how many updates of a learner wait, counted no further than so many.

        Args:
            learner_id: whose.
            most: where counting ends.
        """
        return int(await self.database.fetchval("count_waiting_of_learner", learner_id, most))

    async def beat(self, name: str, role: str) -> None:
        """Say that this process is alive.

        Args:
            name: the process.
            role: what it does.
        """
        await self.database.execute("beat", name, role)

    async def find_alive_roles(self, within: timedelta) -> dict[str, int]:
        """Return how many processes of each role are alive.

        Args:
            within: how old their latest sign of life may be.
        """
        rows = await self.database.fetch("find_alive_roles", within)
        return {row["role"]: row["processes"] for row in rows}

    async def drop_old_heartbeats(self) -> int:
        """Forget processes that are long gone."""
        return await self.database.execute("drop_old_heartbeats")
