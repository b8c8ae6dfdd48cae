"""Ratings: what an answer says about learner and question, and that estimates neither drift apart nor shrink."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptation.ratings import (
    EXPERIENCE_PRIORS,
    GROWTH,
    GUESS,
    LEVEL_DIFFICULTY,
    QUESTION_PRIORS,
    TARGET_SUCCESS,
    expected_success,
    nearest_level,
    update_ratings,
)
from domain.catalog import Experience, Level
from domain.learning import UNKNOWN_ABILITY, Rating

logits = st.floats(-8, 8)
variances = st.floats(0.01, 3)
ratings = st.builds(Rating, logits, variances)


@given(logits, logits)
def test_the_expected_success_lies_between_guessing_and_certainty(ability: float, difficulty: float) -> None:
    assert GUESS < expected_success(ability, difficulty) < 1


@given(logits, logits, st.floats(0.001, 4))
def test_the_able_succeed_more_and_the_hard_is_failed_more(ability: float, difficulty: float, more: float) -> None:
    assert expected_success(ability + more, difficulty) > expected_success(ability, difficulty)
    assert expected_success(ability, difficulty + more) < expected_success(ability, difficulty)


@given(logits)
def test_whoever_meets_their_own_difficulty_knows_half_and_guesses_the_rest(ability: float) -> None:
    assert expected_success(ability, ability) == pytest.approx(0.5 + 0.5 * GUESS)


@given(ratings, ratings)
def test_a_right_answer_raises_the_learner_and_lowers_the_question(learner: Rating, question: Rating) -> None:
    after, easier = update_ratings(learner, question, correct=True)
    assert after.mean > learner.mean
    assert easier.mean < question.mean


@given(ratings, ratings)
def test_a_wrong_answer_does_the_opposite(learner: Rating, question: Rating) -> None:
    after, harder = update_ratings(learner, question, correct=False)
    assert after.mean < learner.mean
    assert harder.mean > question.mean


@given(ratings, ratings, st.booleans())
def test_an_answer_makes_both_surer_but_for_what_a_learner_learns(
    learner: Rating,
    question: Rating,
    correct: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    after, rated = update_ratings(learner, question, correct=correct)
    assert 0 < rated.variance < question.variance
    assert 0 < after.variance < learner.variance + GROWTH


@given(st.lists(st.tuples(st.sampled_from(list(Level)), st.booleans()), max_size=200))
def test_a_learner_never_becomes_less_known_than_nobody_or_known_for_sure(answers: list[tuple[Level, bool]]) -> None:
    learner = UNKNOWN_ABILITY
    for level, correct in answers:
        learner, _ = update_ratings(learner, QUESTION_PRIORS[level], correct=correct)
        assert GROWTH < learner.variance < UNKNOWN_ABILITY.variance + GROWTH * len(answers)
        assert abs(learner.mean) < 12


@given(ratings, ratings, st.floats(0.01, 2))
def test_the_less_is_known_the_further_an_answer_moves(learner: Rating, question: Rating, more: float) -> None:
    unsure = Rating(learner.mean, learner.variance + more)
    near, far = (update_ratings(one, question, correct=True)[0].mean - learner.mean for one in (learner, unsure))
    assert far > near


@given(st.lists(st.tuples(st.sampled_from(list(Level)), st.booleans()), max_size=50))
def test_the_same_answers_give_the_same_ratings(answers: list[tuple[Level, bool]]) -> None:
    def play() -> Rating:
        learner = UNKNOWN_ABILITY
        for level, correct in answers:
            learner, _ = update_ratings(learner, QUESTION_PRIORS[level], correct=correct)
        return learner

    assert play() == play()


@given(logits, st.floats(0, 4))
def test_who_is_abler_is_never_placed_lower(ability: float, more: float) -> None:
    assert nearest_level(ability) <= nearest_level(ability + more)


def test_levels_and_experience_are_told_in_their_order() -> None:
    assert list(LEVEL_DIFFICULTY.values()) == sorted(LEVEL_DIFFICULTY.values())
    told = [EXPERIENCE_PRIORS[experience].mean for experience in Experience]
    assert told == sorted(told)
    assert all(prior.variance < UNKNOWN_ABILITY.variance for prior in EXPERIENCE_PRIORS.values())


# ---------------------------------------------------------------- the spread of many learners

LEARNERS, QUESTIONS, ANSWERS, LOOKED_AT = 200, 300, 100, 15
SETTLED = 40
"""Answers after which estimates are no longer held together by what is believed of everybody."""
STEP = 0.4
"""Of plain Elo, in logits."""

Update = Callable[[Rating, Rating, bool], tuple[Rating, Rating]]


def rate(learner: Rating, question: Rating, correct: bool) -> tuple[Rating, Rating]:  # noqa: FBT001 - as `Update` says
    """Move ratings as the service does."""
    return update_ratings(learner, question, correct=correct)


def elo(learner: Rating, question: Rating, correct: bool) -> tuple[Rating, Rating]:  # noqa: FBT001 - as `Update` says
    """Move ratings by Elo's rule with a fixed step."""
    step = STEP * (correct - expected_success(learner.mean, question.mean))
    return Rating(learner.mean + step, 1.0), Rating(question.mean - step, 1.0)


def spreads(update: Update, seed: int) -> list[float]:
    """Return the spread of the estimates over that of the true abilities, after each answer.

    Each question is the one nearest to the target among some that the learner has not had, which is what drives a fixed
    step apart: the surprise of the able is turned into difficulty, and back into ability.
    """
    rng = random.Random(seed)
    levels = [rng.choice(list(Level)) for _ in range(QUESTIONS)]
    truth = [rng.gauss(QUESTION_PRIORS[level].mean, QUESTION_PRIORS[level].variance ** 0.5) for level in levels]
    abilities = [rng.gauss(0, 1) for _ in range(LEARNERS)]
    questions, learners = [QUESTION_PRIORS[level] for level in levels], [UNKNOWN_ABILITY] * LEARNERS
    unseen = [rng.sample(range(QUESTIONS), QUESTIONS) for _ in range(LEARNERS)]
    found = []
    for _ in range(ANSWERS):
        for one in range(LEARNERS):
            mean = learners[one].mean
            some = unseen[one][:LOOKED_AT]
            best = min(some, key=lambda place: abs(expected_success(mean, questions[place].mean) - TARGET_SUCCESS))
            unseen[one].remove(best)
            correct = rng.random() < expected_success(abilities[one], truth[best])
            learners[one], questions[best] = update(learners[one], questions[best], correct)
        found.append(statistics.stdev(rating.mean for rating in learners) / statistics.stdev(abilities))
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_estimated_abilities_are_spread_as_the_true_ones(seed: int) -> None:
    found = spreads(rate, seed)
    assert max(found) <= 1.15
    assert min(found[SETTLED:]) >= 0.85


@pytest.mark.parametrize("seed", [1, 2])
def test_a_fixed_step_spreads_them_too_far(seed: int) -> None:
    """So the check above can fail."""
    assert spreads(elo, seed)[-1] > 1.15
