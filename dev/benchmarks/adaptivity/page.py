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
from pathlib import Path
from typing import Any

from adaptation.ratings import EXPERIENCE_PRIORS
from dev.benchmarks.adaptivity.fit import TOLERANCE
from dev.benchmarks.adaptivity.levels import AS_IT_IS, AT_HOME, UPPER_LEVELS, VARIANTS
from dev.benchmarks.adaptivity.replay import CHOICE_ENDS, GROUPS, LIMITED
from dev.benchmarks.adaptivity.rules import rules_page
from dev.benchmarks.adaptivity.simulation import BARE, COLD, PATH_RANKS, PRODUCTION, TOLD, WARM
from dev.benchmarks.adaptivity.summary import FIGURES
from dev.benchmarks.adaptivity.swesat import PARTS
from dev.benchmarks.adaptivity.targets import judge
from dev.benchmarks.adaptivity.trace import ZONE
from dev.benchmarks.adaptivity.world import GROWTH_NOISE, GROWTH_PER_ANSWER, REPORT_CORRELATION, SLOPE_SPREAD, Model
from dev.benchmarks.section import Table
from dev.tools.pages import write_or_check
from domain.catalog import Experience

DOCS = Path(__file__).parents[3] / "docs"
PAGE = "adaptation.md"

NAMES = {
    PRODUCTION: "**this service**",
    TOLD: "— experience told",
    BARE: "— estimate alone",
    LIMITED: "— with its limit of exposure",
    "random": "random choice",
    "3-up-2-down": "3-up-2-down",
    "3-up-1-down": "3-up-1-down",
    "plain Elo": "plain Elo",
    "catsim": "maximum information (catsim)",
}
"""Strategies in the order of the tables."""


# ---------------------------------------------------------------- tables


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of figures, by the part of the page that they belong to."""

    simulation: Sequence[Table]
    experience: Table
    levels: Sequence[Table]
    replay: Sequence[Table]

    def __iter__(self) -> Iterator[Table]:
        yield from (*self.simulation, self.experience, *self.levels, *self.replay)


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
        levels=[_fit(simulation), _weighed(figures["levels"]), _followed(figures["levels"])],
        replay=[
            make(part, figures["replay"][part])
            for part in PARTS
            if part in figures["replay"]
            for make in (_replay, _ahead)
        ],
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


def _fit(simulation: dict[str, Any]) -> Table:
    told = simulation[Model.THREE][WARM][PRODUCTION]
    keys = ("fits", "ideal_fits", "nearly", "ideal_nearly")
    rows = [[str(count), *(_told(told[f"{key}_{count}"]) for key in keys)] for count in (10, 20, 40, 60)]
    within = f"or within {TOLERANCE:g} logits"
    head = ["answers", "on the nearest level", "ideal estimator", within, "ideal estimator"]
    return Table("How well levels fit, 3PL, warm bank", head, rows)


def _weighed(levels: dict[str, Any]) -> Table:
    columns = {
        "nearly_20": "fits after 20",
        "nearly_40": "fits after 40",
        "nearly_60": "fits after 60",
        "demoted": "demoted by luck",
        "changes": "level changes",
        "reversals": "reversals",
        "zone": "in the zone",
    }
    rows = [
        [name, *(_told(told[key], 3 if key == "demoted" else 2) for key in columns), _told(told["answers_to_rise"], 0)]
        for name in VARIANTS
        if (told := levels.get(name))
    ]
    return Table("Rules of levels, 3PL, warm bank", ["confidence", *columns.values(), "answers to rise"], rows)


def _followed(levels: dict[str, Any]) -> Table:
    told = levels[AS_IT_IS]
    rows = [
        [
            level.label,
            _told(told[f"demoted_{level.value}"], 3),
            _told(told[f"answers_to_rise_{level.value}"], 0),
        ]
        for level in UPPER_LEVELS
    ]
    return Table("By level, as it is", ["their level", "demoted by luck", "answers to rise to it"], rows)


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


def _ahead(part: str, told: dict[str, Any]) -> Table:
    columns = {
        "correlation_10": "correlation 10",
        "correlation_20": "correlation 20",
        "correlation_40": "correlation 40",
        "right": "right",
        "zone": "in the zone",
        "log_loss": "log loss",
    }
    keys = ["success" if key == "right" else key for key in columns]
    rows = [[f"{bank} bank", *(_signed(told["ahead"][bank][key]) for key in keys)] for bank in (WARM, COLD)]
    return Table(f"Swedish SAT, {part}: this service minus plain Elo", ["", *columns.values()], rows)


def _signed(figure: dict[str, float | None]) -> str:
    error = figure["error"]
    return f"{figure['mean']:+.3f}" + (f" ± {error:.3f}" if error is not None else "")


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
        *Table("Targets", ["3PL, 60 answers", "to reach", "measured", "ideal", ""], judge(figures)).in_markdown(),
        "![Share of questions in the zone by strategy](images/adaptation-zone.png)",
        "",
        "![Error of the ability over answers](images/adaptation-rmse.png)",
        "",
        "![Levels of three learners under three strategies](images/adaptation-levels.png)",
        "",
        *_about_pictures(figures["simulation"]),
        *_about_simulation(figures["simulation"], size["simulation"]),
        *(line for table in made.simulation for line in table.in_markdown()),
        *_about_experience(figures["simulation"]),
        *made.experience.in_markdown(),
        *_about_levels(size["simulation"]),
        *(line for table in made.levels for line in table.in_markdown()),
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


def _about_pictures(simulation: dict[str, Any]) -> list[str]:
    low, middle, high = (f"{rank:.0%}" for rank in PATH_RANKS)
    told = simulation[Model.THREE][WARM][PRODUCTION]
    strict, ideal = told["fits_60"]["mean"], told["ideal_fits_60"]["mean"]
    bare = simulation[Model.THREE][WARM][BARE]["changes"]["mean"]
    return [
        (
            f"The three learners are those at {low}, {middle} and {high} of the first world, ranked by ability. After "
            f"60 answers {strict:.0%} stand on the very level that is nearest to their ability; of an ideal estimator, "
            f"which knows all that is true of the questions, it is {ideal:.0%}. Most of the others are next to a "
            "boundary, where either level is right. Hysteresis has this price: a level that followed the estimate at "
            f"once would fit a little better, and change {bare:.1f} times a learner."
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


def _about_levels(size: dict[str, int]) -> list[str]:
    return [
        "## How sure a fall should be",
        "",
        (
            "The ideal estimator applies Bayes' rule to the same answers, and knows every question's true parameters, "
            "how abilities are distributed and how they grow. It takes the likeliest level after each answer."
        ),
        "",
        (
            f"For the table of rules, {size['level_learners']} learners a world. *Fits*: on the nearest level, or "
            f"within {TOLERANCE:g} logits of the boundary to it. *Demoted by luck*: of learners whose true chance on "
            f"their level's questions is {AT_HOME:.0%}, who ever fall from it within {size['answers']} answers, the "
            "placement included. *Answers to rise*: the median until learners of the same kind, who begin one level "
            f"too low, stand on theirs. Both are {size['followed']} learners a level and world, believed to belong "
            "where they begin as if they had told their experience; a third as many for rules that are only weighed. "
            "See [decision 51](decisions/0051-levels-follow-the-ratings.md)."
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
        (
            "- Where everybody answers everything, no limit of exposure can spare a question, and it only makes the "
            "choice worse: the service runs with `MOST_EXPOSURE=1`, as Elo's rule has no limit either. Its usual limit "
            "has a row of its own. The differences below are taken division by division, so that what all strategies "
            "share does not count as error."
        ),
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
