"""What the adaptation must reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

from dev.benchmarks.adaptivity.levels import AS_IT_IS
from dev.benchmarks.adaptivity.simulation import COLD, PRODUCTION, WARM
from dev.benchmarks.adaptivity.world import Model
from dev.benchmarks.numbers import Figures

FOLLOWED = "followed"
"""Of learners who are followed from where they begin, on a warm bank."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one figure of the production adaptation under 3PL."""

    about: str
    bank: str
    """Or `FOLLOWED`."""
    figure: str
    bound: float
    at_least: bool
    digits: int = 3
    ideal: str = ""
    """The figure that an ideal estimator reaches by the same answers."""

    def measured(self, figures: Figures, name: str = "") -> float:
        """Return the figure as it was measured.

        Args:
            figures: of a whole run.
            name: another figure from the same place.
        """
        if self.bank == FOLLOWED:
            source = figures["levels"][AS_IT_IS]
        else:
            source = figures["simulation"][Model.THREE][self.bank][PRODUCTION]
        return float(source[name or self.figure]["mean"])

    def is_met(self, figures: Figures) -> bool:
        """Return whether the figure is on the right side of its bound."""
        measured = self.measured(figures)
        return measured >= self.bound if self.at_least else measured <= self.bound


TARGETS = (
    Target("Questions in the zone, warm bank", WARM, "zone", 0.79, at_least=True),
    Target("Questions in the zone, cold bank", COLD, "zone", 0.70, at_least=True),
    Target(
        "On the nearest level or within .3 logits of it after 40 answers",
        WARM,
        "nearly_40",
        0.85,
        at_least=True,
        ideal="ideal_nearly_40",
    ),
    Target("Demoted by luck: of those who stand on their level", FOLLOWED, "demoted", 0.01, at_least=False),
    Target(
        "Answers until half of those one level too low have risen",
        FOLLOWED,
        "answers_to_rise",
        12,
        at_least=False,
        digits=0,
    ),
    Target("Level changes a learner, warm bank", WARM, "changes", 2, at_least=False),
    Target("Reversals a learner, warm bank", WARM, "reversals", 0.1, at_least=False),
    Target("RMSE after 60 answers, warm bank", WARM, "rmse_60", 0.50, at_least=False),
)


def judge(figures: Figures) -> list[tuple[str, str, str, str, str]]:
    """Return a line for each target: what, the bound, what was measured, what is ideal, and whether it is met."""
    return [
        (
            target.about,
            f"{'≥' if target.at_least else '≤'} {target.bound:g}",
            f"{target.measured(figures):.{target.digits}f}",
            f"{target.measured(figures, target.ideal):.{target.digits}f}" if target.ideal else "",
            "met" if target.is_met(figures) else "**not met**",
        )
        for target in TARGETS
    ]
