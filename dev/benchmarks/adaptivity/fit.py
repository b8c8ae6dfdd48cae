"""How many learners stand on the level that suits their true ability, and how many could by the same answers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from adaptation.ratings import LEVEL_DIFFICULTY, level_boundary
from dev.benchmarks.adaptivity.trace import CHECKPOINTS, Trace
from dev.benchmarks.adaptivity.world import GROWTH_NOISE, GROWTH_PER_ANSWER, Floats, Numbers, Questions
from dev.benchmarks.numbers import Figures
from domain.catalog import Level

TOLERANCE = 0.3
"""Logits between an ability and a level's end within which the level beyond it is nearly as good."""

_GRID = np.linspace(-5.0, 5.0, 201)
"""Abilities whose chances the ideal estimator keeps apart, in logits."""


def nearest_levels(ability: Floats) -> Numbers:
    """Return the level whose questions each ability is nearest to, as production has it."""
    means = [LEVEL_DIFFICULTY[level] for level in Level]
    ends = [level_boundary(low, high) for low, high in pairwise(means)]
    levels: Numbers = Level.BEGINNER + np.searchsorted(ends, ability, side="right")
    return levels


def share_fitting(levels: Numbers, ability: Floats, tolerance: float = 0.0) -> float:
    """Return the share of learners on the level that is nearest to their ability, give or take some logits."""
    low, high = nearest_levels(ability - tolerance), nearest_levels(ability + tolerance)
    return float(np.mean((low <= levels) & (levels <= high)))


def measure_fit(trace: Trace, questions: Questions | None = None) -> Figures:
    """Return how well levels fit after each number of answers.

    Args:
        questions: as they truly are, to add what an ideal estimator makes of the same answers.
    """
    figures: Figures = {}
    found = {"": trace.level[:, 1:]}
    if questions is not None:
        found["ideal_"] = ideal_levels(trace, questions)
    for count in (count for count in CHECKPOINTS if count <= trace.asked.shape[1]):
        for name, levels in found.items():
            here, ability = levels[:, count - 1], trace.ability[:, count - 1]
            figures[f"{name}fits_{count}"] = share_fitting(here, ability)
            figures[f"{name}nearly_{count}"] = share_fitting(here, ability, TOLERANCE)
    return figures


def ideal_levels(trace: Trace, questions: Questions) -> Numbers:
    """Return the likeliest level of each learner after each answer, learners × answers.

    It is Bayes' rule on a grid, with all that the service cannot know: every question's true parameters, how abilities
    are distributed, and how learners grow.
    """
    step = _GRID[1] - _GRID[0]
    spread, drift = (GROWTH_NOISE**2 + GROWTH_PER_ANSWER**2) / step**2, GROWTH_PER_ANSWER / step
    up, down = (spread + drift) / 2, (spread - drift) / 2
    members = nearest_levels(_GRID)[:, None] == np.array(list(Level))
    belief = np.tile(np.exp(-(_GRID**2) / 2), (len(trace.asked), 1))
    levels = np.zeros_like(trace.asked)
    for turn in range(trace.asked.shape[1]):
        success = questions.success(_GRID, trace.asked[:, turn, None])
        belief = belief * np.where(trace.correct[:, turn, None] == 1, success, 1 - success)
        grown = belief * (1 - up - down)
        grown[:, 1:] += belief[:, :-1] * up
        grown[:, :-1] += belief[:, 1:] * down
        belief = grown / grown.sum(axis=1, keepdims=True)
        levels[:, turn] = Level.BEGINNER + np.argmax(belief @ members, axis=1)
    return levels
