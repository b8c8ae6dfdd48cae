"""The rules of levels beside the same with other numbers: how well levels fit, fall by luck, and rise.

Two kinds of learners are followed from where they begin, as somebody who said how experienced they are: those who stand
on the level that is theirs, and those who stand one level too low.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from adaptation.ratings import EXPERIENCE_PRIORS, LEVEL_DIFFICULTY
from dev.benchmarks.adaptivity.fit import measure_fit
from dev.benchmarks.adaptivity.production import Past, Production, Variant
from dev.benchmarks.adaptivity.rivals import TARGET_LOGIT
from dev.benchmarks.adaptivity.simulation import Say, Size, World, first, make_world, warm_up
from dev.benchmarks.adaptivity.trace import measure, run
from dev.benchmarks.adaptivity.world import Floats, Learners, Model, Numbers, Questions, make_learners
from dev.benchmarks.numbers import Figures
from difficulty_adapter import DEFAULT_RULES
from domain.catalog import Experience, Level
from domain.learning import Rating

AT_HOME = 0.78
"""True chance of a right answer on the level of those who stand on theirs."""
UPPER_LEVELS = (Level.INTERMEDIATE, Level.ADVANCED, Level.EXPERT)
"""Those that can be fallen from, and stood below."""
DOUBT = EXPERIENCE_PRIORS[Experience.SOME].variance
"""Variance with which these learners are believed to belong where they begin, in logits²."""

AS_IT_IS = f"{DEFAULT_RULES.confidence:g}, as it is"
VARIANTS = {
    **{f"{sure:g}": Variant(replace(DEFAULT_RULES, confidence=sure)) for sure in (0, 0.5, 1, 1.28)},
    AS_IT_IS: Variant(),
    "2": Variant(replace(DEFAULT_RULES, confidence=2)),
    "as it is, no placement": Variant(replace(DEFAULT_RULES, placement_answers=0)),
    "as it is, placed after 10": Variant(replace(DEFAULT_RULES, placement_answers=10)),
}
"""Rules that were weighed, by their confidence."""


def compare_levels(seed: int, size: Size, say: Say) -> Figures:
    """Return what each rule that was weighed comes to, on one 3PL world with a warm bank."""
    world = make_world(Model.THREE, seed, size)
    past, _ = warm_up(world)
    figures: Figures = {}
    for name, variant in VARIANTS.items():
        some = first(world.learners, size.level_learners)
        strategy = Production(world.bank, len(some), copy.deepcopy(past), world.chance("production"), variant)
        trace = run(strategy, world.questions, some, size.answers)
        figures[name] = {
            **measure(trace, size.questions),
            **measure_fit(trace),
            **_follow(world, past, variant, size.followed if name == AS_IT_IS else size.followed // 3),
        }
        say(f"levels, seed {seed}: {name}")
    return figures


def _follow(world: World, past: Past, variant: Variant, count: int) -> Figures:
    """Follow some learners of each level who stand on theirs, and as many who stand one too low."""
    demoted, waited = {}, {}
    for level in UPPER_LEVELS:
        learners = learners_of_level(world, level, count)
        demoted[level] = fell_from(_levels_of(world, past, variant, learners, level), level)
        waited[level] = answers_until(_levels_of(world, past, variant, learners, Level(level - 1)), level)
    return {
        "demoted": float(np.mean(list(demoted.values()))),
        "answers_to_rise": float(np.median(np.concatenate(list(waited.values())))),
        **{f"demoted_{level.value}": share for level, share in demoted.items()},
        **{f"answers_to_rise_{level.value}": float(np.median(count)) for level, count in waited.items()},
    }


def _levels_of(world: World, past: Past, variant: Variant, learners: Learners, start: Level) -> Numbers:
    believed = Rating(LEVEL_DIFFICULTY[start] + TARGET_LOGIT, DOUBT)
    chance = world.chance(f"{start} of {learners.ability[0, 0]}")
    strategy = Production(world.bank, [believed] * len(learners), copy.deepcopy(past), chance, variant)
    return run(strategy, world.questions, learners, world.size.answers).level


def learners_of_level(world: World, level: Level, count: int) -> Learners:
    """Return learners whose true chance of a right answer on the level's questions is `AT_HOME` when they begin."""
    rng = np.random.default_rng([world.seed, level])
    places = np.flatnonzero(np.array(world.bank.levels) == level)
    ability = np.full(count, ability_for(world.questions, places, AT_HOME))
    return make_learners(ability, world.size.answers, world.size.questions, rng)


def ability_for(questions: Questions, places: Numbers, chance: float) -> float:
    """Return the ability in logits with which the mean true chance on some questions is as given."""
    low, high = -10.0, 10.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if questions.success(middle, places).mean() < chance else (low, middle)
    return high


def fell_from(levels: Numbers, level: Level) -> float:
    """Return the share of learners who ever fell from a level, the placement included.

    Args:
        levels: learners × (answers + 1).
    """
    return float(np.mean(((levels[:, :-1] == level) & (np.diff(levels, axis=1) < 0)).any(axis=1)))


def answers_until(levels: Numbers, level: Level) -> Floats:
    """Return how many answers each learner gave until they stood on a level or above; infinity if they never did.

    Args:
        levels: learners × (answers + 1).
    """
    there = levels >= level
    return np.where(there.any(axis=1), np.argmax(there, axis=1), np.inf)
