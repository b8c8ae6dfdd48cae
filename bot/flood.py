"""Where a flood ends: what the webhook does with somebody who is quicker than a person.

A chat can be answered once a second. Whoever sends faster than that for more than a moment is looked at twice: what
only repeats their last wish is answered once, and past a number of updates that wait for their turn, the rest is turned
away. Nobody else is asked anything, and what is turned away costs neither a row nor a message.

It is kept in the process, one entry a learner: with several bot processes, each sees its share of a flood. The number
that waits is the database's and holds for all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bot.callbacks import (
    AnswerTap,
    ChooseOffset,
    CloseReport,
    NextQuestion,
    NextReview,
    OpenReport,
    OpenSettings,
    unpack,
)
from domain.errors import ForgedCallbackError
from domain.ids import LearnerId
from domain.models import Incoming, TapVerdict, UpdateKind

PACE = 1.0
"""Updates a second that can be answered in one chat."""

BURST = 10
"""Updates at once that are nothing remarkable: a row of settings, or what Telegram kept while the bot was away."""

REST_SECONDS = 10.0
"""Whoever was too quick is looked at until they have paused for so long."""

REPEAT_SECONDS = 10.0
"""For so long one answer serves everything that asks for the same."""

MOST_WAITING = 50
"""Updates of one learner that may wait: about as many seconds until all are answered."""

ROOM_FOR_MEMBERSHIP = 50
"""Beyond that, for the news that the learner blocked the bot or let it in again: a flood must not hide them."""

CROWDED_SECONDS = 1.0
"""For so long it is believed without asking that too many wait."""

LEARNERS_KEPT = 10_000
"""Beyond these, learners who have paused are forgotten."""

_CHANGES = frozenset({"stop", "resume"})
_SHOWS = (AnswerTap, ChooseOffset, CloseReport, NextQuestion, NextReview, OpenReport, OpenSettings)
"""Buttons that show something, or that count once: pressing one again asks for nothing new."""

Wish = tuple[UpdateKind, str, int | None]


@dataclass(slots=True)
class _Recent:
    """What is known of somebody's last seconds."""

    free: float = -math.inf
    """When their next update is within the pace again."""
    stored: Incoming | None = None
    """Their last update that was stored."""
    stored_at: float = -math.inf
    verdict: TapVerdict = TapVerdict.NOT_A_QUIZ
    """On the tap in it."""
    crowded_until: float = -math.inf


class FloodGate:
    """Knows who is too quick, and what they asked for last."""

    def __init__(self, pace: float = PACE, burst: int = BURST) -> None:
        """Take what is nothing remarkable.

        Args:
            pace: updates a second of one learner.
            burst: updates at once, after a rest.
        """
        self._slot = 1 / pace
        self._burst = burst
        self._recent: dict[LearnerId, _Recent] = {}
        self._most = LEARNERS_KEPT

    def is_too_quick(self, learner_id: LearnerId, now: float) -> bool:
        """Count an update, and say whether its sender is to be looked at.

        Args:
            learner_id: who sent it.
            now: a monotonic clock, in seconds.
        """
        recent = self._recent.get(learner_id)
        if recent is None:
            recent = self._remember(learner_id, now)
        free = max(recent.free, self._rested(now))
        recent.free = min(free + self._slot, now + REST_SECONDS)
        return free > now

    def repeated(self, update: Incoming, now: float) -> TapVerdict | None:
        """Return the verdict on an update that asks for the same as the one before; None if it asks for something new.

        Args:
            update: of somebody who is too quick.
            now: a monotonic clock, in seconds.
        """
        recent = self._recent.get(update.learner_id)
        if recent is None or recent.stored is None or now - recent.stored_at > REPEAT_SECONDS:
            return None
        wish = _wish(update)
        return recent.verdict if wish is not None and wish == _wish(recent.stored) else None

    def note_stored(self, update: Incoming, verdict: TapVerdict, now: float) -> None:
        """Remember what was stored, since more of the same may follow.

        Args:
            update: what is stored now.
            verdict: on the tap in it.
            now: a monotonic clock, in seconds.
        """
        recent = self._recent.get(update.learner_id)
        if recent is not None:
            recent.stored, recent.stored_at, recent.verdict = update, now, verdict

    def give_back(self, learner_id: LearnerId) -> None:
        """Take an update back that was counted and is a redelivery, which its sender did not send again.

        Args:
            learner_id: who sent it, once.
        """
        if recent := self._recent.get(learner_id):
            recent.free -= self._slot

    def is_crowded(self, learner_id: LearnerId, now: float) -> bool:
        """Say whether too many of somebody's updates waited just now.

        Args:
            learner_id: who.
            now: a monotonic clock, in seconds.
        """
        recent = self._recent.get(learner_id)
        return recent is not None and now < recent.crowded_until

    def note_crowded(self, learner_id: LearnerId, now: float) -> None:
        """Remember that too many of somebody's updates wait.

        Args:
            learner_id: who.
            now: a monotonic clock, in seconds.
        """
        if recent := self._recent.get(learner_id):
            recent.crowded_until = now + CROWDED_SECONDS

    def _rested(self, now: float) -> float:
        return now - self._slot * (self._burst - 1)

    def _remember(self, learner_id: LearnerId, now: float) -> _Recent:
        if len(self._recent) >= self._most:
            rested = self._rested(now)
            self._recent = {one: recent for one, recent in self._recent.items() if recent.free > rested}
            self._most = max(LEARNERS_KEPT, 2 * len(self._recent))
        self._recent[learner_id] = recent = _Recent()
        return recent


def _wish(update: Incoming) -> Wish | None:
    """Return what an update asks for, or None if asking twice is more than asking once."""
    match update.kind:
        case UpdateKind.TEXT:
            return update.kind, "", None
        case UpdateKind.COMMAND:
            return None if update.content in _CHANGES else (update.kind, update.content, None)
        case UpdateKind.TAP:
            return (update.kind, update.content, update.message_id) if _only_shows(update.content) else None
        case _:
            return None


def _only_shows(data: str) -> bool:
    try:
        return isinstance(unpack(data), _SHOWS)
    except ForgedCallbackError:
        return True


def most_waiting(kind: UpdateKind) -> int:
    """Return how many of a learner's updates may wait when another of a kind comes.

    Args:
        kind: of the one that comes.
    """
    is_membership = kind in {UpdateKind.BLOCKED, UpdateKind.UNBLOCKED}
    return MOST_WAITING + ROOM_FOR_MEMBERSHIP if is_membership else MOST_WAITING
