"""`python -m benchmarks [NAME ...] [--quick] [--out FOLDER]`: measures, shows, and writes what was measured."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from rich.console import Console

from benchmarks import distribution, feedback, large, memory, pauses, report, runs, size, transport, webhook
from benchmarks.ground import ROOT, Say, forget_settings
from benchmarks.numbers import Figures
from benchmarks.section import Section

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark at its two sizes."""

    full: Callable[[Say], Coroutine[Any, Any, Figures]]
    quick: Callable[[Say], Coroutine[Any, Any, Figures]]
    present: Callable[[Figures], Section]


def at_two_sizes(
    measure: Callable[[S, Say], Coroutine[Any, Any, Figures]], full: S, quick: S, present: Callable[[Figures], Section]
) -> Benchmark:
    """Return a benchmark.

    Args:
        measure: takes a size and what shows progress.
        full: the size whose figures count.
        quick: the size that shows that everything runs.
        present: shows the figures.
    """
    return Benchmark(partial(measure, full), partial(measure, quick), present)


BENCHMARKS = {
    "webhook": at_two_sizes(webhook.measure, webhook.FULL, webhook.QUICK, webhook.present),
    "feedback": at_two_sizes(feedback.measure, feedback.FULL, feedback.QUICK, feedback.present),
    "distribution": at_two_sizes(distribution.measure, distribution.FULL, distribution.QUICK, distribution.present),
    "large": at_two_sizes(large.measure, large.FULL, large.QUICK, large.present),
    "size": at_two_sizes(size.measure, size.FULL, size.QUICK, size.present),
    "memory": at_two_sizes(memory.measure, memory.FULL, memory.QUICK, memory.present),
    "runs": at_two_sizes(runs.measure, runs.FULL, runs.QUICK, runs.present),
    "pauses": at_two_sizes(pauses.measure, pauses.FULL, pauses.QUICK, pauses.present),
    "transport": at_two_sizes(transport.measure, transport.FULL, transport.QUICK, transport.present),
}

WIDTH = 140
DOCS = ROOT / "docs"
QUICK_FOLDER = ROOT / "build" / "benchmarks"
"""A quick run must not replace what was measured."""


def main(arguments: list[str]) -> int:
    """Run the benchmarks that were asked for.

    Args:
        arguments: of the command line.

    Returns:
        The exit status.
    """
    options = _parse(arguments)
    folder: Path = options.out or (QUICK_FOLDER if options.quick else DOCS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is stopped
    forget_settings()
    console = Console(width=max(WIDTH, Console().width))
    figures = report.read_figures(folder)
    for name in options.names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        run = report.describe_run(quick=options.quick)
        result = uvloop.run((benchmark.quick if options.quick else benchmark.full)(_sayer(console, name)))
        figures[name] = {"run": run, "result": result}
        sections = {
            known: one.present(figures[known]["result"]) for known, one in BENCHMARKS.items() if known in figures
        }
        report.show(console, sections[name])
        report.write(folder, figures, sections)
    console.print(f"\nwritten: {folder / report.FIGURES} and {folder / report.PAGE}")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the service on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ({', '.join(BENCHMARKS)}); all when absent")
    parser.add_argument("--quick", action="store_true", help="sizes that only show that everything runs")
    parser.add_argument("--out", type=Path, help="where to write (docs; build/benchmarks for a quick run)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}")
    return options


def _sayer(console: Console, name: str) -> Say:
    began = time.monotonic()
    return lambda line: console.print(
        f"{time.monotonic() - began:6.1f} s  {name}: {line}", highlight=False, style="dim"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
