"""Templates on SQL performance: how many rows a join, a filter and an anti join yield."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_PAIRS = (
    ("orders", "payments", "customer"),
    ("clicks", "purchases", "user_id"),
    ("trips", "refunds", "driver"),
    ("jobs", "alerts", "host"),
    ("visits", "tickets", "account"),
    ("loans", "claims", "member"),
)


def _listed(values: list[int] | list[int | None]) -> str:
    """Return values as a learner reads them."""
    return ", ".join("NULL" if value is None else str(value) for value in values)


def _table(name: str, column: str, values: list[int] | list[int | None]) -> str:
    """Return SQL that makes a table of one column."""
    cells = ", ".join("(NULL)" if value is None else f"({value})" for value in values)
    return f"CREATE TABLE {name} ({column} INT); INSERT INTO {name} VALUES {cells};"


def _mistakes_about_join_row(
    names: tuple[str, str, str], kinds: tuple[str, str], one: list[int], two: list[int]
) -> tuple[Misconception, ...]:
    """Return the ways to miscount the pairs of a join."""
    (left, right, key), (kind, other) = names, kinds
    count = f"SELECT count(*) FROM {left} a {{}} {right} b ON b.{key} = a.{key};"
    partnered = "" if kind == "LEFT JOIN" else f" a WHERE {key} IN (SELECT {key} FROM {right})"
    return (
        Misconception(
            "one-row-per-left-row",
            "That finds at most one partner for each row on the left. A join returns a row for each partner.",
            run=f"SELECT count(*) FROM {left}{partnered};",
        ),
        Misconception(
            "mixes-up-inner-and-left",
            f"That is the count of a plain {other}. A LEFT JOIN keeps rows without a partner, a JOIN drops them.",
            run=count.format(other),
        ),
        Misconception(
            "one-row-per-key",
            "That counts each key once. Rows with the same key on one side stay separate rows.",
            run=f"SELECT count(DISTINCT a.{key}) FROM {left} a {kind} {right} b ON b.{key} = a.{key};",
        ),
        Misconception(
            "rows-are-paired-off",
            "That pairs equal keys off one to one. In a join, each row meets every row with the same key.",
            run=f"SELECT count(*) FROM (SELECT {key}, row_number() OVER (PARTITION BY {key}) AS n FROM {left}) a "
            f"{kind} (SELECT {key}, row_number() OVER (PARTITION BY {key}) AS n FROM {right}) b USING ({key}, n);",
        ),
        Misconception(
            "every-row-meets-every-row",
            f"That is {len(one)} x {len(two)}, a cross join. The ON clause keeps only pairs with equal keys.",
            run=f"SELECT count(*) FROM {left}, {right};",
        ),
    )


@template(
    name="join-row-count",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("joins", "fan-out"),
    title="PostgreSQL 18 documentation, 7.2.1.1 Joined Tables",
    url="https://www.postgresql.org/docs/18/queries-table-expressions.html",
    rated=(1, 1, 1),
)
def join_row_count(rng: random.Random) -> Draft:
    """Count the rows of a join in which keys repeat on both sides."""
    left, right, key = rng.choice(_PAIRS)
    ids = rng.sample(range(1, 10), 4)
    one = sorted([*rng.choices(ids[:3], k=rng.choice((2, 3))), ids[0]])
    two = sorted([*rng.choices([ids[0], ids[1], ids[3]], k=rng.choice((2, 3))), ids[0]])
    kinds = kind, _ = rng.choice((("JOIN", "LEFT JOIN"), ("LEFT JOIN", "JOIN")))
    unmatched = sum(value not in two for value in one)
    query = f"SELECT *\nFROM {left} a\n{{}} {right} b\n  ON b.{key} = a.{key};"
    count = f"SELECT count(*) FROM {left} a {{}} {right} b ON b.{key} = a.{key};"
    keeps = "keeps" if kind == "LEFT JOIN" else "drops"
    lonely = {0: f"no row of `{left}` lacks a partner", 1: f"{kind} {keeps} the one row of `{left}` without a partner"}
    rest = lonely.get(unmatched, f"{kind} {keeps} the {unmatched} rows of `{left}` without a partner")
    return Draft(
        prompt=(
            f"`{left}.{key}` holds {_listed(one)}. `{right}.{key}` holds {_listed(two)}. One value is one row. "
            "How many rows does the query return?"
        ),
        code=query.format(kind),
        language="sql",
        setup=_table(left, key, one) + " " + _table(right, key, two),
        run=count.format(kind),
        why=f"Each pair of rows with the same key is one row, and {rest}.",
        misconceptions=_mistakes_about_join_row((left, right, key), kinds, one, two),
        explanation=(
            "A key that occurs m times on one side and n times on the other gives m x n rows. So a join can return "
            "more rows than either table. If the result must keep one row per left row, make the right side unique "
            "first."
        ),
    )


_OPTIONAL = (
    ("users", "orders", "user_id", "status", ("paid", "open", "void")),
    ("hosts", "alerts", "host_id", "grade", ("high", "low", "info")),
    ("shops", "audits", "shop_id", "result", ("pass", "fail", "late")),
    ("drivers", "trips", "driver_id", "state", ("done", "lost", "booked")),
    ("pupils", "exams", "pupil_id", "mark", ("good", "fair", "weak")),
)


def _mistakes_about_left_join(
    names: tuple[str, str, str, str], condition: str, other: str, wrong: str
) -> tuple[Misconception, ...]:
    """Return the ways to misread where a condition stands."""
    left, right, key, column = names
    joined = f"SELECT count(*) FROM {left} a LEFT JOIN {right} b ON b.{key} = a.id"
    return (
        Misconception("other-place-of-the-condition", wrong, run=f"{joined} {other} {condition};"),
        Misconception(
            "one-row-per-left-row",
            f"That is one row for each id of `{left}`. An id with several partners gets several rows.",
            run=f"SELECT count(*) FROM {left};",
        ),
        Misconception(
            "condition-has-no-effect",
            f"That is the LEFT JOIN without the condition on `{column}`.",
            run=f"{joined};",
        ),
        Misconception(
            "one-row-per-matching-id",
            f"That counts the ids with a matching row in `{right}`, each once. The join returns each match.",
            run=f"SELECT count(DISTINCT a.id) FROM {left} a JOIN {right} b ON b.{key} = a.id AND {condition};",
        ),
        Misconception(
            "no-condition-and-no-left",
            f"That is every row of `{right}`. Its rows must also pass the condition on `{column}`.",
            run=f"SELECT count(*) FROM {right};",
        ),
    )


@template(
    name="left-join-condition-place",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("joins", "nulls", "filters"),
    title="PostgreSQL 18 documentation, 7.2.1.1 Joined Tables",
    url="https://www.postgresql.org/docs/18/queries-table-expressions.html",
    rated=(2, 2, 2),
)
def left_join_condition_place(rng: random.Random) -> Draft:
    """Count the rows of a LEFT JOIN whose condition stands in ON or in WHERE."""
    left, right, key, column, values = rng.choice(_OPTIONAL)
    size = rng.choice((3, 4))
    ids = sorted(rng.choices(range(1, size), k=rng.choice((3, 4))))
    rows = [(one, rng.choice(values)) for one in ids]
    place, other = rng.sample(("AND", "WHERE"), 2)
    condition = f"b.{column} {rng.choice(('=', '=', '<>'))} '{rng.choice(rows)[1]}'"
    indent = "  " if place == "AND" else ""
    joined = f"SELECT count(*) FROM {left} a LEFT JOIN {right} b ON b.{key} = a.id"
    if place == "WHERE":
        why = "WHERE runs after the join. A row without a partner has NULL there, which does not pass the condition."
        wrong = "That is the count with the condition in ON. In WHERE it also drops the rows that have no partner."
    else:
        why = f"The condition in ON only limits the partners. A row of `{left}` that finds none stays, with NULLs."
        wrong = f"That is the count with the condition in WHERE. In ON it never drops a row of `{left}`."
    return Draft(
        prompt=(
            f"`{left}` holds the ids 1 to {size}. `{right}` holds ({key}, {column}): "
            + ", ".join(f"({one}, '{value}')" for one, value in rows)
            + ". How many rows does the query return?"
        ),
        code=f"SELECT a.id, b.{column}\nFROM {left} a\nLEFT JOIN {right} b\n  ON b.{key} = a.id\n"
        f"{indent}{place} {condition};",
        language="sql",
        setup=f"CREATE TABLE {left} AS SELECT * FROM range(1, {size + 1}) t(id);"
        f" CREATE TABLE {right} ({key} INT, {column} TEXT); INSERT INTO {right} VALUES {', '.join(map(str, rows))};",
        run=f"{joined} {place} {condition};",
        why=why,
        misconceptions=_mistakes_about_left_join((left, right, key, column), condition, other, wrong),
        explanation=(
            "A condition on the optional table belongs in ON if rows without a match should stay. In WHERE it turns "
            "the LEFT JOIN into an inner join, unless it accepts NULL. Look for this first when rows vanish from a "
            "report."
        ),
    )


_FORMS = {
    "NOT IN": "SELECT {c} FROM {a}\nWHERE {c} NOT IN (\n  SELECT {c} FROM {b})",
    "NOT EXISTS": "SELECT {c} FROM {a} x\nWHERE NOT EXISTS (\n  SELECT 1 FROM {b} y\n  WHERE y.{c} = x.{c})",
    "EXCEPT": "SELECT {c} FROM {a}\nEXCEPT\nSELECT {c} FROM {b}",
    "EXCEPT ALL": "SELECT {c} FROM {a}\nEXCEPT ALL\nSELECT {c} FROM {b}",
}

_FORM_WHY = {
    "NOT IN": "NOT IN is never true for a NULL on the left, and for no row at all once the list holds a NULL.",
    "NOT EXISTS": "NOT EXISTS keeps each row of `{a}` without an equal in `{b}`. NULL equals nothing, so it stays.",
    "EXCEPT": "EXCEPT treats NULLs as equal and returns each remaining value once.",
    "EXCEPT ALL": "EXCEPT ALL treats NULLs as equal, and each row of `{b}` takes away only one equal row.",
}

_FORM_RULE = (
    "NOT IN needs a list without NULLs. NOT EXISTS keeps NULL rows and duplicates, EXCEPT drops duplicates, "
    "and both EXCEPT forms match NULL with NULL. They are not interchangeable: choose by what NULLs and "
    "repeats mean, and use NOT EXISTS as the default."
)

_FEEDS = (
    ("visits", "buyers", "user_id"),
    ("calls", "contracts", "client_id"),
    ("scans", "recalls", "part_id"),
    ("rides", "complaints", "driver_id"),
    ("logins", "managed", "device_id"),
)
"""What happened, and where the id of some of it stands; the id may be unknown, as of a visitor without an account."""


def _form(form: str, feeds: tuple[str, str, str]) -> str:
    """Return one of the four ways to ask for what only the first of two tables holds."""
    one, two, column = feeds
    return _FORMS[form].format(a=one, b=two, c=column)


@template(
    name="anti-join-forms",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("anti-join", "nulls", "set-operations"),
    title="PostgreSQL 18 documentation, 9.24 Subquery Expressions, and 7.4 Combining Queries",
    url="https://www.postgresql.org/docs/18/functions-subquery.html",
    rated=(2, 2, 2),
)
def anti_join_forms(rng: random.Random) -> Draft:
    """Count what each of four ways to subtract one table from another leaves, with NULLs and duplicates."""
    feeds = rng.choice(_FEEDS)
    first, second, column = feeds
    ids = rng.sample(range(1, 10), 4)
    one: list[int | None] = [ids[0], ids[0], ids[1], None, *rng.choice(([], [ids[2]], [None]))]
    two: list[int | None] = [rng.choice(ids[:2]), ids[3], *rng.choice(([], [None]))]
    rng.shuffle(one)
    rng.shuffle(two)
    shown = rng.choice(tuple(_FORMS))
    counts = {form: f"SELECT count(*) FROM ({_form(form, feeds)});" for form in _FORMS}
    mistakes = [
        Misconception(
            "reads-it-as-" + form.lower().replace(" ", "-"),
            f"That is the result of {form}. " + _FORM_WHY[form].format(a=first, b=second),
            run=counts[form],
        )
        for form in _FORMS
        if form != shown
    ]
    return Draft(
        prompt=(
            f"`{first}.{column}` holds {_listed(one)}. `{second}.{column}` holds {_listed(two)}. One value is one row. "
            "How many rows does the query return?"
        ),
        code=_form(shown, feeds) + ";",
        language="sql",
        setup=_table(first, column, one) + " " + _table(second, column, two),
        run=counts[shown],
        why=_FORM_WHY[shown].format(a=first, b=second),
        misconceptions=(
            *mistakes,
            Misconception(
                "nulls-are-skipped",
                "That leaves NULLs out on both sides and keeps duplicates. "
                + _FORM_WHY[shown].format(a=first, b=second),
                run=f"SELECT count(*) FROM {first}"
                f" WHERE {column} NOT IN (SELECT {column} FROM {second} WHERE {column} IS NOT NULL);",
            ),
            Misconception(
                "row-counts-are-subtracted",
                f"That is {len(one)} - {len(two)}. A row of `{second}` without an equal takes nothing away.",
                run=f"SELECT (SELECT count(*) FROM {first}) - (SELECT count(*) FROM {second});",
            ),
        ),
        explanation=_FORM_RULE,
    )
