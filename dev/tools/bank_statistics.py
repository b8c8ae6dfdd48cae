"""Numbers about the bank's files: what they hold, and whether their form gives answers away. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from domain.catalog import OPTION_COUNT, CheckEngine, Level, QuestionForm, Topic
from question_bank.format import BankQuestion
from question_bank.loader import Located

CHANCE = 1 / OPTION_COUNT
"""Share of right answers of a learner who taps without reading."""


# ---------------------------------------------------------------- what the bank holds


def count_cells(questions: Iterable[Located]) -> Counter[tuple[Topic, Level]]:
    """Return how many questions each topic has at each level."""
    return Counter((located.topic, located.question.level) for located in questions)


def count_forms(questions: Iterable[Located]) -> Counter[tuple[Level, QuestionForm]]:
    """Return how many questions of each form each level has."""
    return Counter((located.question.level, located.question.form) for located in questions)


def count_engines(questions: Iterable[Located]) -> Counter[tuple[Topic, CheckEngine | None]]:
    """Return how many questions of each topic are executed by each engine; None counts those that are not."""
    return Counter(
        (located.topic, located.question.check.engine if located.question.check else None) for located in questions
    )


def count_tags(questions: Iterable[Located]) -> list[tuple[str, int]]:
    """Return each tag with how many questions have it, the most used first, those alike by name."""
    counts = Counter(tag for located in questions for tag in set(located.question.tags))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


# ---------------------------------------------------------------- what its form gives away


@dataclass(frozen=True, slots=True)
class LengthBias:
    """What the lengths of options tell about the right one."""

    questions: int
    longest: float
    """Share of the questions that are right for whoever always taps the longest option; ties are shared."""
    shortest: float
    """The same for the shortest one."""
    right: float
    """Mean characters of the right options."""
    wrong: float
    """Mean characters of the wrong ones."""


def measure_lengths(questions: Sequence[BankQuestion]) -> LengthBias:
    """Return what the lengths of options tell.

    Args:
        questions: at least one.

    Raises:
        ValueError: there is none.
    """
    if not questions:
        raise ValueError("no questions to measure")
    right = [len(option.text) for question in questions for option in question.options if option.correct]
    wrong = [len(option.text) for question in questions for option in question.options if not option.correct]
    return LengthBias(
        questions=len(questions),
        longest=_hits(questions, max) / len(questions),
        shortest=_hits(questions, min) / len(questions),
        right=sum(right) / len(right),
        wrong=sum(wrong) / len(wrong),
    )


def _hits(questions: Iterable[BankQuestion], extreme: Callable[[list[int]], int]) -> float:
    """Return how many questions are right, on average, for whoever taps one of the options of extreme length."""
    hits = 0.0
    for question in questions:
        lengths = [len(option.text) for option in question.options]
        picked = [place for place, length in enumerate(lengths) if length == extreme(lengths)]
        hits += (question.correct_index in picked) / len(picked)
    return hits


def count_places(questions: Iterable[BankQuestion]) -> tuple[int, ...]:
    """Return how many questions have their right option in each place of the file."""
    places = Counter(question.correct_index for question in questions)
    return tuple(places[place] for place in range(OPTION_COUNT))
