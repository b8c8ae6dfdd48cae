"""The lines of docs/adaptation.md on the rules, drawn from the code."""

from __future__ import annotations

from itertools import pairwise

from adaptation.ratings import GROWTH, LEVEL_DIFFICULTY, TARGET_SUCCESS
from adaptation.reviews import MAX_REVIEW_DAYS
from adaptation.selection import DEFAULT_SELECTION, LEVELS_AROUND
from dev.benchmarks.section import Table
from difficulty_adapter import DEFAULT_RULES, TRANSITIONS, WHOLE_WAY, Estimate, Move, Occasion, Rules
from domain.catalog import Level

MOVES = {Move.RISE: "rises", Move.FALL: "falls", Move.STAY: "stays"}


def rules_page(rules: Rules = DEFAULT_RULES) -> list[str]:
    """Return the lines on the rules."""
    return [
        "## The rules",
        "",
        (
            "- A level is near when the learner would be right on about "
            f"{rules.target_success:.1%} of its questions. A right answer raises the level by one if the estimate of "
            "the ability is nearer to a higher one."
        ),
        (
            "- A wrong answer lowers it by one if a lower level is nearer even "
            f"{rules.confidence:g} standard deviations above the estimate. Nothing else moves a level, so it flickers "
            "at no boundary."
        ),
        (
            f"- The first {rules.placement_answers} answers place a new learner: every level is within reach of the "
            "choice, the level waits, and the last of them moves it by the same rule, but all the way."
        ),
        (
            f"- The bar says how near the next level is, in points from 0 to {WHOLE_WAY}: where the estimate stands "
            'between the ends of the level. "I don\'t know" leaves it, and a right answer never shortens it: it waits '
            "for the estimate to come back. It decides nothing, and is never below 0."
        ),
        (
            f"- The next question is one that the learner has not seen, within {LEVELS_AROUND} level of theirs, shown "
            f"to less than half of the learners of that level: one of the {DEFAULT_SELECTION.choose_among} whose "
            f"expected success is nearest {TARGET_SUCCESS:.1%}, weak topics with a greater chance."
        ),
        (
            "- Abilities and difficulties are rated on one scale of logits, each with a variance; the first answer to "
            f"a question moves both. A learner's variance grows by {GROWTH:g} an answer, since learners learn. An "
            "author's level says at first how hard a question is: "
            f"{', '.join(f'{mean:+.2f}' for mean in LEVEL_DIFFICULTY.values())}."
        ),
        (
            f"- A missed question comes back when FSRS says that it is about to be forgotten, {MAX_REVIEW_DAYS} days "
            "later at most. Reviews move neither ratings nor the figures below."
        ),
        "",
        *_diagram(rules),
        "",
        *_transitions().in_markdown(),
    ]


def _diagram(rules: Rules) -> list[str]:
    levels = [level.label for level in Level]
    up, down = _cause(Move.RISE), _cause(Move.FALL)
    rise = [f"    {low} --> {high}: {up}" for low, high in pairwise(levels)]
    fall = [f"    {high} --> {low}: {down}" for low, high in pairwise(levels)]
    placed = [f"    Placement --> {level}: {rules.placement_answers} answers" for level in levels]
    return ["```mermaid", "stateDiagram-v2", "    [*] --> Placement", *placed, *rise, *fall, "```"]


def _cause(move: Move) -> str:
    """Return what moves the level of a learner who is placed."""
    return " or ".join(
        f"{occasion.value}, {estimate.value}"
        for (occasion, estimate), made in TRANSITIONS.items()
        if made is move and occasion is not Occasion.PLACED
    )


def _transitions() -> Table:
    rows = [[one.value, *(MOVES[TRANSITIONS[one, estimate]] for estimate in Estimate)] for one in Occasion]
    return Table("", ["answer \\ the estimate is", *(estimate.value for estimate in Estimate)], rows)
