"""Templates on observability: what Prometheus makes of gaps, in alerts and in sums."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_MINUTES = 14
"""Evaluations of an alert: two lines of seven fit a phone."""

_ALERT = """
def firing(values, hold, keep, *, forget=True):
    state, since, quiet, minutes = "inactive", 0, None, []
    for minute, true in enumerate(values):
        if true:
            quiet = None
            if state == "inactive":
                state, since = "pending", minute
            if state == "pending" and minute - since >= hold:
                state = "firing"
        elif state == "firing":
            quiet = minute if quiet is None else quiet
            if minute - quiet >= keep:
                state = "inactive"
        elif forget:
            state = "inactive"
        if state == "firing":
            minutes.append(minute)
    return minutes

def show(minutes):
    starts = [minute for minute in minutes if minute - 1 not in minutes]
    ends = [minute for minute in minutes if minute + 1 not in minutes]
    spans = [f"{start}-{end}" if end > start else f"{start}" for start, end in zip(starts, ends)]
    print(", ".join(spans) or "never")
"""


@template(
    name="alert-for-and-keep-firing-for",
    topic=Topic.OBSERVABILITY,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("prometheus", "alerting", "flapping"),
    title="Prometheus documentation, Alerting rules, Defining alerting rules",
    url="https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/",
    rated=(3, 3, 3),
)
def alert_for_and_keep_firing_for(rng: random.Random) -> Draft:
    """Count how often an alert starts to fire when its expression flaps."""
    hold, keep = rng.choice((2, 3)), rng.choice((2, 3))
    values: list[int] = []
    while len(values) < _MINUTES - keep:
        values += [0] * rng.choice((1, 1, keep + 1)) + [1] * rng.choice((1, hold, hold + 1, hold + 1, hold + 2))
    values = [*values, *[0] * (keep + 1)][:_MINUTES]
    rows = [f"# {at:>2} to {at + 6:<2}: {' '.join(map(str, values[at : at + 7]))}" for at in range(0, _MINUTES, 7)]
    name, what = rng.choice(
        (
            ("LoadLate", "the newest load is too old"),
            ("QueueLong", "too many files wait"),
            ("ErrorShareHigh", "too many records are refused"),
            ("LagHigh", "a consumer is far behind"),
            ("DiskAlmostFull", "little space is left"),
        )
    )
    return Draft(
        prompt=(
            f"A Prometheus alert tells that {what}. Its rule is evaluated every minute. The comments show for minutes "
            "0 to 13 whether its expression is true (1). During which of them is the alert firing?"
        ),
        code="\n".join(
            [f"alert: {name}", f"for: {hold}m", f"keep_firing_for: {keep}m", "# minutes: true?", *rows],
        ),
        language="yaml",
        setup=f"{_ALERT}\nvalues = {values}",
        run=f"show(firing(values, {hold}, {keep}))",
        why=f"It fires when {hold} minutes have passed since the first 1 in a row; only {keep} quiet minutes end it.",
        misconceptions=_alert_mistakes(rng, hold, keep),
        explanation=(
            "`for` starts anew with each false evaluation, so a flapping expression may stay pending for ever. "
            "`keep_firing_for` bridges gaps after firing and so saves repeated pages. Use the first against noise, the "
            "second against false all-clears."
        ),
    )


def _alert_mistakes(rng: random.Random, hold: int, keep: int) -> list[Misconception]:
    """Return mistakes that let it fire too long and ones that let it fire too briefly, in any order."""
    mistakes = [
        Misconception(
            "no-keep-firing-for",
            f"That lets each 0 end the alert. With `keep_firing_for` it fires on until {keep} minutes were quiet.",
            run=f"show(firing(values, {hold}, 0))",
        ),
        Misconception(
            "for-counts-evaluations",
            f"That fires at 1 number {hold}, which is {hold - 1} min after the first. `for` is a duration.",
            run=f"show(firing(values, {hold - 1}, {keep}))",
        ),
        Misconception(
            "no-for",
            f"That fires at the first 1. With `for` the alert is pending until it was true for {hold} minutes.",
            run=f"show(firing(values, 0, {keep}))",
        ),
        Misconception(
            "pending-survives-a-gap",
            "That keeps the alert pending through a 0. While pending, one false evaluation makes it inactive again.",
            run=f"show(firing(values, {hold}, {keep}, forget=False))",
        ),
        Misconception(
            "true-is-firing",
            "These are the minutes in which the expression is true, as if there were neither `for` nor "
            "`keep_firing_for`.",
            run="show(firing(values, 0, 0))",
        ),
        Misconception(
            "for-takes-a-minute-more",
            f"That asks for {hold + 2} ones in a row. The first and the last of {hold + 1} ones are {hold} minutes "
            "apart, which is enough.",
            run=f"show(firing(values, {hold + 1}, {keep}))",
        ),
        Misconception(
            "for-delays-the-end-as-well",
            f"That adds the time of `for` at the end too. `for` delays the start; {keep} quiet minutes end the alert.",
            run=f"show(firing(values, {hold}, {hold + keep}))",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


_SERIES = """
def instant(series, lookback, *, markers=True):
    found = []
    for entries in series.values():
        inside = [(age, value) for age, value in entries if age < lookback and (markers or value is not None)]
        newest = min(inside, default=(0, None))[1]
        if newest is not None:
            found.append(newest)
    return found
"""


@template(
    name="stale-markers-and-lookback",
    topic=Topic.OBSERVABILITY,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("prometheus", "staleness", "promql"),
    title="Prometheus documentation, Querying basics, Staleness",
    url="https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness",
    rated=(3, 3, 2),
)
def stale_markers_and_lookback(rng: random.Random) -> Draft:
    """Aggregate the series that an instant query still sees: lookback, gaps and staleness markers."""
    lookback = rng.choice((2, 3, 5))
    metric, label = rng.choice(
        (("queue_rows", "worker"), ("open_files", "loader"), ("lag_rows", "consumer"), ("buffer_mb", "agent"))
    )
    function, python = rng.choice((("sum", "sum"), ("sum", "sum"), ("count", "len"), ("max", "max"), ("min", "min")))
    kinds = ["live", "gap", "dead", "marked", rng.choice(("gap", "dead"))]
    rng.shuffle(kinds)
    values = [ten * 10 for ten in rng.sample(range(1, 10), 7)]
    ages = {  # in half minutes
        "live": range(1, 2),
        "gap": range(3, lookback * 2),
        "dead": range(lookback * 2 + 1, lookback * 2 + 6),
        "marked": range(1, lookback * 2 - 2),
    }
    series: dict[str, list[tuple[int, int | None]]] = {}
    for number, kind in enumerate(kinds):
        age = rng.choice(ages[kind]) * 30
        entries = [(age, None if kind == "marked" else values.pop())]
        if kind in {"live", "marked"}:
            entries.insert(0, (age + 60, values.pop()))
        series[f"{label[0]}{number + 1}"] = entries
    rows = [
        f"{name if at == 0 else '':{len(label) + 2}}{age / 60:.1f}m  {'stale' if value is None else value:>7}"
        for name, entries in series.items()
        for at, (age, value) in enumerate(entries)
    ]
    return Draft(
        prompt=(
            "These are the newest entries of a gauge in Prometheus, scraped every minute; `stale` is a staleness "
            f"marker. `--query.lookback-delta` is {lookback}m. What does the instant query `{function}({metric})` "
            "return?"
        ),
        code="\n".join([f"{label:{len(label) + 2}}age     value", *rows]),
        language="text",
        setup=f"{_SERIES}\nseries, result = {series}, {python}",
        run=f"print(result(instant(series, {lookback * 60})))",
        why=f"Each series gives its newest entry of the last {lookback} minutes, or nothing if that is a marker.",
        misconceptions=_staleness_mistakes(rng, lookback, kinds, list(series)),
        explanation=(
            "A target that vanishes gets a staleness marker and drops out at once. Without one, after a crash of the "
            "sender or with timestamps of its own, its last value counts on until the lookback ends. So sums can "
            "be too high for minutes after a rollout."
        ),
    )


def _staleness_mistakes(rng: random.Random, lookback: int, kinds: list[str], names: list[str]) -> list[Misconception]:
    first = {kind: names[kinds.index(kind)] for kind in ("gap", "dead", "marked")}
    window = "[value for entries in series.values() for age, value in entries"
    mistakes = [
        Misconception(
            "markers-ignored",
            f"That still uses the value before a marker. The marker of `{first['marked']}` ends its series at once.",
            run=f"print(result(instant(series, {lookback * 60}, markers=False)))",
        ),
        Misconception(
            "last-interval-only",
            f"That asks for a sample of the last minute. The newest one of `{first['gap']}` is older, but inside "
            f"the lookback of {lookback} minutes.",
            run="print(result(instant(series, 60)))",
        ),
        Misconception(
            "no-lookback-limit",
            f"That uses values of any age. The newest sample of `{first['dead']}` is older than {lookback} minutes.",
            run="print(result(instant(series, 10**6)))",
        ),
        Misconception(
            "whole-window",
            "That takes all samples of the window. An instant query takes one of each series, the newest.",
            run=f"print(result({window} if age < {lookback * 60} and value is not None]))",
        ),
        Misconception(
            "last-value-of-each",
            f"That takes the last number of each series, with those that are too old or marked `stale`. "
            f"`{first['dead']}` and `{first['marked']}` are out.",
            run="print(result(instant(series, 10**6, markers=False)))",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
