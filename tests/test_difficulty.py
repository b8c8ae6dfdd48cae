"""How answers move a learner between levels: by example, then whatever the answers, and nothing else ever does."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptation.ratings import LEVEL_DIFFICULTY, expected_success, level_boundary, nearest_level, update_ratings
from difficulty_adapter import (
    DEFAULT_RULES,
    LEVEL_RULES,
    TRANSITIONS,
    WHOLE_WAY,
    Answer,
    Estimate,
    Move,
    Occasion,
    Rules,
    calculate_adaptation,
    fitting_level,
    points_of,
    success_on,
)
from domain.catalog import Level
from domain.learning import UNKNOWN_ABILITY, Rating
from domain.models import Progress
from tests.support.factories import make_grade
from tests.support.strategies import abilities, answers, days, difficulties, levels, progresses, rules_of_any_size

DAY = date(2026, 11, 22)
RIGHT, WRONG = Answer.RIGHT, Answer.WRONG
MIDDLE = (Level.INTERMEDIATE, Level.ADVANCED)
ENDS = [level_boundary(LEVEL_DIFFICULTY[low], LEVEL_DIFFICULTY[high]) for low, high in pairwise(Level)]
"""Abilities at which one level ends and the next begins."""

sequences = st.lists(answers, max_size=60)


def with_success(success: float, level: Level) -> float:
    """Return the ability of a learner who is expected to be right so often on a level's mean question."""
    low, high = -20.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if expected_success(middle, LEVEL_DIFFICULTY[level]) > success else (middle, high)
    return high


def play(progress: Progress, given_answers: list[Answer], ability: Rating = UNKNOWN_ABILITY) -> list[Progress]:
    """Return where a learner stands before the first and after each of some answers to fitting questions."""
    path = [progress]
    for answer in given_answers:
        ability, _ = update_ratings(ability, Rating(ability.mean - 0.85, 0.3), correct=answer is RIGHT)
        path.append(calculate_adaptation(path[-1], answer, DAY, ability).after)
    return path


# ---------------------------------------------------------------- by example


@pytest.mark.parametrize("level", [Level.BEGINNER, *MIDDLE])
@pytest.mark.parametrize("variance", [0.05, 1.0])
def test_a_right_answer_raises_a_level_once_the_next_is_the_nearer_one(level: Level, variance: float) -> None:
    end = ENDS[level - 1]
    for ability, after in ((end - 0.01, level), (end + 0.01, level + 1)):
        assert calculate_adaptation(Progress(level), RIGHT, DAY, Rating(ability, variance)).after.level == after


@pytest.mark.parametrize("level", [*MIDDLE, Level.EXPERT])
@pytest.mark.parametrize("variance", [0.05, 1.0])
def test_a_wrong_answer_lowers_a_level_once_there_is_hardly_a_doubt(level: Level, variance: float) -> None:
    end = ENDS[level - 2] - DEFAULT_RULES.confidence * variance**0.5
    for ability, after in ((end + 0.01, level), (end - 0.01, level - 1)):
        assert calculate_adaptation(Progress(level), WRONG, DAY, Rating(ability, variance)).after.level == after


def test_six_right_in_a_row_lead_a_newcomer_up_and_two_wrong_lead_nobody_down() -> None:
    assert play(Progress(Level.BEGINNER), [RIGHT] * 6)[-1].level > Level.BEGINNER
    path = play(Progress(Level.INTERMEDIATE), [WRONG] * 2, Rating(with_success(0.775, Level.INTERMEDIATE), 0.3))
    assert path[-1].level is Level.INTERMEDIATE


def test_who_answers_three_of_four_fitting_questions_rightly_stays() -> None:
    """The learner of whom the aim is true: over sixty answers no run of theirs of this kind leads down."""
    at_home = Rating(with_success(0.775, Level.ADVANCED), 0.3)
    path = play(Progress(Level.ADVANCED), [RIGHT, RIGHT, WRONG, RIGHT] * 15, at_home)
    assert {progress.level for progress in path} == {Level.ADVANCED}


def test_the_bar_is_empty_at_one_end_of_a_level_and_full_at_the_other() -> None:
    for level in MIDDLE:
        low, high = ENDS[level - 2], ENDS[level - 1]
        marks = [points_of(level, Rating(low + share * (high - low), 1.0)) for share in (-9, -0.01, 0.501, 0.999, 1.01)]
        assert marks == [0, 0, 50, 99, WHOLE_WAY]


def test_beginners_have_a_floor() -> None:
    assert points_of(Level.BEGINNER, Rating(-6.0, 0.2)) == 0
    path = play(Progress(Level.BEGINNER), [WRONG] * 30)
    assert {progress.level for progress in path} == {Level.BEGINNER}
    assert path[-1].points == 0


def test_nothing_is_above_the_highest_level() -> None:
    path = play(Progress(Level.EXPERT), [RIGHT] * 30)
    assert {(progress.level, progress.points) for progress in path} == {(Level.EXPERT, 0)}


def test_a_grade_tells_what_a_level_rests_on_unless_it_was_not_kept() -> None:
    ability = with_success(0.8, Level.ADVANCED)
    assert success_on(Level.ADVANCED, make_grade(ability=ability)) == pytest.approx(0.8)
    assert success_on(Level.ADVANCED, make_grade(ability=None)) is None
    assert success_on(Level.ADVANCED, make_grade(difficulties=None)) is None


# ---------------------------------------------------------------- whatever the answers


def test_every_case_has_its_row() -> None:
    assert set(TRANSITIONS) == {(occasion, estimate) for occasion in Occasion for estimate in Estimate}
    assert LEVEL_RULES > 1  # grades of earlier releases are marked 1


def test_only_an_answer_that_says_so_moves_a_level() -> None:
    rises = {case for case, move in TRANSITIONS.items() if move is Move.RISE}
    falls = {case for case, move in TRANSITIONS.items() if move is Move.FALL}
    assert rises == {(Occasion.PLACED, Estimate.HIGHER), (Occasion.RIGHT, Estimate.HIGHER)}
    assert falls == {(Occasion.PLACED, Estimate.LOWER), (Occasion.WRONG, Estimate.LOWER)}


@given(progresses, answers, abilities, rules_of_any_size, difficulties)
def test_a_level_changes_only_by_its_rule(
    before: Progress, answer: Answer, ability: Rating, rules: Rules, means: dict[Level, float]
) -> None:
    change = calculate_adaptation(before, answer, DAY, ability, rules, means)
    nearest = nearest_level(ability.mean, means, rules.target_success)
    doubt = rules.confidence * ability.variance**0.5
    surely = nearest_level(ability.mean + doubt, means, rules.target_success)
    assert change.before == before
    assert change.after.level - before.level == change.move
    if change.move is Move.RISE:
        assert answer is RIGHT
        assert nearest > before.level
    elif change.move is Move.FALL:
        assert answer is WRONG
        assert surely < before.level
    elif answer is RIGHT:
        assert nearest <= before.level


@given(progresses, answers, abilities, rules_of_any_size, difficulties)
def test_points_are_never_below_nothing_nor_beyond_the_next_level(
    before: Progress, answer: Answer, ability: Rating, rules: Rules, means: dict[Level, float]
) -> None:
    assert 0 <= calculate_adaptation(before, answer, DAY, ability, rules, means).after.points <= WHOLE_WAY


@given(levels, abilities, st.floats(0, 3))
def test_more_ability_is_never_further_from_the_next_level(level: Level, ability: Rating, more: float) -> None:
    assert points_of(level, replace(ability, mean=ability.mean + more)) >= points_of(level, ability)


@given(levels, abilities)
def test_a_bar_is_full_only_where_the_next_right_answer_raises_the_level(level: Level, ability: Rating) -> None:
    change = calculate_adaptation(Progress(level), RIGHT, DAY, ability)
    if points_of(level, ability) == WHOLE_WAY:
        assert change.move is Move.RISE
    elif level is not Level.EXPERT:
        assert change.move is Move.STAY


@given(progresses, abilities, rules_of_any_size)
def test_what_raised_or_lowered_a_level_never_turns_it_back(before: Progress, ability: Rating, rules: Rules) -> None:
    for answer, other in ((RIGHT, WRONG), (WRONG, RIGHT)):
        change = calculate_adaptation(before, answer, DAY, ability, rules)
        if change.move is not Move.STAY:
            assert calculate_adaptation(change.after, other, DAY, ability, rules).move in {Move.STAY, change.move}


@given(progresses, answers, abilities)
def test_who_is_abler_is_never_overtaken_by_the_same_answer(
    progress: Progress, answer: Answer, ability: Rating
) -> None:
    abler = replace(ability, mean=ability.mean + 0.3)
    one, better = (calculate_adaptation(progress, answer, DAY, rating).after for rating in (ability, abler))
    assert better.level >= one.level


@given(progresses, sequences)
def test_a_replay_of_the_answers_leads_to_the_same_place(progress: Progress, given_answers: list[Answer]) -> None:
    assert play(progress, given_answers) == play(progress, given_answers)


@given(progresses, answers, abilities, days, days)
def test_the_level_does_not_depend_on_the_day(
    progress: Progress, answer: Answer, ability: Rating, one: date, other: date
) -> None:
    first = calculate_adaptation(progress, answer, one, ability).after
    second = calculate_adaptation(progress, answer, other, ability).after
    assert (first.level, first.points) == (second.level, second.points)


@given(progresses, abilities, rules_of_any_size, difficulties)
def test_right_answers_never_shorten_a_bar_wrong_ones_set_it_and_not_knowing_leaves_it(
    before: Progress, ability: Rating, rules: Rules, means: dict[Level, float]
) -> None:
    right, wrong, unknown = (
        calculate_adaptation(before, answer, DAY, ability, rules, means).after for answer in Answer
    )
    if right.level == before.level:
        assert right.points == max(before.points, points_of(right.level, ability, means, rules.target_success))
    assert wrong.points == points_of(wrong.level, ability, means, rules.target_success)
    assert unknown.points == before.points


def test_what_was_not_known_shortens_the_bar_neither_at_once_nor_with_the_next_right_answer() -> None:
    ability, bar = Rating(0.5, 0.3), list[tuple[int, int]]()
    progress = Progress(Level.INTERMEDIATE, before := points_of(Level.INTERMEDIATE, ability))
    for answer in (Answer.UNKNOWN, RIGHT, RIGHT, WRONG):
        ability, _ = update_ratings(ability, Rating(ability.mean - 0.85, 0.3), correct=answer is RIGHT)
        progress = calculate_adaptation(progress, answer, DAY, ability).after
        bar.append((progress.points, points_of(progress.level, ability)))
    shown, estimated = zip(*bar, strict=True)
    assert shown[:2] == (before, before)
    assert estimated[1] < before
    assert shown[3] == estimated[3] < before


@given(progresses, sequences)
def test_the_run_counts_what_came_last_and_begins_anew_with_a_level(
    progress: Progress, given_answers: list[Answer]
) -> None:
    for (before, after), answer in zip(pairwise(play(progress, given_answers)), given_answers, strict=True):
        if after.level is not before.level:
            assert after.run == 0
        elif answer is Answer.UNKNOWN:
            assert after.run == before.run
        elif answer is RIGHT:
            assert after.run == max(before.run, 0) + 1
        else:
            assert after.run == min(before.run, 0) - 1


@given(st.integers(), rules_of_any_size)
def test_a_thousand_random_steps_never_leave_the_table(seed: int, rules: Rules) -> None:
    rng = random.Random(seed)
    progress = Progress(rng.choice(list(Level)), placement_left=rules.placement_answers)
    for _ in range(1000):
        ability = Rating(rng.uniform(-6, 6), rng.uniform(0.01, 2))
        change = calculate_adaptation(progress, rng.choice([RIGHT, WRONG]), DAY, ability, rules)
        assert change.before == progress
        assert change.after.level in set(Level)
        assert change.move == (change.after.level > progress.level) - (change.after.level < progress.level)
        if not progress.placement_left:
            assert change.after.level - progress.level == change.move
        progress = change.after


# ---------------------------------------------------------------- placement


def test_six_answers_place_a_learner_on_the_nearest_level() -> None:
    progress = Progress(Level.INTERMEDIATE, placement_left=6)
    for left in (5, 4, 3, 2, 1):
        progress = calculate_adaptation(progress, RIGHT, DAY, Rating(3.0, 0.5)).after
        assert (progress.level, progress.placement_left) == (Level.INTERMEDIATE, left)
    placed = calculate_adaptation(progress, RIGHT, DAY, Rating(3.0, 0.5))
    assert (placed.after.level, placed.after.placement_left, placed.move) == (Level.EXPERT, 0, Move.RISE)


@given(levels, answers, abilities, rules_of_any_size)
def test_the_last_answer_of_the_placement_sets_the_level_that_fits(
    level: Level, answer: Answer, ability: Rating, rules: Rules
) -> None:
    after = calculate_adaptation(Progress(level, placement_left=1), answer, DAY, ability, rules).after
    assert after.placement_left == 0
    assert after.level is fitting_level(level, ability, rules)


@given(levels, abilities)
def test_a_placement_without_doubt_sets_the_nearest_level(level: Level, ability: Rating) -> None:
    assert fitting_level(level, ability, replace(DEFAULT_RULES, confidence=0.0)) is nearest_level(ability.mean)


def test_a_learner_who_may_well_belong_where_they_began_is_not_moved_down() -> None:
    unsure, sure = Rating(-0.1, 0.4), Rating(-0.1, 0.01)
    assert nearest_level(unsure.mean) is Level.BEGINNER
    assert fitting_level(Level.INTERMEDIATE, unsure) is Level.INTERMEDIATE
    assert fitting_level(Level.INTERMEDIATE, sure) is Level.BEGINNER
