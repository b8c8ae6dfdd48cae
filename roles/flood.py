"""Limits how many updates of one learner are stored.

A chat can be answered once a second. From a learner who sends faster than that for more than a moment, a request that
repeats the last one is coalesced with it, and once too many of their updates wait, further ones are dropped. Neither
costs a row or a message, and nobody else is affected.

Requests are remembered in the process: with several bot processes, each sees its share of a flood. The number of
waiting updates is the database's and holds for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from domain.callbacks import (
    AnswerTap,
    ChooseOffset,
    CloseReport,
    NextQuestion,
    NextReview,
    OpenReport,
    OpenSettings,
)
from domain.ids import LearnerId
from domain.updates import AcceptedUpdate, Incoming, IntakeResult, TapVerdict, UpdateKind
from storage.redis_client import redis_optional

UPDATES_PER_SECOND = 1.0
"""Updates a second that can be answered in one chat."""

BURST = 10
"""Updates at once that are no flood: a row of settings, or what Telegram kept while the bot was down."""

COOLDOWN_SECONDS = 10.0
"""A learner who was too quick counts as such until they have paused for so long."""

REPEAT_SECONDS = 10.0
"""How long a repeated request is coalesced with the first one."""

MAX_WAITING = 50
"""Waiting updates of one learner, each of which takes about a second to answer."""

ROOM_FOR_MEMBERSHIP = 50
"""More waiting updates when the next one says that the learner blocked or unblocked the bot."""

CROWDED_SECONDS = 1.0
"""How long a learner's full queue is not counted again."""

ALBUM_SECONDS = 60
"""How long processes share which message of an album came first."""

MAX_LEARNERS_KEPT = 10_000
"""Learners remembered before those who have paused are forgotten."""

_CHANGES = frozenset({"stop", "resume"})
_SHOWS = (AnswerTap, ChooseOffset, CloseReport, NextQuestion, NextReview, OpenReport, OpenSettings)
"""Buttons that show something, or that count once: pressing one again asks for nothing new."""

CountWaiting = Callable[[LearnerId, int], Awaitable[int]]
"""Returns how many updates of a learner wait, at most the given number."""

RequestKey = tuple[UpdateKind, str, int | None]


@dataclass(slots=True)
class _Recent:
    """A learner's last seconds."""

    next_allowed_at: float = -math.inf
    """When their next update is within the rate again."""
    stored: Incoming | None = None
    """Their last update that was stored."""
    stored_at: float = -math.inf
    verdict: TapVerdict = TapVerdict.NOT_A_QUIZ
    """On the tap in it."""
    crowded_until: float = -math.inf
    album: tuple[int, int] | None = None
    """Their last album, and the update that it began with."""


class FloodLimiter:
    """Decides which updates of one bot are stored."""

    def __init__(
        self,
        count_waiting: CountWaiting,
        rate: float = UPDATES_PER_SECOND,
        burst: int = BURST,
        redis: Redis | None = None,
    ) -> None:
        """Take the limits.

        Args:
            count_waiting: called only for a learner who is too quick.
            rate: updates a second of one learner.
            burst: updates at once, after a rest.
            redis: shares with other processes which albums have begun; None shares nothing.
        """
        self._count_waiting = count_waiting
        self._redis = redis
        self._slot = 1 / rate
        self._burst = burst
        self._recent: dict[LearnerId, _Recent] = {}
        self._max_learners = MAX_LEARNERS_KEPT

    async def reject(self, update: Incoming, now: float) -> AcceptedUpdate | None:
        """Count an update, and return it with the result if it is not to be stored, or None if it is.

        Args:
            now: a monotonic clock, in seconds.

        Raises:
            StorageUnavailableError: the database is unavailable.
        """
        recent = self._recent.get(update.learner_id) or self._remember(update.learner_id, now)
        if update.album is not None and not await self._begins_album(recent, update, update.album):
            return AcceptedUpdate(update, IntakeResult.COALESCED, TapVerdict.NOT_A_QUIZ)
        if not self._is_too_quick(recent, now):
            return None
        if _asks_again(recent, update, now):
            return AcceptedUpdate(update, IntakeResult.COALESCED, recent.verdict)
        limit = max_waiting(update.kind)
        if limit != MAX_WAITING or now >= recent.crowded_until:
            if await self._count_waiting(update.learner_id, limit) < limit:
                return None
            recent.crowded_until = now + CROWDED_SECONDS
        return AcceptedUpdate(update, IntakeResult.DROPPED, TapVerdict.UNKNOWN)

    def note_stored(self, update: Incoming, verdict: TapVerdict, now: float, *, is_new: bool) -> None:
        """Remember a stored update, since more of the same may follow.

        Args:
            now: a monotonic clock, in seconds.
            is_new: False for a redelivery, which does not count against its sender.
        """
        recent = self._recent.get(update.learner_id)
        if recent and is_new:
            recent.stored, recent.stored_at, recent.verdict = update, now, verdict
        elif recent:
            recent.next_allowed_at -= self._slot

    async def _begins_album(self, recent: _Recent, update: Incoming, album: int) -> bool:
        """Return whether a message is the first of its album in any process.

        Telegram delivers an album as a message for each picture, and one answer serves all of them. The first one
        stays the first when it is redelivered, since it may not have been stored.
        """
        if recent.album is None or recent.album[0] != album:
            recent.album = (album, update.update_id)
        if recent.album[1] != update.update_id:
            return False
        if self._redis is None:
            return True
        key = f"quiz:album:{update.learner_id}:{album}"
        first = None
        with redis_optional():  # without it each process answers once
            first = await self._redis.set(key, update.update_id, nx=True, get=True, ex=ALBUM_SECONDS)
        return first is None or int(first) == update.update_id

    def _is_too_quick(self, recent: _Recent, now: float) -> bool:
        next_allowed_at = max(recent.next_allowed_at, self._rested(now))
        recent.next_allowed_at = min(next_allowed_at + self._slot, now + COOLDOWN_SECONDS)
        return next_allowed_at > now

    def _rested(self, now: float) -> float:
        return now - self._slot * (self._burst - 1)

    def _remember(self, learner_id: LearnerId, now: float) -> _Recent:
        if len(self._recent) >= self._max_learners:
            rested = self._rested(now)
            self._recent = {one: recent for one, recent in self._recent.items() if recent.next_allowed_at > rested}
            self._max_learners = max(MAX_LEARNERS_KEPT, 2 * len(self._recent))
        self._recent[learner_id] = recent = _Recent()
        return recent


def _asks_again(recent: _Recent, update: Incoming, now: float) -> bool:
    """Return whether an update asks for the same as the last one that was stored."""
    if recent.stored is None or now - recent.stored_at > REPEAT_SECONDS:
        return False
    key = request_key(update)
    return key is not None and key == request_key(recent.stored)


def request_key(update: Incoming) -> RequestKey | None:
    """Return what an update asks for, or None if asking twice is more than asking once."""
    match update.kind:
        case UpdateKind.TEXT:
            return update.kind, "", None
        case UpdateKind.COMMAND:
            return None if update.content in _CHANGES else (update.kind, update.content, None)
        case UpdateKind.TAP:
            only_shows = update.callback is None or isinstance(update.callback, _SHOWS)
            return (update.kind, update.content, update.message_id) if only_shows else None
        case _:
            return None


def max_waiting(kind: UpdateKind) -> int:
    """Return how many of a learner's updates may wait for another of a kind to be stored."""
    is_membership = kind in {UpdateKind.BLOCKED, UpdateKind.UNBLOCKED}
    return MAX_WAITING + ROOM_FOR_MEMBERSHIP if is_membership else MAX_WAITING
