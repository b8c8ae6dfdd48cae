"""Numbers about blind readings: how readers agree with the keys, with our levels, and with each other. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean, median_low
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.catalog import Level
from question_bank.lint import MAX_RATING_SPREAD

WORTH_FROM = Level.ADVANCED
"""From this level on a question is to be worth a senior's minute."""


class Reading(BaseModel):
    """What one reader says of one question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: int
    answer: Literal["A", "B", "C", "D"]
    level: Level
    unclear: str
    guessable: str
    trivia: str
    worth: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """A question as readers get it."""

    n: int
    id: str
    digest: str
    """Of what was read, so that a later change shows."""
    level: Level
    order: tuple[int, ...]
    """Places in the file of options A to D."""
    right: str
    """The letter of the right option."""


@dataclass(frozen=True, slots=True)
class Read:
    """A question with its readings."""

    drawn: Drawn
    readings: Sequence[Reading]
    """At least one."""

    @property
    def rated(self) -> list[Level]:
        """Return the readers' levels."""
        return [reading.level for reading in self.readings]

    @property
    def median(self) -> Level:
        """Return the median of the readers' levels; of an even number, the lower middle one."""
        return median_low(self.rated)

    @property
    def drift(self) -> int:
        """Return by how many levels ours is above theirs; negative when below."""
        return self.drawn.level - self.median

    @property
    def faults(self) -> list[str]:
        """Return why it must be written anew; nothing when its ratings can stand."""
        others = [reading.answer for reading in self.readings if reading.answer != self.drawn.right]
        faults = [f"answered {', '.join(others)}, marked {self.drawn.right}"] if others else []
        if max(self.rated) - min(self.rated) > MAX_RATING_SPREAD:
            faults.append(f"rated {', '.join(str(int(level)) for level in self.rated)}")
        return faults

    @property
    def remarks(self) -> list[str]:
        """Return what readers noted."""
        return [
            f"{kind}: {text}"
            for reading in self.readings
            for kind in ("unclear", "guessable", "trivia")
            if (text := getattr(reading, kind))
        ]

    def is_called(self, kind: str) -> bool:
        """Return whether most readers say that it is `unclear`, `guessable`, `trivia` or `worth` a minute."""
        return 2 * sum(bool(getattr(reading, kind)) for reading in self.readings) > len(self.readings)


@dataclass(frozen=True, slots=True)
class Figures:
    """What all readings say together; shares are from 0 to 1."""

    questions: int
    readings: int
    fewest: int
    """Readings of the question that has the fewest."""
    seed: int
    agree_with_key: float
    """Share of answers."""
    same_level: float
    """Share of the questions whose median is our level."""
    one_off: float
    two_off: float
    """By two levels or more."""
    ours_higher: float
    ours_lower: float
    same_rating: float
    """Mean share of the pairs of readers who give a question the same level."""
    alpha: float
    """Krippendorff's alpha for interval data; 1 is full agreement, 0 is chance."""
    unclear: float
    """Share of the questions that most readers call so; likewise the next two."""
    guessable: float
    trivia: float
    unclear_readings: float
    """Share of the readings; likewise the next two."""
    guessable_readings: float
    trivia_readings: float
    worth: float
    """Share of the questions of levels 3 and 4 that most readers call worth a senior's minute."""


def measure(read: Sequence[Read], seed: int) -> Figures:
    """Return the figures of a set of readings.

    Args:
        read: at least one question.

    Raises:
        ValueError: there is none.
    """
    if not read:
        raise ValueError("no readings to measure")
    readings = [reading for one in read for reading in one.readings]
    drifts = Counter(one.drift for one in read)
    high = [one for one in read if one.drawn.level >= WORTH_FROM]
    return Figures(
        questions=len(read),
        readings=len(readings),
        fewest=min(len(one.readings) for one in read),
        seed=seed,
        agree_with_key=fmean(reading.answer == one.drawn.right for one in read for reading in one.readings),
        same_level=drifts[0] / len(read),
        one_off=(drifts[1] + drifts[-1]) / len(read),
        two_off=sum(count for drift, count in drifts.items() if abs(drift) > 1) / len(read),
        ours_higher=sum(count for drift, count in drifts.items() if drift > 0) / len(read),
        ours_lower=sum(count for drift, count in drifts.items() if drift < 0) / len(read),
        same_rating=_same_rating([one.rated for one in read]),
        alpha=krippendorff_alpha([one.rated for one in read]),
        **{kind: fmean(one.is_called(kind) for one in read) for kind in ("unclear", "guessable", "trivia")},
        **{
            f"{kind}_readings": fmean(bool(getattr(reading, kind)) for reading in readings)
            for kind in ("unclear", "guessable", "trivia")
        },
        worth=fmean(one.is_called("worth") for one in high) if high else 0.0,
    )


def as_json(figures: Figures) -> dict[str, float]:
    """Return figures as they are kept, rounded to four places."""
    return {name: round(value, 4) for name, value in asdict(figures).items()}


def _same_rating(units: Iterable[Collection[int]]) -> float:
    shares = [fmean(one == other for one, other in combinations(unit, 2)) for unit in units if len(unit) > 1]
    return fmean(shares) if shares else 1.0


def krippendorff_alpha(units: Iterable[Collection[int]]) -> float:
    """Return Krippendorff's alpha of ratings on an interval scale.

    The formula is of K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D with squared
    differences.

    Args:
        units: for each thing that was rated its ratings; those with one are left out, as there.

    Returns:
        1 for full agreement, 0 for what chance gives; 1 also when all ratings are the same.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    values = [value for unit in paired for value in unit]
    observed = sum(_squares(unit) / (len(unit) - 1) for unit in paired)
    expected = _squares(values) / (len(values) - 1) if values else 0
    return 1 - observed / expected if expected else 1.0


def _squares(values: Sequence[int]) -> int:
    """Return the sum of the squared differences of all ordered pairs."""
    return 2 * (len(values) * sum(value * value for value in values) - sum(values) ** 2)
