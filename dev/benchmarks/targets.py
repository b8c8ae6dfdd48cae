"""What the service is to reach, and whether it does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dev.benchmarks import feedback
from dev.benchmarks.distribution import from_first_line
from dev.benchmarks.numbers import Figures
from dev.benchmarks.section import Table

ALONE = (
    "an answer or a question by itself takes some 20 ms: a few statements in PostgreSQL, a slot in Redis and a call; "
    "beside so little whatever the worker does for Prefect first shows, and so does a server that writes meanwhile"
)
LOADED = (
    "worker and Prefect server share two cores with all else: while the server writes what came before, the worker "
    "waits for its turn, and answers that come meanwhile make the tail"
)
AT_THE_RATE = (
    "at the limit's own rate a slot that is not used is lost: whatever keeps the worker from editing for a moment is "
    "never caught up with, and all that comes later waits for it"
)
COST = (
    "each run and each of its states are rows and events that the server writes, whatever the run did; with fewer runs "
    "a second an answer costs less, down to what the server takes when idle"
)
SMALL = "the limit's own time is 1.7 s, beside which each run or task that comes before the first message shows"
LARGE = "what passes before the first message, and whatever slots are left unused later, is lost for good"
UNLIMITED = (
    "the plain loop neither reads nor writes: the rest is making quizzes, marking each message as begun and as sent, "
    "which keeps it from being sent twice, and Prefect"
)
SECOND = (
    "slots are granted at the rate, with a few saved up for what was late, and a message counts when it arrives: one "
    "that is held up on its way falls into the next one's second"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one figure."""

    benchmark: str
    about: str
    bound: float
    read: Callable[[Figures], float]
    """Raises KeyError if the benchmark was not taken at that size, or before it had the figure."""
    why: str
    """What sets the figure."""
    at_least: bool = False

    def is_met(self, reached: float) -> bool:
        """Return whether a figure is on the right side of the bound."""
        return reached >= self.bound if self.at_least else reached <= self.bound


def _distribution(result: Figures) -> float:
    run = {one["learners"]: one for one in result["runs"]}[50]
    return from_first_line(run["flow"]) / float(run["learners"] / result["telegram_rate"])


def _large(result: Figures) -> float:
    return float(result["limited"]["seconds"] / result["limited"]["at_the_limit_seconds"])


def _unlimited(result: Figures) -> float:
    ways = result["unlimited"]
    return float(ways["flow"]["per_second"] / ways["plain"]["per_second"])


def _feedback(load: str, share: str, bound: float, why: str) -> Target:
    about = f"tap to feedback, {load}, {share}, with / without Prefect"
    return Target("feedback", about, bound, lambda told: feedback.phase_ratio(told, load, share), why)


def _most(benchmark: str, about: str, parts: Callable[[Figures], list[Figures]]) -> Target:
    about = f"most messages and edits in any second at 30 a second, {about}"
    return Target(benchmark, about, 33, lambda told: max(one["most_in_any_second"] for one in parts(told)), SECOND)


TARGETS = (
    _feedback("one at a time", "p50", 1.5, ALONE),
    _feedback("15 a second", "p50", 1.5, LOADED),
    _feedback("15 a second", "p95", 2, LOADED),
    _feedback("30 a second", "p95", 3, AT_THE_RATE),
    Target(
        "feedback",
        "/quiz to question, one at a time, p50, with / without Prefect",
        1.5,
        lambda told: feedback.question_ratio(told, "p50"),
        ALONE,
    ),
    Target(
        "feedback",
        "Prefect's CPU for an answer at 30 a second, server and client, ms",
        3,
        lambda told: feedback.prefect_cost(told, "30 a second"),
        COST,
    ),
    Target("distribution", "to 50, first line to last message / the limit's own time", 1.3, _distribution, SMALL),
    _most("distribution", "distributions", lambda told: [run["flow"] for run in told["runs"]]),
    Target("large", "to 10,000 while others tap, last message / the limit's own time", 1.01, _large, LARGE),
    Target("large", "messages a second without a limit, flow / plain loop", 0.8, _unlimited, UNLIMITED, at_least=True),
    _most("large", "10,000 while others tap", lambda told: [told["limited"]]),
    _most("crowd", "all at once", lambda told: [told[name] for name in ("alone", "during", "crowd")]),
)


def judge(figures: Mapping[str, Figures], names: Mapping[str, str]) -> tuple[Table, list[str]]:
    """Return a table of targets beside what was reached, and lines that explain those that are missed.

    Args:
        figures: by the benchmark's name, each with its ``run`` and its ``result``; quick runs reach and miss nothing.
        names: what the table calls each benchmark.
    """
    results = {name: one["result"] for name, one in figures.items() if not one["run"]["quick"]}
    rows, missed = [], defaultdict[str, list[str]](list)
    for target in TARGETS:
        try:
            reached = target.read(results[target.benchmark])
        except KeyError:
            continue
        bound, shown = f"{'≥' if target.at_least else '≤'} {target.bound:g}", f"{reached:.4g}"
        if not target.is_met(reached):
            shown = f"**{shown}, missed**"
            missed[target.why].append(target.about)
        rows.append([target.about, bound, shown, names[target.benchmark]])
    lines = [f"Missed ({'; '.join(abouts)}): {why}." for why, abouts in missed.items()]
    return Table("Targets", ["figure", "target", "reached", "benchmark"], rows), lines
