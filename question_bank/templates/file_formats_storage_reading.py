"""Templates on file formats: sort order, merged byte ranges, and what statistics of files decide."""

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
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("parquet", "sort-order", "row-groups"),
    title="DuckDB documentation, Performance Guide, Indexing, Zonemaps",
    url="https://duckdb.org/docs/stable/guides/performance/indexing",
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
    outer, inner, size = rng.randint(3, 6), rng.randint(5, 12), rng.randint(2, 5)
    low = rng.randint(1, inner)
    high = min(inner, low + rng.choice((0, 0, 1, 2)))
    condition = f"= {low}" if low == high else f"BETWEEN {low} AND {high}"
    return Draft(
        prompt=(
            f"A Parquet file holds 1 million rows for each pair of {outer} values of `{first}` (1 to {outer}) and "
            f"{inner} values of `{second}` (1 to {inner}). It was sorted as shown, then cut into row groups of {size} "
            f"million rows (the last may be smaller). The reader has only the min and max of each column in each row "
            "group. How many row groups must it read?"
        ),
        code=f"-- written with ORDER BY {first}, {second}\nSELECT sum({measure})\nFROM {table}\nWHERE {second} "
        f"{condition};",
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


_MERGE = """
def fetch(ranges, gap, most):
    merged = []
    for start, length in sorted(ranges):
        end = start + length
        if merged and start - merged[-1][1] <= gap and end - merged[-1][0] <= most:
            merged[-1][1] = end
        else:
            merged.append([start, end])
    return merged
"""


@template(
    name="merged-byte-ranges",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("object-storage", "byte-ranges", "column-projection"),
    title="Apache Hadoop API, PositionedReadable, readVectored and minSeekForVectorReads",
    url="https://hadoop.apache.org/docs/stable/api/org/apache/hadoop/fs/PositionedReadable.html",
)
def merged_byte_ranges(rng: random.Random) -> Draft:
    """Count the requests or bytes when a reader merges the byte ranges of column chunks."""
    names = rng.sample(("id", "ts", "city", "price", "note", "tax", "user", "lang", "url", "qty"), rng.randint(7, 8))
    gap, most = rng.choice((100, 200, 300)), rng.choice((1000, 1500, 2000))
    lengths = [rng.choice((40, 60, 80, 120, 160, 240, 320, 450, 600)) for _ in names]
    starts = [4 + sum(lengths[:at]) for at in range(len(lengths))]
    wanted = sorted(rng.sample(range(len(names)), rng.randint(4, 5)))
    ranges = [(starts[at], lengths[at]) for at in wanted]
    count = "got = {}\nprint(f'{{len(got)}} GET, {{sum(end - start for start, end in got):,}} KB')"
    fetch = "fetch(ranges, {}, {})"
    shown = [f"{name:8}{start:>7}{length:>9}" for name, start, length in zip(names, starts, lengths, strict=True)]
    return Draft(
        prompt=(
            f"A query needs {', '.join(f'`{names[at]}`' for at in wanted)} of one row group on object storage. The "
            "reader goes through their byte ranges in file order and joins a range to the request before it if "
            "the gap "
            f"is at most {gap} KB and the request stays within {most:,} KB. How many GET requests does it send, "
            "and how "
            "much does it fetch?"
        ),
        code="\n".join(["column    start   length (KB)", *shown]),
        language="text",
        setup=f"{_MERGE}\nranges = {ranges}",
        run=count.format(fetch.format(gap, most)),
        why=f"Gaps of at most {gap} KB are read along, and no joined range is longer than {most:,} KB.",
        misconceptions=_range_mistakes(rng, count, fetch, (gap, most)),
        explanation=(
            "A request to object storage costs tens of milliseconds, so it pays to read a small gap and throw it "
            "away. A "
            "limit on the size keeps requests parallel. If a query sends thousands of small GETs, raise the gap "
            "that is "
            "allowed, or place columns that are read together side by side."
        ),
    )


def _range_mistakes(rng: random.Random, count: str, fetch: str, limits: tuple[int, int]) -> list[Misconception]:
    gap, most = limits
    without = 10**9
    mistakes = [
        Misconception(
            "never-joined",
            "That asks for each column apart. Ranges that lie close together go into one request, with what is "
            "between.",
            run=count.format(fetch.format(-1, most)),
        ),
        Misconception(
            "no-limit-on-size",
            f"That joins without end. A request that would grow beyond {most:,} KB is not joined.",
            run=count.format(fetch.format(gap, without)),
        ),
        Misconception(
            "joins-neighbours-only",
            f"That joins ranges that touch. A gap of up to {gap} KB is allowed too, and its bytes are fetched as well.",
            run=count.format(fetch.format(0, most)),
        ),
        Misconception(
            "any-gap-joined",
            f"That joins over every gap. More than {gap} KB between two ranges begins a new request.",
            run=count.format(fetch.format(without, most)),
        ),
        Misconception(
            "one-request",
            "That reads from the first wanted byte to the last in one piece. The limits forbid that here.",
            run=count.format(fetch.format(without, without)),
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
    return sum(decide(file, sign, value, **how) == "open" for file in files)
"""


@template(
    name="delete-decided-by-statistics",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("statistics", "nulls", "copy-on-write", "iceberg"),
    title="Apache Iceberg documentation, Spark Writes, DELETE FROM",
    url="https://iceberg.apache.org/docs/latest/spark-writes/#delete-from",
)
def delete_decided_by_statistics(rng: random.Random) -> Draft:
    """Count the files that a copy-on-write DELETE must open, given bounds and null counts."""
    value, sign = rng.randrange(100, 600, 50), rng.choice((">", ">=", "<", "<="))
    table, column = rng.choice((("sales", "amount"), ("events", "age_days"), ("orders", "total"), ("logs", "bytes")))
    up = sign in {">", ">="}
    inside, outside, edge = _spans(rng, value, up=up)
    files: list[tuple[int | None, int | None, int]] = [(*inside(), 0), (*inside(), rng.randint(1, 9))]
    files += [(*outside(), rng.choice((0, rng.randint(1, 9)))), (*edge(), rng.choice((0, 0, rng.randint(1, 9))))]
    files += [rng.choice(((value - 40, value + rng.randint(10, 50), 0), (None, None, 100))) for _ in range(2)]
    files += [(*rng.choice((inside, outside, edge))(), rng.choice((0, rng.randint(1, 9)))) for _ in range(2)]
    rng.shuffle(files)
    shown = [
        f"f{at}  {'-' if low is None else low:>5}{'-' if high is None else high:>6}{missing:>7}"
        for at, (low, high, missing) in enumerate(files, 1)
    ]
    call = "print(opened(files, {!r}, {}{}))"
    return Draft(
        prompt=(
            f"Eight files of a copy-on-write table hold 100 rows each. An engine plans the DELETE by these exact "
            f"statistics of the integer column `{column}`. A commit may keep a file or drop it without opening it. How "
            "many files must the engine open at least?"
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
        lambda: span(rng.randint(1, 20), rng.randint(30, 90)),
        lambda: span(-rng.randint(1, 20), -rng.randint(30, 90)),
        lambda: span(0, rng.choice((-1, 1)) * rng.randint(20, 90)),
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
            run=f"print(sum(decide(file, {sign!r}, {value}) == 'open' or file[2] > 0 for file in files))",
        ),
        Misconception(
            "opens-all",
            "These are all files. Bounds show that some hold no matching row, and some nothing else.",
            run="print(len(files))",
        ),
        Misconception(
            "opens-none",
            f"That takes the DELETE for one of metadata alone. Where bounds lie on both sides of {value}, only the "
            "rows can tell which of them go.",
            value="0",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
