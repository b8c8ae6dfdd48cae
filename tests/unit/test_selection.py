"""The choice of the next question: never a seen one, the best tier first, weak topics more often."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adaptation.ratings import LEVEL_DIFFICULTY, expected_success
from adaptation.selection import (
    DEFAULT_SELECTION,
    LEVELS_AROUND,
    Chooser,
    SelectionRules,
    choose_question,
    topic_weight,
)
from domain.catalog import Level, Topic
from domain.ids import QuestionId
from domain.learning import Candidate

levels = st.sampled_from(list(Level))
topics = st.sampled_from(list(Topic))
banks = st.lists(
    st.tuples(topics, levels, st.floats(-4, 4), st.dictionaries(levels, st.integers(1, 9), max_size=2)), max_size=20
).map(lambda rows: [Candidate(QuestionId(place), *row) for place, row in enumerate(rows)])
seen_ids = st.sets(st.integers(0, 19).map(QuestionId))
answered = st.integers(0, 30).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count)))
choosers = st.builds(
    Chooser,
    level=levels,
    ability=st.floats(-4, 4),
    topics=st.lists(topics, max_size=3, unique=True).map(tuple),
    being_placed=st.booleans(),
    scores=st.dictionaries(topics, answered, max_size=4),
    max_shown=st.floats(0, 10),
)
seeds = st.integers(0, 2**32)


def make(place: int, level: Level = Level.INTERMEDIATE, **kwargs: object) -> Candidate:
    """Return a candidate as hard as its level says."""
    told = {"topic": Topic.STREAMING, "difficulty": LEVEL_DIFFICULTY[level], **kwargs}
    return Candidate(id=QuestionId(place), level=level, **told)  # type: ignore[arg-type]


def rank(candidate: Candidate, chooser: Chooser) -> int:
    """Return how well a candidate suits apart from its difficulty: 0 fitting, 1 worn, 2 distant."""
    if not chooser.being_placed and abs(candidate.level - chooser.level) > LEVELS_AROUND:
        return 2
    return int(chooser.level in candidate.shown and candidate.shown[chooser.level] + 1 > chooser.max_shown)


@given(banks, seen_ids, choosers, seeds)
def test_a_learner_gets_an_unseen_question_of_their_topics_or_has_had_them_all(
    bank: list[Candidate], seen: set[QuestionId], chooser: Chooser, seed: int
) -> None:
    left = [one for one in bank if one.id not in seen and (not chooser.topics or one.topic in chooser.topics)]
    found = choose_question(bank, seen, chooser, random.Random(seed))
    assert (found is None) == (not left)
    assert found is None or found in left


@given(banks, seen_ids, choosers, seeds)
def test_a_worse_tier_serves_only_when_all_better_ones_are_empty(
    bank: list[Candidate], seen: set[QuestionId], chooser: Chooser, seed: int
) -> None:
    left = [one for one in bank if one.id not in seen and (not chooser.topics or one.topic in chooser.topics)]
    assume(left)
    found = choose_question(bank, seen, chooser, random.Random(seed))
    assert found is not None
    assert rank(found, chooser) == min(rank(one, chooser) for one in left)


@given(banks, choosers, seeds, st.integers(1, 8))
def test_the_choice_is_among_the_best_few_of_its_tier(
    bank: list[Candidate], chooser: Chooser, seed: int, among: int
) -> None:
    rules = SelectionRules(choose_among=among)
    found = choose_question(bank, set(), chooser, random.Random(seed), rules)
    assume(found is not None)
    assert found is not None

    def distance(one: Candidate) -> float:
        return abs(expected_success(chooser.ability, one.difficulty) - rules.target_success)

    rivals = [
        one
        for one in bank
        if (not chooser.topics or one.topic in chooser.topics) and rank(one, chooser) == rank(found, chooser)
    ]
    assert sum(distance(one) < distance(found) for one in rivals) < among


@given(banks, seen_ids, choosers, seeds)
def test_the_same_chance_chooses_the_same_question(
    bank: list[Candidate], seen: set[QuestionId], chooser: Chooser, seed: int
) -> None:
    first, second = (choose_question(bank, seen, chooser, random.Random(seed)) for _ in range(2))
    assert first == second


def test_tier_by_tier_the_whole_bank_is_had() -> None:
    fitting, worn = make(0), make(1, shown={Level.INTERMEDIATE: 3})
    distant = make(2, Level.EXPERT)
    chooser = Chooser(Level.INTERMEDIATE, ability=0.5, max_shown=3)
    seen: set[QuestionId] = set()
    had = []
    while found := choose_question([distant, worn, fitting], seen, chooser, random.Random(1)):
        had.append(found)
        seen.add(found.id)
    assert had == [fitting, worn, distant]


def test_what_others_have_worn_is_fresh_on_another_level() -> None:
    worn = make(0, shown={Level.BEGINNER: 3})
    fresh = make(1, difficulty=3.0)
    rules = SelectionRules(choose_among=1)
    chosen = {
        level: choose_question([worn, fresh], set(), Chooser(level, 0.5, max_shown=3), random.Random(1), rules)
        for level in (Level.BEGINNER, Level.INTERMEDIATE)
    }
    assert chosen == {Level.BEGINNER: fresh, Level.INTERMEDIATE: worn}


def test_whoever_is_being_placed_may_get_any_level() -> None:
    hard, fitting = make(0, Level.EXPERT), make(1, difficulty=-4.0)
    rules = SelectionRules(choose_among=1)
    asked = [
        choose_question(
            [hard, fitting], set(), Chooser(Level.BEGINNER, 2.0, being_placed=placed), random.Random(1), rules
        )
        for placed in (True, False)
    ]
    assert asked == [hard, fitting]


def test_equally_good_questions_are_all_chosen() -> None:
    bank = [make(place) for place in range(30)]
    rng = random.Random(7)
    chosen = {choose_question(bank, set(), Chooser(Level.INTERMEDIATE, 0.5), rng) for _ in range(600)}
    assert len(chosen) == len(bank)


def test_weak_topics_are_drawn_more_often_in_proportion() -> None:
    bank = [make(place, topic=topic) for place, topic in enumerate((Topic.STREAMING, Topic.GOVERNANCE_SECURITY))]
    weak, strong = (20, 8), (20, 18)
    chooser = Chooser(Level.INTERMEDIATE, 0.5, scores={Topic.STREAMING: weak, Topic.GOVERNANCE_SECURITY: strong})
    rng = random.Random(11)
    drawn = Counter(found.topic for _ in range(4000) if (found := choose_question(bank, set(), chooser, rng)))
    expected = topic_weight(*weak) / (topic_weight(*weak) + topic_weight(*strong))
    assert drawn[Topic.STREAMING] / 4000 == pytest.approx(expected, abs=0.03)
    assert expected > 0.7


@given(answered)
def test_a_topics_weight_is_a_share_and_grows_with_each_miss(score: tuple[int, int]) -> None:
    count, right = score
    assert 0 < topic_weight(count, right) < 1
    assert topic_weight(count + 1, right) > topic_weight(count, right) > topic_weight(count + 1, right + 1)


@given(levels, st.integers(0, 50), st.integers(0, 50), st.floats(0.05, 1))
def test_a_question_is_worn_where_one_learner_more_would_pass_the_limit(
    level: Level, shown: int, learners: int, share: float
) -> None:
    question, other = make(0, level, shown={level: shown}), make(1, level)
    rules = SelectionRules(choose_among=1)
    chooser = Chooser(level, 0.5, max_shown=share * learners)
    chosen = {choose_question([question, other], set(), chooser, random.Random(seed), rules) for seed in range(20)}
    assert (question in chosen) == (shown + 1 <= share * learners)


def test_the_default_draws_among_several() -> None:
    assert DEFAULT_SELECTION.choose_among > 1
