"""The state of the service: heartbeats, distributions, and what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import LearnerUnreachableError, StorageUnavailableError
from domain.ids import BackupId, BotId, DistributionId
from domain.service_state import (
    Backup,
    BackupState,
    BackupSummary,
    DailyBacklog,
    Distribution,
    DistributionCounts,
    DistributionState,
    DistributionSum,
    Heartbeat,
    ServiceState,
)
from storage.control_store import ControlStore
from storage.database import Database
from storage.rows import read

COUNTED = 10_000
"""Rows of a kind beyond which an operator need not know how many there are."""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What the server says about itself and about the role of this connection."""

    version: str
    size_bytes: int
    connections: int
    max_connections: int
    role: str
    is_superuser: bool
    may_create: bool
    """Whether the role may change the schema."""
    at: datetime
    """The server's clock."""


class ServiceStore(ControlStore):
    """What the service knows about itself."""

    database: Database

    async def ping(self) -> None:
        """Return if the database answers.

        Raises:
            StorageUnavailableError: it does not.
        """
        await self.database.fetchval("ping")

    async def record_heartbeat(self, name: str, role: str, version: str) -> None:
        """Say that this process is alive."""
        await self.database.execute("record_heartbeat", name, role, version)

    async def list_heartbeats(self) -> list[Heartbeat]:
        """Return the processes that gave a sign of life within a day, the latest first."""
        return [read(Heartbeat, row) for row in await self.database.fetch("list_heartbeats")]

    async def delete_old_heartbeats(self) -> int:
        """Delete the heartbeats of processes that are long gone."""
        return await self.database.execute("delete_old_heartbeats")

    async def begin_distribution(self, due: int) -> DistributionId:
        """Note that a distribution begins, and that those have crashed which run and have been silent for a minute.

        Args:
            due: how many learners it is to serve.
        """
        return DistributionId(await self.database.fetchval("begin_distribution", due))

    async def touch_distribution(self, distribution_id: DistributionId) -> None:
        """Note that a distribution is still under way."""
        await self.database.execute("touch_distribution", distribution_id)

    async def end_distribution(
        self,
        distribution_id: DistributionId,
        state: DistributionState,
        counts: DistributionCounts,
        reason: str | None = None,
    ) -> None:
        """Note how a distribution ended.

        Args:
            reason: why it failed, in one line.
        """
        await self.database.execute(
            "end_distribution",
            distribution_id,
            state,
            reason,
            counts.sent,
            counts.skipped,
            counts.failed,
            counts.unreachable,
            counts.refused,
        )

    async def delete_old_distributions(self) -> int:
        """Delete what was noted about distributions of long ago."""
        return await self.database.execute("delete_old_distributions")

    async def begin_backup(self, file: str) -> BackupId:
        """Note that a backup begins, and that those have failed which others left running."""
        return BackupId(await self.database.fetchval("begin_backup", file))

    async def end_backup(
        self,
        backup_id: BackupId,
        state: BackupState,
        *,
        reason: str | None = None,
        size_bytes: int | None = None,
        differences: int | None = None,
    ) -> None:
        """Note how a backup ended.

        Args:
            reason: why it failed, in one line.
            differences: what a replay of it found.
        """
        await self.database.execute("end_backup", backup_id, state, reason, size_bytes, differences)

    async def get_backup_summary(self) -> BackupSummary:
        """Return how current the backups are."""
        found = [read(Backup, row) for row in await self.database.fetch("list_latest_backups")]
        verified = next((one for one in found if one.state is BackupState.VERIFIED), None)
        return BackupSummary(await self.database.fetchval("get_backup_age"), next(iter(found), None), verified)

    async def count_waiting_updates(self) -> tuple[int, float]:
        """Return how many updates wait, and the oldest one's age in seconds."""
        row = await self.database.fetchrow("count_waiting_updates")
        return (row["waiting"], row["oldest_seconds"]) if row else (0, 0.0)

    async def list_daily_backlogs(self, bot_ids: Sequence[BotId]) -> list[DailyBacklog]:
        """Return what is due and unsent, for each of some bots."""
        rows = await self.database.fetch("list_daily_backlogs", list(bot_ids), COUNTED)
        return [read(DailyBacklog, row) for row in rows]

    async def get_service_state(self, bot_ids: Sequence[BotId]) -> ServiceState:
        """Return the state of the service.

        Args:
            bot_ids: the service's bots; what waits for others is not its concern.
        """
        heartbeats = await self.list_heartbeats()
        waiting, oldest_seconds = await self.count_waiting_updates()
        backlogs = await self.list_daily_backlogs(bot_ids)
        failed = await self.database.fetchval("count_failed_today", str(LearnerUnreachableError()), COUNTED)
        latest = [read(Distribution, row) for row in await self.database.fetch("list_latest_distributions")]
        today = await self.database.fetchrow("sum_distributions_today")
        return ServiceState(
            heartbeats=tuple(heartbeats),
            updates_waiting=waiting,
            updates_oldest_seconds=oldest_seconds,
            backlogs=tuple(backlogs),
            failed_today=failed,
            latest=next(iter(latest), None),
            latest_served=next((one for one in latest if one.due and one.ended_at), None),
            today=read(DistributionSum, today) if today else DistributionSum(),
            backups=await self.get_backup_summary(),
            pauses=await self.list_pauses(),
        )

    async def describe_database(self) -> DatabaseFacts:
        """Return what the server says about itself and about this connection's role."""
        row = await self.database.fetchrow("describe_database")
        if row is None:
            msg = "a SELECT without FROM has a row"
            raise LookupError(msg)
        return read(DatabaseFacts, row)

    async def find_write_refusal(self) -> str | None:
        """Return why the database takes no rows, such as a full disk; None if it takes them."""
        try:
            async with self.database.transaction() as transaction:
                await transaction.execute("probe_write")
                await transaction.execute("remove_probe")
        except StorageUnavailableError as error:
            return str(error).partition(": ")[2]
        return None
