"""Templates on SQL performance: another condition for the same rows, and changes to a table in use."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.format import MAX_CODE_COLUMNS
from question_bank.templates.base import Draft, Misconception, template


@dataclass(frozen=True)
class _Rewrite:
    """A condition that keeps an index idle, one that finds the same rows, and some that do not."""

    table: str
    column: str
    kind: str
    """The column's type, as the prompt tells it."""
    shown: str
    right: str
    wrong: tuple[tuple[str, str, str], ...]
    """Name of the mistake, condition, and why it finds other rows; first one that is as long as the right one."""
    values: tuple[str, ...]
    """Values of the column, as SQL, on which the conditions differ."""


def _period(rng: random.Random) -> _Rewrite:
    """Return a condition on the day, month or year of a timestamp."""
    table, column = rng.choice(
        (("orders", "paid_at"), ("calls", "began_at"), ("trips", "ended_at"), ("logs", "sent_at"))
    )
    day = date(rng.choice((2024, 2025)), rng.randint(1, 12), rng.randint(1, 28))
    unit = rng.choice(("day", "month", "year"))
    if unit == "day":
        start, end = day, day + timedelta(days=1)
        shown = f"CAST({column} AS date) = '{start}'"
    elif unit == "month":
        start = day.replace(day=1)
        end = (start + timedelta(days=31)).replace(day=1)
        shown = f"date_trunc('month', {column}) = '{start}'"
    else:
        start, end = date(day.year, 1, 1), date(day.year + 1, 1, 1)
        shown = f"extract(year FROM {column}) = {day.year}"
    last = end - timedelta(days=1)
    return _Rewrite(
        table,
        column,
        "a timestamp",
        shown,
        f"{column} >= '{start}' AND {column} < '{end}'",
        (
            (
                "between-leaves-out-its-end",
                f"{column} BETWEEN '{start}' AND '{end}'",
                f"BETWEEN includes its upper end, so midnight at the start of {end} counts too.",
            ),
            (
                "date-means-the-whole-day",
                f"{column} >= '{start}' AND {column} <= '{last}'",
                f"'{last}' means midnight at its start. Later times of that day are lost.",
            ),
            (
                "strict-at-the-start",
                f"{column} > '{start}' AND {column} < '{end}'",
                f"It loses rows at exactly midnight at the start of {start}.",
            ),
            (
                "last-second-ends-the-day",
                f"{column} BETWEEN '{start}' AND '{last} 23:59:59'",
                "It loses the last second, which a timestamp divides into microseconds.",
            ),
        ),
        tuple(
            f"'{at}'"
            for at in (f"{start} 00:00", f"{last} 12:30", f"{last} 23:59:59.5", f"{end} 00:00", f"{end} 08:00")
        ),
    )


def _default(rng: random.Random) -> _Rewrite:
    """Return a condition that gives NULL a value first."""
    table, column, fallback, other = rng.choice(
        (
            ("orders", "discount", "0", "10"),
            ("jobs", "retries", "0", "2"),
            ("claims", "status", "'new'", "'paid'"),
            ("users", "plan", "'free'", "'pro'"),
            ("parcels", "zone", "'home'", "'abroad'"),
        )
    )
    return _Rewrite(
        table,
        column,
        "nullable",
        f"coalesce({column}, {fallback}) = {fallback}",
        f"{column} = {fallback} OR {column} IS NULL",
        (
            (
                "equals-null",
                f"{column} = {fallback} OR {column} = NULL",
                "`= NULL` is never true. The rows with NULL are lost; IS NULL finds them.",
            ),
            (
                "in-finds-null",
                f"{column} IN ({fallback}, NULL)",
                "IN compares with =, and nothing equals NULL. The rows with NULL are lost.",
            ),
            ("null-equals-its-fallback", f"{column} = {fallback}", "It loses the rows with NULL, which coalesce kept."),
            (
                "not-unequal-keeps-null",
                f"NOT ({column} <> {fallback})",
                "For NULL the comparison is unknown, and NOT leaves it unknown. The rows with NULL are lost.",
            ),
            ("fallback-is-only-null", f"{column} IS NULL", f"It loses the rows that hold {fallback} itself."),
        ),
        (fallback, other, "NULL", "NULL"),
    )


def _open_end(rng: random.Random) -> _Rewrite:
    """Return a condition on an end that is NULL while it lies ahead."""
    table, column = rng.choice((("leases", "ended"), ("shifts", "ended"), ("fares", "until"), ("loans", "closed")))
    day = date(2025, rng.randint(1, 12), rng.randint(2, 28))
    return _Rewrite(
        table,
        column,
        "a date, NULL while open",
        f"coalesce({column}, '9999-12-31') > '{day}'",
        f"{column} > '{day}' OR {column} IS NULL",
        (
            (
                "equals-null",
                f"{column} > '{day}' OR {column} = NULL",
                "`= NULL` is never true. Open rows are lost; IS NULL finds them.",
            ),
            (
                "not-keeps-null",
                f"NOT ({column} <= '{day}')",
                "For NULL the comparison is unknown, and NOT leaves it unknown. Open rows are lost.",
            ),
            (
                "end-day-counts",
                f"{column} >= '{day}' OR {column} IS NULL",
                f"It also finds rows that end on {day} itself, which the query left out.",
            ),
            (
                "null-is-later-than-all",
                f"{column} > '{day}'",
                "A comparison with NULL is never true: open rows are lost.",
            ),
        ),
        (f"'{day - timedelta(days=9)}'", f"'{day}'", f"'{day + timedelta(days=1)}'", "NULL"),
    )


def _shifted(rng: random.Random) -> _Rewrite:
    """Return a condition that adds days to the column before it compares."""
    table, column = rng.choice((("bills", "due"), ("leases", "began"), ("parcels", "sent"), ("tests", "taken")))
    sign, span = rng.choice((1, -1)), rng.choice((7, 14, 30))
    day = date(2025, rng.randint(1, 12), rng.randint(1, 28))
    moved, wrong = day - timedelta(days=sign * span), day + timedelta(days=sign * span)
    less, less_equal = rng.choice((("<", "<="), (">", ">=")))
    plus, opposite = ("+", "-") if sign > 0 else ("-", "+")
    return _Rewrite(
        table,
        column,
        "a date",
        f"{column} {plus} INTERVAL '{span} days' {less} '{day}'",
        f"{column} {less} '{moved}'",
        (
            (
                "days-keep-their-sign",
                f"{column} {less} '{wrong}'",
                f"On the other side of the comparison `{plus}` becomes `{opposite}`: {day} {opposite} {span} days.",
            ),
            (
                "bound-counts",
                f"{column} {less_equal} '{moved}'",
                f"It also finds {moved} itself, which the strict comparison left out.",
            ),
            (
                "days-can-go",
                f"{column} {less} '{day}'",
                f"It drops the {span} days instead of moving them.",
            ),
        ),
        tuple(f"'{one + timedelta(days=off)}'" for one in (moved, day, wrong) for off in (-1, 0, 1)),
    )


def _prefix(rng: random.Random) -> _Rewrite:
    """Return a condition on the beginning of a text."""
    table, column = rng.choice((("parcels", "code"), ("parts", "sku"), ("bills", "number"), ("flights", "route")))
    mark = rng.choice(("DE", "FR", "X7", "AB", "Q1"))
    return _Rewrite(
        table,
        column,
        "a text of any length; its index uses `text_pattern_ops`",
        f"left({column}, 2) = '{mark}'",
        f"{column} LIKE '{mark}%'",
        (
            ("anywhere-in-the-text", f"{column} LIKE '%{mark}%'", f"It also finds texts with {mark} further on."),
            (
                "underscore-is-any-rest",
                f"{column} LIKE '{mark}_'",
                "`_` stands for one character, `%` for any number.",
            ),
            ("like-needs-no-wildcard", f"{column} LIKE '{mark}'", f"Without `%` it finds only the text {mark} itself."),
            ("percent-in-front", f"{column} LIKE '%{mark}'", f"It finds texts that end with {mark}."),
        ),
        tuple(f"'{text}'" for text in (mark, f"{mark}5", f"{mark}512", f"9{mark}5", f"95{mark}")),
    )


def _same_rows(rewrite: _Rewrite, condition: str, *, otherwise: str, same: bool) -> str:
    """Return SQL that yields a condition if it finds the same rows as the one shown (or others), or something else."""
    found = f"(SELECT list(id ORDER BY id) FROM {rewrite.table} WHERE {{}})"
    test = f"{found.format(condition)} IS {'NOT ' if same else ''}DISTINCT FROM {found.format(rewrite.shown)}"
    quoted, other = (text.replace("'", "''") for text in (condition, otherwise))
    return f"SELECT CASE WHEN {test} THEN '{quoted}' ELSE '{other}' END;"


@template(
    name="same-rows-through-the-index",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    form=QuestionForm.CHOOSE,
    tags=("indexes", "sargable", "nulls"),
    title="PostgreSQL 18 documentation, 11.2 Index Types, B-Tree",
    url="https://www.postgresql.org/docs/18/indexes-types.html",
    rated=(2, 2, 2),
)
def same_rows_through_the_index(rng: random.Random) -> Draft:
    """Choose the condition on a bare column that finds the same rows as one on an expression."""
    rewrite = rng.choice((_period, _default, _open_end, _shifted, _prefix))(rng)
    kind = {"a timestamp": "TIMESTAMP", "a date": "DATE", "a date, NULL while open": "DATE"}.get(rewrite.kind, "TEXT")
    if rewrite.values[0].isdigit():
        kind = "INT"
    cells = ", ".join(f"({at}, {value})" for at, value in enumerate(rewrite.values))
    longest, *mistakes = [
        Misconception(name, why, run=_same_rows(rewrite, condition, otherwise=rewrite.right, same=False))
        for name, condition, why in rewrite.wrong
    ]
    return Draft(
        prompt=(
            f"This PostgreSQL 18 query reads all of `{rewrite.table}`, though `{rewrite.column}` has an index. The "
            f"column is {rewrite.kind}. Which condition finds the same rows and lets the planner use the index?"
        ),
        code=f"SELECT *\nFROM {rewrite.table}\nWHERE {_broken(rewrite.shown)};",
        language="sql",
        setup=f"CREATE TABLE {rewrite.table} (id INT, {rewrite.column} {kind});"
        f" INSERT INTO {rewrite.table} VALUES {cells};",
        run=_same_rows(rewrite, rewrite.right, otherwise="other rows", same=True),
        option="`{}`",
        why="It compares the column itself, so the index serves it, and every row passes as before.",
        misconceptions=(longest, *rng.sample(mistakes, len(mistakes))),
        explanation=(
            "An index on a column serves comparisons of the column, not of an expression over it. Move the expression "
            "to the other side, and then test the edges: midnight, the last day, NULL. If queries must keep the "
            "expression, index the expression."
        ),
    )


def _broken(condition: str) -> str:
    """Return a condition on two lines if it fits none with WHERE before it."""
    if len(f"WHERE {condition};") <= MAX_CODE_COLUMNS:
        return condition
    head, _, value = condition.rpartition(" ")
    left, _, operator = head.rpartition(" ")
    return f"{left}\n  {operator} {value}"


_TABLE_LOCKS = """
CONFLICTS = {
    "access share": {"access exclusive"},
    "row exclusive": {"share", "access exclusive"},
    "share update exclusive": {"share update exclusive", "share", "access exclusive"},
    "share": {"row exclusive", "share update exclusive", "access exclusive"},
    "access exclusive": {
        "access share", "row exclusive", "share update exclusive", "share", "access exclusive"},
}
PAIRS = {(one, other) for one, others in CONFLICTS.items() for other in others}

def waiting(modes, pairs=PAIRS, behind_waiters=True, behind_all=False):
    running, queue = [], []
    for number, mode in enumerate(modes, 1):
        ahead = running + (queue if behind_waiters else [])
        if any((mode, modes[other - 1]) in pairs for other in ahead) or (behind_all and queue):
            queue.append(number)
        else:
            running.append(number)
    *most, last = queue or ["none"]
    print(f"{', '.join(map(str, most))} and {last}" if most else f"only {last}" if queue else last)

def without(*gone):
    return {pair for pair in PAIRS if not set(pair) <= set(gone)}
"""

_STATEMENTS = {
    "access share": ("SELECT sum(paid) FROM {t}", "SELECT count(*) FROM {t}", "COPY {t} TO STDOUT"),
    "row exclusive": ("COPY {t} FROM STDIN", "INSERT INTO {t} SELECT ..."),
    "share update exclusive": ("VACUUM {t}", "ANALYZE {t}"),
    "share": ("CREATE INDEX ON {t} (day)", "CREATE INDEX ON {t} (paid)"),
    "access exclusive": ("ALTER TABLE {t} ADD note text", "TRUNCATE {t}", "VACUUM FULL {t}"),
}
"""Statements by the lock that they take on the table."""


def _mistakes_about_table_locks() -> tuple[Misconception, ...]:
    """Return the ways to misjudge who waits for whom."""
    return (
        Misconception(
            "only-running-statements-block",
            "A statement also queues behind one that waits, if their locks conflict. Otherwise that one might starve.",
            run="waiting(modes, behind_waiters=False)",
        ),
        Misconception(
            "reads-never-wait",
            "Reads wait for no other read or write, but they do for ACCESS EXCLUSIVE, held or asked for earlier.",
            run='waiting(modes, pairs={pair for pair in PAIRS if pair[0] != "access share"})',
        ),
        Misconception(
            "writes-pass-create-index",
            "A plain CREATE INDEX takes SHARE, which shuts out writes until it ends. CONCURRENTLY does not.",
            run='waiting(modes, pairs=without("share", "row exclusive"))',
        ),
        Misconception(
            "maintenance-shares-a-table",
            "VACUUM and ANALYZE shut each other out on one table, and CREATE INDEX shuts out both.",
            run='waiting(modes, pairs=without("share update exclusive", "share"))',
        ),
        Misconception(
            "whoever-is-behind-a-waiter-waits",
            "A statement overtakes waiting ones, unless its lock conflicts with what they ask for.",
            run="waiting(modes, behind_all=True)",
        ),
        Misconception(
            "maintenance-locks-the-whole-table",
            "VACUUM, ANALYZE and CREATE INDEX let reads through; VACUUM and ANALYZE let writes through as well.",
            run=('waiting(["access exclusive" if mode.startswith("share") else mode for mode in modes])'),
        ),
        Misconception(
            "writes-shut-out-reads",
            "Reads and writes never wait for each other's table locks; readers see the rows as they were before.",
            run='waiting(modes, pairs=PAIRS | {("access share", "row exclusive"), ("row exclusive", "access share")})',
        ),
    )


@template(
    name="statements-in-the-lock-queue",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    form=QuestionForm.READ,
    tags=("locks", "ddl", "lock-queue"),
    title="PostgreSQL 18 documentation, 13.3.1 Table-Level Locks",
    url="https://www.postgresql.org/docs/18/explicit-locking.html",
    rated=(3, 4, 3),
)
def statements_in_the_lock_queue(rng: random.Random) -> Draft:
    """Find the statements that wait for a lock on a table, behind what runs and behind what waits."""
    table = rng.choice(("orders", "trips", "claims", "bills", "rides", "tickets"))
    kinds = tuple(_STATEMENTS)
    modes = [rng.choice(kinds[:-1]), *(rng.choice(kinds) for _ in range(3))]
    lines: list[str] = []
    for number, mode in enumerate(modes, 1):
        fresh = [text for text in _STATEMENTS[mode] if not any(text.format(t=table) in line for line in lines)]
        lines.append(f"{number}  {rng.choice(fresh or _STATEMENTS[mode]).format(t=table)}")
    mistakes = _mistakes_about_table_locks()
    return Draft(
        prompt=(
            f"PostgreSQL 18: four sessions send these statements on `{table}`, one second apart in this order. Each is "
            "a transaction of its own, and after ten seconds none has ended. Which of them wait for a lock?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"modes = {modes}\n{_TABLE_LOCKS}",
        run="waiting(modes)",
        why="A statement waits if its lock conflicts with one that is held, or with one that was asked for earlier.",
        misconceptions=(mistakes[0], *rng.sample(mistakes[1:], len(mistakes) - 1)),
        explanation=(
            "A short ALTER TABLE behind a long query stops everything that comes after it. Set `lock_timeout` and "
            "retry it, and look at `pg_blocking_pids()`. Build indexes with CONCURRENTLY, and keep maintenance of a "
            "table in one session."
        ),
    )
