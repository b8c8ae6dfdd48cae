"""Templates on data modeling."""

from __future__ import annotations

import random
from collections.abc import Sequence

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_GRAINS = (
    ("receipt_lines", ("day", "store", "product"), ("Mon", "Tue", "Wed"), ("A", "B", "C"), ("tea", "milk", "rice")),
    ("rides", ("day", "zone", "driver"), ("Mon", "Tue", "Wed"), ("North", "East", "West"), ("Ann", "Ben", "Cem")),
    ("tickets", ("week", "team", "agent"), ("W1", "W2", "W3"), ("Web", "Shop", "App"), ("Ida", "Jon", "Kim")),
    ("parcels", ("day", "depot", "truck"), ("Thu", "Fri", "Sat"), ("Rome", "Oslo", "Lyon"), ("T1", "T2", "T3")),
    ("logins", ("day", "country", "device"), ("Sun", "Mon", "Tue"), ("DE", "FR", "IT"), ("phone", "tablet", "pc")),
)


def _mistakes_about_grain(table: str, grain: tuple[str, str], counts: tuple[int, int]) -> tuple[Misconception, ...]:
    """Return the ways to misjudge how many rows a grain leaves."""
    (first, second), (firsts, seconds) = grain, counts
    return (
        Misconception(
            "grain-keeps-every-row",
            f"That keeps every row of `{table}`. Rows that share {first} and {second} become one row.",
            run=f"SELECT count(*) FROM {table};",
        ),
        Misconception(
            "every-possible-pair",
            f"That is {firsts} x {seconds}, every possible pair. A pair that never occurs has nothing to sum up.",
            run=f"SELECT count(DISTINCT {first}) * count(DISTINCT {second}) FROM {table};",
        ),
        Misconception(
            "only-the-first-column",
            f"That is one row per {first}. The grain also tells the {second} apart.",
            run=f"SELECT count(DISTINCT {first}) FROM {table};",
        ),
        Misconception(
            "only-the-second-column",
            f"That is one row per {second}. The grain also tells the {first} apart.",
            run=f"SELECT count(DISTINCT {second}) FROM {table};",
        ),
        Misconception(
            "counts-of-both-columns-added",
            f"That adds {firsts} and {seconds}. A row of the new table stands for a pair, not for one of the two.",
            run=f"SELECT count(DISTINCT {first}) + count(DISTINCT {second}) FROM {table};",
        ),
    )


@template(
    name="summary-rows-of-a-grain",
    topic=Topic.DATA_MODELING,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("grain", "fact-table"),
    title="Kimball Group, Dimensional Modeling Techniques, Grain",
    url="https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/"
    "dimensional-modeling-techniques/grain/",
    rated=(1, 1, 1),
)
def summary_rows_of_a_grain(rng: random.Random) -> Draft:
    """Count the rows that are left when a table is summed up to a coarser grain."""
    table, columns, *pools = rng.choice(_GRAINS)
    rows = sorted(tuple(rng.choice(pool) for pool in pools) for _ in range(rng.randint(6, 8)))
    one, two = sorted(rng.sample(range(3), 2))
    first, second = columns[one], columns[two]
    shown = [", ".join(columns), *(", ".join(row) for row in rows)]
    cells = ", ".join("(" + ", ".join(f"'{cell}'" for cell in row) + ")" for row in rows)
    counts = len({row[one] for row in rows}), len({row[two] for row in rows})
    mistakes = _mistakes_about_grain(table, (first, second), counts)
    return Draft(
        prompt=(
            f"`{table}` holds the rows below. A query sums them up into a table with the grain "
            f'"one row per {first} and {second}". How many rows does the new table get?'
        ),
        code="\n".join(shown),
        language="text",
        setup=f"CREATE TABLE {table} ({', '.join(f'{name} TEXT' for name in columns)});"
        f" INSERT INTO {table} VALUES {cells};",
        run=f"SELECT count(*) FROM (SELECT {first}, {second} FROM {table} GROUP BY {first}, {second});",
        why=f"That is the number of different pairs of {first} and {second} in the {len(rows)} rows.",
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "The grain says what one row stands for. Its columns are the key: one row for each combination that "
            "occurs. Declare it before you choose the columns, since details below the grain are lost."
        ),
    )


_MIXED = (
    ("customer", "city", "phone", ("Rome", "Oslo", "Lyon"), ("11", "22", "33")),
    ("product", "group", "label", ("food", "toys", "home"), ("L1", "L2", "L3")),
    ("employee", "team", "email", ("core", "apps", "data"), ("a@x", "b@x", "c@x")),
    ("supplier", "rating", "contact", ("gold", "iron", "zinc"), ("Ann", "Ben", "Cem")),
    ("device", "site", "nickname", ("S1", "S2", "S3"), ("owl", "fox", "elk")),
)


def _deliveries(rng: random.Random, tracked: Sequence[str], plain: Sequence[str]) -> list[tuple[int, int, str, str]]:
    """Return rows of (day, id, tracked, plain) in which either value changes now and then."""
    ids = sorted(rng.sample(range(1, 10), 2))
    now = {key: [rng.choice(tracked), rng.choice(plain)] for key in ids}
    order = [*ids, *rng.choices(ids, k=rng.randint(4, 5))]
    rows = []
    for day, key in enumerate(order, 1):
        if day > len(ids):
            change = rng.choice(("tracked", "tracked", "plain", "plain", "both", "nothing"))
            if change in {"tracked", "both"}:
                now[key][0] = rng.choice([value for value in tracked if value != now[key][0]])
            if change in {"plain", "both"}:
                now[key][1] = rng.choice([value for value in plain if value != now[key][1]])
        rows.append((day, key, now[key][0], now[key][1]))
    return rows


def _changes(columns: str) -> str:
    """Return SQL that counts the deliveries whose columns differ from the delivery before of the same key."""
    return (
        f"SELECT count(*) FROM (SELECT ({columns}) IS DISTINCT FROM lag(({columns})) OVER w AS changed FROM feed "
        "WINDOW w AS (PARTITION BY id ORDER BY day)) WHERE changed;"
    )


def _mistakes_about_scd_rows(tracked: str, plain: str, keys: int) -> tuple[Misconception, ...]:
    """Return the ways to miscount the versions of a dimension."""
    return (
        Misconception(
            "type-1-adds-a-version",
            f"That adds a row when only `{plain}` changes. A type 1 attribute is overwritten in place.",
            run=_changes("kept, over"),
        ),
        Misconception(
            "old-value-reuses-its-row",
            f"That counts each `{tracked}` of an `id` once. An old value that comes back is a new version.",
            run="SELECT count(*) FROM (SELECT DISTINCT id, kept FROM feed);",
        ),
        Misconception(
            "first-row-is-not-counted",
            f"That counts the changes only. Each of the {keys} ids also has the row that its first delivery made.",
            run=_changes("kept").replace("count(*)", "count(*) - (SELECT count(DISTINCT id) FROM feed)", 1),
        ),
        Misconception(
            "one-row-per-key",
            f"That is one row per `id`. Type 2 keeps the old `{tracked}` in a row of its own.",
            run="SELECT count(DISTINCT id) FROM feed;",
        ),
        Misconception(
            "every-delivery-is-a-version",
            f"That is one row per delivery. A delivery with the same `{tracked}` adds no version.",
            run="SELECT count(*) FROM feed;",
        ),
    )


@template(
    name="scd-rows-of-mixed-types",
    topic=Topic.DATA_MODELING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("scd-type-2", "scd-type-1", "dimension"),
    title="Kimball Group, Dimensional Modeling Techniques, Type 2: Add New Row",
    url="https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/"
    "dimensional-modeling-techniques/type-2/",
    rated=(2, 2, 2),
)
def scd_rows_of_mixed_types(rng: random.Random) -> Draft:
    """Count the versions in a dimension that tracks one attribute and overwrites another."""
    entity, tracked, plain, some, others = rng.choice(_MIXED)
    rows = _deliveries(rng, some, others)
    mistakes = _mistakes_about_scd_rows(tracked, plain, len({row[1] for row in rows}))
    shown = "\n".join([f"day, id, {tracked}, {plain}", *(", ".join(map(str, row)) for row in rows)])
    cells = ", ".join(f"({day}, {key}, '{one}', '{two}')" for day, key, one, two in rows)
    return Draft(
        prompt=(
            f"`dim_{entity}` starts empty. It keeps `{tracked}` as type 2 and `{plain}` as type 1. The load "
            "compares each delivery below with the current row of the same `id`. "
            "How many rows does the dimension hold at the end?"
        ),
        code=shown,
        language="text",
        setup=f"CREATE TABLE feed (day INT, id INT, kept TEXT, over TEXT); INSERT INTO feed VALUES {cells};",
        run=_changes("kept"),
        why=f"Each `id` gets a first row, and a further one whenever its `{tracked}` differs from the row before.",
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "A type 2 attribute opens a new row at each change, also when an old value comes back. A type 1 attribute "
            "is overwritten and adds none. So compare only the type 2 columns to decide whether a version is due."
        ),
    )
