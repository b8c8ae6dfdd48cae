"""The state of the service, which any process can read from its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from domain.ids import BackupId, BotId, DistributionId

ALIVE_SECONDS = 20.0
"""For how long after its latest heartbeat a process counts as alive."""


class Role(StrEnum):
    """What runs all the time; learners need all three."""

    BOT = "bot"
    WORKER = "worker"
    PREFECT = "prefect"


class DistributionState(StrEnum):
    """How a distribution stands or ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CRASHED = "crashed"

    @property
    def is_bad(self) -> bool:
        """Return whether somebody should look into it."""
        return self in {DistributionState.FAILED, DistributionState.CRASHED}


@dataclass(frozen=True, slots=True)
class DistributionCounts:
    """What became of the learners who were due; each is counted once."""

    sent: int = 0
    skipped: int = 0
    """Who has the day's quiz already, opted out meanwhile, or was cancelled."""
    failed: int = 0
    unreachable: int = 0
    """Who blocked the bot or is gone."""
    refused: int = 0
    """Whose bot Telegram refuses; their quizzes wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(DistributionCounts):
    """A run of the daily distribution."""

    id: DistributionId
    state: DistributionState
    reason: str | None
    """Why it failed, in one line."""
    due: int
    begun_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class DistributionSum(DistributionCounts):
    """The distributions since midnight UTC together."""

    runs: int = 0
    due: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The latest sign of life of a process."""

    name: str
    role: str
    version: str | None
    """None of a process from before versions were noted."""
    age_seconds: float

    @property
    def is_alive(self) -> bool:
        """Return whether the process counts as alive."""
        return self.age_seconds < ALIVE_SECONDS


@dataclass(frozen=True, slots=True)
class DailyBacklog:
    """Daily quizzes of a bot's learners that are due and not sent: not made yet, or made and waiting."""

    bot_id: BotId
    unsent: int
    """Counted no further than some ten thousand."""
    oldest_seconds: float
    """Since the oldest of them was due, or made."""


class BackupState(StrEnum):
    """How a backup stands or ended."""

    RUNNING = "running"
    VERIFIED = "verified"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that was begun."""

    id: BackupId
    state: BackupState
    reason: str | None
    """Why it failed, in one line."""
    file: str
    """The dump's name, without the folder."""
    size_bytes: int | None
    differences: int | None
    """What a replay of it found; a true copy has what the database has."""
    begun_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """How current the backups are."""

    age_seconds: float
    """Since the last verified backup was begun or, without one, since the database was made."""
    latest: Backup | None = None
    """The one that ended last."""
    verified: Backup | None = None
    """The last that was verified."""


ALL_BOTS = BotId(0)
"""In place of a bot's id: all of them."""


def begin_sentence(bot_id: BotId) -> str:
    """Return how a sentence on a bot, or on all of them, begins: subject and verb."""
    return "all bots are" if bot_id == ALL_BOTS else f"bot {bot_id} is"


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator's: nothing is sent but replies and feedback."""

    bot_id: BotId
    """`ALL_BOTS` for all of them."""
    reason: str | None
    begun_at: datetime
    ends_at: datetime | None
    """None: when an operator resumes."""

    def holds_for(self, bot_id: BotId) -> bool:
        """Return whether a bot is paused by it."""
        return self.bot_id in {ALL_BOTS, bot_id}

    def __str__(self) -> str:
        """Return it in one line, for operators."""
        until = f" until {self.ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.ends_at else ""
        line = f"{begin_sentence(self.bot_id)} paused since {self.begun_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC{until}"
        return f"{line}: {self.reason}" if self.reason else line


@dataclass(frozen=True, slots=True)
class ServiceState:
    """All of it, read by several statements right after one another."""

    heartbeats: tuple[Heartbeat, ...]
    """Of a day, the latest first."""
    updates_waiting: int
    updates_oldest_seconds: float
    backlogs: tuple[DailyBacklog, ...]
    """One for each bot."""
    failed_today: int
    """Quizzes given up since midnight UTC, but for learners who blocked the bot or opted out; at most ten thousand."""
    latest: Distribution | None
    """The distribution that began last, if there was any."""
    latest_served: Distribution | None
    """The one with anybody due that ended last."""
    today: DistributionSum
    backups: BackupSummary
    pauses: tuple[Pause, ...] = ()
    """Those that hold now."""

    def count_alive(self, role: Role) -> int:
        """Return how many processes of a role are alive."""
        return sum(beat.role == role and beat.is_alive for beat in self.heartbeats)

    def missing_roles(self) -> list[Role]:
        """Return the roles of which no process is alive."""
        return [role for role in Role if not self.count_alive(role)]
