"""Templates on SQL performance: what an index scan reads and what the planner expects."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_INDEXES = (
    ("orders", ("shop", "day", "state")),
    ("logs", ("host", "hour", "level")),
    ("trips", ("zone", "day", "kind")),
    ("sensors", ("site", "week", "type")),
    ("calls", ("team", "hour", "topic")),
    ("tasks", ("queue", "prio", "owner")),
)

_SCAN = """
holds = {"=": lambda a, b: a == b, ">": lambda a, b: a > b, "<": lambda a, b: a < b}

def passes(entry, conditions):
    return all(holds[op](entry[column], value) for column, op, value in conditions)

def bounding(conditions):
    used = []
    for column in range(3):
        here = [one for one in conditions if one[0] == column]
        used += here
        if not here or here[0][1] != "=":
            break
    return used

def scan(conditions):
    limits, read = bounding(conditions), 0
    for entry in sorted(entries):
        if passes(entry, limits):
            read += 1
        elif read:
            break
    return read
"""

_SHAPES = ("=.=", "=.=", "=>=", "=<=", ">=.", "<=.", ">=.", "=>=", ">.=")
"""The operator on each column of the index; a dot where there is no condition."""


def _literal(column: int, value: int) -> str:
    """Return a value of an index entry as a learner reads it: numbers, and letters in the last column."""
    return f"'{'ABC'[value]}'" if column == len("ab") else str(value)


def _mistakes_about_index_entries(
    columns: tuple[str, ...], conditions: list[tuple[int, str, int]]
) -> tuple[Misconception, ...]:
    """Return the ways to misjudge which conditions bound the scan."""
    first, last = columns[conditions[0][0]], columns[conditions[-1][0]]
    by_last = Misconception(
        "last-condition-decides",
        f"That goes by `{last}` alone. Its values lie scattered over the index.",
        run="print(sum(passes(entry, conditions[-1:]) for entry in entries))",
    )
    return (
        Misconception(
            "every-condition-narrows-the-run",
            "That counts the rows of the result. A condition after a range or a gap does not shorten the run.",
            run="print(sum(passes(entry, conditions) for entry in entries))",
        ),
        Misconception(
            "only-the-first-column-narrows",
            f"That uses `{first}` alone. After an equality, the next column narrows the run too.",
            run="print(scan(conditions[:1]))",
        ),
        Misconception(
            "a-gap-makes-the-index-useless",
            f"That reads the whole index. The condition on `{first}` alone already bounds a run.",
            run="print(len(entries))",
        ),
        Misconception(
            "stops-at-the-last-match",
            "That ends at the last row of the result. The engine cannot know it is the last before the run ends.",
            run=(
                "run = [passes(e, conditions) for e in sorted(entries) if passes(e, bounding(conditions))]\n"
                "print(max((n for n, hit in enumerate(run, 1) if hit), default=0))"
            ),
        ),
        *([by_last] if len(conditions) < len(columns) else []),
    )


@template(
    name="index-entries-read",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("indexes", "b-tree", "column-order"),
    title="PostgreSQL 17 documentation, 11.3 Multicolumn Indexes",
    url="https://www.postgresql.org/docs/17/indexes-multicolumn.html",
)
def index_entries_read(rng: random.Random) -> Draft:
    """Count the entries that a range scan of a three-column index reads."""
    table, columns = rng.choice(_INDEXES)
    universe = [(one, two, three) for one in (1, 2, 3) for two in range(1, 6) for three in range(3)]
    entries = sorted(rng.sample(universe, rng.choice((14, 15, 16))))
    shape = rng.choice(_SHAPES)
    pick = rng.choice(entries)
    bounds = {">": (1, rng.choice((1, 2, 3))), "<": (3, rng.choice((3, 4, 5)))}
    conditions = []
    for column, operator in enumerate(shape):
        if operator != ".":
            value = pick[column] if operator == "=" or column > 1 else bounds[operator][column]
            conditions.append((column, operator, value))
    where = "\n  AND ".join(f"{columns[column]} {op} {_literal(column, value)}" for column, op, value in conditions)
    shown = [f"({one},{two},{_literal(2, three)[1]})" for one, two, three in entries]
    lines = [" ".join(shown[at : at + 4]) for at in range(0, len(shown), 4)]
    index = f"-- index on {table} ({', '.join(columns)})"
    return Draft(
        prompt=(
            f"PostgreSQL 17 (it knows no skip scan): a B-tree index on `{table}` holds {len(entries)} entries, in the "
            "order shown. The query uses one plain index scan. How many entries lie in the part of the index that it "
            "has to scan?"
        ),
        code="\n".join([index, *("-- " + line for line in lines), "SELECT *", f"FROM {table}", f"WHERE {where};"]),
        language="sql",
        setup=f"entries = {entries}\nconditions = {conditions}\n{_SCAN}",
        run="print(scan(conditions))",
        why=(
            "Equalities on leading columns and the first range after them bound the run. Other conditions are checked "
            "entry by entry inside it."
        ),
        misconceptions=_mistakes_about_index_entries(columns, conditions),
        explanation=(
            "Put columns that are compared with = first, then one range column. What follows the range, or a column "
            "that was skipped, only filters entries already read: it saves table visits, not index reads."
        ),
    )


_COLUMNS = (
    ("payments", "amount"),
    ("rides", "meters"),
    ("calls", "seconds"),
    ("parcels", "grams"),
    ("readings", "watts"),
    ("articles", "words"),
)

_ESTIMATE = """
def histogram(value):
    buckets = len(bounds) - 1
    for number, (low, high) in enumerate(zip(bounds, bounds[1:])):
        if value < high:
            return (number + (value - low) / (high - low)) / buckets
    return 1.0

def keep(fraction):
    return 1 - fraction if above else fraction

def show(fraction):
    print(f"{round(rows * fraction):,}")

common = sum(freqs)
matching = sum(f for v, f in zip(values, freqs) if (v > limit) == above)
rest = 1 - null_frac - common
"""


def _mistakes_about_planner_rows(bounds: list[int], limit: int) -> tuple[Misconception, ...]:
    """Return the ways to misuse the statistics."""
    return (
        Misconception(
            "histogram-covers-every-row",
            "That applies the histogram to all values that are not NULL. The common values are not part of it.",
            run="show((1 - null_frac) * keep(histogram(limit)))",
        ),
        Misconception(
            "values-spread-evenly-over-the-range",
            f"That spreads values evenly from 0 to {bounds[-1]}. Buckets have equal shares, not equal widths.",
            run="show(matching + rest * keep((limit - bounds[0]) / (bounds[-1] - bounds[0])))",
        ),
        Misconception(
            "common-values-are-left-out",
            "That counts the histogram's share only. A common value that matches adds its own frequency.",
            run="show(rest * keep(histogram(limit)))",
        ),
        Misconception(
            "nulls-are-in-the-histogram",
            "That spreads the NULLs over the buckets. `null_frac` comes off before the histogram is used.",
            run="show(matching + (rest + null_frac) * keep(histogram(limit)))",
        ),
        Misconception(
            "only-whole-buckets",
            f"That takes the bucket with {limit} whole or not at all. The planner interpolates inside it.",
            run="show(matching + rest * keep(sum(high <= limit for high in bounds[1:]) / (len(bounds) - 1)))",
        ),
    )


@template(
    name="planner-rows-from-histogram",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("statistics", "query-planner", "row-estimates"),
    title="PostgreSQL 18 documentation, 69.1 Row Estimation Examples",
    url="https://www.postgresql.org/docs/18/row-estimation-examples.html",
)
def planner_rows_from_histogram(rng: random.Random) -> Draft:
    """Estimate the rows of a range condition from null_frac, common values and a histogram."""
    table, column = rng.choice(_COLUMNS)
    rows = rng.choice((80_000, 160_000, 400_000, 800_000))
    widths = [rng.choice((20, 40, 80, 200, 400)) for _ in range(rng.choice((4, 5)))]
    bounds = [0]
    for width in widths:
        bounds.append(bounds[-1] + width)
    bucket = rng.randrange(1, len(widths))
    limit = bounds[bucket] + widths[bucket] * rng.choice((1, 2, 3)) // 4
    values = sorted(rng.sample([v for v in range(5, bounds[-1], 10) if v != limit and v not in bounds], 2))
    freqs = rng.sample((0.1, 0.15, 0.2, 0.25), 2)
    null_frac = rng.choice((0.0, 0.05, 0.1, 0.2))
    above = rng.choice((True, False))
    operator = ">" if above else "<="
    facts = f"rows, null_frac, above, limit = {rows}, {null_frac}, {above}, {limit}\n"
    facts += f"values, freqs, bounds = {values}, {freqs}, {bounds}\n"
    within = f"the histogram on the other {1 - null_frac - sum(freqs):.0%}"
    return Draft(
        prompt=(
            f"PostgreSQL 18 has these statistics on `{column}` of `{table}`, a table of {rows:,} rows without "
            f"an index. How many rows does the planner expect for `WHERE {column} {operator} {limit}`?"
        ),
        code=(
            f"null_frac         {null_frac:g}\nmost_common_vals  {{{values[0]},{values[1]}}}\n"
            f"most_common_freqs {{{freqs[0]:g},{freqs[1]:g}}}\nhistogram_bounds\n  {{{','.join(map(str, bounds))}}}"
        ),
        language="text",
        setup=f"{facts}{_ESTIMATE}",
        run="show(matching + rest * keep(histogram(limit)))",
        option="{} rows",
        why=f"It adds the common values that match and {within}; each bucket holds the same share of that.",
        misconceptions=_mistakes_about_planner_rows(bounds, limit),
        explanation=(
            "Expected rows = matching common values + histogram share x (1 - null_frac - all common values). Bounds "
            "cut the remaining values into equal shares. When an estimate is far off, compare these statistics with "
            "the data before you touch the query."
        ),
    )
