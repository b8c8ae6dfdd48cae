"""The rows and values that the parts of the service hand each other. All are immutable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from domain.catalog import UNKNOWN_CHOICE, Level, QuestionSource, QuizKind, QuizState, StaleReason, Topic
from domain.ids import BotId, LearnerId, QuestionId, QuizId
from domain.time_zones import zone_of


@dataclass(frozen=True, slots=True)
class Learner:
    """Everything that is stored about a learner but their answers."""

    id: LearnerId
    bot_id: BotId
    level: Level
    level_progress: int
    """How near the next level is, from 0 to 100."""
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

    def local_day(self, now: datetime) -> date:
        """Return the date on the learner's own calendar."""
        return now.astimezone(zone_of(self.timezone)).date()

    @property
    def last_day_here(self) -> date | None:
        """Return the latest day with an answer, as the calendar in the learner's present time zone has it.

        A learner who moved east since then has skipped a date without living through it; the later of the two keeps
        that from looking like a missed day, and from counting the same evening twice.
        """
        if self.last_answer_day is None or self.last_answer_at is None:
            return self.last_answer_day
        return max(self.last_answer_day, self.local_day(self.last_answer_at))

    def current_streak(self, today: date) -> int:
        """Return the streak as it stands today: 0 when more days went by without an answer than freezes cover."""
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
class StoredQuestion:
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
    """The place in the question of the option that was tapped; `UNKNOWN_CHOICE` if the learner did not know."""
    sent_at: datetime | None
    answered_at: datetime | None
    attempts: int
    question: StoredQuestion
    traceparent: str | None = None
    """The span in which it was sent; None without tracing."""
    since_sent: timedelta | None = None
    """How long ago it was sent, by the database's clock; of open quizzes only."""

    @property
    def is_correct(self) -> bool:
        """Return whether the tapped option is the right one."""
        return self.chosen == self.question.correct_index

    @property
    def is_unknown(self) -> bool:
        """Return whether the learner said that they do not know."""
        return self.chosen == UNKNOWN_CHOICE


@dataclass(frozen=True, slots=True)
class StaleMessage:
    """A message with a question's buttons in which nobody is to answer it any more."""

    learner_id: LearnerId
    bot_id: BotId
    """Whose message it is."""
    message_id: int
    reason: StaleReason
    home_bot_id: BotId
    """The bot that the learner belongs to."""


@dataclass(frozen=True, slots=True)
class NewQuiz:
    """A quiz that is to be made."""

    learner_id: LearnerId
    question_id: QuestionId
    option_order: Sequence[int]
    """For each button, the place of its option in the question."""
    is_review: bool = False


@dataclass(frozen=True, slots=True)
class SentQuestion:
    """A quiz that is in the learner's chat."""

    quiz_id: QuizId
    message_id: int
    bot_id: BotId
    """The bot whose message it is."""
    traceparent: str | None = None
    """The span in which it was sent; None without tracing."""


@dataclass(frozen=True, slots=True)
class Streak:
    """Local days in a row with an answer."""

    days: int = 0
    last_day: date | None = None
    """The learner's own latest day with an answer."""
    freezes: int = 0
    """Missed days that it will survive."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a learner stands."""

    level: Level
    points: int = 0
    """How near the next level is, from 0 to 100."""
    run: int = 0
    """Answers in a row that were right, or, as a negative number, wrong."""
    placement_left: int = 0
    """Answers until the learner is placed; 0 when they are."""
    streak: Streak = Streak()


@dataclass(frozen=True, slots=True)
class Grade:
    """What an answer changed, as it is stored and told to the learner."""

    quiz_id: QuizId
    learner_id: LearnerId
    correct: bool
    before: Progress
    after: Progress
    """In a grade that was read, neither streak tells its latest day: only the learner's own is stored."""
    local_day: date
    level_rules: int
    """Which rules of levels it was made by."""
    ability: float | None
    """The learner's in logits, with this answer counted; None in a grade from before it was kept."""
    difficulties: Mapping[Level, float] | None
    """Mean difficulty of each level's questions, in logits; None in a grade from before it was kept."""
    opens_day: bool = False
    """Whether it is the first answer of that day; known only of a grade that was read."""
    today: date | None = None
    """The date on the learner's own calendar when it was read; None of a grade just made."""
    next_daily_at: datetime | None = None
    """When the next daily quiz comes, on the learner's own clock; None if they want none, if it is overdue or paused,
    or of a grade just made."""

    @property
    def was_placed(self) -> bool:
        """Return whether this was the answer that placed the learner."""
        return self.before.placement_left > 0 and self.after.placement_left == 0


class Outcome(StrEnum):
    """How the sending of one quiz ended."""

    SENT = "sent"
    SKIPPED = "skipped"
    FAILED = "failed"


class FailureKind(StrEnum):
    """Whose fault it is that a quiz was not sent."""

    FAILED = "failed"
    """The service's, or Telegram's."""
    UNREACHABLE = "unreachable"
    """The learner blocked the bot or is gone."""
    REFUSED = "refused"
    """Telegram refuses the bot as a whole: the quiz waits."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line of a run's report: what became of a learner's quiz, and why."""

    learner_id: LearnerId
    outcome: Outcome
    reason: str = ""
    topic: Topic | None = None
    level: Level | None = None
    quiz_id: QuizId | None = None
    failure: FailureKind = FailureKind.FAILED
    """Of one that failed."""
    trace_id: str | None = None
    """By which it is found in a viewer of traces; None without tracing."""


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
    is_paused: bool
    """Whether their bot is."""
    quiz_id: QuizId | None
    """None, as all that follows, if none was made or sent since they were due."""
    state: QuizState | None
    failure: str | None
    attempts: int | None
    """How often sending began; a refusal of the whole bot counts for none."""
    topic: Topic | None
    level: Level | None


@dataclass(frozen=True, slots=True)
class Activity:
    """What a learner did so far."""

    answers: int = 0
    correct: int = 0
    last_at: datetime | None = None
    """When they last wrote or tapped, as far as is known: handled updates are forgotten after some days."""


@dataclass(frozen=True, slots=True)
class TopicScore:
    """How a learner does in a topic."""

    topic: Topic
    answered: int
    correct: int
