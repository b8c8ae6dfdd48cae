"""Recorded learners answer again, in the order that a strategy asks.

Each learner of the Swedish SAT answered every question, so that whatever a strategy asks, the answer is known. Half of
the questions are held out: the number of them that a learner got right is their ability as the strategies never saw
it. The other half are the bank. Half of the learners are the past: their answers tell which level an author might have
given a question, and warm the bank up; the other half are replayed.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adaptation.ratings import TARGET_SUCCESS
from dev.benchmarks.adaptivity.production import Past, Production, Variant
from dev.benchmarks.adaptivity.rivals import Elo
from dev.benchmarks.adaptivity.simulation import PRODUCTION, Say
from dev.benchmarks.adaptivity.strategy import Bank, Passive, Strategy
from dev.benchmarks.adaptivity.swesat import read_part
from dev.benchmarks.adaptivity.trace import ZONE, log_loss
from dev.benchmarks.adaptivity.world import Floats, Numbers, correlation
from dev.benchmarks.numbers import Figures
from domain.catalog import Level, Topic

LEVEL_CORRELATION = (0.65, 0.75)
"""Bounds of how well the made-up levels correlate with the difficulty that the past learners found."""
CHECKPOINTS = (10, 20, 40)
CHOICE_ENDS = 20
"""Answers over which success and zone are told: after all questions of the half, every strategy has asked the same."""
LIMITED, ELO = "production, limited exposure", "plain Elo"
UNLIMITED = Variant(exposure_limit=1)
"""Where everybody answers every question, no limit can spare one; nor has Elo's rule any."""
GROUPS = 8
"""Groups of about equal held-out ability, in which the past learners' success stands for a learner's true chance."""


@dataclass(frozen=True, slots=True)
class ReplaySize:
    """How much is replayed."""

    seeds: int = 5
    learners: int = 600
    past: int = 1000


QUICK_REPLAY = ReplaySize(seeds=2, learners=40, past=200)


@dataclass(frozen=True, slots=True)
class Split:
    """One division of a part's learners and questions."""

    bank: Bank
    answers: Numbers
    """Of the learners who are replayed, to the bank's questions; 1 for right."""
    held_out: Numbers
    """How many held-out questions each of them got right."""
    past: Numbers
    """Answers of the past learners to the bank's questions."""
    chance: Floats
    """Learners × questions: the share of past learners of the same group of held-out ability who were right."""


def split(right: Numbers, size: ReplaySize, rng: np.random.Generator) -> Split:
    """Return one random division."""
    people, places = rng.permutation(len(right)), rng.permutation(right.shape[1])
    half = len(places) // 2
    bank, out = places[:half], places[half:]
    past, now = people[: size.past], people[size.past : size.past + size.learners]
    past_score, score = right[np.ix_(past, out)].sum(axis=1), right[np.ix_(now, out)].sum(axis=1)
    topics = list(Topic)
    return Split(
        bank=Bank(make_levels(right[np.ix_(past, bank)], rng), [topics[n % len(topics)] for n in range(half)]),
        answers=right[np.ix_(now, bank)],
        held_out=score,
        past=right[np.ix_(past, bank)],
        chance=_chances(right[np.ix_(past, bank)], past_score, score),
    )


def make_levels(past: Numbers, rng: np.random.Generator) -> list[Level]:
    """Return levels as an author would give them, who knows about as much as the ratings assume.

    Noise is added to the logits of the questions' shares of right answers, and quarters of the result are the levels;
    of such draws the first is taken whose levels correlate with the logits as they should.

    Args:
        past: learners × questions, 1 for right.
    """
    share = past.mean(axis=0)
    difficulty = -np.log(share / (1 - share))
    least, most = LEVEL_CORRELATION
    while True:
        guessed = difficulty + difficulty.std() * rng.standard_normal(len(difficulty)) * 0.8
        quarter = np.argsort(np.argsort(guessed)) * len(Level) // len(guessed)
        if least <= correlation(quarter, difficulty) <= most:
            return [list(Level)[int(place)] for place in quarter]


def _chances(past: Numbers, past_score: Numbers, score: Numbers) -> Floats:
    edges = np.quantile(past_score, np.arange(1, GROUPS) / GROUPS)
    past_group, group = np.searchsorted(edges, past_score, "right"), np.searchsorted(edges, score, "right")
    shares = np.array(
        [(past[past_group == one].sum(axis=0) + 1) / ((past_group == one).sum() + 2) for one in range(GROUPS)]
    )
    chances: Floats = shares[group]
    return chances


@dataclass(frozen=True, slots=True)
class Replayed:
    """What happened; learners × answers."""

    asked: Numbers
    correct: Numbers
    predicted: Floats
    estimate: Floats


def replay(strategy: Strategy, answers: Numbers) -> Replayed:
    """Let learners answer every question of the bank, in turn.

    Args:
        answers: learners × questions, 1 for right.
    """
    done = Replayed(
        asked=np.zeros_like(answers),
        correct=np.zeros_like(answers),
        predicted=np.zeros(answers.shape),
        estimate=np.zeros(answers.shape),
    )
    for turn in range(answers.shape[1]):
        for one in range(len(answers)):
            question = strategy.choose(one)
            correct = bool(answers[one, question])
            done.asked[one, turn], done.correct[one, turn] = question, correct
            done.predicted[one, turn] = strategy.predict(one, question)
            strategy.learn(one, question, correct=correct)
            done.estimate[one, turn] = strategy.ability(one)
    return done


def measure(done: Replayed, given: Split) -> Figures:
    """Return what a replay amounts to, as numbers by name."""
    early = slice(None), slice(0, CHOICE_ENDS)
    chance = np.take_along_axis(given.chance, done.asked, axis=1)[early]
    predicted, correct = done.predicted[early], done.correct[early]
    aimed = (predicted >= ZONE[0]) & (predicted <= ZONE[1])
    return {
        **{
            f"correlation_{count}": correlation(done.estimate[:, count - 1], given.held_out)
            for count in CHECKPOINTS
            if count <= done.asked.shape[1]
        },
        "success": float(correct.mean()),
        "zone": float(np.mean((chance >= ZONE[0]) & (chance <= ZONE[1]))),
        "predicted_in_zone": float(predicted[aimed].mean()) if aimed.any() else float("nan"),
        "right_in_zone": float(correct[aimed].mean()) if aimed.any() else float("nan"),
        "log_loss": log_loss(predicted, correct),
    }


def best_zone(chance: Floats) -> float:
    """Return the share in the zone of questions that are chosen knowing each learner's chance."""
    distance = np.abs(chance - TARGET_SUCCESS)
    chosen = np.take_along_axis(chance, np.argsort(distance, axis=1)[:, :CHOICE_ENDS], axis=1)
    return float(np.mean((chosen >= ZONE[0]) & (chosen <= ZONE[1])))


def compare_on_part(part: str, seed: int, size: ReplaySize, say: Say) -> Figures:
    """Return the figures of production, random choice and Elo's rule on one division of a part."""
    right = read_part(part)
    given = split(right, size, np.random.default_rng(seed))
    bank, count = given.bank, len(given.answers)

    def chance(name: str) -> random.Random:
        return random.Random(f"{part} {seed} {name}")

    earlier = Production(bank, len(given.past), None, chance("earlier"))
    replay(earlier, given.past)
    earlier_elo = Elo(bank, len(given.past), None, chance("earlier Elo"))
    replay(earlier_elo, given.past)
    warm = earlier.past()
    figures: Figures = {
        "about": {
            "learners": float(len(right)),
            "level_correlation": correlation(
                [int(one) for one in bank.levels], -np.log(given.past.mean(axis=0) / (1 - given.past.mean(axis=0)))
            ),
            "sum_score": correlation(given.answers.sum(axis=1), given.held_out),
            "best_zone": best_zone(given.chance),
        }
    }
    for name, past, elo in (("warm", warm, earlier_elo.difficulties.tolist()), ("cold", None, None)):
        begin = _strategies(bank, count, past, elo, chance)
        figures[name] = {one: measure(replay(make(), given.answers), given) for one, make in begin.items()}
    say(f"Swedish SAT, {part}, seed {seed}: done")
    return figures


def _strategies(
    bank: Bank, count: int, past: Past | None, elo: list[float] | None, chance: Callable[[str], random.Random]
) -> dict[str, Callable[[], Strategy]]:
    ratings = past.questions if past else bank.priors()
    return {
        PRODUCTION: lambda: Production(bank, count, copy.deepcopy(past), chance("production"), UNLIMITED),
        LIMITED: lambda: Production(bank, count, copy.deepcopy(past), chance("production")),
        "random": lambda: Passive(bank, count, ratings, chance("random")),
        ELO: lambda: Elo(bank, count, elo, chance("Elo")),
    }
