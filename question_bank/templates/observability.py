"""Templates on observability: fresh tables, volume checks and percentiles."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_TABLES = ("orders", "users", "stock", "prices", "clicks", "visits", "refunds", "stores")
_FRACTIONS = ((6, 0.5), (6, 0.7), (6, 0.9), (4, 0.5))
"""Numbers of runs and fractions for which the interpolated percentile lies half way between two runs."""
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_SUCCESS = "max(finished) FILTER (WHERE status = 'ok')"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@template(
    name="stale-tables-by-last-success",
    topic=Topic.OBSERVABILITY,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("freshness", "run-log", "monitoring"),
    title="dbt documentation, Resource properties, freshness",
    url="https://docs.getdbt.com/reference/resource-properties/freshness",
    rated=(1, 1, 1),
)
def stale_tables_by_last_success(rng: random.Random) -> Draft:
    """Tell stale tables from fresh ones by the log of their loads."""
    hours, stale = rng.choice((2, 3, 4, 6)), rng.choice((True, False))
    now = rng.randint(hours + 4, 20) * 60
    limit = now - hours * 60
    failed, revived, *others = rng.sample(_TABLES, 4)
    recent = rng.sample(range(limit + 10, now, 10), 6)
    older = rng.sample(range(limit - 120, limit, 10), 3)
    runs = [(older.pop(), failed, "ok"), (recent.pop(), failed, "failed")]
    runs += zip(sorted((recent.pop(), recent.pop())), (revived, revived), ("ok", "failed"), strict=True)
    runs += [((older if rng.choice((True, False)) else recent).pop(), name, "ok") for name in others]
    runs.sort()
    names = "SELECT name FROM runs GROUP BY name HAVING"
    query = f"SELECT coalesce(string_agg(name, ', ' ORDER BY name), 'no table') FROM ({names} {{}})"
    return Draft(
        prompt=(
            f"It is {_clock(now)}. A table is stale if its last successful load is more than {hours} hours old. A "
            f"failed load changes no rows. Which tables are {'' if stale else 'not '}stale?"
        ),
        code="\n".join(["finished  status  table", *(f"{_clock(at)}     {end:6}  {name}" for at, name, end in runs)]),
        language="text",
        setup="CREATE TABLE runs (name TEXT, finished TEXT, status TEXT); INSERT INTO runs VALUES "
        + ", ".join(f"('{name}', '{_clock(at)}', '{end}')" for at, name, end in runs),
        run=query.format(f"{_SUCCESS} {'<' if stale else '>'} '{_clock(limit)}'"),
        why=f"The newest successful load of each table decides: whether it ended before or after {_clock(limit)}.",
        misconceptions=_freshness_mistakes(query, _clock(limit), (failed, revived), stale=stale),
        explanation=(
            "Freshness is the age of the newest successful load; attempts and failures do not change it. Watch this "
            "age and not only failed runs: a job that was switched off never fails, and its table still gets old."
        ),
    )


def _freshness_mistakes(query: str, limit: str, names: tuple[str, str], *, stale: bool) -> tuple[Misconception, ...]:
    failed, revived = names
    sign, other = ("<", ">") if stale else (">", "<")
    return (
        Misconception(
            "failed-load-counts-as-load",
            f"That takes the failed load of `{failed}` for new data. It changed nothing; the last good one is old.",
            run=query.format(f"max(finished) {sign} '{limit}'"),
        ),
        Misconception(
            "last-run-decides",
            f"That looks at the last status. `{revived}` failed last, but it did load after {limit}.",
            run=query.format(f"arg_max(status, finished) = '{'failed' if stale else 'ok'}'"),
        ),
        Misconception(
            "oldest-load-counts",
            "That judges each table by its first load of the day. The newest successful one decides.",
            run=query.format(f"min(finished) {sign} '{limit}'"),
        ),
        Misconception(
            "stale-and-fresh-swapped",
            f"These are the other tables. Stale means that the last good load ended before {limit}.",
            run=query.format(f"{_SUCCESS} {other} '{limit}'"),
        ),
    )


@template(
    name="volume-check-and-empty-days",
    topic=Topic.OBSERVABILITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("volume-checks", "group-by", "missing-data"),
    title="PostgreSQL 18 documentation, 7.2.3 The GROUP BY and HAVING Clauses",
    url="https://www.postgresql.org/docs/18/queries-table-expressions.html",
    rated=(2, 2, 2),
)
def volume_check_and_empty_days(rng: random.Random) -> Draft:
    """Count the days that a check on the number of loads reports, with days that have none."""
    least, inclusive, calendar = rng.randint(3, 6), rng.choice((True, False)), rng.choice((True, False))
    table, thing = rng.choice(
        (("loads", "file"), ("batches", "batch_id"), ("exports", "export_id"), ("runs", "run_id"))
    )
    counts = [0] * rng.randint(1, 3)
    counts += [least] * rng.randint(1, 2)
    counts += [rng.randint(1, least - 1) if rng.choice((True, False)) else rng.randint(least + 1, 9) for _ in counts]
    counts = (counts + [rng.randint(least + 1, 9) for _ in _DAYS])[: len(_DAYS)]
    rng.shuffle(counts)
    sign = "<=" if inclusive else "<"
    grouped = f"FROM {table} b\nGROUP BY b.day"
    joined = f"FROM days d\nLEFT JOIN {table} b ON b.day = d.day\nGROUP BY d.day"
    have, miss = (f"count(b.{thing})", "count(*)") if calendar else ("count(*)", f"count(b.{thing})")
    day, start = ("d.day", joined) if calendar else ("b.day", grouped)
    code = f"SELECT {day}, {have}\n{start}\nHAVING {have} {sign} {least};"
    ask = "SELECT count(*) FROM ({})"
    shown = ", ".join(f"{name} {count}" for name, count in zip(_DAYS, counts, strict=True))
    values = [f"('{name}', {i})" for name, count in zip(_DAYS, counts, strict=True) for i in range(count)]
    return Draft(
        prompt=(
            f"`{table}` has one row for each {table.rstrip('s').replace('batche', 'batch')}. By day it holds this many "
            f"rows: {shown}. `days` has one row for each of these seven days. The check sends an alert for each row "
            f"that this query returns. How many are sent?"
        ),
        code=code,
        language="sql",
        setup=f"CREATE TABLE days (day TEXT); INSERT INTO days VALUES {', '.join(f'({name!r})' for name in _DAYS)}; "
        f"CREATE TABLE {table} (day TEXT, {thing} INT); INSERT INTO {table} VALUES {', '.join(values)}",
        run=ask.format(code.rstrip(";")),
        why=_volume_why(counts, calendar=calendar),
        misconceptions=_volume_mistakes(ask, (table, thing, sign, least), (have, miss), calendar=calendar),
        explanation=(
            "GROUP BY makes groups of rows that exist, so the day without data, the worst of all, gives no row and no "
            "alert. Start from a calendar, LEFT JOIN the data, and count a column of the data, which is NULL on empty "
            "days."
        ),
    )


def _volume_why(counts: list[int], *, calendar: bool) -> str:
    empty = counts.count(0)
    days = "the day" if empty == 1 else f"the {empty} days"
    if calendar:
        return f"The LEFT JOIN keeps {days} without rows, and counting a column that is NULL there gives 0."
    return f"A group needs at least one row, so {days} without rows cannot be in the result, whatever HAVING says."


def _volume_mistakes(
    ask: str, query: tuple[str, str, str, int], counted: tuple[str, str], *, calendar: bool
) -> tuple[Misconception, ...]:
    table, thing, sign, least = query
    grouped = f"SELECT day FROM {table} GROUP BY day HAVING count(*) {{}} {least}"
    joined = (
        f"SELECT d.day FROM days d LEFT JOIN {table} b USING (day) GROUP BY d.day HAVING count(b.{thing}) {{}} {least}"
    )
    this, that = (joined, grouped) if calendar else (grouped, joined)
    other_sign = "<" if sign == "<=" else "<="
    return (
        Misconception(
            "empty-days-lost" if calendar else "empty-days-found",
            f"That leaves out the days without rows. `{counted[0]}` is 0 for them, since the LEFT JOIN kept them."
            if calendar
            else f"That counts days without rows as well. They have no group: the query reads nothing but `{table}`.",
            run=ask.format(that.format(sign)),
        ),
        Misconception(
            "limit-in-or-out",
            f"That {'leaves out' if sign == '<=' else 'counts'} days with exactly {least} rows. It is `{sign}` here.",
            run=ask.format(this.format(other_sign)),
        ),
        Misconception(
            "having-drops-what-it-names",
            "These are the days that pass the check. HAVING keeps the groups for which its condition is true.",
            run=ask.format(this.format(">" if sign == "<=" else ">=")),
        ),
        Misconception(
            "only-empty-days",
            f"That counts the days without any rows only. The condition compares with {least}, not with 0.",
            run="SELECT count(*) FROM days WHERE day NOT IN (SELECT day FROM " + table + ")",
        ),
    )


@template(
    name="percentile-of-run-times",
    topic=Topic.OBSERVABILITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("percentiles", "latency", "aggregates"),
    title="PostgreSQL 18 documentation, 9.21 Aggregate Functions, Ordered-Set Aggregate Functions",
    url="https://www.postgresql.org/docs/18/functions-aggregate.html",
    rated=(2, 2, 2),
)
def percentile_of_run_times(rng: random.Random) -> Draft:
    """Find a percentile of a few run times, as an existing value or between two of them."""
    count, fraction = rng.choice(_FRACTIONS)
    kind, other = rng.choice((("percentile_disc", "percentile_cont"), ("percentile_cont", "percentile_disc")))
    unit, table = rng.choice((("seconds", "runs"), ("minutes", "loads"), ("millis", "queries"), ("millis", "calls")))
    times = [ten * 10 for ten in (*rng.sample(range(1, 10), count - 2), *rng.sample(range(12, 31, 2), 2))]
    rng.shuffle(times)
    query = f"SELECT {{}}({fraction})\n  WITHIN GROUP (ORDER BY {unit})\nFROM {table};"
    texts = (
        f"the smallest time that at least {fraction:.0%} of the times do not exceed",
        f"the point {fraction:.0%} of the way from first to last, interpolated between neighbours",
    )
    here, there = texts if kind == "percentile_disc" else texts[::-1]
    return Draft(
        prompt=(
            f"`{table}.{unit}` holds the times of {count} runs: {', '.join(map(str, times))}. What does this return in "
            "PostgreSQL?"
        ),
        code=query.format(kind),
        language="sql",
        setup=f"CREATE TABLE {table} (seq INT, {unit} INT); INSERT INTO {table} VALUES "
        + ", ".join(f"({i}, {value})" for i, value in enumerate(times)),
        run=query.format(kind),
        why=f"Sorted by size, it is {here}.",
        misconceptions=_percentile_mistakes(query, other, there, (fraction, count, unit, table)),
        explanation=(
            "`percentile_disc` returns a value that occurs; `percentile_cont` interpolates, so with few runs it may "
            "show a time that no run took. Say which one a dashboard uses, and distrust high percentiles of few runs."
        ),
    )


def _percentile_mistakes(
    query: str, other: str, there: str, facts: tuple[float, int, str, str]
) -> tuple[Misconception, ...]:
    fraction, count, unit, table = facts
    return (
        Misconception(
            f"{other.replace('_', '-')}-instead",
            f"That is `{other}`: {there}.",
            run=query.format(other),
        ),
        Misconception(
            "share-of-the-largest",
            f"That is {fraction:.0%} of the longest time. A percentile is a place in the sorted times.",
            run=f"SELECT round({fraction} * max({unit}), 2) FROM {table}",
        ),
        Misconception(
            "sort-forgotten",
            "That takes the place in the list as it stands. WITHIN GROUP sorts by the value first.",
            run=f"SELECT {unit} FROM {table} ORDER BY seq LIMIT 1 OFFSET (ceil({fraction} * {count}) - 1)::INT",
        ),
        Misconception(
            "mean",
            "That is the mean. Some long runs pull it up, and it tells nothing about how most runs went.",
            run=f"SELECT round(avg({unit}), 2) FROM {table}",
        ),
        Misconception(
            "longest",
            f"That is the longest time. It is the 100th percentile, not the {fraction:.0%} one.",
            run=f"SELECT max({unit}) FROM {table}",
        ),
    )
