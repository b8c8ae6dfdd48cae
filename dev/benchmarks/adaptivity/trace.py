"""A run of learners through a strategy, and the figures that come of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dev.benchmarks.adaptivity.strategy import Strategy
from dev.benchmarks.adaptivity.world import Floats, Learners, Numbers, Questions, correlation
from dev.benchmarks.numbers import Figures
from domain.catalog import Level

ZONE = (0.65, 0.90)
"""True chances of a right answer from which a learner learns: mostly right, and not by routine."""
CHECKPOINTS = (10, 20, 40, 60)
SURE = 1e-3
"""Predictions are kept so far from 0 and 1, so that one mistaken certainty does not decide the log loss."""
CROWD = 20
"""Learners that a level must have had for its share of exposure to count."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What happened; learners × answers, unless said otherwise."""

    asked: Numbers
    correct: Numbers
    """1 for right."""
    predicted: Floats
    """Chance of a right answer that was expected."""
    chance: Floats
    """True chance of a right answer."""
    estimate: Floats
    """Ability as estimated after each answer."""
    ability: Floats
    """True ability after each answer."""
    level: Numbers
    """Learners × (answers + 1): before the first answer, after the first, and so on; 0 where there are none."""


def run(strategy: Strategy, questions: Questions, learners: Learners, answers: int) -> Trace:
    """Let learners answer in turn: everybody's first question, then everybody's second, and so on."""
    shape = (len(learners), answers)
    trace = Trace(
        asked=np.zeros(shape, dtype=np.int64),
        correct=np.zeros(shape, dtype=np.int64),
        predicted=np.zeros(shape),
        chance=np.zeros(shape),
        estimate=np.zeros(shape),
        ability=learners.ability[:, 1 : answers + 1],
        level=np.zeros((len(learners), answers + 1), dtype=np.int64),
    )
    for one in range(len(learners)):
        trace.level[one, 0] = strategy.level(one)
    for turn in range(answers):
        for one in range(len(learners)):
            question = strategy.choose(one)
            chance = float(questions.success(learners.ability[one, turn], question))
            correct = bool(learners.luck[one, question] < chance)
            trace.asked[one, turn], trace.correct[one, turn], trace.chance[one, turn] = question, correct, chance
            trace.predicted[one, turn] = strategy.predict(one, question)
            strategy.learn(one, question, correct=correct)
            trace.estimate[one, turn] = strategy.ability(one)
            trace.level[one, turn + 1] = strategy.level(one)
    return trace


def measure(trace: Trace, questions: int) -> Figures:
    """Return what a run amounts to, as numbers by name."""
    figures: Figures = {}
    answers = trace.asked.shape[1]
    for count in (count for count in CHECKPOINTS if count <= answers):
        figures[f"rmse_{count}"] = float(rmse_by_answer(trace)[count - 1])
        figures[f"correlation_{count}"] = correlation(trace.estimate[:, count - 1], trace.ability[:, count - 1])
    changes, reversals = count_moves(trace.level)
    return figures | {
        "zone": float(np.mean((trace.chance >= ZONE[0]) & (trace.chance <= ZONE[1]))),
        "success": float(trace.correct.mean()),
        "changes": changes,
        "reversals": reversals,
        "log_loss": log_loss(trace.predicted, trace.correct),
        "exposure": float(np.bincount(trace.asked.ravel(), minlength=questions).max() / len(trace.asked)),
        "exposure_of_level": exposure_of_levels(trace, questions),
        "bank_used": len(np.unique(trace.asked)) / questions,
        "spread": float(trace.estimate[:, -1].std() / trace.ability[:, -1].std()),
    }


def rmse_by_answer(trace: Trace) -> Floats:
    """Return the root mean square error of the abilities after each answer, in logits."""
    errors: Floats = np.sqrt(np.mean((trace.estimate - trace.ability) ** 2, axis=0))
    return errors


def log_loss(predicted: Floats, correct: Numbers) -> float:
    """Return the mean surprise in nats of answers at what was predicted.

    Args:
        correct: 1 for right.
    """
    chance = np.clip(predicted, SURE, 1 - SURE)
    return float(-np.mean(np.where(correct == 1, np.log(chance), np.log(1 - chance))))


def count_moves(levels: Numbers) -> tuple[float, float]:
    """Return level changes a learner, and how many of them went against the change before; placement counts as one.

    Args:
        levels: learners × (answers + 1).
    """
    changes = reversals = 0
    for path in levels:
        moves = np.sign(np.diff(path))
        moves = moves[moves != 0]
        changes += len(moves)
        reversals += int(np.sum(moves[1:] != moves[:-1]))
    return changes / len(levels), reversals / len(levels)


def exposure_of_levels(trace: Trace, questions: int) -> float:
    """Return the largest share of the learners of any level who were shown the same question on it.

    Args:
        trace: the run; NaN comes back when it has no levels.
    """
    shares = []
    standing = trace.level[:, :-1]
    for level in Level:
        there = standing == level
        learners = int(there.any(axis=1).sum())
        if learners >= CROWD:
            shares.append(float(np.bincount(trace.asked[there], minlength=questions).max() / learners))
    return max(shares, default=float("nan"))
