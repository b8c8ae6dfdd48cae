"""`python -m dev.benchmarks.adaptivity [--quick] [--seeds N] [--out FOLDER]`: simulates, replays, prints and writes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from dev.benchmarks.adaptivity import page, pictures
from dev.benchmarks.adaptivity.replay import QUICK_REPLAY, ReplaySize
from dev.benchmarks.adaptivity.simulation import QUICK, Size
from dev.benchmarks.adaptivity.summary import FIGURES, summarise_levels, summarise_models, summarise_parts
from dev.benchmarks.adaptivity.swesat import PARTS, installed
from dev.benchmarks.adaptivity.targets import judge
from dev.benchmarks.adaptivity.work import LEVELS, Clock, Unit, work_all
from dev.benchmarks.adaptivity.world import Model
from dev.benchmarks.numbers import Figures
from dev.benchmarks.report import describe_machine

ROOT = Path(__file__).parents[3]
QUICK_FOLDER = ROOT / "build" / "adaptivity"
CLOCK = Clock(time.time())


def main(arguments: list[str]) -> int:
    """Run everything, and write figures, pictures and page.

    Returns:
        The exit status: 0 even if a target is missed, since that is a finding, not a failure.
    """
    options = _parse(arguments)
    size, replay = (QUICK, QUICK_REPLAY) if options.quick else (Size(), ReplaySize())
    if options.seeds:
        size, replay = replace(size, seeds=options.seeds), replace(replay, seeds=options.seeds)
    folder: Path = options.out or (QUICK_FOLDER if options.quick else ROOT / "docs")
    parts = list(PARTS) if installed() else []
    units = [Unit(kind, seed) for kind in (Model.THREE, LEVELS, *parts) for seed in range(1, size.seeds + 1)]
    units += [Unit(kind, seed) for kind in (Model.ONE, Model.TWO) for seed in range(1, size.seeds + 1)]
    found = work_all(units, size, replay, CLOCK)
    figures = {
        "run": describe_run(quick=options.quick),
        "size": {"simulation": asdict(size), "replay": asdict(replay)},
        "simulation": summarise_models({model: _of(found, model) for model in Model}),
        "levels": summarise_levels(_of(found, LEVELS)),
        "replay": summarise_parts({part: _of(found, part) for part in parts}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FIGURES).write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    pictures.draw_all(figures, folder / "images")
    (folder / page.PAGE).write_text(page.render(figures), encoding="utf-8")
    _show(figures)
    CLOCK.say(f"written: {folder / page.PAGE}, {folder / FIGURES} and pictures")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.benchmarks.adaptivity", description="Measure the adaptation.")
    parser.add_argument("--quick", action="store_true", help="sizes that only show that everything runs")
    parser.add_argument("--seeds", type=int, help="how many worlds, and how many divisions of the recorded answers")
    parser.add_argument("--out", type=Path, help="where to write (docs; build/adaptivity for a quick run)")
    return parser.parse_args(arguments)


def _of(found: dict[Unit, Figures], kind: str) -> list[Figures]:
    return [found[unit] for unit in sorted(found, key=lambda unit: unit.seed) if unit.kind == kind]


def describe_run(*, quick: bool) -> Figures:
    """Return when and where the run was made."""
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "quick": quick,
        "seconds": round(time.time() - CLOCK.began),
        **describe_machine(),
        "numpy": np.__version__,
        "catsim": version("catsim"),
        "irtorch": version("irtorch") if installed() else None,
    }


def _show(figures: Figures) -> None:
    console = Console(width=max(150, Console().width))
    for table in page.make_tables(figures):
        console.print(table.on_terminal())
    _lines(console, judge(figures))


def _lines(console: Console, judged: Iterable[tuple[Any, ...]]) -> None:
    for about, bound, measured, _, verdict in judged:
        console.print(f"{about}: {measured} (to reach: {bound}) {verdict.replace('*', '')}", highlight=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
