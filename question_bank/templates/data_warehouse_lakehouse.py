"""Templates on warehouses and lakehouses: versions of a table, bytes that a query reads, and MERGE."""

from __future__ import annotations

import random
from collections.abc import Callable

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_REPLAY = """
def replay(commits):
    rows, versions, fresh = [], [], 0
    for operation, count in commits:
        if operation == "INSERT":
            rows = rows + list(range(fresh, fresh + count))
            fresh += count
        elif operation == "DELETE":
            rows = rows[count:]
        versions.append(len(rows))  # an UPDATE changes rows and leaves their number alone
    return versions
"""


def _mistakes_about_rows_as(asked: int, operation: str, count: int) -> tuple[Misconception, ...]:
    """Return the ways to misread a table's history."""
    return (
        Misconception(
            "reads-the-current-table",
            f"That is the table as it is now. `VERSION AS OF {asked}` leaves out every later commit.",
            run="print(replay(commits)[-1])",
        ),
        Misconception(
            "state-before-the-commit",
            f"That is version {asked - 1}. Version {asked} is the state after its own {operation} of {count} rows.",
            run="print(replay(commits)[asked - 1])",
        ),
        Misconception(
            "update-adds-rows",
            "That counts updated rows as new ones. An update writes new files, but the number of rows stays.",
            run='print(replay([(op.replace("UPDATE", "INSERT"), n) for op, n in commits])[asked])',
        ),
        Misconception(
            "deleted-rows-are-still-there",
            "That keeps the deleted rows. Their files still exist, but the version no longer lists these rows.",
            run='print(replay([(op.replace("DELETE", "UPDATE"), n) for op, n in commits])[asked])',
        ),
        Misconception(
            "only-the-rows-of-that-commit",
            f"That is what commit {asked} touched. A version is the whole table after the commit, not its changes.",
            run="print(commits[asked][1])",
        ),
    )


@template(
    name="rows-as-of-a-version",
    topic=Topic.DATA_WAREHOUSE_LAKEHOUSE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("time-travel", "delta-lake"),
    title="Delta Lake documentation, Table batch reads and writes, Query an older snapshot of a table",
    url="https://docs.delta.io/delta-batch/",
    rated=(2, 2, 2),
)
def rows_as_of_a_version(rng: random.Random) -> Draft:
    """Count the rows that a query for an older version of a table returns."""
    table = rng.choice(("orders", "users", "trips", "claims", "parcels", "tickets"))
    middle = rng.sample(("DELETE", "UPDATE", "INSERT"), 3)
    commits = [("CREATE TABLE", 0), ("INSERT", 100 * rng.randint(3, 9))]
    commits += zip(middle, rng.sample(range(10, 100, 10), 3), strict=True)
    asked = rng.choice((2, 3, 3))
    lines = [f"{number}  {operation:13} {count:4}" for number, (operation, count) in enumerate(commits)]
    return Draft(
        prompt=(
            f"The history of the Delta table `{table}` is below; nothing was vacuumed. "
            f"What does `SELECT count(*) FROM {table} VERSION AS OF {asked}` return?"
        ),
        code="\n".join(["v  operation     rows affected", *lines]),
        language="text",
        setup=f"commits = {commits}\nasked = {asked}\n{_REPLAY}",
        run="print(replay(commits)[asked])",
        why=f"It replays the commits 0 to {asked}: inserts add rows, deletes remove them, updates do neither.",
        misconceptions=_mistakes_about_rows_as(asked, *commits[asked]),
        explanation=(
            "Each commit makes a new version of the whole table, and time travel reads it as it was after that commit. "
            "Old data files stay until VACUUM removes them, so a wrong DELETE can be undone by restoring a version."
        ),
    )


_SIZES = (
    ("events", "event_day", (("user_id", 4), ("url", 30), ("referrer", 20), ("agent", 25), ("country", 1))),
    ("sales", "sale_day", (("amount", 3), ("shop", 2), ("product", 5), ("comment", 40), ("buyer", 6))),
    ("rides", "ride_day", (("route", 50), ("fare", 3), ("driver", 4), ("zone", 2), ("rating", 1))),
    ("logs", "log_day", (("message", 60), ("host", 5), ("level", 1), ("trace_id", 16), ("service", 3))),
    ("calls", "call_day", (("audio_text", 70), ("agent", 3), ("seconds", 2), ("topic", 4), ("caller", 6))),
)

_NUMBERS = frozenset({"amount", "fare", "rating", "seconds"})

_SCANNED = """
def scanned(columns, days):
    return sum(size for name, size in sizes if name in columns) * days

everything = [name for name, _ in sizes]
"""


def _mistakes_about_bytes_read(
    day: str, names: list[str], start: int, days: int, total: int
) -> tuple[Misconception, ...]:
    """Return the ways to count too little or too much."""
    selected, filtered, *_ = names
    return (
        Misconception(
            "filter-column-is-free",
            f"That leaves out `{filtered}`. To test a condition on a column, the engine has to read it.",
            run=f"print(scanned({[selected, names[2]]}, {days}))",
        ),
        Misconception(
            "every-column-is-read",
            "That reads whole rows. A column store reads only the columns that the query names.",
            run=f"print(scanned(everything, {days}))",
        ),
        Misconception(
            "between-leaves-out-the-last-day",
            f"That leaves out one of the {days} days. BETWEEN includes both {start} and {start + days - 1}.",
            run=f"print(scanned({names}, {days - 1}))",
        ),
        Misconception(
            "only-the-selected-column",
            f"That counts `{selected}` alone. Columns in WHERE and GROUP BY are read as well.",
            run=f"print(scanned({[selected]}, {days}))",
        ),
        Misconception(
            "every-partition-is-read",
            f"That reads all {total} days. The condition on `{day}` skips the other partitions.",
            run=f"print(scanned({names}, {total}))",
        ),
    )


@template(
    name="bytes-read-columns-and-days",
    topic=Topic.DATA_WAREHOUSE_LAKEHOUSE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("columnar-storage", "partition-pruning", "cost"),
    title="BigQuery documentation, Estimate and control costs",
    url="https://cloud.google.com/bigquery/docs/best-practices-costs",
    rated=(2, 2, 2),
)
def bytes_read_columns_and_days(rng: random.Random) -> Draft:
    """Add up what a query reads from a column store that is partitioned by day."""
    table, day, columns = rng.choice(_SIZES)
    factor = rng.choice((1, 2, 10))
    sizes = [(name, size * factor) for name, size in columns]
    selected, filtered, *_ = names = rng.sample([name for name, _ in sizes], 3)
    start = rng.randint(1, 12)
    days = rng.choice((2, 3, 4, 5, 10))
    total = rng.choice((30, 60, 90))
    share = dict(sizes)
    mistakes = _mistakes_about_bytes_read(day, names, start, days, total)
    condition = rng.choice(("> 2", "< 4")) if filtered in _NUMBERS else rng.choice(("= 'x'", "<> 'x'"))
    return Draft(
        prompt=(
            f"A column store partitions `{table}` by `{day}`, for the days 1 to {total}. The comments show what each "
            "column takes per day. The engine skips partitions, but nothing inside them. "
            "How many GB does the query read?"
        ),
        code="\n".join(
            [
                *(f"-- {name:11}{size:4} GB" for name, size in [*sizes, (day, 0)]),
                f"SELECT {'avg' if selected in _NUMBERS else 'max'}({selected})",
                f"FROM {table}",
                f"WHERE {day} BETWEEN {start} AND {start + days - 1}",
                f"  AND {filtered} {condition}",
                f"GROUP BY {names[2]};",
            ]
        ),
        language="sql",
        setup=f"sizes = {sizes}\n{_SCANNED}",
        run=f"print(scanned({names}, {days}))",
        option="{} GB",
        why=(
            f"{days} partitions, and in each the three columns that the query names: {share[selected]} + "
            f"{share[filtered]} + {share[names[2]]} GB."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "Bytes read = partitions that may match x all columns named anywhere in the query, in SELECT, WHERE, JOIN "
            "or GROUP BY. To cut the bill, filter on the partition column and drop wide columns from the query."
        ),
    )


_TARGETS = (
    ("stock", "edits", "qty"),
    ("fares", "changes", "usd"),
    ("scores", "updates", "pts"),
    ("quotas", "events", "gb"),
    ("limits", "inbox", "eur"),
)


def _merge(table: str, batch: str, measure: str, *, update: bool, insert: bool) -> str:
    """Return a MERGE whose updates may ask for a newer version, and whose inserts may skip deletes."""
    newer = " AND s.ver > t.ver" if update else ""
    return (
        f"MERGE INTO {table} t\nUSING {batch} s ON s.id = t.id\n"
        f"WHEN MATCHED AND s.op = 'D'\n  THEN DELETE\n"
        f"WHEN MATCHED{newer}\n  THEN UPDATE SET {measure} = s.{measure},\n    ver = s.ver\n"
        f"WHEN NOT MATCHED{' AND s.op <> ' + repr('D') if insert else ''}\n"
        f"  THEN INSERT\n    VALUES (s.id, s.{measure}, s.ver);"
    )


def _batch(rng: random.Random) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int, str]]]:
    """Return a target (id, measure, ver) and changes (id, measure, ver, op), new and stale ones, known and unknown."""
    ids = rng.sample(range(1, 10), 5)
    amounts = [10 * number for number in rng.sample(range(1, 10), 7)]
    target = [(key, amount, rng.randint(3, 6)) for key, amount in zip(ids[:3], amounts[:3], strict=True)]
    ages = rng.sample((-1, 1), 2)
    change: list[tuple[int, int, int, str]] = [
        (key, amount, ver + age, op)
        for (key, _, ver), amount, age, op in zip(target, amounts[3:5], ages, "UD", strict=False)
    ]
    change += [(ids[3], amounts[5], 1, "D"), (ids[4], amounts[6], 1, rng.choice("UD"))][: rng.choice((1, 2))]
    return sorted(target), sorted(change)


def _rows(rows: list[tuple[int, int, int]] | list[tuple[int, int, int, str]]) -> str:
    """Return rows as SQL."""
    return ", ".join(map(str, rows))


def _commented(rows: list[tuple[int, int, int]] | list[tuple[int, int, int, str]], width: int) -> list[str]:
    """Return rows as lines of SQL comments, so many to a line."""
    return ["-- " + " ".join(map(str, rows[at : at + width])) for at in range(0, len(rows), width)]


def _mistakes_about_merge_of(
    names: tuple[str, str, str], after: Callable[..., str], *, update: bool, insert: bool
) -> tuple[Misconception, ...]:
    """Return the ways to misread the branches of the MERGE."""
    table, batch, measure = names
    shown = _merge(table, batch, measure, update=update, insert=insert)
    known = "SELECT 1 FROM saved t WHERE t.id = s.id"
    return (
        Misconception(
            "unknown-delete-" + ("is-inserted" if insert else "is-ignored"),
            "That inserts a 'D' event of an unknown id. The last branch takes only other events."
            if insert
            else "That ignores a 'D' event of an unknown id. The last branch does not look at `op` and inserts it.",
            run=after(_merge(table, batch, measure, update=update, insert=not insert)),
        ),
        Misconception(
            "stale-update-" + ("is-applied" if update else "is-skipped"),
            "That applies an update with an older `ver`. The second branch takes newer ones only."
            if update
            else "That skips an update with an older `ver`. This MERGE does not compare versions.",
            run=after(_merge(table, batch, measure, update=not update, insert=insert)),
        ),
        Misconception(
            "stale-delete-is-skipped",
            "That skips a delete with an older `ver`. The first branch asks only for `op` = 'D'.",
            run=after(shown, f"NOT (s.op = 'D' AND EXISTS ({known} AND s.ver < t.ver))"),
        ),
        Misconception(
            "deletes-do-not-happen",
            "That keeps the ids with a 'D' event. The first branch removes a row that matches one.",
            run=after(shown, f"NOT (s.op = 'D' AND EXISTS ({known}))"),
        ),
        Misconception(
            "updates-do-not-happen",
            "That keeps the old values of matched ids. The second branch overwrites them.",
            run=after(shown.replace(f"{measure} = s.{measure}", f"{measure} = t.{measure}")),
        ),
    )


@template(
    name="merge-of-change-events",
    topic=Topic.DATA_WAREHOUSE_LAKEHOUSE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("merge", "cdc", "upsert"),
    title="DuckDB documentation, MERGE INTO Statement",
    url="https://duckdb.org/docs/stable/sql/statements/merge_into",
    rated=(2, 2, 2),
)
def merge_of_change_events(rng: random.Random) -> Draft:
    """Apply change events with a MERGE that may lack a condition, and read the table afterwards."""
    table, batch, measure = rng.choice(_TARGETS)
    target, changes = _batch(rng)
    update, insert = rng.choice((True, False)), rng.choice((True, False))
    shown = _merge(table, batch, measure, update=update, insert=insert)

    def after(statement: str, keep: str = "true") -> str:
        source = f"USING (FROM {batch} s WHERE {keep}) s ON"
        merge = statement.replace(f"USING {batch} s ON", source)
        return f"CREATE OR REPLACE TABLE {table} AS FROM saved; {merge} SELECT sum({measure}) FROM {table};"

    return Draft(
        prompt=(
            f"The comments show the rows of `{table}` and of `{batch}`, which holds updates 'U' and deletes 'D'. "
            f"What does `SELECT sum({measure}) FROM {table}` return after the MERGE?"
        ),
        code="\n".join(
            [
                f"-- {table}: id, {measure}, ver",
                *_commented(target, 3),
                f"-- {batch}: id, {measure}, ver, op",
                *_commented(changes, 2),
                shown,
            ]
        ),
        language="sql",
        setup=f"CREATE TABLE saved (id INT, {measure} INT, ver INT); INSERT INTO saved VALUES {_rows(target)};"
        f" CREATE TABLE {batch} (id INT, {measure} INT, ver INT, op TEXT);"
        f" INSERT INTO {batch} VALUES {_rows(changes)};",
        run=after(shown),
        why="Each event takes the first branch whose condition it meets; what that branch does not ask plays no part.",
        misconceptions=_mistakes_about_merge_of((table, batch, measure), after, update=update, insert=insert),
        explanation=(
            "For change events, guard each branch: apply updates and deletes only from a newer version, and do not "
            "insert a delete of an unknown key. Without the guards, late or repeated events bring back old values and "
            "dead rows."
        ),
    )
