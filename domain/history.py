"""What a learner's progress is told and drawn from: their answers, day by day, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from domain.catalog import Level
from domain.models import TopicScore

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """One answer, as much of it as progress needs."""

    day: date
    """On the learner's own calendar."""
    correct: bool
    level: Level
    """After the answer."""
    streak: int
    """Days, after the answer."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many answers, and how many of them were right."""

    answered: int
    correct: int

    @property
    def share(self) -> float:
        """Return the share that was right, from 0 to 1; there must be an answer."""
        return self.correct / self.answered


@dataclass(frozen=True, slots=True)
class ProgressHistory:
    """Everything that /stats tells. It holds no ability: learners are told level and change."""

    today: date
    """On the learner's own calendar."""
    level: Level
    points: int
    """Progress within the level."""
    streak: int
    """Days, as it stands today: 0 when it is broken."""
    best_streak: int
    freezes: int
    """As they were kept after the latest answer."""
    answers: tuple[PastAnswer, ...]
    """All of them, the oldest first."""
    topics: tuple[TopicScore, ...]
    placement_left: int = 0
    """Answers until the learner is placed on a level."""
    reviews_due: int = 0
    """Missed questions that wait now."""
    reviews_later: int = 0
    """Missed questions that will come back another day."""

    def tally(self, first: date = date.min, last: date = date.max) -> Tally:
        """Return the answers of a stretch of days, summed up."""
        results = [answer.correct for answer in self.answers if first <= answer.day <= last]
        return Tally(len(results), sum(results))

    def recent(self, days: int) -> Tally:
        """Return the answers of the latest days, today among them, summed up."""
        return self.tally(self.today - timedelta(days=days - 1))

    def level_before(self, days: int) -> Level | None:
        """Return the level at the end of the day so many days ago, or None if nothing was answered until then."""
        end = self.today - timedelta(days=days)
        return next((answer.level for answer in reversed(self.answers) if answer.day <= end), None)

    @property
    def answered_days(self) -> frozenset[date]:
        """Return the days with an answer."""
        return frozenset(answer.day for answer in self.answers)

    @property
    def saved_days(self) -> frozenset[date]:
        """Return the days without an answer that a streak survived by a freeze, those before today included."""
        return frozenset((*self._saved_before_answers(), *self._saved_since()))

    @property
    def freezes_left(self) -> int:
        """Return how many freezes remain for missed days to come."""
        return max(0, self.freezes - len(self._saved_since()))

    def _saved_before_answers(self) -> Iterator[date]:
        latest = date.max
        for answer in self.answers:
            if answer.streak > 1:  # with a day missed, a streak of 1 is a new one
                yield from _between(latest, answer.day)
            latest = answer.day if latest is date.max else max(latest, answer.day)

    def _saved_since(self) -> list[date]:
        if not self.answers or self.streak == 0:
            return []
        return list(_between(max(answer.day for answer in self.answers), self.today))


def _between(first: date, last: date) -> Iterator[date]:
    """Yield the days between two others, neither included."""
    for number in range(1, (last - first).days):
        yield first + number * _DAY
