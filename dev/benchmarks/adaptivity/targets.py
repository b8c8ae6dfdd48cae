"""What the adaptation must reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

from dev.benchmarks.adaptivity.simulation import COLD, PRODUCTION, WARM
from dev.benchmarks.adaptivity.world import Model
from dev.benchmarks.numbers import Figures


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one figure of the production adaptation under 3PL."""

    about: str
    bank: str
    figure: str
    bound: float
    at_least: bool

    def measured(self, simulation: Figures) -> float:
        """Return the figure as it was measured."""
        return float(simulation[Model.THREE][self.bank][PRODUCTION][self.figure]["mean"])

    def is_met(self, simulation: Figures) -> bool:
        """Return whether the figure is on the right side of its bound."""
        measured = self.measured(simulation)
        return measured >= self.bound if self.at_least else measured <= self.bound


TARGETS = (
    Target("Questions in the zone, warm bank", WARM, "zone", 0.79, at_least=True),
    Target("Questions in the zone, cold bank", COLD, "zone", 0.70, at_least=True),
    Target("Level changes a learner, warm bank", WARM, "changes", 2, at_least=False),
    Target("Reversals a learner, warm bank", WARM, "reversals", 0.1, at_least=False),
    Target("RMSE after 60 answers, warm bank", WARM, "rmse_60", 0.50, at_least=False),
)


def judge(simulation: Figures) -> list[tuple[str, str, str, str]]:
    """Return a line for each target: what, the bound, what was measured, and whether it is met."""
    return [
        (
            target.about,
            f"{'≥' if target.at_least else '≤'} {target.bound:g}",
            f"{target.measured(simulation):.3f}",
            "met" if target.is_met(simulation) else "**not met**",
        )
        for target in TARGETS
    ]
