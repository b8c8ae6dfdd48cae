"""Numbers about stored questions: their standing, and what learners made of them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from domain.bank import BankEntry
from domain.catalog import Level, QuestionSource, QuestionState, Topic

MIN_ANSWERS = 5
"""Answers below which a question's share of right ones says nothing about it."""


def count_standing(entries: Iterable[BankEntry]) -> Counter[tuple[QuestionSource, QuestionState]]:
    """Return how many stored questions of each source are in each state."""
    return Counter((entry.question.source, entry.state) for entry in entries)


def count_active(entries: Iterable[BankEntry]) -> Counter[tuple[Topic, Level]]:
    """Return how many questions can be asked of each topic at each level."""
    active = (entry.question for entry in entries if entry.state is QuestionState.ACTIVE)
    return Counter((question.topic, question.level) for question in active)


def share_right(entry: BankEntry) -> float | None:
    """Return the share of a question's answers that were right, or None without any."""
    return entry.correct / entry.answered if entry.answered else None


def rank_by_difficulty(entries: Iterable[BankEntry], min_answers: int = MIN_ANSWERS) -> list[BankEntry]:
    """Return questions from the one answered wrongly most often to the one answered rightly most often.

    Args:
        min_answers: answers that a question needs to be ranked, at least 1.
    """
    ranked = [(entry.correct / entry.answered, entry) for entry in entries if entry.answered >= min_answers]
    ranked.sort(key=lambda pair: (pair[0], -pair[1].answered, pair[1].question.key))
    return [entry for _, entry in ranked]
