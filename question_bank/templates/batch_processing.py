"""Templates on batch processing: snapshots, reruns, paging and what must be built again."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template


def _snapshots(rng: random.Random, values: tuple[str, ...]) -> tuple[dict[int, str], dict[int, str]]:
    """Draw two full copies of a table: some rows stay, change, vanish or are new."""
    ids = sorted(rng.sample(range(1, 13), 9))
    before = {number: rng.choice(values) for number in ids}
    gone = rng.sample(ids, rng.randint(1, 3))
    stay = [number for number in ids if number not in gone]
    changed = rng.sample(stay, rng.randint(1, 3))
    after = {number: before[number] for number in stay}
    for number in changed:
        after[number] = rng.choice([value for value in values if value != before[number]])
    free = [number for number in range(1, 16) if number not in ids]
    for number in rng.sample(free, rng.randint(1, 3)):
        after[number] = rng.choice(values)
    return before, dict(sorted(after.items()))


def _count(body: str) -> str:
    return f"SELECT count(*) FROM ({body})"


def _comment(name: str, rows: dict[int, str]) -> str:
    cells = [f"{number} {value}" for number, value in rows.items()]
    lines = [", ".join(cells[place : place + 4]) for place in range(0, len(cells), 4)]
    return "\n".join([f"-- {name}:", *(f"--   {line}" for line in lines)])


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
            run=f"SELECT count(*) FROM {first} a JOIN {second} b ON a.id = b.id WHERE a.val <> b.val",
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
)
def snapshot_diff_except(rng: random.Random) -> Draft:
    """Compare two daily copies of a table by EXCEPT."""
    values = rng.choice((("new", "paid", "sent"), ("low", "mid", "high"), ("eu", "us", "asia")))
    old, now = rng.choice((("monday", "tuesday"), ("may_1", "may_2"), ("week_1", "week_2"), ("v1", "v2")))
    before, after = _snapshots(rng, values)
    first, second = rng.choice(((now, old), (old, now)))
    query = f"SELECT * FROM {first}\nEXCEPT\nSELECT * FROM {second};"

    one_way = f"SELECT * FROM {first} EXCEPT SELECT * FROM {second}"
    other_way = f"SELECT * FROM {second} EXCEPT SELECT * FROM {first}"
    absent = f"id NOT IN (SELECT id FROM {second})"
    mistakes = _snapshot_diff_except_mistakes(first, second, one_way, other_way, absent)
    tables = "".join(
        f"CREATE TABLE {name} (id INT, val TEXT); INSERT INTO {name} VALUES {', '.join(map(str, rows.items()))};"
        for name, rows in ((old, before), (now, after))
    )
    return Draft(
        prompt=(
            "A job copies a whole table now and then. Two copies, with the columns id and val, are shown in the "
            "comments; "
            f"`{old}` is the older one. How many rows does the query return?"
        ),
        code=f"{_comment(old, before)}\n{_comment(now, after)}\n{query}",
        language="sql",
        setup=tables,
        run=_count(one_way),
        why=f"It returns each row of `{first}` that doesn't stand with the same id and the same val in `{second}`.",
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
            f"The failed append was rolled back: the {files[broken]} rows of {broken} come in by the second run only.",
            run="print(load(False, keep_partial=True))",
        ),
        Misconception(
            "two-full-loads",
            f"The first run stopped at {broken}; it did not load all files.",
            run="print(2 * sum(files.values()))",
        ),
        Misconception(
            "only-the-rest",
            f"That leaves out the {done} rows that stand before {broken} and counts only the rest of the files.",
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
)
def failed_load_run_again(rng: random.Random) -> Draft:
    """Run a load of several files once more after one of them failed."""
    names = rng.choice(
        (("north", "south", "east", "west"), ("jan", "feb", "mar", "apr"), ("web", "app", "shop", "phone"))
    )
    files = dict(zip(names, rng.sample(range(100, 990, 10), 4), strict=True))
    place = rng.randint(1, 3)
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
            f"A load appends four files to an empty table; their rows are: {listed}. In the first run the append of "
            f"{broken} fails halfway, its transaction is rolled back and the job stops. The file is mended, with the "
            "same "
            "number of rows, and the whole job runs again without a fault. How many rows does the table hold?"
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
)
def offset_paging_skips_rows(rng: random.Random) -> Draft:
    """Page by OFFSET through rows that no longer match once they are handled."""
    limit = rng.choice((20, 50, 100, 200))
    total = limit * rng.randint(4, 9) + rng.choice((0, limit // 2, limit // 4, limit // 10))
    table, state, call = rng.choice(
        (("jobs", "new", "mark_done"), ("mails", "open", "mark_sent"), ("files", "raw", "mark_parsed"))
    )
    mistakes = _offset_paging_skips_rows_mistakes(total, limit)
    code = (
        "offset = 0\nwhile True:\n    ids = fetch(\n"
        f'        "SELECT id FROM {table}"\n'
        f"        \" WHERE state = '{state}'\"\n"
        '        " ORDER BY id"\n'
        f'        " LIMIT {limit} OFFSET %s", offset)\n'
        "    if not ids:\n        break\n"
        f"    {call}(ids)  # new state, commit\n    offset += {limit}"
    )
    return Draft(
        prompt=(
            f"Table {table} holds {total} rows, all with state '{state}'. Nothing else writes to it. `{call}` gives "
            "the "
            f"rows another state. How many rows still have the state '{state}' when this loop ends?"
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
