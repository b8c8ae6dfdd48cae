"""Templates on observability: what Prometheus makes of gaps, in alerts and in sums."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_MINUTES = 40
"""Evaluations of an alert: four lines of ten fit a phone."""

_ALERT = """
def starts(values, hold, keep, *, forget=True):
    state, since, quiet, count = "inactive", 0, None, 0
    for minute, true in enumerate(values):
        if true:
            quiet = None
            if state == "inactive":
                state, since = "pending", minute
            if state == "pending" and minute - since >= hold:
                state, count = "firing", count + 1
        elif state == "firing":
            quiet = minute if quiet is None else quiet
            if minute - quiet >= keep:
                state = "inactive"
        elif forget:
            state = "inactive"
    return count
"""


@template(
    name="alert-for-and-keep-firing-for",
    topic=Topic.OBSERVABILITY,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("prometheus", "alerting", "flapping"),
    title="Prometheus documentation, Alerting rules, Defining alerting rules",
    url="https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/",
)
def alert_for_and_keep_firing_for(rng: random.Random) -> Draft:
    """Count how often an alert starts to fire when its expression flaps."""
    hold, keep = rng.choice((2, 3)), rng.choice((2, 3, 4))
    values: list[int] = []
    while len(values) < _MINUTES:
        quiet = rng.choice([gap for gap in range(1, keep + 3) if gap != keep])  # a gap as long as `keep` is arguable
        values += [0] * quiet + [1] * rng.choice((1, hold, hold + 1, hold + 1, hold + 2))
    values = [*values[: _MINUTES - 1], 0]
    rows = [f"# {at:02}-{at + 9:02}: {' '.join(map(str, values[at : at + 10]))}" for at in range(0, _MINUTES, 10)]
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
            f"A Prometheus alert tells that {what}. Its group is evaluated once a minute. The comments show for the "
            "minutes 00 to 39 whether the expression was true (1). How many times does the alert change to firing?"
        ),
        code="\n".join(
            [f"alert: {name}", f"for: {hold}m", f"keep_firing_for: {keep}m", "# minute: result", *rows],
        ),
        language="yaml",
        setup=f"{_ALERT}\nvalues = {values}",
        run=f"print(starts(values, {hold}, {keep}))",
        why=f"It fires when {hold} minutes have passed since the first 1 in a row; only {keep} quiet minutes end it.",
        misconceptions=_alert_mistakes(rng, hold, keep),
        explanation=(
            "`for` starts anew with each false evaluation, so a flapping expression may stay pending for ever. "
            "`keep_firing_for` bridges gaps after firing and so saves repeated pages. Use the first against noise, the "
            "second against false all-clears."
        ),
    )


def _alert_mistakes(rng: random.Random, hold: int, keep: int) -> list[Misconception]:
    """Return mistakes that count too many starts and ones that count too few, in any order."""
    mistakes = [
        Misconception(
            "no-keep-firing-for",
            f"That lets each 0 end the alert. With `keep_firing_for` it fires on through gaps under {keep} minutes.",
            run=f"print(starts(values, {hold}, 0))",
        ),
        Misconception(
            "for-counts-evaluations",
            f"That fires at 1 number {hold}, which is {hold - 1} min after the first. `for` is a duration.",
            run=f"print(starts(values, {hold - 1}, {keep}))",
        ),
        Misconception(
            "no-for",
            f"That fires at the first 1. With `for` the alert is pending until it was true for {hold} minutes.",
            run=f"print(starts(values, 0, {keep}))",
        ),
        Misconception(
            "pending-survives-a-gap",
            "That keeps the alert pending through a 0. While pending, one false evaluation makes it inactive again.",
            run=f"print(starts(values, {hold}, {keep}, forget=False))",
        ),
        Misconception(
            "each-stretch-fires",
            "That counts each stretch of ones, as if the rule had neither `for` nor `keep_firing_for`.",
            run="print(starts(values, 0, 0))",
        ),
        Misconception(
            "for-takes-a-minute-more",
            f"That asks for {hold + 2} ones in a row. The first and the last of {hold + 1} ones are {hold} minutes "
            "apart, which is enough.",
            run=f"print(starts(values, {hold + 1}, {keep}))",
        ),
        Misconception(
            "for-delays-the-end-as-well",
            f"That lets the alert fire on through longer gaps. `for` delays only the start; {keep} quiet minutes end "
            "the alert.",
            run=f"print(starts(values, {hold}, {hold + keep}))",
        ),
        Misconception(
            "fires-once-for-all",
            "That counts one long alert. It ends in each long gap and has to wait for the time of `for` again.",
            value="1",
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
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("prometheus", "staleness", "promql"),
    title="Prometheus documentation, Querying basics, Staleness",
    url="https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness",
)
def stale_markers_and_lookback(rng: random.Random) -> Draft:
    """Aggregate the series that an instant query still sees: lookback, gaps and staleness markers."""
    lookback, hour = rng.choice((2, 3, 4, 5)), rng.randint(6, 22)
    metric, label = rng.choice(
        (("queue_rows", "worker"), ("open_files", "loader"), ("lag_rows", "consumer"), ("buffer_mb", "agent"))
    )
    function, python = rng.choice((("sum", "sum"), ("sum", "sum"), ("count", "len"), ("max", "max"), ("min", "min")))
    kinds = ["live", "gap", "dead", "marked", rng.choice(("live", "gap", "dead", "marked"))]
    rng.shuffle(kinds)
    values = rng.sample(range(10, 100), 2 * len(kinds))
    ages = {
        "live": range(5, 60, 5),
        "gap": range(65, lookback * 60 - 5, 5),
        "dead": range(lookback * 60 + 10, lookback * 60 + 120, 5),
        "marked": range(5, lookback * 60 - 65, 5),
    }
    series: dict[str, list[tuple[int, int | None]]] = {}
    for number, kind in enumerate(kinds):
        age = rng.choice(ages[kind])
        last = None if kind == "marked" else values.pop()
        series[f"{label[0]}{number + 1}"] = [(age + 60, values.pop()), (age, last)]
    rows = [
        "   ".join([name, *(f"{_time(hour, age)} {'stale' if value is None else value:<5}" for age, value in entries)])
        for name, entries in series.items()
    ]
    return Draft(
        prompt=(
            f"These are the two newest entries of each series of a gauge in Prometheus; `stale` is a staleness marker. "
            f"The scrape interval is 1m, `--query.lookback-delta` is {lookback}m. What does the instant query "
            f"`{function}({metric})` return at {hour:02}:00:00?"
        ),
        code="\n".join([f'{metric} by label "{label}"', *(row.rstrip() for row in rows)]),
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


def _time(hour: int, age: int) -> str:
    at = hour * 3600 - age
    return f"{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}"


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
