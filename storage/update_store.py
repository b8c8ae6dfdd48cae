"""The queue of received updates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from domain.callbacks import AnswerTap, quiz_of
from domain.ids import BotId, LearnerId, QuizId, UpdateRow
from domain.updates import ClaimedUpdate, Incoming, TapVerdict
from storage.database import Database
from storage.rows import read_update

CLAIM_SECONDS = 15
"""How long a claimed update stays with a worker that gives no sign of life."""


class UpdateStore:
    """Updates."""

    database: Database

    async def store_update(
        self, bot_id: BotId, update: Incoming, traceparent: str | None = None
    ) -> tuple[bool, TapVerdict]:
        """Keep an update; a redelivery changes nothing.

        Args:
            traceparent: the span in which it was received.

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
            quiz_of(update.callback),
            traceparent,
            isinstance(update.callback, AnswerTap),
        )
        return (row["is_new"], TapVerdict(row["verdict"])) if row else (False, TapVerdict.UNKNOWN)

    async def is_first_text(self, row: UpdateRow, within: timedelta) -> bool:
        """Return whether its learner wrote nothing else to the same bot for so long before a text."""
        return bool(await self.database.fetchval("is_first_text", row, within))

    async def get_traceparent(self, quiz_id: QuizId, learner_id: LearnerId) -> str | None:
        """Return the span in which a learner's quiz was sent; None without one, or if the quiz is not theirs."""
        found: str | None = await self.database.fetchval("get_traceparent", quiz_id, learner_id)
        return found

    async def claim_updates(
        self, limit: int, refused: Iterable[BotId] = (), left_for: timedelta = timedelta()
    ) -> list[ClaimedUpdate]:
        """Take updates to handle: of what a learner wrote to a bot only the oldest.

        Args:
            refused: bots whose updates, once they were tried, are not taken again before they are so old.
        """
        rows = await self.database.fetch(
            "claim_updates", limit, timedelta(seconds=CLAIM_SECONDS), list(refused), left_for
        )
        return sorted((read_update(row) for row in rows), key=lambda update: update.row)

    async def extend_claims(self, rows: Sequence[UpdateRow]) -> None:
        """Say that these are still being worked on."""
        await self.database.execute("extend_claims", list(rows), timedelta(seconds=CLAIM_SECONDS))

    async def finish_updates(self, rows: Sequence[UpdateRow]) -> None:
        """Mark updates as handled."""
        await self.database.execute("finish_updates", list(rows))

    async def release_update(
        self, row: UpdateRow, error: str, *, give_up: bool, pause: timedelta, counts: bool = True
    ) -> None:
        """Give an update back after a failure.

        Args:
            counts: whether this was one of the attempts after which it is given up.
        """
        await self.database.execute("release_update", row, error, give_up, pause, counts)

    async def return_updates(self, rows: Sequence[UpdateRow]) -> None:
        """Leave updates to other workers at once; those that are finished stay so."""
        await self.database.execute("return_updates", list(rows))

    async def delete_old_updates(self, older_than: timedelta) -> int:
        """Delete updates that were finished long ago, and return how many."""
        return await self.database.execute("delete_old_updates", older_than)

    async def count_waiting_of_learner(self, learner_id: LearnerId, limit: int) -> int:
        """Return how many updates of a learner wait, at most the limit."""
        return int(await self.database.fetchval("count_waiting_of_learner", learner_id, limit))
