"""One simulated world: a bank, learners, and every strategy on both."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adaptation.ratings import EXPERIENCE_PRIORS, nearest_level
from dev.benchmarks.adaptivity.experience import abilities_by_experience, experience_of
from dev.benchmarks.adaptivity.production import Past, Production, Variant
from dev.benchmarks.adaptivity.rivals import Elo, MaximumInformation, Staircase
from dev.benchmarks.adaptivity.strategy import Bank, Passive, Strategy
from dev.benchmarks.adaptivity.trace import CHECKPOINTS, Trace, count_moves, measure, rmse_by_answer, run
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
    gate_learners: int = 150
    """For each of the gates that are weighed."""
    catsim_learners: int = 60
    """Fewer, since each of catsim's estimates takes milliseconds, and none helps another; 0 leaves it
    out."""


QUICK = Size(seeds=2, questions=120, learners=20, earlier=40, gate_learners=15, catsim_learners=4)


def _gate(confidence: float, placement: float = 0.5, **others: float) -> Variant:
    margin = others.pop("margin", None)
    rules = replace(DEFAULT_RULES, confidence=confidence, placement_confidence=placement)
    return Variant(replace(rules, **{name: int(value) for name, value in others.items()}), margin=margin)


AS_IT_IS = "1.65, as it is"
GATES = {
    **{f"{sure:g}, placed without doubt": _gate(sure, 0) for sure in (0, 0.5, 1, 1.28, 1.5, 1.65)},
    **{f"{sure:g}": _gate(sure) for sure in (0, 1.28, 1.5)},
    AS_IT_IS: Variant(),
    "2": _gate(2),
    "a margin of .3 logits": _gate(1, margin=0.3),
    "a margin of .6 logits": _gate(1, margin=0.6),
    "0, bounds of 9": _gate(0, threshold=9),
    "0, bounds of 12": _gate(0, threshold=12),
}
"""Gates that were weighed, by their confidence. A margin of .3 logits is .05 in success at the target, .6 is .09."""

WARM, COLD = "warm", "cold"
PRODUCTION, TOLD, BARE = "production", "production, experience told", "production, bare gate"
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
        learners=make_learners(size.learners, size.answers, size.questions, rng),
        earlier=make_learners(size.earlier, size.earlier_answers, size.questions, rng),
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
        BARE: lambda: produce(variant=GATES["0, placed without doubt"]),
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
        trace = run(catsim, world.questions, _first(world.learners, size.catsim_learners), size.answers)
        figures[WARM][CATSIM] = figures[COLD][CATSIM] = _told(CATSIM, trace, world)
        say(f"{model} seed {seed}: catsim done")
    return figures


def compare_gates(seed: int, size: Size, say: Say) -> Figures:
    """Return what each gate that was weighed comes to, on one 3PL world with a warm bank."""
    world = make_world(Model.THREE, seed, size)
    past, _ = warm_up(world)
    learners = _first(world.learners, size.gate_learners)
    figures: Figures = {}
    for name, variant in GATES.items():
        strategy = Production(world.bank, len(learners), copy.deepcopy(past), world.chance("production"), variant)
        trace = run(strategy, world.questions, learners, size.answers)
        placed = trace.level[:, variant.rules.placement_answers :]
        figures[name] = measure(trace, size.questions) | {
            "reversals_once_placed": count_moves(placed)[1],
            **{f"misplaced_{count}": misplaced(trace, count) for count in CHECKPOINTS if count <= size.answers},
        }
    say(f"gates, seed {seed}: done")
    return figures


def misplaced(trace: Trace, answers: int) -> float:
    """Return the share of learners who stand on another level than their true ability suits."""
    fitting = np.array([nearest_level(float(ability)) for ability in trace.ability[:, answers - 1]])
    return float(np.mean(trace.level[:, answers] != fitting))


def _on_a_bank(world: World, past: tuple[Past, list[float]] | None, *, ablations: bool) -> Figures:
    figures: Figures = {}
    for name, begin in strategies(world, past).items():
        if name in (TOLD, BARE) and not ablations:
            continue
        figures[name] = _told(name, run(begin(), world.questions, world.learners, world.size.answers), world)
    return figures


def _told(name: str, trace: Trace, world: World) -> dict[str, Any]:
    told: dict[str, Any] = {"figures": measure(trace, world.size.questions)}
    if name in CURVES:
        told["curve"] = rmse_by_answer(trace).round(4).tolist()
    if name in PATHS:
        order = np.argsort(world.learners.ability[:, 0])
        places = [int(order[int(rank * len(order))]) for rank in PATH_RANKS]
        told["paths"] = {f"{world.learners.ability[place, 0]:.2f}": trace.level[place].tolist() for place in places}
    return told


def _first(learners: Learners, count: int) -> Learners:
    return Learners(learners.ability[:count], learners.luck[:count], learners.report[:count])
