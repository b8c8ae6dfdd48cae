"""Writes docs/adaptation.md: the rules from the code, the figures from docs/adaptation.json.

With `--check` it changes nothing and fails when the page is not what it would write. `make bench-adaptivity` makes the
figures anew.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from adaptation.ratings import EXPERIENCE_PRIORS, GROWTH, LEVEL_DIFFICULTY, TARGET_SUCCESS
from adaptation.reviews import MAX_REVIEW_DAYS
from adaptation.selection import DEFAULT_SELECTION, LEVELS_AROUND
from dev.benchmarks.adaptivity.replay import CHOICE_ENDS, GROUPS
from dev.benchmarks.adaptivity.simulation import AS_IT_IS, BARE, COLD, GATES, PATH_RANKS, PRODUCTION, TOLD, WARM
from dev.benchmarks.adaptivity.summary import FIGURES
from dev.benchmarks.adaptivity.swesat import PARTS
from dev.benchmarks.adaptivity.targets import judge
from dev.benchmarks.adaptivity.trace import ZONE
from dev.benchmarks.adaptivity.world import GROWTH_NOISE, GROWTH_PER_ANSWER, REPORT_CORRELATION, SLOPE_SPREAD, Model
from dev.benchmarks.section import Table
from dev.tools.pages import write_or_check
from difficulty_adapter import DEFAULT_RULES, TRANSITIONS, Bound, Evidence, Move, Rules
from domain.catalog import Experience, Level

DOCS = Path(__file__).parents[3] / "docs"
PAGE = "adaptation.md"

NAMES = {
    PRODUCTION: "**this service**",
    TOLD: "— experience told",
    BARE: "— gate without doubt",
    "random": "random choice",
    "3-up-2-down": "3-up-2-down",
    "3-up-1-down": "3-up-1-down",
    "plain Elo": "plain Elo",
    "catsim": "maximum information (catsim)",
}
"""Strategies in the order of the tables."""
MOVES = {Move.RISE: "rises", Move.FALL: "falls", Move.STAY: "stays"}


# ---------------------------------------------------------------- tables


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of figures, by the part of the page that they belong to."""

    simulation: Sequence[Table]
    experience: Table
    gates: Table
    replay: Sequence[Table]

    def __iter__(self) -> Iterator[Table]:
        yield from (*self.simulation, self.experience, self.gates, *self.replay)


def make_tables(figures: dict[str, Any]) -> Tables:
    """Return the tables of figures."""
    simulation = figures["simulation"]
    banks = (WARM, COLD)
    return Tables(
        simulation=[
            *(_strategies(simulation, Model.THREE, bank) for bank in banks),
            *(_estimates(simulation, bank) for bank in banks),
            *(_strategies(simulation, model, bank) for model in (Model.ONE, Model.TWO) for bank in banks),
        ],
        experience=_experience(simulation),
        gates=_gates(figures["gates"]),
        replay=[_replay(part, figures["replay"][part]) for part in PARTS if part in figures["replay"]],
    )


def _told(figure: dict[str, float | None] | None, digits: int = 2) -> str:
    if figure is None or figure["mean"] is None:
        return ""
    error = figure["error"]
    return f"{figure['mean']:.{digits}f}" + (f" ± {error:.{digits + 1}f}" if error is not None else "")


def _rows(
    strategies: dict[str, Any], columns: Iterable[tuple[str, int]], leave_out: frozenset[tuple[str, str]] = frozenset()
) -> list[list[str]]:
    columns = list(columns)
    return [
        [
            NAMES.get(name, name),
            *("" if (name, key) in leave_out else _told(strategies[name].get(key), digits) for key, digits in columns),
        ]
        for name in NAMES
        if name in strategies
    ]


_NO_LEVELS = frozenset((name, key) for name in ("random", "plain Elo", "catsim") for key in ("changes", "reversals"))


def _strategies(simulation: dict[str, Any], model: Model, bank: str) -> Table:
    columns = ["zone", "success", "changes", "reversals", "log_loss", "rmse_10", "rmse_20", "rmse_40", "rmse_60"]
    shown = [(key, 3 if key == "log_loss" else 2) for key in columns]
    head = ["", "in the zone", "right", "level changes", "reversals", "log loss"]
    return Table(
        f"{model}, {bank} bank",
        [*head, *(f"RMSE {count}" for count in (10, 20, 40, 60))],
        _rows(simulation[model][bank], shown, _NO_LEVELS),
    )


def _estimates(simulation: dict[str, Any], bank: str) -> Table:
    counts = (10, 20, 40, 60)
    keys = [f"correlation_{count}" for count in counts]
    shown = [(key, 2) for key in (*keys, "spread", "exposure", "exposure_of_level", "bank_used")]
    head = ["", *(f"correlation {count}" for count in counts), "spread", "most shown", "on a level", "bank used"]
    rows = _rows(simulation[Model.THREE][bank], shown)
    return Table(f"3PL, {bank} bank: order of the learners, and exposure", head, rows)


def _experience(simulation: dict[str, Any]) -> Table:
    world = simulation[Model.THREE]["world"]
    rows = [
        [
            experience.value,
            *(_told(world[f"{experience}_{name}"]) for name in ("mean", "variance")),
            f"{EXPERIENCE_PRIORS[experience].mean:g}",
            f"{EXPERIENCE_PRIORS[experience].variance:g}",
        ]
        for experience in Experience
    ]
    columns = ["answer", "ability", "variance", "taken", "variance taken"]
    return Table("What the answer about experience tells", columns, rows)


def _gates(gates: dict[str, Any]) -> Table:
    shown = [("changes", 2), ("reversals", 2), ("reversals_once_placed", 2), ("zone", 2), ("rmse_60", 2)]
    misplaced = [(f"misplaced_{count}", 2) for count in (10, 20, 40, 60)]
    head = ["confidence", "level changes", "reversals", "once placed", "in the zone", "RMSE 60"]
    rows = [
        [name, *(_told(told.get(key), digits) for key, digits in shown + misplaced)]
        for name in GATES
        if (told := gates.get(name))
    ]
    return Table("Gates, 3PL, warm bank", [*head, *(f"misplaced {count}" for count in (10, 20, 40, 60))], rows)


def _replay(part: str, told: dict[str, Any]) -> Table:
    keys = ["correlation_10", "correlation_20", "correlation_40", "success", "zone", "predicted_in_zone"]
    shown = [(key, 2) for key in (*keys, "right_in_zone")] + [("log_loss", 3)]
    head = ["", *(f"correlation {count}" for count in (10, 20, 40)), "right", "in the zone", "predicted", "happened"]
    rows = [[f"{row[0]}, {bank} bank", *row[1:]] for bank in (WARM, COLD) for row in _rows(told[bank], shown)]
    about = told["about"]
    title = (
        f"Swedish SAT, {part}: {about['learners']['mean']:,.0f} learners; all forty answers would correlate "
        f"{about['sum_score']['mean']:.2f}, and the best choice would be in the zone {about['best_zone']['mean']:.2f}"
    )
    return Table(title, [*head, "log loss"], rows)


# ---------------------------------------------------------------- rules


def rules_page(rules: Rules = DEFAULT_RULES) -> list[str]:
    """Return the lines on the rules, drawn from the code."""
    rises, falls = -(-rules.threshold // rules.reward), -(-rules.threshold // rules.penalty)
    return [
        "## The rules",
        "",
        (
            f"- A right answer is {rules.reward} point, a wrong one takes {rules.penalty}; points stay between "
            f"-{rules.threshold} and +{rules.threshold}. At "
            f"+{rules.threshold} the level rises, at -{rules.threshold} it falls, one "
            f"step at most, and points and run start at 0 again. So {rises} right in a row from zero rise, {falls} "
            f"wrong in a row fall, and {rules.penalty // rules.reward} right make good one wrong."
        ),
        (
            "- The level changes only if the ratings agree: upward if the learner would surely be right on at least "
            f"{rules.target_success:.1%} of the level's questions, downward if surely on fewer. Surely means: even "
            f"if the ability were {rules.confidence:g} standard deviations lower, or higher, than estimated. Otherwise "
            "the points rest at their bound and wait."
        ),
        (
            f"- The first {rules.placement_answers} answers place a new learner: every level is within reach of the "
            "choice, and the last of them sets the level that fits. A learner is moved no further than to the nearest "
            f"level that still fits the ability {rules.placement_confidence:g} standard deviations up or down."
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
    up, down = _causes(Bound.UPPER, Move.RISE), _causes(Bound.LOWER, Move.FALL)
    rise = [f"    {low} --> {high}: +{rules.threshold} points, {up}" for low, high in pairwise(levels)]
    fall = [f"    {high} --> {low}: -{rules.threshold} points, {down}" for low, high in pairwise(levels)]
    placed = [f"    Placement --> {level}: {rules.placement_answers} answers" for level in levels]
    return ["```mermaid", "stateDiagram-v2", "    [*] --> Placement", *placed, *rise, *fall, "```"]


def _causes(bound: Bound, move: Move) -> str:
    return " or ".join(evidence.value for evidence in Evidence if TRANSITIONS[bound, evidence] is move)


def _transitions() -> Table:
    rows = [[bound.value, *(MOVES[TRANSITIONS[bound, evidence]] for evidence in Evidence)] for bound in Bound]
    return Table("", ["points \\ success on the level", *(evidence.value for evidence in Evidence)], rows)


# ---------------------------------------------------------------- the page


def render(figures: dict[str, Any]) -> str:
    """Return the page."""
    made = make_tables(figures)
    size, run = figures["size"], figures["run"]
    lines = [
        "# Adaptation",
        "",
        (
            "What decides what a learner gets next, and how well it does. Written by `make bench-adaptivity`; "
            "`python -m dev.benchmarks.adaptivity.page` writes the page again from the code and from `adaptation.json`."
        ),
        "",
        *(
            ["**Taken at quick sizes: this shows that the benchmark runs, and is no measurement.**", ""]
            if run["quick"]
            else []
        ),
        *rules_page(),
        "## Targets and results",
        "",
        *Table("Targets", ["3PL, 60 answers", "to reach", "measured", ""], judge(figures["simulation"])).in_markdown(),
        "![Share of questions in the zone by strategy](images/adaptation-zone.png)",
        "",
        "![Error of the ability over answers](images/adaptation-rmse.png)",
        "",
        "![Levels of three learners under three strategies](images/adaptation-levels.png)",
        "",
        *_about_pictures(figures["gates"]),
        *_about_simulation(figures["simulation"], size["simulation"]),
        *(line for table in made.simulation for line in table.in_markdown()),
        *_about_experience(figures["simulation"]),
        *made.experience.in_markdown(),
        *_about_gates(size["simulation"]),
        *made.gates.in_markdown(),
        *(_about_replay(size["replay"]) if figures["replay"] else []),
        *(line for table in made.replay for line in table.in_markdown()),
        *_LIMITS,
        "## The run",
        "",
        f"Taken {run['at']} in {run['seconds'] / 60:.0f} minutes on {run['cores']} cores with {run['memory_gb']} GB "
        f"({run['system']}); Python {run['python']}, numpy {run['numpy']}, catsim {run['catsim']}"
        + (f", irtorch {run['irtorch']} (its data only)." if run["irtorch"] else "."),
    ]
    return "\n".join(lines) + "\n"


def _about_pictures(gates: dict[str, Any]) -> list[str]:
    low, middle, high = (f"{rank:.0%}" for rank in PATH_RANKS)
    wrong = gates[AS_IT_IS]["misplaced_60"]
    return [
        (
            f"The three learners are those at {low}, {middle} and {high} of the first world, ranked by ability. "
            "Certainty has a price: a learner who is on the wrong level by chance may stay there, and "
            f"{wrong['mean']:.0%} are "
            "still on another level than the one that suits them best after 60 answers. What they are asked suffers "
            "little, since the rating chooses within one level around."
        ),
        "",
    ]


def _about_simulation(simulation: dict[str, Any], size: dict[str, int]) -> list[str]:
    level = simulation[Model.THREE]["world"]["level_correlation"]
    return [
        "## Simulated learners",
        "",
        (
            f"{size['learners']} learners with abilities from N(0, 1) answer {size['answers']} of {size['questions']} "
            f"questions each, in turn, in {size['seeds']} worlds a model; ± is the standard error over the worlds. "
            f"Each answer makes a learner {GROWTH_PER_ANSWER:g} logits better (standard deviation {GROWTH_NOISE:g}). "
            f"Authors' levels correlate {_told(level)} with the true difficulty. 1PL: one slope, no guessing. 2PL: "
            f"slopes whose logarithm has a standard deviation of {SLOPE_SPREAD:g}. 3PL: besides, a quarter of unknown "
            "answers is guessed; it is the model of questions with four options, the only one that targets speak of, "
            "and the other two show what happens when the ratings are wrong about guessing. Whether a learner is "
            "right on a question depends on the same draw for every strategy."
        ),
        "",
        (
            "A cold bank knows only the authors' levels, and is rated while these learners answer. A warm bank has "
            f"been used by {size['earlier']:,} earlier learners, {size['earlier_answers']} answers each, through the "
            "same code (for plain Elo: through plain Elo)."
        ),
        "",
        (
            f"- *In the zone*: the true chance of a right answer lies in [{ZONE[0]:g}, {ZONE[1]:g}]. *Level changes* "
            "count the placement; a *reversal* goes against the change before, the placement included. *Log loss*: of "
            "the success that was predicted, in nats."
        ),
        (
            "- *Random choice* and the staircases (so many right in a row up, so many wrong in a row down, any "
            "question of the level) have no estimate of their own: the service's ratings look on."
        ),
        (
            "- *Plain Elo* moves both sides by .4 times the surprise, knows about guessing, and chooses as the "
            "service does, without levels and limits."
        ),
        (
            "- *Maximum information* is catsim's selector and its numerical maximum-likelihood estimator, with the "
            f"questions' true parameters, for {size['catsim_learners']} learners a world, since it is slow. It is what "
            "a test does: best at measuring, with knowledge nobody has, and not made for learning. A warm bank is no "
            "different."
        ),
        (
            "- *Most shown*: the largest share of all learners who got the same question; *on a level*: of the "
            "learners of one level, who got it there. The limit of one half counts earlier learners too. *Spread*: "
            "standard deviation of the estimates over that of the true abilities."
        ),
        "",
    ]


def _about_experience(simulation: dict[str, Any]) -> list[str]:
    warm, cold = (simulation[Model.THREE][bank] for bank in (WARM, COLD))
    gains = [1 - bank[TOLD]["rmse_10"]["mean"] / bank[PRODUCTION]["rmse_10"]["mean"] for bank in (warm, cold)]
    return [
        "## One tap about experience",
        "",
        (
            f"Learners whose self-report correlates {REPORT_CORRELATION:g} with their ability give one of four "
            f"answers, each a quarter of them. After ten answers the error is {gains[0]:.0%} smaller with it on a warm "
            f"bank, {gains[1]:.0%} on a cold one. How well real learners know themselves is not known; .6 is an "
            "assumption."
        ),
        "",
    ]


def _about_gates(size: dict[str, int]) -> list[str]:
    return [
        "## How sure the gate should be",
        "",
        (
            f"{size['gate_learners']} learners a world. *Placed without doubt*: at the nearest level, whatever the "
            "variance. *Once placed*: reversals that do not count the placement. *Misplaced*: on another level than "
            "the true ability suits, after so many answers. Margins ask the estimate to exceed the target by a fixed "
            f"distance, whatever its variance; wider bounds ask for more than {DEFAULT_RULES.threshold} points. See "
            "[decision 16](decisions/0016-gate-with-confidence.md)."
        ),
        "",
    ]


def _about_replay(size: dict[str, int]) -> list[str]:
    return [
        "## Recorded learners",
        "",
        (
            "Answers to the Swedish SAT of autumn 2022, read from the installed package irtorch. The quantitative and "
            "the verbal part are samples of different order, so they are replayed apart. Of the eighty questions of a "
            "part, a random half is held out: the number right there is the ability. The other forty are the bank, "
            f"whose answers are revealed in the order in which a strategy asks; {size['learners']} learners, "
            f"{size['seeds']} divisions."
        ),
        "",
        (
            f"- These questions have no author's level. {size['past']:,} other learners' shares of right answers, with "
            "noise until quarters of the result correlate about .7 with the logits, stand for it. The same learners "
            "warm the bank up."
        ),
        (
            f"- *Right*, *in the zone* and the rest are over the first {CHOICE_ENDS} answers; after all forty every "
            "strategy has asked the same. The chance of a learner is the share of right answers among the other "
            f"learners of the same eighth ({GROUPS} groups) of held-out ability."
        ),
        (
            "- *Predicted* and *happened*: mean prediction and share right, where the strategy predicted success "
            "within the zone."
        ),
        "- Forty questions, half of which must be asked, are few to choose from: compare the best possible choice.",
        "",
    ]


_LIMITS = [
    "## What this does not show",
    "",
    (
        "- **Learning gain.** Simulated learners grow at the same pace whatever they are asked. That questions in the "
        "zone teach more is the premise, not a result."
    ),
    (
        "- Simulated learners have one ability, not one for each topic; nobody leaves, tires, looks answers up or "
        "guesses cleverly; and the priors are as right about the bank as they are assumed to be."
    ),
    "- Every answer comes before the next question is chosen. Reviews, templates and wanted topics are absent.",
    (
        "- The people of the Swedish SAT sat an examination of eighty questions once: nobody learned, and no question "
        "was chosen for anybody."
    ),
    "",
]


def pictures_on(page: str) -> list[str]:
    """Return the pictures that a page shows."""
    return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)


def main(arguments: list[str]) -> int:
    """Write or check the page, and return the exit status."""
    text = render(json.loads((DOCS / FIGURES).read_text(encoding="utf-8")))
    status = write_or_check(DOCS / PAGE, text, arguments, "python -m dev.benchmarks.adaptivity.page")
    if missing := [name for name in pictures_on(text) if not (DOCS / name).exists()]:
        print(f"docs/adaptation.md shows pictures that are not there: {', '.join(missing)}")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
