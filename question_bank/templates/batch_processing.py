"""Templates on batch processing: snapshots, failed loads, paging and what is wrong after a correction."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template


def _snapshots(rng: random.Random, values: tuple[str, ...]) -> tuple[dict[int, str], dict[int, str]]:
    """Draw two full copies of a table with four rows: some stay, change, vanish or are new."""
    ids = sorted(rng.sample(range(1, 8), 4))
    before = {number: rng.choice(values) for number in ids}
    gone = rng.sample(ids, 1)
    stay = [number for number in ids if number not in gone]
    after = {number: before[number] for number in stay}
    for number in rng.sample(stay, rng.randint(1, 2)):
        after[number] = rng.choice([value for value in values if value != before[number]])
    free = [number for number in range(1, 9) if number not in ids]
    for number in rng.sample(free, 1):
        after[number] = rng.choice(values)
    return before, dict(sorted(after.items()))


def _count(body: str) -> str:
    return f"SELECT count(*) FROM ({body})"


def _comment(name: str, rows: dict[int, str]) -> str:
    return f"-- {name}:\n--   " + ", ".join(f"{number} {value}" for number, value in rows.items())


def _snapshot_diff_except_mistakes(
    first: str, second: str, one_way: str, other_way: str, absent: str
) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "only-ids-count",
            f"That counts ids that are only in `{first}`. EXCEPT compares whole rows, so a row with a changed value "
            "differs as well.",
            run=_count(f"SELECT * FROM {first} WHERE {absent}"),
        ),
        Misconception(
            "both-directions",
            f"That adds the rows that are only in `{second}`. EXCEPT looks from one side: it keeps rows of the first "
            "query only.",
            run=f"SELECT (SELECT count(*) FROM ({one_way})) + (SELECT count(*) FROM ({other_way}))",
        ),
        Misconception(
            "other-way-round",
            f"That is `{second}` EXCEPT `{first}`. Rows come from the first query, less those of the second.",
            run=_count(other_way),
        ),
        Misconception(
            "only-changed-rows",
            f"That counts ids in both tables with another value. A row whose id is only in `{first}` comes out too.",
            run=f"SELECT count(*) FROM {first} a JOIN {second} b ON a.id = b.id WHERE a IS DISTINCT FROM b",
        ),
        Misconception(
            "common-rows",
            "Those are the rows that both tables share (INTERSECT); EXCEPT takes just these away.",
            run=_count(f"SELECT * FROM {first} INTERSECT SELECT * FROM {second}"),
        ),
    )


@template(
    name="snapshot-diff-except",
    topic=Topic.BATCH_PROCESSING,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("snapshots", "except", "change-detection"),
    title="PostgreSQL 18 documentation, 7.4 Combining Queries (UNION, INTERSECT, EXCEPT)",
    url="https://www.postgresql.org/docs/18/queries-union.html",
    rated=(1, 1, 1),
)
def snapshot_diff_except(rng: random.Random) -> Draft:
    """Compare two daily copies of a table by EXCEPT."""
    column, values = rng.choice(
        (("state", ("new", "paid", "sent")), ("prio", ("low", "mid", "high")), ("zone", ("eu", "us", "asia")))
    )
    old, now = rng.choice((("monday", "tuesday"), ("may_1", "may_2"), ("week_1", "week_2"), ("v1", "v2")))
    before, after = _snapshots(rng, values)
    first, second = rng.choice(((now, old), (old, now)))
    query = f"SELECT * FROM {first}\nEXCEPT\nSELECT * FROM {second};"

    one_way = f"SELECT * FROM {first} EXCEPT SELECT * FROM {second}"
    other_way = f"SELECT * FROM {second} EXCEPT SELECT * FROM {first}"
    absent = f"id NOT IN (SELECT id FROM {second})"
    mistakes = _snapshot_diff_except_mistakes(first, second, one_way, other_way, absent)
    tables = "".join(
        f"CREATE TABLE {name} (id INT, {column} TEXT); INSERT INTO {name} VALUES {', '.join(map(str, rows.items()))};"
        for name, rows in ((old, before), (now, after))
    )
    return Draft(
        prompt=(
            f"A job copies a whole table again and again. The comments show id and {column} in two copies; `{old}` is "
            "the older one. How many rows does the query return?"
        ),
        code=f"{_comment(old, before)}\n{_comment(now, after)}\n{query}",
        language="sql",
        setup=tables,
        run=_count(one_way),
        why=f"It returns each row of `{first}` that isn't in `{second}` with the same id and the same {column}.",
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "new EXCEPT old finds inserted and changed rows; old EXCEPT new finds deleted rows and the old form of "
            "changed ones. It compares whole rows and treats NULLs as equal, so it suits the check of two copies."
        ),
    )


_LOAD = """
def load(one_transaction, keep_partial=False):
    table = []
    for attempt in (1, 2):
        pending = []
        for name, rows in files.items():
            fails = attempt == 1 and name == broken
            if not fails or keep_partial:
                pending += [name] * rows
            if fails:
                break
            if not one_transaction:
                table += pending
                pending = []
        else:
            table += pending
            continue
        if keep_partial:
            table += pending
    return len(table)
"""

_LOOPS = {
    True: "with transaction():\n    for file in files:\n        append(file)",
    False: "for file in files:\n    with transaction():\n        append(file)",
}


def _failed_load_run_again_mistakes(
    other: str, files: dict[str, int], broken: str, done: int, *, one: bool
) -> tuple[Misconception, ...]:
    return (
        Misconception("other-transaction-scope", other, run=f"print(load({not one}))"),
        Misconception(
            "failed-file-stays",
            f"The transaction of the failed append is rolled back: the {files[broken]} rows of {broken} come by the "
            "second run only.",
            run="print(load(False, keep_partial=True))",
        ),
        Misconception(
            "two-full-loads",
            f"The first run stopped at {broken}; it did not load all files.",
            run="print(2 * sum(files.values()))",
        ),
        Misconception(
            "only-the-rest",
            f"A rerun starts at the first file, not at {broken}, and nothing here skips the {done} rows before it.",
            run="print(sum(files.values()) - sum(list(files.values())[:list(files).index(broken)]))",
        ),
    )


@template(
    name="failed-load-run-again",
    topic=Topic.BATCH_PROCESSING,
    level=Level.BEGINNER,
    engine=CheckEngine.PYTHON,
    tags=("transactions", "idempotency", "reruns"),
    title="PostgreSQL 18 documentation, 3.4 Transactions",
    url="https://www.postgresql.org/docs/18/tutorial-transactions.html",
    rated=(1, 1, 2),
)
def failed_load_run_again(rng: random.Random) -> Draft:
    """Run a load of several files once more after one of them failed."""
    names = rng.choice(
        (("north", "south", "east"), ("jan", "feb", "mar"), ("web", "app", "shop"), ("paris", "rome", "oslo"))
    )
    files = dict(zip(names, rng.sample(range(100, 700, 100), 3), strict=True))
    place = rng.randint(1, 2)
    broken = names[place]
    one = rng.random() < 0.4  # noqa: PLR2004 - both loops come up often
    done, total = sum(list(files.values())[:place]), sum(files.values())
    listed = ", ".join(f"{name} {rows}" for name, rows in files.items())
    other = (
        f"That is so with a transaction for each file. Here one transaction holds all files, so the failure also undid "
        f"the {done} rows before."
        if one
        else f"That is so with one transaction for all. Here each file commits alone, so {done} rows were there "
        "and came a second time."
    )
    mistakes = _failed_load_run_again_mistakes(other, files, broken, done, one=one)
    return Draft(
        prompt=(
            f"A load appends three files to an empty table (rows: {listed}). At first `{broken}` fails halfway, and "
            "the job stops. You fix the file and rerun the job. How many rows does the table hold?"
        ),
        code=_LOOPS[one],
        language="python",
        setup=f"files = {files}\nbroken = {broken!r}{_LOAD}",
        run=f"print(load({one}))",
        why=(
            f"The failure undid the whole first run, so only the second counts: {total} rows."
            if one
            else f"The first run left {done} committed rows, and the second added all {total}."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "A commit per file makes a rerun load the files before the failure twice. Use one transaction, or keep "
            "smaller ones and make them safe to repeat: delete the file's rows first, or record loaded files."
        ),
    )


_PAGING = """
def left(move_offset=True, first_page_only=False):
    rows = ["new"] * total
    offset = 0
    while True:
        page = [place for place, state in enumerate(rows) if state == "new"][offset:offset + limit]
        if not page:
            break
        for place in page:
            rows[place] = "done"
        if first_page_only:
            break
        offset += limit if move_offset else 0
    return rows.count("new")
"""


def _offset_paging_skips_rows_mistakes(total: int, limit: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "pages-stay-in-place",
            "That holds if the rows kept matching. Each page leaves the filter's result, so the rest moves up and the "
            "next offset skips a page.",
            run="print(left(move_offset=False))",
        ),
        Misconception(
            "only-first-page-done",
            f"The loop goes on after the first page, as long as a row stands behind the offset of {limit}.",
            run="print(left(first_page_only=True))",
        ),
        Misconception(
            "short-page-missed",
            "The last page is not the trouble: the loop ends only at an empty page. But the offset jumps over rows.",
            run=f"print({total} % {limit} or {limit})",
        ),
        Misconception(
            "one-page-too-early",
            "The loop runs one page further: it stops when no matching row is left behind the offset.",
            run="print(left() + limit)",
        ),
        Misconception(
            "one-page-too-late",
            "The loop stops one page sooner: the offset has reached the number of rows that still match.",
            run="print(left() - limit)",
        ),
    )


@template(
    name="offset-paging-skips-rows",
    topic=Topic.BATCH_PROCESSING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("pagination", "limit-offset", "loops"),
    title="PostgreSQL 18 documentation, 7.6 LIMIT and OFFSET",
    url="https://www.postgresql.org/docs/18/queries-limit.html",
    rated=(2, 2, 2),
)
def offset_paging_skips_rows(rng: random.Random) -> Draft:
    """Page by OFFSET through rows that no longer match once they are handled."""
    limit = rng.choice((20, 50, 100, 200))
    total = limit * rng.randint(3, 6) + rng.choice((0, limit // 2))
    table, state, call = rng.choice(
        (("jobs", "new", "mark_done"), ("mails", "open", "mark_sent"), ("files", "raw", "mark_read"))
    )
    mistakes = _offset_paging_skips_rows_mistakes(total, limit)
    code = (
        f'offset = 0\nwhile True:\n    ids = fetch("""\n        SELECT id FROM {table}\n'
        f"        WHERE state = '{state}'\n        ORDER BY id\n        LIMIT {limit} OFFSET %s\n"
        '        """, offset)\n    if not ids:\n        break\n'
        f"    {call}(ids)\n    offset += {limit}"
    )
    return Draft(
        prompt=(
            f"Table `{table}` holds {total} rows, all with the state '{state}', and nothing else writes to it. "
            f"`{call}` gives its rows another state and commits. How many rows are still '{state}' when this loop ends?"
        ),
        code=code,
        language="python",
        setup=f"total, limit = {total}, {limit}{_PAGING}",
        run="print(left())",
        why=(
            f"Each page leaves {limit} rows fewer to match while the offset grows by {limit}, so every second page is "
            "skipped."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "OFFSET counts in the result of now, and here the loop itself shrinks it. Ask for the first page again and "
            "again, or page by key: `WHERE state = ... AND id > last_id ORDER BY id LIMIT n`."
        ),
    )


_ROLLING = """
def outputs(source, window=window):
    return [sum(source[max(0, day - window + 1):day + 1]) for day in range(days)]

def changed(window=window):
    before = [1] * days
    after = [1 + (day + 1 in corrected) for day in range(days)]
    return sum(a != b for a, b in zip(outputs(before, window), outputs(after, window)))
"""


def _rolling_window_rebuild_mistakes(window: int, days: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "only-the-corrected-days",
            f"Later days hold the corrected ones in their window too, for {window - 1} more days each.",
            run="print(len(corrected))",
        ),
        Misconception(
            "everything-after",
            f"A window of {window} days forgets: a corrected day leaves it after {window - 1} more days. Only a "
            "running "
            "total from the start would change to the end.",
            run="print(days - corrected[0] + 1)",
        ),
        Misconception(
            "overlap-and-end-ignored",
            f"That takes {window} days for each correction, though windows may overlap or end after day {days}.",
            run="print(len(corrected) * window)",
        ),
        Misconception(
            "one-day-too-many",
            f"The window of {window} days includes the day itself, so a correction reaches {window - 1} days further, "
            f"not {window}.",
            run=f"print(changed({window + 1}))",
        ),
        Misconception(
            "own-day-forgotten",
            f"The corrected day itself changes as well: with the {window - 1} days after it, that makes {window} "
            "days, not "
            f"{window - 1}.",
            run=f"print(changed({window - 1}))",
        ),
        Misconception(
            "window-looks-ahead",
            "That rebuilds the days before a correction. The window looks back, so the days after it are the ones to "
            "change.",
            run="corrected = [days + 1 - day for day in corrected]\nprint(changed())",
        ),
    )


@template(
    name="rolling-window-rebuild",
    topic=Topic.BATCH_PROCESSING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("backfill", "rolling-window", "reprocessing"),
    title="PostgreSQL 18 documentation, 4.2.8 Window Function Calls",
    url="https://www.postgresql.org/docs/18/sql-expressions.html#SYNTAX-WINDOW-FUNCTIONS",
    rated=(2, 1, 2),
)
def rolling_window_rebuild(rng: random.Random) -> Draft:
    """Find how many days of a rolling sum are wrong after corrections of the source."""
    window = rng.choice((3, 4, 5, 7))
    month, days = rng.choice((("April", 30), ("May", 31), ("June", 30), ("July", 31), ("September", 30)))
    what = rng.choice(("revenue", "visits", "sales", "signups", "energy use"))
    corrected = sorted(rng.sample(range(window, days + 1), rng.randint(1, 2)))
    listed = " and ".join(f"{day} {month}" for day in corrected)
    mistakes = _rolling_window_rebuild_mistakes(window, days)
    return Draft(
        prompt=(
            f"A table holds, for each day of {month}, the {what} of the last {window} days: that day and the "
            f"{window - 1} before it. Now the source raises the {what} of {listed}. How many of the {days} days in the "
            "table are wrong?"
        ),
        setup=f"days, window, corrected = {days}, {window}, {corrected}{_ROLLING}",
        run="print(changed())",
        why=(
            f"Each correction changes its own day and up to {window - 1} days after it, within the month; a day in two "
            "such ranges counts once."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "A corrected input day reaches every output whose window holds it: that day and `window - 1` days after "
            "it. "
            "Plan a backfill by output days, cut off at the last one, and build overlapping days once."
        ),
    )
