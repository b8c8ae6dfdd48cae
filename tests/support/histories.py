"""Learners' histories, as the rules make them of when somebody answered and whether they were right."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

from hypothesis import strategies as st

from adaptation.ratings import update_ratings
from difficulty_adapter import Answer, calculate_adaptation
from domain.catalog import Level, Topic
from domain.history import PastAnswer, ProgressHistory
from domain.learning import UNKNOWN_ABILITY, Rating
from domain.models import Progress, TopicScore

TODAY = date(2026, 11, 25)

Answered = tuple[date, bool, Topic]


def history_of(answered: Iterable[Answered], today: date = TODAY, **fields: object) -> ProgressHistory:
    """Return the history of somebody who gave these answers, the oldest first."""
    progress, ability, best = Progress(Level.INTERMEDIATE), UNKNOWN_ABILITY, 0
    answers: list[PastAnswer] = []
    scores: dict[Topic, tuple[int, int]] = {}
    for day, correct, topic in answered:
        ability, _ = update_ratings(ability, Rating(ability.mean - 0.85, 0.3), correct=correct)  # a fitting question
        progress = calculate_adaptation(progress, Answer.RIGHT if correct else Answer.WRONG, day, ability).after
        best = max(best, progress.streak.days)
        answers.append(PastAnswer(day, correct, progress.level, progress.streak.days))
        count, right = scores.get(topic, (0, 0))
        scores[topic] = (count + 1, right + correct)
    last = progress.streak.last_day
    alive = last is not None and (today - last).days - 1 <= progress.streak.freezes
    history = ProgressHistory(
        today=today,
        level=progress.level,
        points=progress.points,
        streak=progress.streak.days if alive else 0,
        best_streak=best,
        freezes=progress.streak.freezes,
        answers=tuple(answers),
        topics=tuple(TopicScore(topic, count, right) for topic, (count, right) in scores.items()),
    )
    return replace(history, **fields)  # type: ignore[arg-type]


def student(days: int, a_day: int, *, right: float = 0.75, diligence: float = 1.0, seed: int = 0) -> ProgressHistory:
    """Return the history of somebody who answered on most of the latest days, all topics alike."""
    rng = random.Random(seed)
    return history_of(
        (TODAY - timedelta(days=ago), rng.random() < right, rng.choice(list(Topic)))
        for ago in reversed(range(days))
        if rng.random() < diligence or ago == 0
        for _ in range(a_day)
    )


def _from_gaps(given: list[tuple[int, bool, Topic]], rest: int) -> list[Answered]:
    ago = rest + sum(gap for gap, _, _ in given)
    answered = []
    for gap, correct, topic in given:
        ago -= gap
        answered.append((TODAY - timedelta(days=ago), correct, topic))
    return answered


answered = st.builds(
    _from_gaps,
    st.lists(
        st.tuples(st.integers(0, 4) | st.integers(0, 400), st.booleans(), st.sampled_from(list(Topic))), max_size=60
    ),
    st.integers(0, 4) | st.integers(0, 100),
)
histories = st.builds(
    history_of,
    answered,
    placement_left=st.sampled_from([0, 0, 1, 5]),
    reviews_due=st.integers(0, 3),
    reviews_later=st.integers(0, 3),
)
"""Histories of nobody, of somebody who just began, and of somebody who comes and goes for years."""
