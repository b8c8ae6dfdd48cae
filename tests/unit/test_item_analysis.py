"""What answers say against questions: by hand, and of simulated learners who answer what the service would ask them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest

from adaptation.item_analysis import MIN_ANSWERS, analyze_items, common_shift, find_untaken, observed_level
from adaptation.ratings import GUESS, LEVEL_DIFFICULTY
from dev.benchmarks.adaptivity.production import Production
from dev.benchmarks.adaptivity.strategy import Bank
from dev.benchmarks.adaptivity.trace import run
from dev.benchmarks.adaptivity.world import Questions, make_learners
from domain.bank import Finding, ItemAnswers
from domain.catalog import Level, QuestionSource, Topic
from domain.learning import UNKNOWN_ABILITY, Rating

NO_SHIFT = Rating(0.0, 0.0)


def make_item(**fields: object) -> ItemAnswers:
    """Return a question of level 2 that 1000 learners answered as its author would wish, for sure."""
    values: dict[str, object] = {
        "name": "a-question",
        "topic": Topic.STREAMING,
        "level": Level.INTERMEDIATE,
        "source": QuestionSource.STATIC,
        "correct_index": 0,
        "difficulty": Rating(LEVEL_DIFFICULTY[Level.INTERMEDIATE], 0.0),
        "answers": 1000,
        "chosen": (760, 80, 80, 80),
        "discrimination": 0.2,
    }
    return ItemAnswers(**(values | fields))  # type: ignore[arg-type]


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize(
    ("mean", "deviation", "observed"),
    [
        (-0.39, 0.0, 2),
        (0.39, 0.0, 3),
        (9.0, 0.0, 4),
        (-9.0, 0.0, 1),
        (0.39, 0.23, 3),  # .38 of doubt do not reach the border between levels 2 and 3, which is at 0
        (0.39, 0.24, 2),
        (1.18, 0.23, 4),
        (1.18, 0.25, 3),  # surely not 2, and perhaps 4
        (1.18, 0.9, 2),
    ],
)
def test_a_level_is_off_by_as_much_as_is_beyond_doubt(mean: float, deviation: float, observed: int) -> None:
    item = make_item(difficulty=Rating(mean, deviation**2))
    assert observed_level(item, NO_SHIFT) == observed


def test_the_doubt_about_all_items_counts_as_well() -> None:
    item = make_item(difficulty=Rating(0.39, 0.23**2))
    assert observed_level(item, Rating(0.0, 0.1)) is Level.INTERMEDIATE


def test_able_learners_who_find_everything_easy_lower_no_level() -> None:
    easier = [
        make_item(name=f"{level} {n}", level=level, difficulty=Rating(LEVEL_DIFFICULTY[level] - 1.5, 0.0))
        for level in Level
        for n in range(10)
    ]
    assert analyze_items(easier) == []
    hard = replace(easier[0], difficulty=Rating(LEVEL_DIFFICULTY[Level.INTERMEDIATE] - 1.5, 0.0))
    [finding] = analyze_items([hard, *easier[1:]])
    assert (finding.item, finding.observed) == (hard, Level.INTERMEDIATE)


def test_a_few_items_do_not_tell_what_all_have_in_common() -> None:
    assert common_shift([]) == Rating(0.0, UNKNOWN_ABILITY.variance)
    [one, many] = [common_shift([make_item(difficulty=Rating(0.61, 0.0))] * count) for count in (1, 200)]
    assert one.mean < 0.6 < many.mean < 1.0
    assert one.variance > 0.4
    assert many.variance < 0.01


# ---------------------------------------------------------------- options and ability


@pytest.mark.parametrize(
    ("chosen", "untaken"),
    [
        ((80, 20, 0, 0), (2, 3)),
        ((80, 9, 10, 1), ()),  # one of a hundred may be chance
        ((800, 90, 95, 15), (3,)),
        ((800, 90, 85, 25), ()),  # 2.5% of a thousand too
        ((0, 900, 50, 50), ()),  # the right one is no distractor
        ((), ()),
    ],
)
def test_a_distractor_that_surely_fewer_than_three_in_a_hundred_take_is_named(
    chosen: tuple[int, ...], untaken: tuple[int, ...]
) -> None:
    assert find_untaken(make_item(chosen=chosen, answers=sum(chosen) or 100)) == untaken


@pytest.mark.parametrize(
    ("chosen", "unknown", "untaken"),
    [
        ((320, 60, 12, 8), 600, ()),  # 2% of the 400 who chose an option, and less than 1% of all
        ((320, 60, 19, 1), 600, (3,)),
        ((80, 19, 0, 0), 901, ()),  # too few chose any
    ],
)
def test_who_does_not_know_says_nothing_of_the_options(
    chosen: tuple[int, ...], unknown: int, untaken: tuple[int, ...]
) -> None:
    assert find_untaken(make_item(chosen=chosen, answers=sum(chosen) + unknown)) == untaken


@pytest.mark.parametrize(("r", "answers", "misleads"), [(-0.2, 100, True), (-0.1, 100, False), (-0.1, 400, True)])
def test_what_the_able_get_wrong_more_often_is_named(r: float, answers: int, misleads: bool) -> None:  # noqa: FBT001
    item = make_item(discrimination=r, answers=answers)
    assert [finding.misleads_able for finding in analyze_items([item])] == [True] * misleads


def test_nothing_is_said_of_whether_it_misleads_if_nobody_differs() -> None:
    assert analyze_items([make_item(discrimination=None)]) == []


def test_the_worst_come_first_and_each_remark_is_a_phrase() -> None:
    good = [make_item(name=f"good {n}") for n in range(50)]
    easy = make_item(name="easy", difficulty=Rating(-1.3, 0.0))
    hard = make_item(name="hard", difficulty=Rating(2.0, 0.0), chosen=(300, 698, 2, 0))
    wrong = make_item(name="wrong", discrimination=-0.31)
    found = analyze_items([easy, *good, hard, wrong])
    assert [(finding.item.name, finding.remarks) for finding in found] == [
        ("wrong", ["the abler, the more often wrong (r = -0.31)"]),
        ("hard", ["level 2, as hard as level 4", "2 took C", "0 took D"]),
        ("easy", ["level 2, as hard as level 1"]),
    ]


# ---------------------------------------------------------------- simulated learners

HARDER, EASIER, REVERSED, IDLE, SOUND = "harder", "easier", "reversed", "idle", "sound"
FLAWS = [HARDER, HARDER, EASIER, EASIER, IDLE, REVERSED, *[SOUND] * 10]
"""Of each level's questions: two truly belong a level higher and two a level lower, of one nobody takes the last
option, and one misleads the able. All others are as their author wished."""
MISLEADING = 1.7
"""Logits beyond its level at which as many are right on a question that misleads the able as on another one, where the
service asks it: 77.5% are right as far below the one as above the other."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """An item as learners' answers leave it, what is true of it, and what is found."""

    item: ItemAnswers
    flaw: str
    true_level: Level
    finding: Finding


def simulate(seed: int, *, learners: int, each: int) -> list[Simulated]:
    """Let learners answer what the service chooses for them, and judge the items that have enough answers.

    Args:
        each: answers a learner.
    """
    rng = np.random.default_rng(seed)
    levels = [level for level in Level for _ in FLAWS]
    flaws = FLAWS * len(Level)
    moves = [{HARDER: 1, EASIER: -1}.get(flaw, 0) for flaw in flaws]
    true_levels = [Level(min(4, max(1, level + move))) for level, move in zip(levels, moves, strict=True)]
    difficulties = [LEVEL_DIFFICULTY[level] for level in true_levels]
    for number, flaw in enumerate(flaws):
        difficulties[number] += MISLEADING * (flaw == REVERSED)
    questions = Questions(
        levels=tuple(levels),
        topics=(Topic.STREAMING,) * len(levels),
        difficulty=np.array(difficulties),
        slope=np.array([-1.0 if flaw == REVERSED else 1.0 for flaw in flaws]),
        guess=GUESS,
    )
    strategy = Production(Bank(levels, questions.topics), learners, None, random.Random(seed))
    trace = run(strategy, questions, make_learners(rng.standard_normal(learners), each, len(levels), rng), each)
    ability_before = np.hstack([np.full((learners, 1), UNKNOWN_ABILITY.mean), trace.estimate[:, :-1]])
    items = {}
    for number, (level, flaw) in enumerate(zip(levels, flaws, strict=True)):
        right, abilities = trace.correct[trace.asked == number], ability_before[trace.asked == number]
        if len(right) < MIN_ANSWERS:
            continue
        shares = [1 / 2, 1 / 2, 0] if flaw == IDLE else [1 / 3, 1 / 3, 1 / 3]
        items[number] = make_item(
            name=f"{number}",
            level=level,
            difficulty=strategy.ratings.questions[number],
            answers=len(right),
            chosen=(int(right.sum()), *map(int, rng.multinomial(len(right) - right.sum(), shares))),
            discrimination=float(np.corrcoef(right, abilities)[0, 1]),
        )
    findings = {finding.item.name: finding for finding in analyze_items(list(items.values()))}
    nothing = {item.name: Finding(item, item.level, (), misleads_able=False) for item in items.values()}
    return [
        Simulated(item, flaws[number], true_levels[number], (nothing | findings)[item.name])
        for number, item in items.items()
    ]


@pytest.fixture(scope="module")
def simulated() -> list[Simulated]:
    """Return what is found in a bank of 64 questions after 32,000 answers."""
    return simulate(1, learners=800, each=40)


def test_simulated_questions_of_another_level_are_found_and_no_others(simulated: list[Simulated]) -> None:
    sound = [one for one in simulated if one.flaw != REVERSED and one.true_level is one.item.level]
    off = [one for one in simulated if one.flaw != REVERSED and one.true_level is not one.item.level]
    assert len(sound) > 25
    assert [one.item for one in sound if one.finding.levels_off] == []
    assert all(one.finding.observed in {one.item.level, one.true_level} for one in off)
    assert sum(one.finding.observed is one.true_level for one in off) >= 5


def test_simulated_questions_that_mislead_the_able_are_found_and_no_others(simulated: list[Simulated]) -> None:
    reversed_ = [one.finding.misleads_able for one in simulated if one.flaw == REVERSED]
    assert sum(reversed_) >= 3
    assert [one.item for one in simulated if one.flaw != REVERSED and one.finding.misleads_able] == []


def test_simulated_options_that_nobody_takes_are_found_and_no_others(simulated: list[Simulated]) -> None:
    idle = [one.finding.untaken for one in simulated if one.flaw == IDLE]
    assert len(idle) >= 3
    assert set(idle) == {(3,)}
    others = [
        one for one in simulated if one.flaw not in {IDLE, REVERSED}
    ]  # nearly all are right on some of the latter
    assert [one.item for one in others if one.finding.untaken] == []
