"""Means and standard errors over seeds, and what of single runs is kept for the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dev.benchmarks.adaptivity.replay import ELO
from dev.benchmarks.adaptivity.simulation import COLD, PRODUCTION, WARM
from dev.benchmarks.adaptivity.world import Model
from dev.benchmarks.numbers import Figures

FIGURES = "adaptation.json"
DIGITS = 4


def summarise(runs: Sequence[Mapping[str, float]]) -> Figures:
    """Return mean and standard error over seeds of each figure; both are None where a figure does not apply."""
    return {name: _mean([one[name] for one in runs]) for name in runs[0]}


def _mean(values: Sequence[float]) -> Figures:
    numbers = np.array(values, dtype=float)
    if np.isnan(numbers).any():
        return {"mean": None, "error": None}
    error = float(numbers.std(ddof=1) / len(numbers) ** 0.5) if len(numbers) > 1 else None
    return {"mean": round(float(numbers.mean()), DIGITS), "error": None if error is None else round(error, DIGITS)}


def summarise_models(runs: Mapping[Model, Sequence[Figures]]) -> Figures:
    """Return the simulation's summaries by model, bank and strategy, with curves and paths of 3PL on a warm bank."""
    summary: Figures = {}
    for model, seeds in runs.items():
        summary[model] = {
            "world": summarise([{"level_correlation": one["level_correlation"], **one["experience"]} for one in seeds]),
            **{
                bank: {name: summarise([one[bank][name]["figures"] for one in seeds]) for name in seeds[0][bank]}
                for bank in (WARM, COLD)
            },
        }
    shown = runs[Model.THREE]
    summary["curves"] = {
        name: np.mean([one[WARM][name]["curve"] for one in shown], axis=0).round(DIGITS).tolist()
        for name, told in shown[0][WARM].items()
        if "curve" in told
    }
    summary["paths"] = {name: told["paths"] for name, told in shown[0][WARM].items() if "paths" in told}
    return summary


def summarise_levels(runs: Sequence[Figures]) -> Figures:
    """Return the summary of each rule of levels."""
    return {name: summarise([one[name] for one in runs]) for name in runs[0]}


def summarise_parts(runs: Mapping[str, Sequence[Figures]]) -> Figures:
    """Return the replay's summaries by part, bank and strategy, and by how much the service is ahead of Elo's rule."""
    return {
        part: {
            "about": summarise([one["about"] for one in seeds]),
            **{
                bank: {name: summarise([one[bank][name] for one in seeds]) for name in seeds[0][bank]}
                for bank in (WARM, COLD)
            },
            "ahead": {bank: summarise([_ahead(one[bank]) for one in seeds]) for bank in (WARM, COLD)},
        }
        for part, seeds in runs.items()
    }


def _ahead(strategies: Figures) -> Figures:
    """Return what the service's figures exceed those of Elo's rule by, on one division."""
    ours, theirs = strategies[PRODUCTION], strategies[ELO]
    return {name: value - theirs[name] for name, value in ours.items()}
