"""Templates on data quality."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template


@template(
    name="avg-ignores-nulls",
    topic=Topic.DATA_QUALITY,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("nulls", "aggregates"),
    title="PostgreSQL 18 documentation, 9.21 Aggregate Functions",
    url="https://www.postgresql.org/docs/18/functions-aggregate.html",
)
def avg_ignores_nulls(rng: random.Random) -> Draft:
    """Take an average over a column with missing values."""
    count = rng.choice((2, 3, 4))
    nulls = rng.choice((1, 2))
    mean = rng.randint(4, 12) * (count + nulls)  # so that every way of counting gives a whole number
    values = [mean - step for step in range(1, count)]
    values.append(mean * count - sum(values))
    cells: list[int | None] = [*values, *[None] * nulls]
    rng.shuffle(cells)
    shown = ", ".join("NULL" if cell is None else str(cell) for cell in cells)
    rows = ", ".join(f"({'NULL' if cell is None else cell})" for cell in cells)
    return Draft(
        prompt=f"Column `price` of a table holds {shown}. What does the query return?",
        code="SELECT avg(price) FROM sales;",
        language="sql",
        setup=f"CREATE TABLE sales (price INT); INSERT INTO sales VALUES {rows};",
        run="SELECT avg(price) FROM sales;",
        why=f"`avg` leaves NULLs out of both sum and count, so it divides {sum(values)} by {count}.",
        misconceptions=(
            Misconception(
                "null-counts-as-zero",
                f"That divides by all {len(cells)} rows. `avg` does not count rows whose price is NULL.",
                run="SELECT avg(coalesce(price, 0)) FROM sales;",
            ),
            Misconception(
                "null-poisons-the-result",
                "An expression like `1 + NULL` is NULL, but an aggregate skips NULLs and is NULL only without values.",
                value="NULL",
            ),
            Misconception(
                "forgets-to-divide",
                "That is the sum of the prices; `avg` divides it by the number of prices that are there.",
                run="SELECT sum(price) FROM sales;",
            ),
            Misconception(
                "nulls-counted-twice",
                "That divides by the number of missing prices, which play no part in an average.",
                run="SELECT sum(price) / count(*) FILTER (WHERE price IS NULL) FROM sales;",
            ),
        ),
        explanation=(
            "Aggregates other than `count(*)` skip NULLs. A missing price neither lowers the average nor makes it "
            "NULL. If missing means zero, say so: `avg(coalesce(price, 0))`."
        ),
    )
