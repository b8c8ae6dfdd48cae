"""Updates from Telegram: as they come in, as they are stored, and as a worker takes them. All are immutable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.callbacks import AnswerTap, Callback
from domain.ids import BotId, LearnerId, QuizId, UpdateRow


class UpdateKind(StrEnum):
    """The kinds of Telegram updates that the service uses."""

    COMMAND = "command"
    TEXT = "text"
    TAP = "tap"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"


@dataclass(frozen=True, slots=True)
class Incoming:
    """An update with everything personal stripped but the Telegram user id."""

    update_id: int
    learner_id: LearnerId
    kind: UpdateKind
    content: str = ""
    """The command's name or the button's data; never what a learner wrote."""
    message_id: int | None = None
    callback_id: str | None = None
    callback: Callback | None = None
    """What the button's data means; None if this is no tap, or one on a button that the bot never made."""
    album: int | None = None
    """A number for the album that a message is a part of; not stored with it."""


@dataclass(frozen=True, slots=True)
class ClaimedUpdate:
    """An update that this worker is to handle."""

    row: UpdateRow
    bot_id: BotId
    learner_id: LearnerId
    kind: UpdateKind
    content: str
    callback: Callback | None
    """What the button's data means; None if this is no tap, or one on a button that there is no more."""
    message_id: int | None
    received_at: datetime
    attempts: int
    home_bot_id: BotId | None
    """The bot that the learner belongs to; None if they are not known."""
    traceparent: str | None = None
    """The span in which it was received; None without tracing."""

    @property
    def is_for_other_bot(self) -> bool:
        """Return whether the learner belongs to another bot than the one that received this."""
        return self.home_bot_id not in {None, self.bot_id}

    @property
    def answer(self) -> Tap | None:
        """Return the learner's answer to a quiz, if this is one."""
        if not isinstance(self.callback, AnswerTap):
            return None
        quiz_id, place = QuizId(self.callback.quiz_id), self.callback.place
        return Tap(quiz_id, self.learner_id, place, self.received_at, self.message_id, self.bot_id)


@dataclass(frozen=True, slots=True)
class Tap:
    """A learner's tap on a quiz's button; the query `record_taps` takes its fields in this order."""

    quiz_id: QuizId
    learner_id: LearnerId
    place: int
    """The button, counted from 0; `UNKNOWN_CHOICE` for "I don't know"."""
    at: datetime
    """When it arrived."""
    message_id: int | None
    """The message that was tapped, which the feedback will edit."""
    bot_id: BotId
    """The bot whose message it is."""


class IntakeResult(StrEnum):
    """What the intake did with an update."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """It was stored before."""
    COALESCED = "coalesced"
    """It asks for what the one before it asks for, which serves both."""
    DROPPED = "dropped"
    """Too many of its learner's updates wait."""


class TapVerdict(StrEnum):
    """What a tap on a question's button amounts to, known the moment it arrives."""

    FRESH = "fresh"
    NOT_A_QUIZ = "not_a_quiz"
    FOREIGN = "foreign"
    ANSWERED = "answered"
    REPEATED = "repeated"
    """It follows another tap on the same question at once."""
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AcceptedUpdate:
    """An update that need not be delivered again, stored or not."""

    update: Incoming
    result: IntakeResult
    verdict: TapVerdict
    """On a tap; on a repeated one, the first one's."""

    @property
    def is_new(self) -> bool:
        """Return whether a worker has something new to do."""
        return self.result is IntakeResult.STORED
