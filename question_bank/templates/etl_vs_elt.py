"""Templates on ETL and ELT: upserts and flattened lists."""

from __future__ import annotations

import random
from collections.abc import Iterable

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template


def _row(cells: Iterable[object]) -> str:
    """Write a row as SQL does."""
    return "(" + ", ".join(map(repr, cells)) + ")"


def _values(rows: Iterable[Iterable[object]]) -> str:
    return ", ".join(map(_row, rows))


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


_UPSERT_SCENES = (
    ("stock", "sku", "qty"),
    ("credits", "client", "points"),
    ("seats", "room", "places"),
    ("quota", "team", "hours"),
    ("budget", "shop", "amount"),
)


@template(
    name="upsert-total",
    topic=Topic.ETL_VS_ELT,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("upsert", "on-conflict", "loading"),
    title="PostgreSQL 18 documentation, INSERT, ON CONFLICT Clause",
    url="https://www.postgresql.org/docs/18/sql-insert.html",
    rated=(1, 1, 1),
)
def upsert_total(rng: random.Random) -> Draft:
    """Add up a column after an upsert that meets known and new keys."""
    table, key, column = rng.choice(_UPSERT_SCENES)
    letters = rng.sample("ABCDEFGH", 5)
    old = [(letter, rng.randint(1, 9) * 10) for letter in sorted(letters[:3])]
    known = rng.choice((1, 2))
    batch = [(letter, rng.randint(1, 9) * 10) for letter in (*letters[:known], *letters[3 : 6 - known])]
    rng.shuffle(batch)
    overwrites = rng.random() < 0.6  # noqa: PLR2004 - the usual upsert somewhat more often
    action = f" DO UPDATE\n  SET {column} = excluded.{column}" if overwrites else "\n  DO NOTHING"
    rows = ",\n  ".join(map(_row, batch))
    statement = f"INSERT INTO {table} ({key}, {column})\nVALUES\n  {rows}\nON CONFLICT ({key}){action};"
    total = f"SELECT sum({column}) FROM {table};"
    given = f"WITH old(k, v) AS (VALUES {_values(old)}), batch(k, v) AS (VALUES {_values(batch)}) SELECT sum(v) FROM "
    met = _listed(sorted(letter for letter, _ in batch if letter in letters[:3]))
    mistakes = _upsert_mistakes(given, met, overwrites=overwrites)
    rng.shuffle(mistakes)  # one of the four stays out, so that the right total is not always in the middle
    return Draft(
        prompt=(
            f"`{table}` has the primary key `{key}` and holds ({key}, {column}): "
            f"{_values(old).replace(chr(39), '')}. A load runs the INSERT once. What does the last query return?"
        ),
        code=f"{statement}\n\n{total}",
        language="sql",
        setup=(
            f"CREATE TABLE {table} ({key} TEXT PRIMARY KEY, {column} INT);"
            f"INSERT INTO {table} VALUES {_values(old)};{statement}"
        ),
        run=total,
        why=(
            f"Known keys ({met}) {'take the new value' if overwrites else 'keep the old value'}; "
            "keys that are not there yet are inserted."
        ),
        misconceptions=mistakes,
        explanation=(
            "An upsert decides row by row: a key that is not there is inserted, a key that is there goes to the "
            "conflict action. DO UPDATE overwrites with `excluded`, DO NOTHING keeps the old row. Both can run "
            "twice without making more rows."
        ),
    )


def _upsert_mistakes(given: str, met: str, *, overwrites: bool) -> list[Misconception]:
    """Return what people take an upsert for."""
    kept = given + "(FROM old UNION ALL FROM batch WHERE k NOT IN (SELECT k FROM old))"
    replaced = given + "(FROM batch UNION ALL FROM old WHERE k NOT IN (SELECT k FROM batch))"
    updated = given + "(SELECT coalesce(batch.v, old.v) AS v FROM old LEFT JOIN batch USING (k))"
    appended = Misconception(
        "upsert-appends",
        f"That adds old and new rows of {met} together. With a primary key there is only one row for each key.",
        run=given + "(FROM old UNION ALL FROM batch)",
    )
    swapped = Misconception(
        "batch-replaces-table",
        "That is the sum of the batch alone. Rows that the batch does not name stay in the table.",
        run=given + "batch",
    )
    if overwrites:
        return [
            Misconception(
                "old-row-wins",
                f"That keeps the old values of {met}, as DO NOTHING would. DO UPDATE writes the incoming ones.",
                run=kept,
            ),
            appended,
            Misconception(
                "only-updates",
                "That updates known keys but drops the new ones. A key without a conflict is simply inserted.",
                run=updated,
            ),
            swapped,
        ]
    return [
        Misconception(
            "new-row-wins",
            f"That overwrites {met}. DO NOTHING skips an incoming row whose key is already there.",
            run=replaced,
        ),
        appended,
        Misconception(
            "conflict-drops-the-batch",
            "That leaves out the new keys too. DO NOTHING skips only the rows in conflict, not the whole statement.",
            run=given + "old",
        ),
        swapped,
    ]


_NESTED_SCENES = (
    ("orders", "fee", "items"),
    ("trips", "toll", "stops"),
    ("tickets", "cost", "tags"),
    ("visits", "spend", "pages"),
    ("claims", "cover", "papers"),
    ("parcels", "price", "scans"),
)


@template(
    name="flattened-lists",
    topic=Topic.ETL_VS_ELT,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("unnest", "nested-data", "fan-out"),
    title="PostgreSQL 18 documentation, 7.2.1.5 LATERAL Subqueries",
    url="https://www.postgresql.org/docs/18/queries-table-expressions.html",
    rated=(2, 2, 2),
)
def flattened_lists(rng: random.Random) -> Draft:
    """Flatten lists of a raw table, some of them empty or NULL, and add up a column of the outer row."""
    table, amount, nested = rng.choice(_NESTED_SCENES)
    sizes: list[int | None] = [rng.choice((2, 3)), rng.choice((1, 2)), 0, None]
    rng.shuffle(sizes)
    rows = list(zip(rng.sample(range(10, 60, 10), 4), sizes, strict=True))
    inner = [None if size is None else [rng.choice("abcde") for _ in range(size)] for size in sizes]
    told = ["NULL" if cells is None else "[" + _listed(cells) + "]" for cells in inner]
    comments = "".join(f"-- {number:2}  {cells}\n" for (number, _), cells in zip(rows, told, strict=True))
    left = rng.random() < 0.5  # noqa: PLR2004 - one join as often as the other
    joins = {True: f"LEFT JOIN unnest(o.{nested}) AS u(x)\n  ON true", False: f"CROSS JOIN unnest(o.{nested}) AS u(x)"}
    query = f"SELECT count(*), sum(o.{amount})\nFROM {table} AS o\n"
    values = ", ".join(
        f"({number}, {'NULL' if cells is None else repr(cells)}::TEXT[])"
        for (number, _), cells in zip(rows, inner, strict=True)
    )
    return Draft(
        prompt=(
            f"A raw table `{table}` came from JSON: one row for each object, with the list `{nested}` as an array "
            "column. The comments show its rows. A SQL model flattens it. What does the query return?"
        ),
        code=f"-- {amount}, {nested}\n{comments}\n{query}{joins[left]};",
        language="sql",
        setup=f"CREATE TABLE {table} AS FROM (VALUES {values}) AS v({amount}, {nested});",
        run=query + joins[left],
        why=(
            f"Each element gives a row that repeats `{amount}`. A list that is empty or NULL gives "
            f"{'one row, since LEFT JOIN keeps the outer row' if left else 'none, and takes its outer row away'}."
        ),
        misconceptions=_flatten_mistakes(rng, table, amount, nested, query + joins[not left], left=left),
        explanation=(
            "Flattening changes the grain: one row per element. Columns of the outer row repeat, so a sum takes them "
            "several times; add them up before flattening. An inner or cross join drops rows whose list is "
            "empty or NULL, a LEFT JOIN ... ON true keeps them once."
        ),
    )


def _flatten_mistakes(
    rng: random.Random, table: str, amount: str, nested: str, opposite: str, *, left: bool
) -> list[Misconception]:
    """Return what people expect a join with a list to do."""
    size = f"len({nested})"
    kept = f"greatest(coalesce({size}, 0), 1)" if left else f"coalesce({size}, 0)"
    mistakes = [
        Misconception(
            "empty-lists-vanish" if left else "empty-lists-stay",
            "That drops rows whose list is empty or NULL, as a CROSS JOIN does. LEFT JOIN ... ON true keeps them."
            if left
            else "That keeps a row for each empty or missing list, as LEFT JOIN ... ON true does. CROSS JOIN does not.",
            run=opposite,
        ),
        Misconception(
            "outer-value-counted-once",
            f"That counts {amount} once per object. After the join it stands in every row of its elements, and sum "
            "adds them all.",
            run=f"SELECT sum({kept})::INT, sum({amount}) FILTER (WHERE {kept} > 0) FROM {table}",
        ),
        Misconception(
            "grain-stays",
            "That is one row per object, as before. The join gives one row per element.",
            run=f"SELECT count(*), sum({amount}) FROM {table}",
        ),
        Misconception(
            "empty-is-not-null",
            "That treats an empty list and NULL differently. `unnest` gives no row for either of them.",
            run=f"SELECT sum(CASE WHEN {nested} IS NULL THEN 1 ELSE {size} END)::INT, "
            f"sum({amount} * CASE WHEN {nested} IS NULL THEN 1 ELSE {size} END)::INT FROM {table}",
        ),
        Misconception(
            "null-list-only-vanishes",
            "That keeps the empty list but drops NULL. For `unnest` both are zero rows, so they share one fate.",
            run=f"SELECT sum(greatest({size}, 1))::INT, sum({amount} * greatest({size}, 1))::INT FROM {table} "
            f"WHERE {nested} IS NOT NULL",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
