"""The pieces of a whole run, dealt to a process for each core."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from dev.benchmarks.adaptivity.levels import compare_levels
from dev.benchmarks.adaptivity.replay import ReplaySize, compare_on_part
from dev.benchmarks.adaptivity.simulation import Size, compare
from dev.benchmarks.adaptivity.swesat import PARTS
from dev.benchmarks.adaptivity.world import Model
from dev.benchmarks.numbers import Figures

LEVELS = "levels"


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of work for one process."""

    kind: str
    """`LEVELS`, a model, or a part of the Swedish SAT."""
    seed: int


@dataclass(frozen=True, slots=True)
class Clock:
    """Tells how far a run is."""

    began: float

    def say(self, line: str) -> None:
        """Print a line with the seconds since the beginning."""
        print(f"{time.time() - self.began:6.0f} s  {line}", flush=True)


def work(unit: Unit, size: Size, replay: ReplaySize, clock: Clock) -> Figures:
    """Return the figures of one piece."""
    if unit.kind in PARTS:
        return compare_on_part(unit.kind, unit.seed, replay, clock.say)
    if unit.kind == LEVELS:
        return compare_levels(unit.seed, size, clock.say)
    return compare(Model(unit.kind), unit.seed, size, clock.say)


def work_all(units: Sequence[Unit], size: Size, replay: ReplaySize, clock: Clock) -> dict[Unit, Figures]:
    """Return the figures of all pieces.

    Args:
        units: which, the longest first.
    """
    os.environ["NUMEXPR_NUM_THREADS"] = "1"  # there is a process for each core already
    found: dict[Unit, Figures] = {}
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        waiting = {pool.submit(work, unit, size, replay, clock): unit for unit in units}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            clock.say(f"{len(found)} of {len(units)} pieces done")
    return found


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
