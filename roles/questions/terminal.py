"""The terminal of the operators' command: lines, JSON, and how far something is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

WIDTH = 100
"""Columns that every table fits."""

MIN_STEPS_FOR_QUARTERS = 40
"""Steps below which something is over soon, so that only its end is told."""


def open_console(*, stderr: bool = False) -> Console:
    """Return the terminal, no wider than tables are; what is not a terminal gets their full width."""
    console = Console(markup=False, emoji=False, highlight=False, stderr=stderr)  # what is shown was written by others
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


def say(console: Console, line: str) -> None:
    """Print a line as it is, however long."""
    console.print(line, soft_wrap=True)


def print_json(console: Console, document: dict[str, Any] | Sequence[dict[str, Any]]) -> None:
    """Print what a program is to read."""
    say(console, json.dumps(document, indent=2, ensure_ascii=False))


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far something is: a bar on a terminal, else a line at each quarter of what takes long.

    Args:
        total: steps that it takes at most.

    Yields:
        What is told how many steps were made.
    """
    if console.is_terminal:
        columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)
        return
    done = 0

    def watch(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if total >= MIN_STEPS_FOR_QUARTERS and before * 4 // total < done * 4 // total < 4:  # noqa: PLR2004 - quarters
            say(console, f"{what}: {done} of {total}")

    yield watch
    say(console, f"{what}: {done} of {total}, done")
