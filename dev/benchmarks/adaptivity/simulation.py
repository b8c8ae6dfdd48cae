"""One simulated world: a bank, learners, and every strategy on both."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adaptation.ratings import EXPERIENCE_PRIORS
from dev.benchmarks.adaptivity.experience import abilities_by_experience, experience_of
from dev.benchmarks.adaptivity.fit import measure_fit
from dev.benchmarks.adaptivity.production import Past, Production, Variant
from dev.benchmarks.adaptivity.rivals import Elo, MaximumInformation, Staircase
from dev.benchmarks.adaptivity.strategy import Bank, Passive, Strategy
from dev.benchmarks.adaptivity.trace import Trace, measure, rmse_by_answer, run
from dev.benchmarks.adaptivity.world import Learners, Model, Questions, correlation, make_learners, make_questions
from dev.benchmarks.numbers import Figures
from difficulty_adapter import DEFAULT_RULES
from domain.learning import Rating

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated."""

    seeds: int = 5
    questions: int = 500
    learners: int = 300
    answers: int = 60
    earlier: int = 1000
    """Learners who warmed the bank up."""
    earlier_answers: int = 30
    """How many each of those gave."""
    level_learners: int = 150
    """For each of the rules of levels that are weighed."""
    followed: int = 300
    """Learners of each level who are followed, on theirs and below; a third for rules that are only weighed."""
    catsim_learners: int = 30
    """Fewer, since each of catsim's estimates takes milliseconds, and none helps another; 0 leaves it
    out."""


QUICK = Size(seeds=2, questions=120, learners=20, earlier=40, level_learners=15, followed=15, catsim_learners=4)


WARM, COLD = "warm", "cold"
PRODUCTION, TOLD, BARE = "production", "production, experience told", "production, estimate alone"
CATSIM = "catsim"
STAIRCASES = {"3-up-2-down": (3, 2), "3-up-1-down": (3, 1)}
CURVES = (PRODUCTION, TOLD, "random", "3-up-1-down", "plain Elo", CATSIM)
PATHS = (PRODUCTION, "3-up-2-down", "3-up-1-down")
PATH_RANKS = (0.15, 0.5, 0.85)
"""Learners whose level path is kept, by their rank of ability."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the strategies of one comparison share."""

    seed: int
    bank: Bank
    questions: Questions
    learners: Learners
    earlier: Learners
    size: Size

    def chance(self, name: str) -> random.Random:
        """Return a source of chance that is the same whatever else is run."""
        return random.Random(f"{self.seed} {name}")


def make_world(model: Model, seed: int, size: Size) -> World:
    """Return one world."""
    rng = np.random.default_rng([seed, list(Model).index(model)])
    questions = make_questions(model, size.questions, rng)
    return World(
        seed=seed,
        bank=Bank(questions.levels, questions.topics),
        questions=questions,
        learners=make_learners(rng.standard_normal(size.learners), size.answers, size.questions, rng),
        earlier=make_learners(rng.standard_normal(size.earlier), size.earlier_answers, size.questions, rng),
        size=size,
    )


def warm_up(world: World) -> tuple[Past, list[float]]:
    """Return what earlier learners leave behind: to the service, and to Elo's rule."""
    service = Production(world.bank, world.size.earlier, None, world.chance("earlier"))
    run(service, world.questions, world.earlier, world.size.earlier_answers)
    elo = Elo(world.bank, world.size.earlier, None, world.chance("earlier Elo"))
    run(elo, world.questions, world.earlier, world.size.earlier_answers)
    return service.past(), elo.difficulties.tolist()


def strategies(world: World, past: tuple[Past, list[float]] | None) -> dict[str, Callable[[], Strategy]]:
    """Return how to begin each strategy on a bank.

    Args:
        past: of earlier learners, for a warm bank; None for a cold one.
    """
    bank, count = world.bank, world.size.learners
    ratings = past[0].questions if past else bank.priors()

    def produce(learners: int | Sequence[Rating] = count, variant: Variant = Variant()) -> Production:  # noqa: B008
        before = copy.deepcopy(past[0]) if past else None
        return Production(bank, learners, before, world.chance("production"), variant)

    told = [EXPERIENCE_PRIORS[experience_of(report)] for report in world.learners.report]
    chosen: dict[str, Callable[[], Strategy]] = {
        PRODUCTION: produce,
        TOLD: lambda: produce(told),
        BARE: lambda: produce(variant=Variant(replace(DEFAULT_RULES, confidence=0))),
        "random": lambda: Passive(bank, count, ratings, world.chance("random")),
        "plain Elo": lambda: Elo(bank, count, past[1] if past else None, world.chance("Elo")),
    }
    for name, steps in STAIRCASES.items():
        chosen[name] = lambda steps=steps: Staircase(  # type: ignore[misc]
            bank, count, ratings, world.chance("staircase"), steps
        )
    return chosen


def compare(model: Model, seed: int, size: Size, say: Say) -> Figures:
    """Return the figures of every strategy on one world."""
    world = make_world(model, seed, size)
    past = warm_up(world)
    say(f"{model} seed {seed}: bank warmed up")
    figures: Figures = {
        "level_correlation": correlation([int(one) for one in world.bank.levels], world.questions.difficulty),
        "experience": abilities_by_experience(world.earlier),
    }
    for name, before in ((WARM, past), (COLD, None)):
        figures[name] = _on_a_bank(world, before, ablations=model is Model.THREE)
        say(f"{model} seed {seed}: {name} bank done")
    if size.catsim_learners:
        catsim = MaximumInformation(world.questions, size.catsim_learners)
        trace = run(catsim, world.questions, first(world.learners, size.catsim_learners), size.answers)
        figures[WARM][CATSIM] = figures[COLD][CATSIM] = _told(CATSIM, trace, world)
        say(f"{model} seed {seed}: catsim done")
    return figures


def _on_a_bank(world: World, past: tuple[Past, list[float]] | None, *, ablations: bool) -> Figures:
    figures: Figures = {}
    for name, begin in strategies(world, past).items():
        if name in (TOLD, BARE) and not ablations:
            continue
        figures[name] = _told(name, run(begin(), world.questions, world.learners, world.size.answers), world)
    return figures


def _told(name: str, trace: Trace, world: World) -> dict[str, Any]:
    told: dict[str, Any] = {"figures": measure(trace, world.size.questions)}
    if trace.level.any():
        told["figures"] |= measure_fit(trace, world.questions if name == PRODUCTION else None)
    if name in CURVES:
        told["curve"] = rmse_by_answer(trace).round(4).tolist()
    if name in PATHS:
        order = np.argsort(world.learners.ability[:, 0])
        places = [int(order[int(rank * len(order))]) for rank in PATH_RANKS]
        told["paths"] = {f"{world.learners.ability[place, 0]:.2f}": trace.level[place].tolist() for place in places}
    return told


def first(learners: Learners, count: int) -> Learners:
    """Return some of the learners."""
    return Learners(learners.ability[:count], learners.luck[:count], learners.report[:count])
