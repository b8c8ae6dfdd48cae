"""The pictures of docs/adaptation.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dev.benchmarks.adaptivity.simulation import COLD, PRODUCTION, TOLD, WARM
from dev.benchmarks.adaptivity.targets import TARGETS
from dev.benchmarks.adaptivity.world import Model
from dev.benchmarks.numbers import Figures
from domain.catalog import Level

BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#56B4E9", "#767676"
COLOURS = {
    PRODUCTION: BLUE,
    TOLD: SKY,
    "random": GREY,
    "3-up-1-down": ORANGE,
    "3-up-2-down": PURPLE,
    "plain Elo": GREEN,
    "catsim": "#000000",
}
BARS = ("catsim", "random", "3-up-2-down", "3-up-1-down", "plain Elo", PRODUCTION)
NAMES = {
    PRODUCTION: "this service",
    TOLD: "this service, experience told",
    "catsim": "maximum information (catsim)",
    "random": "random choice",
}
LABEL_GAP = 0.038
"""Least distance in logits between two labels at the ends of curves."""
SHOWN_ERRORS = (0.2, 1.0)
"""Logits; the first errors of maximum likelihood without a prior are larger."""


def draw_all(figures: Figures, folder: Path) -> None:
    """Draw every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    simulation = figures["simulation"]
    with plt.rc_context(
        {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "adaptation"}
    ):
        _draw_zone(simulation, folder / "adaptation-zone.png")
        _draw_curves(simulation["curves"], folder / "adaptation-rmse.png")
        _draw_paths(simulation["paths"], folder / "adaptation-levels.png")


def _save(path: Path) -> None:
    plt.savefig(path, dpi=130, bbox_inches="tight", metadata={"Software": None})
    plt.close()


def _draw_zone(simulation: Figures, path: Path) -> None:
    _, axes = plt.subplots(figsize=(8.5, 4.6))
    names = [name for name in BARS if name in simulation[Model.THREE][WARM]]
    for shift, bank in ((0.2, WARM), (-0.2, COLD)):
        told = [simulation[Model.THREE][bank][name]["zone"] for name in names]
        places = np.arange(len(names)) + shift
        bars = axes.barh(
            places,
            [one["mean"] for one in told],
            height=0.36,
            xerr=[one["error"] or 0 for one in told],
            color=[BLUE if name == PRODUCTION else GREY for name in names],
            alpha=1.0 if bank == WARM else 0.5,
            error_kw={"elinewidth": 1},
        )
        axes.bar_label(bars, [f"{one['mean']:.2f}  {bank} bank" for one in told], padding=6, fontsize=9)
    for target in (target for target in TARGETS if target.figure == "zone"):
        place, bottom = names.index(PRODUCTION), 0.0 if target.bank == WARM else -0.4
        axes.vlines(target.bound, place + bottom, place + 0.6, color=ORANGE, linestyle="--", linewidth=1.5)
        told_above = f"to reach: {target.bound:.2f}" if target.bank == WARM else f"{target.bound:.2f} "
        side = "left" if target.bank == WARM else "right"
        axes.text(target.bound, place + 0.65, told_above, color=ORANGE, ha=side, fontsize=9)
    axes.set_yticks(range(len(names)), [NAMES.get(name, name) for name in names])
    axes.set_xlim(0, 1.05)
    axes.set_xlabel("share of questions with a true chance of a right answer between .65 and .90")
    axes.set_title("How often a question is neither too hard nor too easy", loc="left", pad=14)
    _save(path)


def _draw_curves(curves: dict[str, list[float]], path: Path) -> None:
    _, axes = plt.subplots(figsize=(9, 5))
    ends = {name: curve[-1] for name, curve in curves.items()}
    for name, curve in curves.items():
        axes.plot(
            range(1, len(curve) + 1),
            curve,
            linestyle="--" if name == TOLD else "-",
            linewidth=2.6 if name == PRODUCTION else 1.5,
            color=COLOURS[name],
        )
    length = max(len(curve) for curve in curves.values())
    for name, height in _apart(ends):
        axes.text(length + 0.8, height, NAMES.get(name, name), color=COLOURS[name], va="center", fontsize=10)
    axes.set_xlim(1, length)
    axes.set_ylim(*SHOWN_ERRORS)
    axes.set_xlabel("answers of a learner")
    axes.set_ylabel("error of the ability (RMSE, logits)")
    axes.set_title("How soon the ability is known (3PL, warm bank)", loc="left")
    axes.grid(axis="y", alpha=0.25)
    _save(path)


def _apart(ends: dict[str, float]) -> Iterable[tuple[str, float]]:
    """Yield where each curve's label goes: at its end, or above the label below."""
    lowest = float("-inf")
    for name, height in sorted(ends.items(), key=lambda item: item[1]):
        lowest = max(height, lowest + LABEL_GAP)
        yield name, lowest


def _draw_paths(paths: dict[str, dict[str, list[int]]], path: Path) -> None:
    learners = list(next(iter(paths.values())))
    _, grid = plt.subplots(len(paths), len(learners), figsize=(10, 5.6), sharex=True, sharey=True, squeeze=False)
    for row, (name, by_learner) in zip(
        grid, sorted(paths.items(), key=lambda item: item[0] != PRODUCTION), strict=True
    ):
        for axes, learner in zip(row, learners, strict=True):
            _draw_path(axes, by_learner[learner], COLOURS[name])
        row[0].set_ylabel(NAMES.get(name, name))
    for axes, learner in zip(grid[0], learners, strict=True):
        axes.set_title(f"ability {float(learner):+.2f}", fontsize=11)
    for axes in grid[-1]:
        axes.set_xlabel("answers")
    plt.suptitle("The levels of three learners (3PL, warm bank)", x=0.07, y=1.0, ha="left")
    plt.tight_layout()
    _save(path)


def _draw_path(axes: Axes, levels: list[int], colour: str) -> None:
    axes.step(range(len(levels)), levels, where="post", color=colour, linewidth=2)
    axes.set_yticks(list(Level), [level.label for level in Level])
    axes.set_ylim(0.7, 4.3)
    axes.grid(axis="y", alpha=0.25)
