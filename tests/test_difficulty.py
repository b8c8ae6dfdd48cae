"""How answers move a learner between levels: by example, then whatever the answers, and nothing else ever does."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptation.ratings import LEVEL_DIFFICULTY, expected_success, nearest_level
from difficulty_adapter import (
    DEFAULT_RULES,
    TRANSITIONS,
    Answer,
    Bound,
    Evidence,
    Move,
    Rules,
    calculate_adaptation,
    place,
    weigh,
)
from domain.catalog import Level
from domain.learning import Rating
from domain.models import Progress, Streak
from tests.support.strategies import abilities, answers, days, levels, progresses, rules_of_any_size, thresholds

DAY = date(2026, 11, 22)
RIGHT, WRONG = Answer.RIGHT, Answer.WRONG
MIDDLE = (Level.INTERMEDIATE, Level.ADVANCED)

sequences = st.lists(answers, max_size=60)


def play(progress: Progress, given_answers: list[Answer], threshold: int = DEFAULT_RULES.threshold) -> list[Progress]:
    """Return where a learner stands before the first and after each of some answers."""
    path = [progress]
    for answer in given_answers:
        path.append(calculate_adaptation(path[-1], answer, DAY, Rules(threshold=threshold)).after)
    return path


def height(progress: Progress, threshold: int = DEFAULT_RULES.threshold) -> int:
    """Return level and points as one number: levels lie further apart than points reach."""
    return progress.level * (2 * threshold + 1) + progress.points


# ---------------------------------------------------------------- by example


@pytest.mark.parametrize("level", [Level.BEGINNER, *MIDDLE])
def test_six_right_in_a_row_from_zero_rise(level: Level) -> None:
    path = play(Progress(level), [RIGHT] * 6)
    assert [progress.level for progress in path[:-1]] == [level] * 6
    assert (path[-1].level, path[-1].points) == (level + 1, 0)


@pytest.mark.parametrize("level", [*MIDDLE, Level.EXPERT])
def test_two_wrong_in_a_row_from_zero_fall(level: Level) -> None:
    path = play(Progress(level), [WRONG] * 2)
    assert [progress.level for progress in path] == [level, level, level - 1]
    assert path[-1].points == 0


@given(levels, st.integers(-2, 5), st.permutations([WRONG, RIGHT, RIGHT, RIGHT]))
def test_three_right_make_good_one_wrong(level: Level, points: int, order: list[Answer]) -> None:
    path = play(Progress(level, points), order)
    if all(progress.level is level and abs(progress.points) < DEFAULT_RULES.threshold for progress in path):
        assert path[-1].points == points


def test_points_rest_at_the_threshold_on_the_highest_level() -> None:
    path = play(Progress(Level.EXPERT), [RIGHT] * 10)
    assert [progress.points for progress in path] == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6]
    assert {progress.level for progress in path} == {Level.EXPERT}


def test_points_rest_at_the_threshold_on_the_lowest_level() -> None:
    path = play(Progress(Level.BEGINNER), [WRONG] * 4)
    assert [progress.points for progress in path] == [0, -3, -6, -6, -6]
    assert {progress.level for progress in path} == {Level.BEGINNER}


def test_a_beginner_at_the_bottom_climbs_out() -> None:
    assert play(Progress(Level.BEGINNER, -6), [RIGHT] * 12)[-1] == Progress(Level.INTERMEDIATE, streak=Streak(1, DAY))


def test_an_expert_at_the_top_falls_after_four_wrong_in_a_row() -> None:
    path = play(Progress(Level.EXPERT, 6), [WRONG] * 4)
    assert [(progress.level, progress.points) for progress in path[1:]] == [
        (Level.EXPERT, 3),
        (Level.EXPERT, 0),
        (Level.EXPERT, -3),
        (Level.ADVANCED, 0),
    ]


# ---------------------------------------------------------------- whatever the answers


def test_every_case_has_its_row() -> None:
    assert set(TRANSITIONS) == {(bound, evidence) for bound in Bound for evidence in Evidence}
    assert DEFAULT_RULES.reward * 3 == DEFAULT_RULES.penalty


def test_only_the_bound_that_was_reached_and_what_speaks_for_it_move_a_level() -> None:
    rises = {case for case, move in TRANSITIONS.items() if move is Move.RISE}
    falls = {case for case, move in TRANSITIONS.items() if move is Move.FALL}
    assert rises == {(Bound.UPPER, Evidence.NONE), (Bound.UPPER, Evidence.ABOVE)}
    assert falls == {(Bound.LOWER, Evidence.NONE), (Bound.LOWER, Evidence.BELOW)}


@given(st.data(), thresholds, sequences)
def test_points_and_level_stay_within_their_bounds(
    data: st.DataObject, threshold: int, given_answers: list[Answer]
) -> None:
    for progress in play(data.draw(progresses(threshold)), given_answers, threshold):
        assert progress.level in set(Level)
        assert -threshold <= progress.points <= threshold


@given(st.data(), thresholds, answers)
def test_one_answer_moves_one_step_at_most(data: st.DataObject, threshold: int, answer: Answer) -> None:
    before = data.draw(progresses(threshold))
    change = calculate_adaptation(before, answer, DAY, Rules(threshold=threshold))
    assert change.before == before
    assert change.after.level - before.level == change.move
    assert abs(change.move) <= 1


@given(st.data(), thresholds, answers)
def test_a_level_changes_only_by_its_rule(data: st.DataObject, threshold: int, answer: Answer) -> None:
    before = data.draw(progresses(threshold))
    change = calculate_adaptation(before, answer, DAY, Rules(threshold=threshold))
    reaches_top = answer is RIGHT and before.points + 1 >= threshold and before.level is not Level.EXPERT
    reaches_bottom = answer is WRONG and before.points - 3 <= -threshold and before.level is not Level.BEGINNER
    expected = Move.RISE if reaches_top else Move.FALL if reaches_bottom else Move.STAY
    assert change.move is expected
    if change.move is not Move.STAY:
        assert change.after.points == 0


@given(st.data(), thresholds)
def test_a_right_answer_never_lowers_and_a_wrong_one_never_lifts(data: st.DataObject, threshold: int) -> None:
    before = data.draw(progresses(threshold))
    after_right = calculate_adaptation(before, RIGHT, DAY, Rules(threshold=threshold)).after
    after_wrong = calculate_adaptation(before, WRONG, DAY, Rules(threshold=threshold)).after
    assert height(after_right, threshold) >= height(before, threshold) >= height(after_wrong, threshold)


@given(st.data(), answers, thresholds)
def test_who_stands_higher_on_a_level_is_never_overtaken_by_the_same_answer(
    data: st.DataObject, answer: Answer, threshold: int
) -> None:
    one, other = data.draw(progresses(threshold)), data.draw(progresses(threshold))
    lower, higher = sorted((one, other), key=lambda progress: height(progress, threshold))
    if lower.level is higher.level:
        rules = Rules(threshold=threshold)
        after = [calculate_adaptation(progress, answer, DAY, rules).after.level for progress in (lower, higher)]
        assert after[0] <= after[1]


@given(progresses(), sequences)
def test_a_replay_of_the_answers_leads_to_the_same_place(progress: Progress, given_answers: list[Answer]) -> None:
    whole = play(progress, given_answers)
    half = len(given_answers) // 2
    resumed = play(whole[half], given_answers[half:])
    assert play(progress, given_answers) == whole
    assert resumed == whole[half:]


@given(progresses(), answers, days, days)
def test_the_level_does_not_depend_on_the_day(progress: Progress, answer: Answer, one: date, other: date) -> None:
    first = calculate_adaptation(progress, answer, one).after
    second = calculate_adaptation(progress, answer, other).after
    assert (first.level, first.points) == (second.level, second.points)


@given(sequences)
def test_a_level_is_left_only_after_six_right_or_two_wrong_since_it_was_entered(given_answers: list[Answer]) -> None:
    path = play(Progress(Level.INTERMEDIATE), given_answers)
    since = {RIGHT: 0, WRONG: 0}
    for (before, after), answer in zip(pairwise(path), given_answers, strict=True):
        since[answer] += 1
        if after.level > before.level:
            assert since[RIGHT] >= 6
        elif after.level < before.level:
            assert since[WRONG] >= 2
        if after.level is not before.level:
            since = {RIGHT: 0, WRONG: 0}


@given(levels, st.integers(-20, 20), answers, st.integers(1, 5))
def test_points_from_before_an_operator_lowered_the_threshold_do_no_harm(
    level: Level, points: int, answer: Answer, threshold: int
) -> None:
    after = calculate_adaptation(Progress(level, points), answer, DAY, Rules(threshold=threshold)).after
    assert -threshold <= after.points <= threshold
    assert abs(after.level - level) <= 1


# ---------------------------------------------------------------- the run


@given(progresses(), sequences)
def test_the_run_counts_what_came_last_and_begins_anew_with_a_level(
    progress: Progress, given_answers: list[Answer]
) -> None:
    for (before, after), answer in zip(pairwise(play(progress, given_answers)), given_answers, strict=True):
        if after.level is not before.level:
            assert after.run == 0
        elif answer is RIGHT:
            assert after.run == max(before.run, 0) + 1
        else:
            assert after.run == min(before.run, 0) - 1


# ---------------------------------------------------------------- the gate

SURE = 0.001
"""A variance so small that the rating leaves no doubt."""


def with_success(success: float, level: Level, variance: float = SURE) -> Rating:
    """Return the rating of a learner who is expected to be right so often on a level's mean question."""
    low, high = -20.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if expected_success(middle, LEVEL_DIFFICULTY[level]) > success else (middle, high)
    return Rating(high, variance)


@pytest.mark.parametrize("level", [Level.BEGINNER, *MIDDLE])
@pytest.mark.parametrize(("success", "rises"), [(0.70, False), (0.76, False), (0.80, True), (0.95, True)])
def test_a_level_rises_only_if_success_on_it_is_at_the_target(level: Level, success: float, *, rises: bool) -> None:
    change = calculate_adaptation(Progress(level, 5), RIGHT, DAY, ability=with_success(success, level))
    assert (change.move is Move.RISE) is rises
    assert change.after.points == (0 if rises else DEFAULT_RULES.threshold)


@pytest.mark.parametrize("level", [*MIDDLE, Level.EXPERT])
@pytest.mark.parametrize(("success", "falls"), [(0.60, True), (0.75, True), (0.80, False), (0.95, False)])
def test_a_level_falls_only_if_success_on_it_is_below_the_target(level: Level, success: float, *, falls: bool) -> None:
    change = calculate_adaptation(Progress(level, -4), WRONG, DAY, ability=with_success(success, level))
    assert (change.move is Move.FALL) is falls
    assert change.after.points == (0 if falls else -DEFAULT_RULES.threshold)


def test_the_gate_stays_shut_while_the_rating_is_in_doubt_and_opens_with_certainty() -> None:
    for variance, move in ((1.0, Move.STAY), (0.3, Move.STAY), (0.02, Move.RISE)):
        ability = with_success(0.83, Level.INTERMEDIATE, variance)
        assert calculate_adaptation(Progress(Level.INTERMEDIATE, 6), RIGHT, DAY, ability=ability).move is move


def test_a_level_that_waits_at_the_bound_changes_with_the_answer_that_opens_the_gate() -> None:
    waiting = calculate_adaptation(
        Progress(Level.INTERMEDIATE, 5), RIGHT, DAY, ability=with_success(0.7, Level.INTERMEDIATE)
    ).after
    assert (waiting.level, waiting.points) == (Level.INTERMEDIATE, 6)
    after = calculate_adaptation(waiting, RIGHT, DAY, ability=with_success(0.9, Level.INTERMEDIATE)).after
    assert (after.level, after.points, after.run) == (Level.ADVANCED, 0, 0)


@given(progresses(), answers, abilities, rules_of_any_size)
def test_no_level_changes_without_its_rule(
    before: Progress, answer: Answer, ability: Rating | None, rules: Rules
) -> None:
    change = calculate_adaptation(before, answer, DAY, rules, ability)
    gain = rules.reward if answer is RIGHT else -rules.penalty
    evidence = weigh(ability, LEVEL_DIFFICULTY[before.level], rules)
    if change.after.level > before.level:
        assert before.points + gain >= rules.threshold
        assert evidence in {Evidence.NONE, Evidence.ABOVE}
    elif change.after.level < before.level:
        assert before.points + gain <= -rules.threshold
        assert evidence in {Evidence.NONE, Evidence.BELOW}
    assert change.evidence is evidence
    assert -rules.threshold <= change.after.points <= rules.threshold


@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(0.01, 2), rules_of_any_size)
def test_more_ability_never_speaks_less_for_rising(one: float, other: float, variance: float, rules: Rules) -> None:
    order = [Evidence.BELOW, Evidence.UNSURE, Evidence.ABOVE]
    lower, higher = sorted((one, other))
    ranks = [order.index(weigh(Rating(mean, variance), 0.0, rules)) for mean in (lower, higher)]
    assert ranks == sorted(ranks)


@given(st.integers(), rules_of_any_size)
def test_a_thousand_random_steps_never_leave_the_table(seed: int, rules: Rules) -> None:
    rng = random.Random(seed)
    progress = Progress(rng.choice(list(Level)), placement_left=rules.placement_answers)
    for _ in range(1000):
        ability = rng.choice([None, Rating(rng.uniform(-6, 6), rng.uniform(0.01, 2))])
        change = calculate_adaptation(progress, rng.choice([RIGHT, WRONG]), DAY, rules, ability)
        assert change.before == progress
        assert change.after.level in set(Level)
        assert -rules.threshold <= change.after.points <= rules.threshold
        assert change.move == (change.after.level > progress.level) - (change.after.level < progress.level)
        if not progress.placement_left:
            assert change.after.level - progress.level == change.move
        progress = change.after


# ---------------------------------------------------------------- placement


def test_six_answers_place_a_learner_on_the_nearest_level() -> None:
    progress = Progress(Level.INTERMEDIATE, placement_left=6)
    for left in (5, 4, 3, 2, 1):
        progress = calculate_adaptation(progress, RIGHT, DAY, ability=Rating(3.0, 0.5)).after
        assert (progress.level, progress.points, progress.placement_left) == (Level.INTERMEDIATE, 0, left)
    placed = calculate_adaptation(progress, RIGHT, DAY, ability=Rating(3.0, 0.5))
    assert (placed.after.level, placed.after.placement_left, placed.move) == (Level.EXPERT, 0, Move.RISE)


@given(levels, answers, st.floats(-6, 6), st.floats(0.01, 2), rules_of_any_size)
def test_the_last_answer_of_the_placement_sets_the_level_that_fits(
    level: Level, answer: Answer, mean: float, variance: float, rules: Rules
) -> None:
    after = calculate_adaptation(Progress(level, placement_left=1), answer, DAY, rules, Rating(mean, variance)).after
    assert (after.points, after.placement_left) == (0, 0)
    doubt = rules.placement_confidence * variance**0.5
    lowest, highest = (nearest_level(mean + side, target=rules.target_success) for side in (-doubt, doubt))
    assert lowest <= after.level <= highest
    assert after.level == level or after.level in (lowest, highest)


@given(levels, st.floats(-6, 6), st.floats(0.01, 2))
def test_a_placement_without_doubt_sets_the_nearest_level(level: Level, mean: float, variance: float) -> None:
    sure = replace(DEFAULT_RULES, placement_confidence=0.0)
    assert place(level, Rating(mean, variance), sure) is nearest_level(mean, target=sure.target_success)


def test_a_learner_who_may_well_belong_where_they_began_is_not_moved() -> None:
    unsure, sure = Rating(-0.1, 0.4), Rating(-0.1, 0.01)
    assert nearest_level(unsure.mean) is Level.BEGINNER
    assert place(Level.INTERMEDIATE, unsure) is Level.INTERMEDIATE
    assert place(Level.INTERMEDIATE, sure) is Level.BEGINNER


def test_without_ratings_nobody_is_placed_and_the_points_count_at_once() -> None:
    path = play(Progress(Level.INTERMEDIATE, placement_left=6), [RIGHT] * 6)
    assert [progress.placement_left for progress in path] == [6, 5, 4, 3, 2, 1, 0]
    assert (path[-1].level, path[-1].points) == (Level.ADVANCED, 0)
