"""Templates on files of lakehouse tables: which versions survive a VACUUM, and which files a query reads."""

from __future__ import annotations

import random
from datetime import date, timedelta

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_VACUUM = """
def versions():
    files = set()
    for day, removed, added in commits:
        files = files - set(removed) | set(added)
        yield day, files

def say(numbers):
    *most, last = [f"v{number}" for number in numbers]
    print(f"{', '.join(most)} and {last}" if most else f"only {last}")

def readable(deleted):
    say(number for number, (_, files) in enumerate(versions()) if not files & deleted)

latest = list(versions())[-1][1]
born = {name: day for day, _, added in commits for name in added}
removed_on = {name: day for day, removed, _ in commits for name in removed}
limit = today - retention
deleted = {name for name, day in removed_on.items() if day < limit}
"""


def _commits(rng: random.Random) -> list[tuple[int, list[str], list[str]]]:
    """Return commits (day, files removed, files added) that append, rewrite and compact."""
    days = sorted(rng.sample(range(2, 21), 4))
    names = iter("ABCDEFGHIJKLMNOPQR")
    live = [next(names), next(names)]
    commits: list[tuple[int, list[str], list[str]]] = [(1, [], list(live))]
    for day in days:
        count = rng.choice((0, 1, 1, 2))  # files that are replaced; none when the commit only appends
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
            run="say(n for n, (day, _, _) in enumerate(commits) if day >= limit or n == len(commits) - 1)",
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
            run="say(n for n, (_, files) in enumerate(versions()) if files - deleted)",
        ),
        Misconception(
            "only-the-current-version",
            "That leaves the latest version alone. VACUUM spares files that were removed within the retention.",
            run="say([len(commits) - 1])",
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
    rated=(3, 3, 3),
)
def versions_left_after_vacuum(rng: random.Random) -> Draft:
    """Find the versions of a table whose files are all still there after a VACUUM."""
    commits = _commits(rng)
    table = rng.choice(("orders", "users", "trips", "claims", "parcels", "tickets", "readings"))
    retention = rng.choice((7, 7, 10))
    taken = {day for day, _, _ in commits}
    today = rng.choice([day for day in range(commits[-1][0] + 1, 29) if day - retention not in taken])
    mistakes = _mistakes_about_versions_left(today, retention)
    lines = []
    for number, (day, removed, added) in enumerate(commits):
        parts = [f"remove {', '.join(removed)}"] if removed else []
        lines.append(f"v{number}  day {day:2}  " + "; ".join([*parts, f"add {', '.join(added)}"]))
    return Draft(
        prompt=(
            f"This is the log of `{table}`, a Delta Lake 3.3 table. On day {today}, VACUUM runs for the first time, "
            f"with a retention of {retention} days. The log stays. Which versions can still be read in full?"
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


_PRUNING = """
def day(text):
    year, month, number = (int(part) for part in text.split("-"))
    return 24 * datetime.date(year, month, number).toordinal()

def span(value):
    if value == "":
        return 0, 10 ** 9
    if value.count("-") == 1:
        year, month = (int(part) for part in value.split("-"))
        after = f"{year + month // 12}-{month % 12 + 1}"
        return day(f"{value}-1"), day(f"{after}-1")
    return day(value), day(value) + 24

def read(shift, old="by its own layout", either=either, until=0):
    low, high, found = day(since) - shift, day(before) - shift + until, []
    for number, (is_old, value, place) in enumerate(files, 1):
        start, end = span(value)
        in_time, in_place = start < high and end > low, place in ("", country)
        fits = (in_time or in_place) if either else in_time and (in_place or not country)
        if {"read": True, "skipped": False}.get(old, fits) if is_old else fits:
            found.append(number)
    say(found)

def say(numbers):
    *most, last = numbers or ["none"]
    print(f"{', '.join(map(str, most))} and {last}" if most else f"only {last}" if numbers else last)
"""

_LAYOUTS = (
    ("months(ts)", "days(ts)"),
    ("unpartitioned", "days(ts)"),
    ("days(ts)", "months(ts)"),
    ("months(ts)", "days(ts), country"),
    ("days(ts)", "days(ts), country"),
    ("months(ts)", "country"),
)

_File = tuple[bool, str, str]
"""Whether it has the old layout, its day or month, and its country; empty if the layout has none."""


def _spread(rng: random.Random, layout: str, day: date, count: int, *, is_old: bool) -> list[_File]:
    """Return files of a layout around a day."""
    near = [day - timedelta(days=1), day, day + timedelta(days=1)]
    if layout == "unpartitioned":
        return [(is_old, "", "")]
    if layout == "country":
        return [(is_old, "", place) for place in ("DE", "FR", "PL")[:count]]
    if layout == "months(ts)":
        last = day.replace(day=1) - timedelta(days=1)
        after = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
        return [(is_old, f"{month:%Y-%m}", "") for month in sorted(rng.sample((last, day, after), count))]
    if layout == "days(ts)":
        return [(is_old, str(one), "") for one in sorted(rng.sample(near, count))]
    pairs = [(one, place) for one in near for place in ("DE", "FR")]
    return [(is_old, str(one), place) for one, place in sorted(rng.sample(pairs, count))]


def _mistakes_about_layouts(shift: int) -> tuple[Misconception, ...]:
    """Return the ways to misjudge which files a query reads after the layout changed."""
    return (
        Misconception(
            "zone-is-left-out",
            "That takes the local day for a day of UTC. Partition values of a `timestamptz` are in UTC.",
            run="read(0)",
        ),
        Misconception(
            "zone-the-other-way",
            "That moves the bounds the wrong way: midnight in UTC+2 is 22:00 of the day before in UTC.",
            run=f"read({-shift})",
        ),
        Misconception(
            "zone-moves-plain-timestamps",
            "That moves the bounds by the session's zone. A `timestamp` without zone is compared as it stands.",
            run="read(zone)",
        ),
        Misconception(
            "old-files-are-always-read",
            "That reads all old files. Each file is tested by the layout it was written with.",
            run=f'read({shift}, old="read")',
        ),
        Misconception(
            "old-files-need-the-new-layout",
            "That skips the old files. They stay part of the table, and may hold matching rows.",
            run=f'read({shift}, old="skipped")',
        ),
        Misconception(
            "or-prunes-like-and",
            "That skips a file that fails one condition. With OR, a file is read if it may meet either.",
            run=f"read({shift}, either=False)",
        ),
        Misconception(
            "the-end-counts",
            "That reads the day after as well. The upper bound is strict.",
            run=f"read({shift}, until=1)",
        ),
        Misconception(
            "only-partition-columns-prune",
            "That reads everything, as if the query had to name the partitions. They are derived from the columns.",
            run="say(range(1, len(files) + 1))",
        ),
    )


@template(
    name="files-read-across-layouts",
    topic=Topic.DATA_WAREHOUSE_LAKEHOUSE,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    form=QuestionForm.READ,
    tags=("iceberg", "partition-evolution", "time-zones"),
    title="Apache Iceberg Table Spec, Partition Transforms, and Scan Planning",
    url="https://iceberg.apache.org/spec/#partition-transforms",
    rated=(3, 3, 3),
)
def files_read_across_layouts(rng: random.Random) -> Draft:
    """Find the files that a query reads from a table whose partitioning changed, in a session of another time zone."""
    table = rng.choice(("events", "orders", "logins", "trips"))
    old, new = rng.choice(_LAYOUTS)
    day = date(2026, rng.randint(2, 11), rng.choice((1, 10, 20, 28)))
    files = _spread(rng, old, day, 2, is_old=True) + _spread(rng, new, day, 3, is_old=False)
    end = day + timedelta(days=1)
    zone = rng.choice((2, 2, 9, -5))
    has_zone = rng.choice((True, True, False))
    shift = zone if has_zone else 0
    country = rng.choice(("DE", "FR")) if "country" in new else ""
    either = bool(country) and rng.choice((True, False, False))
    where = [f"WHERE ts >= '{day}'", f"  AND ts < '{end}'"]
    if either:
        where = [f"WHERE country = '{country}' OR (", f"  ts >= '{day}'", f"  AND ts < '{end}')"]
    elif country:
        where.append(f"  AND country = '{country}'")
    lines = []
    for number, (is_old, value, place) in enumerate(files, 1):
        if number == 1 or is_old != files[number - 2][0]:
            lines.append(f"-- {'old' if is_old else 'new'} files: {old if is_old else new}")
        lines.append(f"-- {number}  " + (", ".join(filter(None, (value, place))) or "all rows"))
    kind = "`timestamptz`" if has_zone else "`timestamp` without zone"
    return Draft(
        prompt=(
            f"An Iceberg table `{table}` got a new partitioning, and its old files stay as they are. `ts` is a {kind}; "
            f"the session runs in UTC{zone:+}. By partition values alone, which files must the query read?"
        ),
        code="\n".join([*lines, f"SELECT count(*) FROM {table}", *where]) + ";",
        language="sql",
        setup=f"import datetime\nfiles = {files}\nsince, before, country = {str(day)!r}, {str(end)!r}, {country!r}\n"
        f"either, zone = {either}, {zone}\n{_PRUNING}",
        run=f"read({shift})",
        why="Each file is tested by the layout it was written with, against bounds in the time that partitions use.",
        misconceptions=rng.sample(_mistakes_about_layouts(shift), 8),
        explanation=(
            "A new partitioning holds for new files only; old ones are pruned by their own until you rewrite them. "
            "Days and months of a `timestamptz` are those of UTC, so a local day touches two. Rewrite old files if "
            "queries by day still read whole months."
        ),
    )
