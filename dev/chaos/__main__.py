"""`python -m dev.chaos [FAULT ...] [--quick] [--out FOLDER]`: tries each fault and writes down what it cost."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from dev.chaos import clocks, report
from dev.chaos.drill import FULL, QUICK, Drills, Outcome, Size, broken_off, open_drills
from dev.chaos.environment import open_environment
from dev.chaos.faults import FAULTS
from dev.stack import forget_settings
from local.programs import ROOT

CLOCKS = "clocks"
NAMES = [*FAULTS, CLOCKS]
DOCS = ROOT / "docs"
QUICK_FOLDER = ROOT / "build" / "chaos"
"""A quick run must not replace what was measured."""

WIDTH = 140


def main(arguments: list[str]) -> int:
    """Try the faults that were asked for.

    Returns:
        The exit status: 0 if nothing was lost or doubled and all is well.
    """
    options = _parse(arguments)
    folder: Path = options.out or (QUICK_FOLDER if options.quick else DOCS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is stopped
    logging.getLogger("local.supervisor").setLevel(logging.CRITICAL)  # that what was killed has ended is no news
    forget_settings()
    console = Console(width=max(WIDTH, Console().width))
    size = QUICK if options.quick else FULL
    run = report.run_figures(size, quick=options.quick)
    figures = report.read(folder)
    outcomes: dict[str, Outcome] = {}

    def keep(name: str, outcome: Outcome) -> None:
        outcomes[name] = outcome
        figures[name] = {"run": run, "result": outcome.figures()}
        report.write(folder, {known: figures[known] for known in NAMES if known in figures})

    asyncio.run(_try(options.names or NAMES, size, console, keep))
    report.show(console, outcomes)
    console.print(f"written: {folder / report.FIGURES} and {folder / report.PAGE}")
    return 0 if all(outcome.is_good for outcome in outcomes.values()) else 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.chaos", description="Let each part of the service fail once.")
    parser.add_argument("names", nargs="*", metavar="FAULT", help=f"which ({', '.join(NAMES)}); all when absent")
    parser.add_argument("--quick", action="store_true", help="a small load")
    parser.add_argument("--out", type=Path, help="where to write (docs; build/chaos for a quick run)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no fault {', '.join(unknown)}")
    return options


async def _try(names: list[str], size: Size, console: Console, keep: Callable[[str, Outcome], None]) -> None:
    """Try faults one after the other on one stage, and keep each outcome at once."""
    began = time.monotonic()
    about = ""

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {about}{line}", highlight=False, style="dim")

    with open_environment(say) as env:
        async with open_drills(env, size, say) as drills:
            for name in names:
                about = f"{name}: "
                say("begins")
                try:
                    outcome = await _one(name, drills)
                except Exception as error:  # noqa: BLE001 - the others are worth trying all the same
                    outcome = broken_off(FAULTS[name].about if name in FAULTS else name, error)
                keep(name, outcome)
                say(_summary(outcome))


async def _one(name: str, drills: Drills) -> Outcome:
    if name != CLOCKS:
        return await drills.run(FAULTS[name])
    return await clocks.drill(drills.env.database_url(CLOCKS), drills.env.settings())


def _summary(outcome: Outcome) -> str:
    well = "done" if outcome.well_seconds is None else f"well after {outcome.well_seconds:.1f} s"
    counts = outcome.count
    return (
        f"{well}; {counts.processed} of {counts.accepted} processed, {counts.lost} lost, {counts.doubled} doubled; "
        f"{len(outcome.deviations) or 'no'} deviations"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
