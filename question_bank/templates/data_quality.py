"""Templates on data quality: missing values, duplicates and constraints."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_NUMBER_COLUMNS = (
    ("sales", "price", "price"),
    ("calls", "seconds", "length"),
    ("parcels", "grams", "weight"),
    ("visits", "pages", "page count"),
)
_STEPS = {
    3: ((-20, -10, 30), (-30, 10, 20), (-20, -20, 40), (-30, -10, 40)),
    4: ((-20, -10, -10, 40), (-40, 10, 10, 20), (-30, -20, -20, 70), (-10, -10, -10, 30)),
}
"""What the values are above their mean; they sum to zero, and the middle one is not the mean."""


@template(
    name="avg-ignores-nulls",
    topic=Topic.DATA_QUALITY,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("nulls", "aggregates"),
    title="PostgreSQL 18 documentation, 9.21 Aggregate Functions",
    url="https://www.postgresql.org/docs/18/functions-aggregate.html",
    rated=(1, 1, 1),
)
def avg_ignores_nulls(rng: random.Random) -> Draft:
    """Take an average over a column with missing values."""
    table, column, thing = rng.choice(_NUMBER_COLUMNS)
    count, nulls = rng.choice((3, 4)), rng.choice((1, 2))
    mean = 10 * (count + nulls) * rng.choice((1, 2, 3))  # so that every way of counting gives a whole number
    values = [mean + step for step in rng.choice(_STEPS[count])]
    cells: list[int | None] = [*values, *[None] * nulls]
    rng.shuffle(cells)
    shown = ", ".join("NULL" if cell is None else str(cell) for cell in cells)
    rows = ", ".join(f"({'NULL' if cell is None else cell})" for cell in cells)
    third = _avg_mistakes(table, column, thing)
    rng.shuffle(third)  # so that the right number is not always the one in the middle
    query = f"SELECT avg({column}) FROM {table};"
    return Draft(
        prompt=f"The column `{column}` of a table holds {shown}. What does the query return?",
        code=query,
        language="sql",
        setup=f"CREATE TABLE {table} ({column} INT); INSERT INTO {table} VALUES {rows};",
        run=query,
        why=f"`avg` leaves NULLs out of both sum and count, so it divides {sum(values)} by {count}.",
        misconceptions=(
            Misconception(
                "null-counts-as-zero",
                f"That divides by all {len(cells)} rows. `avg` does not count rows whose {thing} is NULL.",
                run=f"SELECT avg(coalesce({column}, 0)) FROM {table};",
            ),
            Misconception(
                "null-poisons-the-result",
                "An expression like `1 + NULL` is NULL, but an aggregate skips NULLs and is NULL only without values.",
                value="NULL",
            ),
            *third,
        ),
        explanation=(
            f"Aggregates other than `count(*)` skip NULLs. A missing {thing} neither lowers the average nor makes it "
            f"NULL. If missing means zero, say so: `avg(coalesce({column}, 0))`."
        ),
    )


def _avg_mistakes(table: str, column: str, thing: str) -> list[Misconception]:
    return [
        Misconception(
            "forgets-to-divide",
            f"That is the sum. `avg` divides it by the number of rows that have a {thing}.",
            run=f"SELECT sum({column}) FROM {table};",
        ),
        Misconception(
            "median",
            f"That is the {thing} in the middle of the sorted ones, the median. `avg` divides the sum by their number.",
            run=f"SELECT median({column}) FROM {table};",
        ),
    ]


_TEXT_SCENES = (
    ("users", "login", ("ann", "bob", "eva", "kim", "lea", "tom", "zoe")),
    ("shops", "code", ("ber1", "osl2", "par3", "rom4", "wie5")),
    ("tags", "label", ("gold", "new", "sale", "vip", "old")),
    ("devices", "serial", ("x10", "x11", "z20", "z31", "q77")),
    ("cities", "name", ("bonn", "lyon", "oslo", "rome", "turin")),
)


@template(
    name="duplicates-after-cleaning",
    topic=Topic.DATA_QUALITY,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("duplicates", "group-by", "text-cleaning"),
    title="PostgreSQL 18 documentation, 7.2.3 The GROUP BY and HAVING Clauses",
    url="https://www.postgresql.org/docs/18/queries-table-expressions.html",
    rated=(1, 1, 1),
)
def duplicates_after_cleaning(rng: random.Random) -> Draft:
    """Read what a duplicate check finds in text with stray spaces, mixed case and NULLs."""
    table, column, words = rng.choice(_TEXT_SCENES)
    changes = (str, str, str.upper, str.title, lambda word: word + " ", lambda word: " " + word.title())
    cells = [rng.choice(changes)(word) for word in rng.choices(rng.sample(words, 3), k=5)]
    cells += ["NULL"] * rng.choice((1, 2, 2))
    rng.shuffle(cells)
    quoted = [cell if cell == "NULL" else f"'{cell}'" for cell in cells]
    cleaned = rng.choice((f"lower(trim({column}))", f"trim(lower({column}))", f"trim({column})", f"lower({column})"))
    does = {"lower(trim": "case and spaces", "trim(lower": "case and spaces", "trim(": "spaces", "lower(": "case"}
    levelled = next(what for start, what in does.items() if cleaned.startswith(start))
    groups = f"SELECT {cleaned} AS k, count(*) AS n FROM {table} GROUP BY {cleaned} HAVING count(*) > 1"
    return Draft(
        prompt=(
            f"`{table}.{column}` holds {', '.join(quoted)}. Text is compared exactly: case and spaces count. How many "
            "rows does this check return?"
        ),
        code=f"SELECT {cleaned} AS k,\n  count(*) AS n\nFROM {table}\nGROUP BY {cleaned}\nHAVING count(*) > 1;",
        language="sql",
        setup=f"CREATE TABLE {table} AS FROM (VALUES {', '.join(f'({cell})' for cell in quoted)}) AS v({column});",
        run=f"SELECT count(*) FROM ({groups});",
        why=f"The check evens out {levelled}, and gives one row for each value that is then there more than once.",
        misconceptions=_duplicate_mistakes(rng, groups, cleaned, column),
        explanation=(
            "GROUP BY makes one group of equal values, after whatever the expression does to them, and puts all NULLs "
            "in one group. HAVING keeps groups of two or more, one row each. Clean the key in one place, and filter "
            "NULLs if a missing key is another test."
        ),
    )


def _duplicate_mistakes(rng: random.Random, groups: str, cleaned: str, column: str) -> list[Misconception]:
    fully = f"lower(trim({column}))"
    mistakes = [
        Misconception(
            "nulls-are-never-equal",
            "That leaves out the NULLs because `NULL = NULL` is not true. GROUP BY still puts them into one group.",
            run=f"SELECT count(*) FROM ({groups}) WHERE k IS NOT NULL;",
        ),
        Misconception(
            "one-row-per-surplus-copy",
            "That counts the copies that are too many. The query returns one row for each repeated value.",
            run=f"SELECT sum(n) - count(*) FROM ({groups});",
        ),
        Misconception(
            "one-row-per-duplicate",
            "That counts every row of the table with a repeated value. GROUP BY turns each group into one row.",
            run=f"SELECT coalesce(sum(n), 0) FROM ({groups});",
        ),
        Misconception(
            "cleaning-overlooked",
            f"That groups the text as it is stored. The query groups by {cleaned}, which makes more values equal.",
            run=f"SELECT count(*) FROM ({groups.replace(cleaned, column)});",
        ),
        Misconception(
            "more-than-two",
            "That asks for three copies or more. With `> 1` a pair is reported as well.",
            run=f"SELECT count(*) FROM ({groups.replace('> 1', '> 2')});",
        ),
        Misconception(
            "having-overlooked",
            "That counts all groups. HAVING keeps only those with more than one row.",
            run=f"SELECT count(*) FROM ({groups.replace(' HAVING count(*) > 1', '')});",
        ),
    ]
    if "lower" not in cleaned or "trim" not in cleaned:
        mistakes.append(
            Misconception(
                "cleans-too-much",
                f"That evens out both case and spaces. {cleaned} does only one of the two.",
                run=f"SELECT count(*) FROM ({groups.replace(cleaned, fully)});",
            )
        )
    rng.shuffle(mistakes)
    return mistakes


_NUMBER_SCENES = (
    ("orders", "qty", "price"),
    ("trips", "km", "fare"),
    ("rooms", "beds", "rate"),
    ("loans", "years", "rate"),
    ("parcels", "grams", "fee"),
    ("shifts", "hours", "pay"),
)
_CHECK = """
import sqlite3
db = sqlite3.connect(":memory:")
def stored(check, values=rows):
    db.execute(f"CREATE TABLE t ({a} INT, {b} INT, CHECK ({check}))")
    for row in values:
        db.execute("INSERT OR IGNORE INTO t VALUES (?, ?)", row)
    return db.execute("SELECT count(*) FROM t").fetchone()[0]
def found(rule):
    db.execute(f"CREATE TABLE u ({a} INT, {b} INT)")
    db.executemany("INSERT INTO u VALUES (?, ?)", rows)
    return db.execute(f"SELECT count(*) FROM u WHERE {rule}").fetchone()[0]
"""


@template(
    name="check-constraint-of-two-columns",
    topic=Topic.DATA_QUALITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("check-constraints", "three-valued-logic", "nulls"),
    title="PostgreSQL 18 documentation, 5.5.1 Check Constraints",
    url="https://www.postgresql.org/docs/18/ddl-constraints.html",
    rated=(2, 3, 2),
)
def check_constraint_of_two_columns(rng: random.Random) -> Draft:
    """Count the rows that pass a CHECK whose condition joins two columns that may be NULL."""
    table, a, b = rng.choice(_NUMBER_SCENES)
    low, high = rng.choice((0, 5, 10)), rng.choice((50, 80, 100))
    rule = rng.choice(
        (
            f"{a} > {low} AND {b} < {high}",
            f"{a} > {low} OR {b} < {high}",
            f"NOT ({a} > {low} AND {b} < {high})",
            f"NOT ({a} > {low} OR {b} < {high})",
            f"NOT ({a} <= {low}) AND {b} < {high}",
            f"{a} > {low} OR NOT ({b} >= {high})",
        )
    )
    rows = rng.sample([(x, y) for x in (low, low + 5, None) for y in (high - 20, high + 20, None)], 5)
    shown = "\n".join("-- (" + ", ".join("NULL" if cell is None else str(cell) for cell in row) + ")" for row in rows)
    return Draft(
        prompt=(
            "A loader sends these five rows to PostgreSQL, each in an INSERT of its own, and skips what is refused. "
            f"How many rows does `{table}` hold at the end?"
        ),
        code=(
            f"CREATE TABLE {table} (\n  {a} INT,\n  {b} INT,\n  CHECK (\n    {rule}\n  )\n);\n\n-- ({a}, {b})\n{shown}"
        ),
        language="sql",
        setup=f"a, b, rule = {a!r}, {b!r}, {rule!r}\nrows = {rows!r}{_CHECK}",
        run="print(stored(rule))",
        why="A row is refused only if the condition is false. If a NULL leaves it unknown, the row is stored.",
        misconceptions=_check_mistakes(rng),
        explanation=(
            "CHECK refuses only false; WHERE keeps only true. With AND, one false side makes the whole false even "
            "beside a NULL; with OR, one true side makes it true. Otherwise the NULL leaves it unknown, which passes a "
            "CHECK. Add NOT NULL to columns that a rule relies on."
        ),
    )


def _check_mistakes(rng: random.Random) -> list[Misconception]:
    mistakes = [
        Misconception(
            "check-works-like-where",
            "That stores only rows for which the condition is true. WHERE does so; a CHECK lets unknown pass too.",
            run="print(found(rule))",
        ),
        Misconception(
            "any-null-passes",
            "That stores every row with a NULL. The other column alone can make the condition false, and then the row "
            "is refused.",
            run="print(found(f'({rule}) OR {a} IS NULL OR {b} IS NULL'))",
        ),
        Misconception(
            "any-null-is-refused",
            "That refuses every row with a NULL. Without NOT NULL a NULL is refused only where the condition becomes "
            "false.",
            run="print(found(f'({rule}) AND {a} IS NOT NULL AND {b} IS NOT NULL'))",
        ),
        Misconception(
            "null-counts-as-zero",
            "That reads NULL as 0. A comparison with NULL is neither true nor false but unknown.",
            run="print(stored(rule, [(x or 0, y or 0) for x, y in rows]))",
        ),
        Misconception(
            "comparison-with-null-is-false",
            "That takes a comparison with NULL as false. It is unknown, and NOT leaves unknown as it is.",
            run=("import re\nprint(stored(re.sub(r'(\\w+ [<>]=? \\d+)', r'coalesce(\\1, 0)', rule)))"),
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
