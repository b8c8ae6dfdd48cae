"""Templates on file formats: sort order, and what statistics of files decide."""

from __future__ import annotations

import random
from collections.abc import Callable

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_GROUPS = """
def cut(rows, size):
    return [rows[at:at + size] for at in range(0, len(rows), size)]

def overlap(group, place, low, high):
    values = [row[place] for row in group]
    return min(values) <= high and max(values) >= low

def hit(row, low, high):
    return low <= row[1] <= high

def read():
    return sum(overlap(group, 1, low, high) for group in groups)

def believable(count):
    # nobody expects more groups than there are
    return count if count < len(groups) else read()
"""


@template(
    name="sort-order-and-row-groups",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("parquet", "sort-order", "row-groups"),
    title="DuckDB documentation, Performance Guide, Indexing, Zonemaps",
    url="https://duckdb.org/docs/stable/guides/performance/indexing",
    rated=(2, 2, 2),
)
def sort_order_and_row_groups(rng: random.Random) -> Draft:
    """Count the row groups that a filter on the second sort column leaves."""
    first, second, table, measure = rng.choice(
        (
            ("store", "day", "sales", "amount"),
            ("sensor", "hour", "readings", "value"),
            ("tenant", "week", "usage", "minutes"),
            ("country", "month", "visits", "pages"),
            ("day", "store", "returns", "price"),
            ("month", "shop", "budget", "cost"),
        )
    )
    outer, inner, size = rng.choice(
        ((2, 4, 2), (2, 6, 2), (3, 6, 2), (3, 4, 2), (3, 4, 2), (3, 4, 3), (4, 3, 2), (4, 4, 2), (4, 4, 2), (5, 2, 2))
    )
    low = rng.randint(1, inner)
    high = min(inner, low + rng.choice((0, 0, 1)))
    condition = f"= {low}" if low == high else f"BETWEEN {low} AND {high}"
    return Draft(
        prompt=(
            f"A Parquet file holds a million rows for each pair of `{first}` (1 to {outer}) and `{second}` (1 to "
            f"{inner}). It was sorted as shown and cut into row groups of {size} million rows. The reader has the min "
            "and max of each column in each row group. How many row groups does it read?"
        ),
        code=f"-- sorted by {first}, {second}\nSELECT sum({measure})\nFROM {table}\nWHERE {second} {condition};",
        language="sql",
        setup=f"{_GROUPS}\nsize, low, high = {size}, {low}, {high}\n"
        f"rows = sorted((a, b) for b in range(1, {inner + 1}) for a in range(1, {outer + 1}))\ngroups = cut(rows, "
        "size)",
        run="print(read())",
        why=f"Each `{first}` starts `{second}` anew at 1, so it repeats {outer} times in the file. Groups that "
        "span two "
        f"values of `{first}` may have wide bounds.",
        misconceptions=_sorting_mistakes(rng, (first, second), outer, inner),
        explanation=(
            "Min and max prune well for the first sort column. The second one is sorted only within each value of the "
            "first, and a row group that spans a change of the first has wide bounds for it. Put the column that is "
            "filtered most first."
        ),
    )


def _sorting_mistakes(rng: random.Random, columns: tuple[str, str], outer: int, inner: int) -> list[Misconception]:
    first, second = columns
    mistakes = [
        Misconception(
            "only-groups-with-matches",
            "These are the row groups that hold a matching row. Some others have bounds around the searched "
            "values, and "
            "the reader cannot know that they are empty of them.",
            run="print(sum(any(hit(row, low, high) for row in group) for group in groups))",
        ),
        Misconception(
            "as-if-sorted-by-the-filter",
            f"That would hold for ORDER BY {second}, {first}, which puts all equal values of `{second}` side by side.",
            run="ordered = cut(sorted(rows, key=lambda row: (row[1], row[0])), size)\n"
            "print(sum(overlap(group, 1, low, high) for group in ordered))",
        ),
        Misconception(
            "second-column-prunes-nothing",
            f"These are all row groups. Within one `{first}` the rows are sorted by `{second}`, which still lets "
            "some go.",
            run="print(len(groups))",
        ),
        Misconception(
            "one-for-each-outer-value",
            f"That expects one row group for each of the {outer} values of `{first}`, but groups are cut by rows.",
            run=f"print({outer})",
        ),
        Misconception(
            "groups-end-with-the-outer-value",
            f"That begins a new row group with each `{first}`. They are cut by number of rows and may span two.",
            run=f"blocks = [group for at in range({outer}) for group in cut(rows[at * {inner}:(at + 1) * "
            f"{inner}], size)]\n"
            "print(sum(overlap(group, 1, low, high) for group in blocks))",
        ),
        Misconception(
            "a-group-for-each-pair",
            f"That counts the matching pairs of `{first}` and `{second}`. A row group holds several pairs.",
            run="print(believable(sum(hit(row, low, high) for row in rows)))",
        ),
        Misconception(
            "a-group-more-for-each-change",
            f"That adds a row group for each change of `{first}`. Some changes fall between two groups or into one "
            "that holds matches anyway.",
            run=f"print(believable(sum(any(hit(row, low, high) for row in group) for group in groups) + {outer - 1}))",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


_DELETE = """
def decide(file, sign, value, *, nulls=True, strict=True):
    low, high, missing = file
    if low is None:
        return "keep"
    tests = {
        ">": (high > value, low > value),
        ">=": (high >= value, low >= value),
        "<": (low < value, high < value),
        "<=": (low <= value, high <= value),
    }
    some, every = tests[sign]
    if not some:
        return "keep"
    return "drop" if strict and every and not (nulls and missing) else "open"

def opened(files, sign, value, **how):
    return show(decide(file, sign, value, **how) == "open" for file in files)

def show(flags):
    return ", ".join(f"f{at}" for at, flag in enumerate(flags, 1) if flag) or "no file"
"""


@template(
    name="delete-decided-by-statistics",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("statistics", "nulls", "copy-on-write", "iceberg"),
    title="Apache Iceberg documentation, Spark Writes, DELETE FROM",
    url="https://iceberg.apache.org/docs/latest/spark-writes/#delete-from",
    rated=(3, 3, 3),
)
def delete_decided_by_statistics(rng: random.Random) -> Draft:
    """Name the files that a copy-on-write DELETE must open, given bounds and null counts."""
    value, sign = rng.randrange(100, 600, 100), rng.choice((">", ">=", "<", "<="))
    table, column = rng.choice((("sales", "amount"), ("events", "age_days"), ("orders", "total"), ("logs", "bytes")))
    up = sign in {">", ">="}
    inside, outside, edge = _spans(rng, value, up=up)
    some = rng.choice((10, 20))
    files: list[tuple[int | None, int | None, int]] = [
        (*inside(), 0),
        (*inside(), some),
        (*outside(), rng.choice((0, some))),
    ]
    files += [(*edge(), 0), rng.choice(((value - 40, value + 50, 0), (None, None, 100)))]
    rng.shuffle(files)
    shown = [
        f"f{at}  {'-' if low is None else low:>5}{'-' if high is None else high:>6}{missing:>7}"
        for at, (low, high, missing) in enumerate(files, 1)
    ]
    call = "print(opened(files, {!r}, {}{}))"
    return Draft(
        prompt=(
            f"Five files of a copy-on-write table hold 100 rows each. These are exact statistics of the integer column "
            f"`{column}`. A commit may keep or drop a file without opening it. Which files must the engine open for "
            "this DELETE?"
        ),
        code="\n".join(
            ["file   min   max  nulls", *shown, "", f"DELETE FROM {table}", f"WHERE {column} {sign} {value};"]
        ),
        language="text",
        setup=f"{_DELETE}\nfiles = {files}",
        run=call.format(sign, value, ""),
        why="It opens a file only if some rows may match and some may not. Rows with NULL do not match, so they "
        "must stay.",
        misconceptions=_delete_mistakes(rng, call, sign, value),
        explanation=(
            "Two tests on the bounds decide: can any row match, and must all rows match? A row with NULL never "
            "satisfies a "
            "comparison, so one NULL turns a drop into a rewrite. Deletes that follow the sort order or "
            "partitions stay "
            "metadata-only."
        ),
    )


def _spans(rng: random.Random, value: int, *, up: bool) -> tuple[Callable[[], tuple[int, int]], ...]:
    """Return what draws bounds inside the condition, outside it, and with one end on the value itself."""
    way = 1 if up else -1

    def span(near: int, far: int) -> tuple[int, int]:
        low, high = sorted((value + way * near, value + way * far))
        return low, high

    return (
        lambda: span(rng.choice((10, 20)), rng.randrange(30, 100, 10)),
        lambda: span(-rng.choice((10, 20)), -rng.randrange(30, 100, 10)),
        lambda: span(0, rng.choice((-1, 1)) * rng.randrange(20, 100, 10)),
    )


def _delete_mistakes(rng: random.Random, call: str, sign: str, value: int) -> list[Misconception]:
    other = sign[0] if "=" in sign else f"{sign}="
    mistakes = [
        Misconception(
            "nulls-forgotten",
            "That drops files whose bounds match in full although they hold NULLs. Those rows do not match and must be "
            "written again.",
            run=call.format(sign, value, ", nulls=False"),
        ),
        Misconception(
            "never-drops-a-file",
            "That opens each file with matching rows. If every row must match, the commit drops the file unopened.",
            run=call.format(sign, value, ", strict=False"),
        ),
        Misconception(
            "bound-in-or-out",
            f"That reads the condition as `{other}`. Bounds equal to {value} decide the other way with `{sign}`.",
            run=call.format(other, value, ""),
        ),
        Misconception(
            "nulls-always-opened",
            "That opens every file with NULLs. Where no row can match, the file is kept, NULLs or not.",
            run=f"print(show(decide(file, {sign!r}, {value}) == 'open' or file[2] > 0 for file in files))",
        ),
        Misconception(
            "opens-all",
            "These are all files. Bounds show that some hold no matching row, and some nothing else.",
            run="print(show([True] * len(files)))",
        ),
        Misconception(
            "opens-none",
            f"That takes the DELETE for one of metadata alone. Where bounds lie on both sides of {value}, only the "
            "rows can tell which of them go.",
            value="no file",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
