"""`python -m dev.benchmarks [NAME ...] [--quick] [--out FOLDER]`: measures, shows, and writes what was measured."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import uvloop
from rich.console import Console

from dev.benchmarks import (
    crowd,
    distribution,
    feedback,
    growth,
    large,
    memory,
    pauses,
    report,
    runs,
    sandbox,
    size,
    transport,
    webhook,
)
from dev.benchmarks.numbers import Figures
from dev.benchmarks.section import Section
from dev.stack import Say, forget_settings
from local.programs import ROOT


class Benchmark(Protocol):
    """A module that is a benchmark."""

    __name__: str
    FULL: Any
    QUICK: Any
    """Sizes that only show that it runs."""

    async def measure(self, size: Any, say: Say, /) -> Figures:  # noqa: ANN401 - its own kind of size
        """Measure at a size."""

    def present(self, figures: Figures, /) -> Section:
        """Show what was measured."""


_MODULES: tuple[Benchmark, ...] = (
    *(webhook, feedback, distribution, large, crowd, size, memory, runs, growth, pauses, sandbox, transport),
)
BENCHMARKS = {str(module.__name__).rpartition(".")[2]: module for module in _MODULES}

WIDTH = 140
DOCS = ROOT / "docs"
QUICK_FOLDER = ROOT / "build" / "benchmarks"
"""A quick run must not replace what was measured."""


def main(arguments: list[str]) -> int:
    """Run the benchmarks that were asked for, and return the exit status."""
    options = _parse(arguments)
    folder: Path = options.out or (QUICK_FOLDER if options.quick else DOCS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is stopped
    forget_settings()
    console = Console(width=max(WIDTH, Console().width))
    figures = report.read_figures(folder)
    for name in [] if options.page else options.names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        run = report.describe_run(quick=options.quick)
        wanted = benchmark.QUICK if options.quick else benchmark.FULL
        result = uvloop.run(benchmark.measure(wanted, _sayer(console, name)))
        figures[name] = {"run": run, "result": result}
        _write(folder, figures)
        report.show(console, benchmark.present(result), name, figures[name])
    if options.page:
        _write(folder, figures)
    console.print(f"\nwritten: {folder / report.FIGURES} and {folder / report.PAGE}")
    return 0


def _write(folder: Path, figures: Figures) -> None:
    """Write figures and page; what is too old for its benchmark is left out of it."""
    sections = {}
    for name in [name for name in BENCHMARKS if name in figures]:
        with contextlib.suppress(KeyError):
            sections[name] = BENCHMARKS[name].present(figures[name]["result"])
    report.write(folder, figures, sections)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dev.benchmarks", description="Measure the service on this machine."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ({', '.join(BENCHMARKS)}); all when absent")
    parser.add_argument("--quick", action="store_true", help="sizes that only show that everything runs")
    parser.add_argument("--out", type=Path, help="where to write (docs; build/benchmarks for a quick run)")
    parser.add_argument("--page", action="store_true", help="measure nothing, and write the page of what was measured")
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
