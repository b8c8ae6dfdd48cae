"""Which question a learner gets next, among those they have not seen. Pure.

Theory of operation. A question is worth asking when the learner will probably, but not surely, be right: the nearer its
expected success is to the target, the better. Candidates stand in tiers, and a worse tier serves only when all better
ones are empty:

    FITTING   within one level of the learner's, and shown to less than half of the learners of that level
    WORN      within one level, but shown to more of them already
    DISTANT   any other level

While a learner is being placed, every level is within reach: the rating alone decides. Of the best few in the best
tier one is drawn, topics in which the learner is wrong more often with a greater chance, so that neither two learners
nor two days are alike.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from adaptation.ratings import TARGET_SUCCESS, expected_success
from domain.catalog import Level, Topic
from domain.ids import QuestionId
from domain.learning import Candidate

LEVELS_AROUND = 1


@dataclass(frozen=True, slots=True)
class Chooser:
    """As much of a learner as the choice depends on."""

    level: Level
    ability: float
    """In logits."""
    topics: tuple[Topic, ...] = ()
    """Those they want; empty means all."""
    being_placed: bool = False
    scores: Mapping[Topic, tuple[int, int]] = field(default_factory=dict)
    """Answers and right answers by topic."""
    max_shown: float = math.inf
    """Learners of their level that a question is shown to, as long as there are others."""


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """The numbers of the choice; each is a setting."""

    target_success: float = TARGET_SUCCESS
    choose_among: int = 5
    """Best questions of which one is drawn, at least 1."""


DEFAULT_SELECTION = SelectionRules()


def choose_question(
    candidates: Sequence[Candidate],
    seen: Collection[QuestionId],
    chooser: Chooser,
    rng: random.Random,
    rules: SelectionRules = DEFAULT_SELECTION,
) -> Candidate | None:
    """Return the question that a learner gets next, or None when they have seen all of their topics."""
    tier = _best_tier([candidate for candidate in candidates if candidate.id not in seen], chooser)
    if not tier:
        return None
    ability, target = chooser.ability, rules.target_success
    # Of those equally far from the target, as in a new bank, any may be first.
    distances = [(abs(expected_success(ability, one.difficulty) - target), rng.random()) for one in tier]
    places = heapq.nsmallest(rules.choose_among, range(len(tier)), key=distances.__getitem__)
    best = [tier[place] for place in places]
    weights = [topic_weight(*chooser.scores.get(candidate.topic, (0, 0))) for candidate in best]
    return rng.choices(best, weights)[0]


def _best_tier(unseen: Sequence[Candidate], chooser: Chooser) -> Sequence[Candidate]:
    topics, level = chooser.topics, chooser.level
    wanted = [candidate for candidate in unseen if candidate.topic in topics] if topics else unseen
    if chooser.being_placed:
        near = wanted
    else:
        near = [candidate for candidate in wanted if abs(candidate.level - level) <= LEVELS_AROUND]
    fitting = [one for one in near if level not in one.shown or one.shown[level] + 1 <= chooser.max_shown]
    return fitting or near or wanted


def topic_weight(answered: int, correct: int) -> float:
    """Return the share of wrong answers to expect in a topic, which is the weight of its questions in the draw.

    The few answers of a newcomer are mixed with four more of which one is wrong, which is about the target.
    """
    return (answered - correct + 1) / (answered + 4)
