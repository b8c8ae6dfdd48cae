"""Templates on lakehouse tables: which versions survive a VACUUM, and how many files a sort order lets be skipped."""

from __future__ import annotations

import random
from collections.abc import Sequence

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_VACUUM = """
def versions():
    files = set()
    for day, removed, added in commits:
        files = files - set(removed) | set(added)
        yield day, files

def readable(deleted):
    print(sum(not files & deleted for _, files in versions()))

latest = list(versions())[-1][1]
born = {name: day for day, _, added in commits for name in added}
removed_on = {name: day for day, removed, _ in commits for name in removed}
limit = today - retention
deleted = {name for name, day in removed_on.items() if day < limit}
"""


def _commits(rng: random.Random) -> list[tuple[int, list[str], list[str]]]:
    """Return commits (day, files removed, files added) that append, rewrite and compact."""
    days = sorted(rng.sample(range(2, 27), 6))
    names = iter("ABCDEFGHIJKLMNOPQR")
    live = [next(names), next(names)]
    commits: list[tuple[int, list[str], list[str]]] = [(1, [], list(live))]
    for day in days:
        count = rng.choice((0, 0, 1, 1, 2))  # files that are replaced; none when the commit only appends
        removed = sorted(rng.sample(live, min(count, len(live))))
        added = [next(names)]
        live = [name for name in live if name not in removed] + added
        commits.append((day, removed, added))
    return commits


def _mistakes_about_versions_left(today: int, retention: int) -> tuple[Misconception, ...]:
    """Return the ways to misjudge what VACUUM deletes."""
    return (
        Misconception(
            "retention-counts-versions-by-age",
            f"That counts commits since day {today - retention}. Older versions stay while their files exist.",
            run="print(sum(day >= limit for day, _, _ in commits))",
        ),
        Misconception(
            "age-of-the-file-decides",
            "That goes by the day on which a file was added. The days count from the commit that removed it.",
            run="readable({name for name, day in born.items() if day < limit} - latest)",
        ),
        Misconception(
            "every-removed-file-is-deleted",
            f"That deletes all removed files. Those removed in the last {retention} days are still protected.",
            run="readable(set(removed_on))",
        ),
        Misconception(
            "the-log-is-enough",
            "That counts every version in the log. It lists the files of each, but some of them are deleted.",
            run="readable(set())",
        ),
        Misconception(
            "one-file-left-is-enough",
            "That counts each version with at least one file left. To read it in full, all its files must be there.",
            run="print(sum(bool(files - deleted) for _, files in versions()))",
        ),
        Misconception(
            "only-the-current-version",
            "That leaves the latest version alone. VACUUM spares files that were removed within the retention.",
            value="1",
        ),
    )


@template(
    name="versions-left-after-vacuum",
    topic=Topic.DATA_WAREHOUSE_LAKEHOUSE,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("vacuum", "time-travel", "delta-lake"),
    title="Delta Lake documentation, Table utility commands, Remove files no longer referenced by a Delta table",
    url="https://docs.delta.io/delta-utility/",
)
def versions_left_after_vacuum(rng: random.Random) -> Draft:
    """Count the versions of a table whose files are all still there after a VACUUM."""
    commits = _commits(rng)
    table = rng.choice(("orders", "users", "trips", "claims", "parcels", "tickets", "readings"))
    retention = rng.randint(7, 12)
    taken = {day for day, _, _ in commits}
    today = rng.choice([day for day in range(commits[-1][0] + 1, 32) if day - retention not in taken])
    mistakes = _mistakes_about_versions_left(today, retention)
    lines = []
    for number, (day, removed, added) in enumerate(commits):
        parts = [f"remove {', '.join(removed)}"] if removed else []
        lines.append(f"v{number}  day {day:2}  " + "; ".join([*parts, f"add {', '.join(added)}"]))
    return Draft(
        prompt=(
            f"Delta Lake 3.3: the log of `{table}` is below. On day {today}, VACUUM runs for the first time, with a "
            f"retention of {retention} days. All log entries are kept, and nothing else is written. "
            "How many of the versions can still be read in full?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"commits = {commits}\ntoday, retention = {today}, {retention}\n{_VACUUM}",
        run="readable(deleted)",
        why=(
            f"VACUUM deletes files that were removed before day {today - retention}. A version is readable if it lists "
            "none of these, however old it is."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "VACUUM deletes files that the latest version does not list and that were removed longer ago than the "
            "retention. A version with a deleted file is lost, even if an older one is still whole. So set the "
            "retention by the oldest version you may have to read or restore."
        ),
    )


_LAYOUT = """
def z(x, y):
    code = 0
    for bit in range(bits):
        code |= (x >> bit & 1) << 2 * bit + x_high
        code |= (y >> bit & 1) << 2 * bit + 1 - x_high
    return code

def matches(x, y):
    return x_low <= x <= x_top and y_low <= y <= y_top

def files(key):
    rows = sorted(((x, y) for x in range(side) for y in range(side)), key=key)
    return [rows[at:at + size] for at in range(0, len(rows), size)]

def read(key):
    count = 0
    for file in files(key):
        xs, ys = [x for x, _ in file], [y for _, y in file]
        count += min(xs) <= x_top and max(xs) >= x_low and min(ys) <= y_top and max(ys) >= y_low
    return count

by_z, side = lambda row: z(*row), 2 ** bits
"""

_SPACES = (
    ("x", "y"),
    ("lon", "lat"),
    ("user", "item"),
    ("shop", "day"),
    ("host", "hour"),
    ("part", "site"),
)


_FILE_ROWS = {3: (2, 4, 8), 4: (8, 16, 32)}
"""Rows of a file to choose from, by the bits of a column."""


def _range(rng: random.Random, side: int) -> tuple[int, int]:
    """Return the ends of a range within 0 to side - 1 that does not hold everything."""
    width = rng.choice((1, 2, 3, 4, side // 2, side // 2 + 1))
    low = rng.randint(0, side - width)
    return low, low + width - 1


def _condition(column: str, low: int, top: int) -> str:
    """Return a condition that holds for a range of whole numbers."""
    return f"{column} = {low}" if low == top else f"{column} BETWEEN {low} AND {top}"


def _conditions(names: Sequence[str], ranges: Sequence[tuple[int, int]], side: int) -> str:
    """Return the WHERE clause over both columns, without a column whose range holds everything."""
    whole = (0, side - 1)
    parts = [_condition(name, *ends) for name, ends in zip(names, ranges, strict=True) if ends != whole]
    return "\n  AND ".join(parts)


def _mistakes_about_z_order(one: str, two: str, wide: int) -> tuple[Misconception, ...]:
    """Return the ways to misjudge which files a query reads."""
    return (
        Misconception(
            "sorted-by-the-first-column",
            f"That is a plain sort by ({one}, {two}). Z-order shares the files between both columns.",
            run="print(read(lambda row: row))",
        ),
        Misconception(
            "matches-lie-side-by-side",
            f"That packs the {wide} matching rows into as few files as fit. On the curve they lie scattered.",
            run=f"print(-(-{wide} // size))",
        ),
        Misconception(
            "sorted-by-the-second-column",
            f"That is a plain sort by ({two}, {one}). Z-order shares the files between both columns.",
            run="print(read(lambda row: row[::-1]))",
        ),
        Misconception(
            "all-between-first-and-last-code",
            "That reads on from the lowest to the highest matching code. Files between them can still be skipped.",
            run=(
                "hit = [any(matches(*row) for row in file) for file in files(by_z)]\n"
                "print(len(hit) - hit.index(True) - hit[::-1].index(True))"
            ),
        ),
        Misconception(
            "z-order-skips-only-with-both-columns",
            "That reads every file. Each file covers a small box, so a filter on one column alone skips some too.",
            run="print(len(files(by_z)))",
        ),
    )


@template(
    name="z-order-files-read",
    topic=Topic.DATA_WAREHOUSE_LAKEHOUSE,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("z-order", "data-skipping", "clustering"),
    title="Delta Lake documentation, Optimizations, Z-Ordering (multi-dimensional clustering)",
    url="https://docs.delta.io/optimizations-oss/",
)
def z_order_files_read(rng: random.Random) -> Draft:
    """Count the files that a query reads from a table that is sorted along a z-order curve."""
    one, two = names = rng.choice(_SPACES)
    bits = rng.choice((3, 3, 4))
    side = 2**bits
    size = rng.choice(_FILE_ROWS[bits])
    x_high = rng.choice((0, 1))
    ranges = [(0, side - 1), (0, side - 1)]
    for axis in rng.choice(((0,), (1,), (0, 1))):
        ranges[axis] = _range(rng, side)
    (x_low, x_top), (y_low, y_top) = ranges
    pairs = [f"{two}{bit} {one}{bit}" if not x_high else f"{one}{bit} {two}{bit}" for bit in reversed(range(bits))]
    wide = (x_top - x_low + 1) * (y_top - y_low + 1)
    return Draft(
        prompt=(
            f"A table holds each pair of `{one}` 0..{side - 1} and `{two}` 0..{side - 1} once. It is sorted by the "
            f"z-order code below and cut into {side * side // size} files of {size} rows. Each file keeps min and max "
            "of both columns; a file is skipped only if these rule out every match. How many files are read?"
        ),
        code="\n".join(
            [
                "-- bits of the code, highest first:",
                *("-- " + " ".join(pairs[at : at + 2]) for at in range(0, bits, 2)),
                "SELECT count(*)",
                "FROM t",
                f"WHERE {_conditions(names, ranges, side)};",
            ]
        ),
        language="sql",
        setup=(
            f"bits, size, x_high = {bits}, {size}, {x_high}\n"
            f"x_low, x_top, y_low, y_top = {x_low}, {x_top}, {y_low}, {y_top}\n{_LAYOUT}"
        ),
        run="print(read(by_z))",
        why="The top bits of the code, those above the rows of one file, fix the box of both columns that it covers.",
        misconceptions=_mistakes_about_z_order(one, two, wide),
        explanation=(
            "A file of 2^k rows leaves the top bits of the code fixed, taken from both columns in turn: a box, not a "
            "strip. So a filter on either column skips some files, but fewer than a plain sort by that column would. "
            "Z-order only for columns you do filter on."
        ),
    )
