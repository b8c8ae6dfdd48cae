"""Templates on batch processing: what a table holds after a rerun, and what an archiving job leaves behind."""

from __future__ import annotations

import random
from collections.abc import Mapping
from inspect import getsource

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_INSERT = "INSERT INTO sales\nSELECT * FROM orders\nWHERE day = :day"
_WRITE_MODES: Mapping[str, str] = {
    "append": f"{_INSERT};",
    "day": f"DELETE FROM sales\nWHERE day = :day;\n{_INSERT};",
    "clock": f"DELETE FROM sales\nWHERE day = current_date - 1;\n{_INSERT};",
    "empty": f"TRUNCATE sales;\n{_INSERT};",
    "upsert": f"{_INSERT}\nON CONFLICT (id) DO UPDATE\nSET amount = excluded.amount;",
    "skip": f"{_INSERT}\nON CONFLICT (id) DO NOTHING;",
}
_COUNTS = (
    "SELECT string_agg(name || ' ' || (SELECT count(*) FROM sales WHERE day = number), ', ' ORDER BY number) FROM days"
)
_BELIEFS: Mapping[str, tuple[str, str]] = {
    "old-rows-stay": ("", "That is what a plain INSERT leaves: the old rows of the day beside the new ones."),
    "the-day-is-replaced": (
        "DELETE FROM sales WHERE day = 1;",
        "That would need the rows of the loaded day, and no others, to be deleted first.",
    ),
    "yesterday-is-deleted": (
        "DELETE FROM sales WHERE day = 2;",
        "That would be so if the job deleted by the clock, whichever day it loads.",
    ),
    "the-table-is-emptied": ("DELETE FROM sales;", "That would be so if the job emptied the whole table first."),
    "rows-are-matched": (
        "DELETE FROM sales WHERE id IN (SELECT id FROM orders WHERE day = 1);",
        "That would be so if the job matched rows by id: then only new ids add rows.",
    ),
}
"""What somebody takes the job for: what it would do before it inserts, and why it is not that."""

_RERUN_RIGHT = {
    "append": "Nothing is removed first, so the rerun adds its rows to the old ones.",
    "day": "The job removes exactly the rows of the day that it loads, so a rerun replaces them.",
    "clock": "`current_date - 1` is {second}, whatever is loaded: the rerun deletes {second} and adds {first} again.",
    "empty": "The job empties the whole table, so only the day of the last run is in it.",
    "upsert": "Known ids are updated and new ones added; the cancelled orders are never deleted.",
    "skip": "Known ids are skipped and new ones added; the cancelled orders are never deleted.",
}


def _rerun_setup(mode: str, days: tuple[str, ...], sizes: tuple[int, int], gone: int, late: int) -> str:
    """Return two loads on time, the change of the source, and the rerun of the first day."""

    def job(day: int, today: int) -> str:
        return _WRITE_MODES[mode].replace(":day", str(day)).replace("current_date", str(today))

    key = " PRIMARY KEY" if mode in ("upsert", "skip") else ""
    return (
        f"CREATE TABLE days AS FROM (VALUES (1, '{days[0]}'), (2, '{days[1]}')) AS d(number, name);"
        "CREATE TABLE orders (id INT, day INT, amount INT);"
        f"CREATE TABLE sales (id INT{key}, day INT, amount INT);"
        f"INSERT INTO orders SELECT i, 1, 5 FROM range({sizes[0]}) AS r(i);"
        f"INSERT INTO orders SELECT 100 + i, 2, 5 FROM range({sizes[1]}) AS r(i);"
        f"{job(1, 2)}{job(2, 3)}"
        "CREATE TABLE loaded AS FROM sales;"
        f"DELETE FROM orders WHERE id < {gone};"
        f"INSERT INTO orders SELECT 200 + i, 1, 5 FROM range({late}) AS r(i);"
        f"{job(1, 3)}"
    )


@template(
    name="rerun-by-write-mode",
    topic=Topic.BATCH_PROCESSING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("idempotency", "reruns", "backfill"),
    title="Airflow 3 documentation, Best Practices, Creating a task",
    url="https://airflow.apache.org/docs/apache-airflow/stable/best-practices.html",
    form=QuestionForm.CODE_REVIEW,
    rated=(2, 2, 2),
)
def rerun_by_write_mode(rng: random.Random) -> Draft:
    """Rerun a daily load whose source has changed, for each of several ways to write."""
    mode = rng.choice(tuple(_WRITE_MODES))
    days = rng.choice((("Monday", "Tuesday", "Wednesday"), ("Friday", "Saturday", "Sunday")))
    sizes = (rng.randint(3, 6), rng.randint(2, 6))
    gone, late = rng.randint(1, 2), rng.randint(1, 3)
    again = "CREATE OR REPLACE TABLE sales AS FROM loaded;"
    mistakes = [
        Misconception(name, why, run=f"{again}{first}INSERT INTO sales FROM orders WHERE day = 1;{_COUNTS}")
        for name, (first, why) in _BELIEFS.items()
    ]
    mistakes.append(
        Misconception(
            "reruns-add-nothing",
            "That is the table before the rerun. Nothing in this job skips a day that was loaded before.",
            run=f"{again}{_COUNTS}",
        )
    )
    return Draft(
        prompt=(
            f"On {days[1]} this job loaded {days[0]}'s {sizes[0]} orders, on {days[2]} {days[1]}'s {sizes[1]}. Then "
            f"`orders` loses {gone} of {days[0]}'s rows and gets {late} new. You rerun {days[0]}, still on {days[2]}. "
            "How many rows does `sales` hold for each day?"
        ),
        code=_WRITE_MODES[mode],
        language="sql",
        setup=_rerun_setup(mode, days, sizes, gone, late),
        run=_COUNTS,
        why=_RERUN_RIGHT[mode].format(first=days[0], second=days[1]),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "A load that can be rerun replaces exactly what it writes: delete or overwrite the day that is its "
            "parameter, never the clock's, in the same transaction. An upsert is safe for new and changed rows, but "
            "leaves those that the source has deleted."
        ),
    )


def where_it_ends(event: str, *, atomic: bool, repeatable: bool, moving: bool) -> str:
    """Follow one order through a job that copies old orders and then deletes them: what a drawing executes."""
    orders, archive = ["old"], list[str]()
    is_old = event != "ages"
    for attempt in (1, 2):
        if is_old:
            archive += orders
        if event == "edit" and attempt == 1:
            orders = ["new"]
        failed = event == "crash" or (event == "edit" and repeatable)
        if failed and attempt == 1:
            archive = [] if atomic else archive
            continue
        if is_old or (moving and not atomic):
            orders = []
        break
    if orders:
        return "stays"
    if len(archive) != 1:
        return "twice" if archive else "lost"
    return "stale" if event == "edit" and archive == ["old"] else "once"


_ENDS = {
    "once": "Once in `archive`, up to date",
    "stale": "Once in `archive`, outdated",
    "twice": "Twice in `archive`",
    "lost": "In neither table",
    "stays": "Only in `orders`, untouched",
}
_TAKES = {
    "once": "That takes a copy and a DELETE that go together.",
    "stale": "That takes a change after the copy.",
    "twice": "That takes two copies that commit.",
    "lost": "That takes a DELETE of what was not copied.",
    "stays": "That takes a DELETE that leaves the order.",
}
"""What would have to happen for each end."""
_EVENTS = {
    "crash": "Order {order} is old enough when the job dies between the two statements, and is rerun.",
    "ages": "Order {order} turns {days} days old between the two statements.",
    "edit": "Between the two statements, another session updates order {order} and commits. The order is old enough "
    "before and after. A failed job is rerun.",
}


def _archive_code(days: int, *, atomic: bool, repeatable: bool, moving: bool) -> str:
    where = f"WHERE done <\n  now() - interval '{days} days';" if moving else "WHERE done < :cutoff;"
    begin = "BEGIN ISOLATION LEVEL\n  REPEATABLE READ;\n" if repeatable else "BEGIN;\n" if atomic else ""
    head = "" if atomic else "-- autocommit\n"
    end = "\nCOMMIT;" if atomic else ""
    return f"{head}{begin}INSERT INTO archive\nSELECT * FROM orders\n{where}\nDELETE FROM orders\n{where}{end}"


def _archive_why(event: str, *, atomic: bool, repeatable: bool, moving: bool) -> str:
    """Say where the order ends, and by which rule."""
    if event == "crash":
        return (
            "One transaction holds both statements, so the crash undid the copy; the rerun copies and deletes once."
            if atomic
            else "The copy had committed before the crash. The order is still in `orders`, so the rerun copies it too."
        )
    if event == "edit":
        return (
            "Under REPEATABLE READ the DELETE meets a row changed since the snapshot, and fails. The rerun copies the "
            "new state."
            if repeatable
            else "The copy has the old state. The DELETE sees the change, still matches the row, and removes it."
        )
    if not moving:
        return "Both statements use one cutoff, so the order is too young for both. The next run takes it."
    return (
        "`now()` is the start of the transaction, so it is the same for both statements. The next run takes the order."
        if atomic
        else "Each statement has a `now()` of its own: too young to be copied, the order is old enough to be deleted."
    )


@template(
    name="archive-then-delete",
    topic=Topic.BATCH_PROCESSING,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("transactions", "archiving", "isolation"),
    title="PostgreSQL 18 documentation, 13.2 Transaction Isolation",
    url="https://www.postgresql.org/docs/18/transaction-iso.html",
    form=QuestionForm.CODE_REVIEW,
    rated=(3, 3, 3),
)
def archive_then_delete(rng: random.Random) -> Draft:
    """Copy old rows and delete them, while the job dies or the rows change."""
    event = rng.choice(tuple(_EVENTS))
    order, days = rng.randint(2, 99), rng.choice((30, 60, 90))
    atomic, moving = rng.random() < 0.5, rng.random() < 0.6  # noqa: PLR2004 - about as often as not
    repeatable = atomic and rng.random() < (0.7 if event == "edit" else 0.3)
    how = {"atomic": atomic, "repeatable": repeatable, "moving": moving}
    why = _archive_why(event, **how)
    beliefs = {
        "a-job-is-a-transaction": how | {"atomic": True},
        "each-statement-commits": how | {"atomic": False, "repeatable": False},
        "a-transaction-sees-one-state": how | {"repeatable": True},
        "a-transaction-sees-every-commit": how | {"repeatable": False},
        "the-cutoff-is-fixed": how | {"moving": False},
    }
    mistakes = [
        Misconception(
            name,
            f"{_TAKES[where_it_ends(event, **belief)]} {why}",
            run=f"print(where_it_ends({event!r}, **{belief}))",
        )
        for name, belief in beliefs.items()
    ]
    rest = [Misconception(f"it-ends-{end}", f"{_TAKES[end]} {why}", value=end) for end in _ENDS]
    return Draft(
        prompt=(
            f"A PostgreSQL 18 job archives orders after {days} days; `archive` has no key. "
            f"{_EVENTS[event].format(order=order, days=days)} Where do you find order {order} afterwards?"
        ),
        code=_archive_code(days, **how),
        language="sql",
        setup=getsource(where_it_ends),
        run=f"print(where_it_ends({event!r}, **{how}))",
        why=why,
        misconceptions=[*rng.sample(mistakes, len(mistakes)), *rng.sample(rest, len(rest))],
        explanation=(
            "Move rows in one statement: `WITH gone AS (DELETE ... RETURNING *) INSERT INTO archive SELECT * FROM "
            "gone`: it copies just what it deletes. With two statements, fix the cutoff, use one transaction, and lock "
            "the rows or take REPEATABLE READ."
        ),
        texts=_ENDS,
    )
