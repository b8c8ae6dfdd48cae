"""The rows and values that the parts of the service hand each other. All are immutable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, Protocol, Self
from zoneinfo import ZoneInfo

from domain.catalog import Level, QuestionSource, QuizKind, QuizState, Topic
from domain.ids import BotId, LearnerId, QuestionId, QuizId, UpdateRow


class Row(Protocol):
    """A database row: columns by name."""

    def __getitem__(self, key: str, /) -> Any:  # noqa: ANN401 - whatever the column holds
        """Return a column's value."""


@dataclass(frozen=True, slots=True)
class Learner:
    """Everything that is stored about a learner but their answers."""

    id: LearnerId
    bot_id: BotId
    level: Level
    points: int
    """Progress within the level, from -threshold to +threshold."""
    run: int
    """Answers in a row that were right, or, as a negative number, wrong."""
    placement_left: int
    """Answers until they are placed on a level; 0 when they are."""
    ability: float
    """Estimated, in logits."""
    ability_variance: float
    """Of the estimate, in logits²."""
    streak_days: int
    freezes: int
    """Missed days that the streak will survive."""
    last_answer_day: date | None
    """The learner's own local day of their latest answer."""
    last_answer_at: datetime | None
    daily_at: time
    timezone: str
    topics: tuple[Topic, ...]
    """The topics they chose; empty means all."""
    daily_enabled: bool
    blocked: bool
    version: int
    """Grows with each grade, so that two of them cannot start from the same state."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``learners``.

        Args:
            row: the columns by name.
        """
        return cls(
            id=LearnerId(row["id"]),
            bot_id=BotId(row["bot_id"]),
            level=Level(row["level"]),
            points=row["points"],
            run=row["run"],
            placement_left=row["placement_left"],
            ability=row["ability"],
            ability_variance=row["ability_variance"],
            streak_days=row["streak_days"],
            freezes=row["freezes"],
            last_answer_day=row["last_answer_day"],
            last_answer_at=row["last_answer_at"],
            daily_at=row["daily_at"],
            timezone=row["timezone"],
            topics=tuple(Topic(topic) for topic in row["topics"]),
            daily_enabled=row["daily_enabled"],
            blocked=row["blocked_at"] is not None,
            version=row["version"],
        )

    def local_day(self, now: datetime) -> date:
        """Return the date on the learner's own calendar.

        Args:
            now: an aware moment.
        """
        return now.astimezone(ZoneInfo(self.timezone)).date()

    @property
    def last_day_here(self) -> date | None:
        """Return the latest day with an answer, as the calendar in the learner's present time zone has it.

        Whoever moved east since then has skipped a date without living through it; the later of the two dates keeps
        that from looking like a missed day, and from counting the same evening twice.
        """
        if self.last_answer_day is None or self.last_answer_at is None:
            return self.last_answer_day
        return max(self.last_answer_day, self.local_day(self.last_answer_at))

    def current_streak(self, today: date) -> int:
        """Return the streak as it stands today: 0 when more days went by without an answer than freezes cover.

        Args:
            today: the learner's local day.
        """
        last_day = self.last_day_here
        alive = last_day is not None and (today - last_day).days - 1 <= self.freezes
        return self.streak_days if alive else 0


@dataclass(frozen=True, slots=True)
class StoredOption:
    """One of a question's four answers."""

    text: str
    why: str
    value: str | None = None
    """What the question's check yields if this option is the answer; the text when None."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it is stored and shown."""

    id: QuestionId
    key: str
    topic: Topic
    level: Level
    source: QuestionSource
    prompt: str
    code: str | None
    language: str
    options: tuple[StoredOption, ...]
    correct_index: int
    explanation: str
    reference_title: str
    reference_url: str

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``questions``, whose id is named ``question_id``.

        Args:
            row: the columns by name; ``options`` as the JSON text that the driver yields.
        """
        return cls(
            id=QuestionId(row["question_id"]),
            key=row["key"],
            topic=Topic(row["topic"]),
            level=Level(row["question_level"]),
            source=QuestionSource(row["source"]),
            prompt=row["prompt"],
            code=row["code"],
            language=row["language"],
            options=tuple(
                StoredOption(option["text"], option["why"], option.get("value"))
                for option in json.loads(row["options"])
            ),
            correct_index=row["correct_index"],
            explanation=row["explanation"],
            reference_title=row["reference_title"],
            reference_url=row["reference_url"],
        )


@dataclass(frozen=True, slots=True)
class Quiz:
    """A question put to a learner."""

    id: QuizId
    learner_id: LearnerId
    kind: QuizKind
    is_review: bool
    """Whether the learner missed this question, or one of its template, before."""
    state: QuizState
    local_day: date
    option_order: tuple[int, ...]
    """For each button, the place of its option in the question."""
    message_id: int | None
    bot_id: BotId
    """The bot that the learner belongs to."""
    message_bot_id: BotId
    """The bot whose message ``message_id`` is."""
    chosen: int | None
    """The place in the question of the option that was tapped."""
    sent_at: datetime | None
    answered_at: datetime | None
    attempts: int
    question: Question

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``quizzes`` joined with its question.

        Args:
            row: the columns by name, the quiz's id as ``quiz_id``.
        """
        return cls(
            id=QuizId(row["quiz_id"]),
            learner_id=LearnerId(row["learner_id"]),
            kind=QuizKind(row["kind"]),
            is_review=row["is_review"],
            state=QuizState(row["state"]),
            local_day=row["local_day"],
            option_order=tuple(row["option_order"]),
            message_id=row["message_id"],
            bot_id=BotId(row["bot_id"]),
            message_bot_id=BotId(row["message_bot_id"]),
            chosen=row["chosen"],
            sent_at=row["sent_at"],
            answered_at=row["answered_at"],
            attempts=row["attempts"],
            question=Question.from_row(row),
        )

    @property
    def is_correct(self) -> bool:
        """Return whether the tapped option is the right one."""
        return self.chosen == self.question.correct_index


@dataclass(frozen=True, slots=True)
class NewQuiz:
    """A quiz that is to be made."""

    learner_id: LearnerId
    question_id: QuestionId
    option_order: Sequence[int]
    """For each button, the place of its option in the question."""
    is_review: bool = False


@dataclass(frozen=True, slots=True)
class Grade:
    """What an answer changed, as it is stored and told to the learner."""

    quiz_id: QuizId
    learner_id: LearnerId
    correct: bool
    level_before: Level
    level_after: Level
    points_before: int
    points_after: int
    run_before: int
    run_after: int
    """Right or, below zero, wrong answers in a row; 0 after a change of level."""
    placement_left: int
    """Answers until the learner is placed, this one counted; 0 in the answer that places them and ever after."""
    was_placed: bool
    """Whether this was the answer that placed them."""
    streak_before: int
    streak_after: int
    freezes_before: int
    freezes_after: int
    local_day: date

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``answers``.

        Args:
            row: the columns by name.
        """
        return cls(
            quiz_id=QuizId(row["quiz_id"]),
            learner_id=LearnerId(row["learner_id"]),
            correct=row["correct"],
            level_before=Level(row["level_before"]),
            level_after=Level(row["level_after"]),
            points_before=row["points_before"],
            points_after=row["points_after"],
            run_before=row["run_before"],
            run_after=row["run_after"],
            placement_left=row["placement_left"],
            was_placed=row["was_placed"],
            streak_before=row["streak_before"],
            streak_after=row["streak_after"],
            freezes_before=row["freezes_before"],
            freezes_after=row["freezes_after"],
            local_day=row["local_day"],
        )


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


@dataclass(frozen=True, slots=True)
class ClaimedUpdate:
    """An update that this worker is to handle."""

    row: UpdateRow
    bot_id: BotId
    learner_id: LearnerId
    kind: UpdateKind
    content: str
    message_id: int | None
    received_at: datetime
    attempts: int
    home_bot_id: BotId | None
    """The bot that the learner belongs to; None if they are not known."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``updates``.

        Args:
            row: the columns by name.
        """
        return cls(
            row=UpdateRow(row["id"]),
            bot_id=BotId(row["bot_id"]),
            learner_id=LearnerId(row["learner_id"]),
            kind=UpdateKind(row["kind"]),
            content=row["content"],
            message_id=row["message_id"],
            received_at=row["received_at"],
            attempts=row["attempts"],
            home_bot_id=row["home_bot_id"],
        )

    @property
    def is_stray(self) -> bool:
        """Return whether the learner belongs to another bot than the one that received this."""
        return self.home_bot_id not in {None, self.bot_id}


@dataclass(frozen=True, slots=True)
class Tap:
    """A learner's tap on a quiz's button."""

    quiz_id: QuizId
    learner_id: LearnerId
    place: int
    """The button, counted from 0."""
    at: datetime
    """When it arrived."""
    message_id: int | None
    """The message that was tapped, which the feedback will edit."""
    bot_id: BotId
    """The bot whose message it is."""


class Fate(StrEnum):
    """What became of an update at the door."""

    STORED = "stored"
    KNOWN = "known"
    """It was stored before."""
    REPEATED = "repeated"
    """It asks for what the one before it asks for, which serves both."""
    SHED = "shed"
    """Too many of its learner's updates wait."""


class TapVerdict(StrEnum):
    """What a tap on a question's button amounts to, known the moment it arrives."""

    FRESH = "fresh"
    NOT_A_QUIZ = "not_a_quiz"
    FOREIGN = "foreign"
    ANSWERED = "answered"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How the sending of one quiz ended."""

    SENT = "sent"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line of a run's report: what became of a learner's quiz, and why."""

    learner_id: LearnerId
    outcome: Outcome
    reason: str = ""
    topic: Topic | None = None
    level: Level | None = None
    quiz_id: QuizId | None = None


@dataclass(frozen=True, slots=True)
class DailyResult:
    """What rows say about the daily quiz of a learner who was due."""

    learner_id: LearnerId
    is_known: bool
    is_blocked: bool
    is_enabled: bool
    """Whether they want daily quizzes."""
    is_due: bool
    """Whether they still are: no quiz was made for them."""
    quiz_id: QuizId | None
    """None, as all that follows, if none was made or sent since they were due."""
    state: QuizState | None
    failure: str | None
    topic: Topic | None
    level: Level | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``list_daily_results``.

        Args:
            row: the columns by name.
        """
        made = row["quiz_id"] is not None
        return cls(
            learner_id=LearnerId(row["learner_id"]),
            is_known=row["is_known"],
            is_blocked=row["is_blocked"],
            is_enabled=row["is_enabled"],
            is_due=row["is_due"],
            quiz_id=QuizId(row["quiz_id"]) if made else None,
            state=QuizState(row["state"]) if made else None,
            failure=row["failure"],
            topic=Topic(row["topic"]) if made else None,
            level=Level(row["level"]) if made else None,
        )


@dataclass(frozen=True, slots=True)
class TopicScore:
    """How a learner does in a topic."""

    topic: Topic
    answered: int
    correct: int
