"""Templates on data modeling: which expression yields a measure at a table's grain."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_Row = tuple[object, ...]


@dataclass(frozen=True)
class _Measure:
    """A table, a figure that somebody wants from it, the expression that yields it, and some that do not."""

    table: str
    columns: tuple[str, ...]
    rows: list[_Row]
    grain: str
    wanted: str
    right: str
    why: str
    truth: str
    """A query that finds the figure in another way."""
    wrong: tuple[tuple[str, str, str], ...]
    """Name of the mistake, expression, and why it yields another figure."""


def _balance(rng: random.Random) -> _Measure:
    """Return a stock or balance, which may not be added up over days."""
    table, place, level, places, whole = rng.choice(
        (
            ("stock", "shop", "pieces", ("Rome", "Oslo", "Lyon"), "the company"),
            ("fleet", "depot", "vans", ("Bonn", "Kiel", "Ulm"), "the company"),
            ("census", "ward", "patients", ("north", "south", "west"), "the hospital"),
        )
    )
    days, names = rng.choice(((("Mon", "Tue"), places), (("Thu", "Fri", "Sat"), places[:2])))
    rows: list[_Row] = [(day, name, 10 * rng.randint(1, 9)) for day in days for name in names]
    of_whole, of_one = f"sum({level}) / count(DISTINCT day)", f"avg({level})"
    if rng.choice((True, False)):
        wanted, right, other = f"the average number of {level} in {whole} on a day", of_whole, of_one
        why = f"It adds up the {place}s of all days, and averages over the days."
        truth = f"SELECT avg(total) FROM (SELECT sum({level}) AS total FROM {table} GROUP BY day)"
        mixed_up = f"That is the average of one {place} on a day, not of {whole}."
    else:
        wanted, right, other = f"the average number of {level} in one {place} on a day", of_one, of_whole
        why = f"Each row is one {place} on one day, so the average over rows is the average of these."
        truth = f"SELECT avg(mean) FROM (SELECT avg({level}) AS mean FROM {table} GROUP BY {place})"
        mixed_up = f"That is the average of {whole} on a day, with all its {place}s together."
    return _Measure(
        table,
        ("day", place, level),
        rows,
        f"one row per day and {place}",
        wanted,
        right,
        why,
        truth,
        (
            (
                "adds-over-days",
                f"sum({level}) / count(DISTINCT {place})",
                f"That adds the days up for each {place}. The same {level} count again every day.",
            ),
            ("other-kind-of-average", other, mixed_up),
            ("adds-over-everything", f"sum({level})", f"That adds up over days and {place}s alike."),
            ("largest-row", f"max({level})", f"That is the largest row, one {place} on one day."),
        ),
    )


def _rate(rng: random.Random) -> _Measure:
    """Return a rate: over all, where counts are added up first, or of a typical row."""
    table, name, part, whole, names, led = rng.choice(
        (
            ("ads", "ad", "clicks", "views", ("A1", "A2", "A3"), "led to a click"),
            ("lines", "line", "faulty", "made", ("L1", "L2", "L3"), "were faulty"),
            ("depots", "depot", "late", "parcels", ("Rome", "Oslo", "Lyon"), "were late"),
            ("teams", "team", "lost", "leads", ("North", "South", "West"), "were lost"),
        )
    )
    sizes, shares = rng.sample((10, 20, 50, 100, 200), 3), rng.sample((1, 2, 4, 5), 3)
    rows: list[_Row] = [(one, size * share // 10, size) for one, size, share in zip(names, sizes, shares, strict=True)]
    over_all, typical = f"sum({part}) / sum({whole})", f"avg({part} / {whole})"
    things = "pieces made" if whole == "made" else whole
    if rng.choice((True, False)):
        wanted, right = f"the share of all {things} that {led}", over_all
        why = f"It adds up both counts first, so each {name} weighs as much as its {things}."
        truth = (
            f"SELECT avg(CASE WHEN i <= {part} THEN 1 ELSE 0 END) FROM {table}, range(1, 201) g(i) WHERE i <= {whole}"
        )
        mixed_up = (typical, f"That gives every {name} the same weight, however few {things} it has.")
    else:
        wanted, right = f"the rate of a typical {name}: each counts the same, whatever its size", typical
        why = f"It takes the rate of each {name} first, so each weighs the same."
        truth = f"SELECT sum(rate) / count(*) FROM (SELECT {part} / {whole} AS rate FROM {table})"
        mixed_up = (over_all, f"There each {name} weighs as much as its {things}.")
    return _Measure(
        table,
        (name, part, whole),
        rows,
        f"one row per {name}",
        wanted,
        right,
        why,
        truth,
        (
            ("other-kind-of-average", *mixed_up),
            ("rates-add-up", f"sum({part} / {whole})", "That adds up rates, so it grows with each row."),
            (
                "average-over-sum",
                f"avg({part}) / sum({whole})",
                f"That divides the average of one {name} by the {whole} of all.",
            ),
            ("largest-rate", f"max({part} / {whole})", f"That is the highest rate of one {name}."),
        ),
    )


def _weighted(rng: random.Random) -> _Measure:
    """Return an average per piece, which is weighted, or per sale."""
    table, name, price, amount, one = rng.choice(
        (
            ("sales", "sale", "price", "pieces", "a piece sold"),
            ("fuel", "stop", "price", "litres", "a litre bought"),
            ("trades", "trade", "price", "shares", "a share bought"),
            ("shifts", "shift", "wage", "hours", "an hour worked"),
        )
    )
    prices, amounts = rng.sample((10, 12, 20, 30, 40), 3), rng.sample((1, 2, 5, 10, 20), 3)
    rows: list[_Row] = [(at, *pair) for at, pair in enumerate(zip(prices, amounts, strict=True), 1)]
    per_piece, per_sale = f"sum({price} * {amount}) / sum({amount})", f"sum({price} * {amount}) / count(*)"
    if rng.choice((True, False)):
        wanted, right, other = f"the average {price} of {one}", per_piece, per_sale
        why = f"Each {price} counts as often as its {amount}."
        truth = f"SELECT avg({price}) FROM {table}, range(1, 21) g(i) WHERE i <= {amount}"
        mixed_up = f"That is the average total of a {name}, not of {one}."
    else:
        wanted, right, other = f"the average total of a {name}, which is {price} times {amount}", per_sale, per_piece
        why = f"It adds up the totals, and divides by the number of {name}s."
        truth = f"SELECT avg(total) FROM (SELECT {price} * {amount} AS total FROM {table})"
        mixed_up = f"That is the average {price} of {one}."
    return _Measure(
        table,
        (name, price, amount),
        rows,
        f"one row per {name}",
        wanted,
        right,
        why,
        truth,
        (
            ("other-kind-of-average", other, mixed_up),
            (
                "average-of-prices",
                f"avg({price})",
                f"That is the average of the column `{price}`, without the {amount}.",
            ),
            (
                "prices-over-amounts",
                f"sum({price}) / sum({amount})",
                f"That counts each {price} once, whatever the {amount}.",
            ),
            (
                "product-of-averages",
                f"avg({price}) * avg({amount})",
                "The average of a product is not the product of averages.",
            ),
        ),
    )


def _header(rng: random.Random) -> _Measure:
    """Return an amount of an order that each of its lines repeats."""
    table, order, item, fee = rng.choice(
        (
            ("order_lines", "sale", "line", "freight"),
            ("tickets", "trip", "seat", "toll"),
            ("bookings", "stay", "room", "deposit"),
            ("samples", "visit", "tube", "fee"),
        )
    )
    size = f"{item}s"
    fees = rng.choice(((6, 6, 12), (12, 6, 12), (6, 12, 6), (12, 24, 12)))
    rows: list[_Row] = [
        (at, line, count, amount)
        for at, (count, amount) in enumerate(zip(rng.sample((1, 2, 3), 3), fees, strict=True), 1)
        for line in range(1, count + 1)
    ]
    once = f"FROM (SELECT any_value({fee}) AS once FROM {table} GROUP BY {order})"
    total, mean = f"sum({fee} / {size})", f"sum({fee} / {size}) / count(DISTINCT {order})"
    if rng.choice((True, False)):
        wanted, right, truth = f"the {fee} of all {order}s together", total, f"SELECT sum(once) {once}"
        why = f"It shares the {fee} among the rows of its {order}, so their sum is the {fee} again."
        counted = (f"avg({fee})", "That is an average over rows, and no total.")
    else:
        wanted, right, truth = f"the average {fee} of a {order}", mean, f"SELECT avg(once) {once}"
        why = f"It shares the {fee} among the rows of its {order}, adds the shares up and divides by the {order}s."
        counted = (f"sum({fee} / {size}) / sum({size})", f"That divides by a sum of {size} that repeats them too.")
    return _Measure(
        table,
        (order, item, size, fee),
        rows,
        f"one row per {order} and {item}; each repeats the {fee} of its {order}",
        wanted,
        right,
        why,
        truth,
        (
            ("counts-rows", *counted),
            (
                "distinct-amounts",
                f"sum(DISTINCT {fee})" if right == total else f"avg(DISTINCT {fee})",
                f"DISTINCT counts equal amounts once, although they belong to different {order}s.",
            ),
            (
                "fee-of-every-row",
                f"sum({fee})" if right == total else f"sum({fee}) / count(DISTINCT {order})",
                f"That counts the {fee} once for each row of its {order}.",
            ),
            ("one-amount", f"max({fee})", f"That is the largest {fee} of one {order}."),
        ),
    )


def _missing(rng: random.Random) -> _Measure:
    """Return an average over rows of which some hold NULL for nothing."""
    table, name, amount = rng.choice(
        (
            ("orders", "sale", "refund"),
            ("staff", "person", "bonus"),
            ("weather", "day", "rain"),
            ("cars", "car", "damage"),
        )
    )
    amounts = [20, 20, rng.choice((10, 30, 40)), *[None] * rng.choice((1, 2))]
    rng.shuffle(amounts)
    rows: list[_Row] = list(enumerate(amounts, 1))
    over_all, over_some = f"sum({amount}) / count(*)", f"avg({amount})"
    if rng.choice((True, False)):
        wanted, right, other = f"the average {amount} per {name}, where no {amount} counts as 0", over_all, over_some
        why = f"`count(*)` counts every row, also those whose {amount} is NULL."
        truth = f"SELECT avg(coalesce({amount}, 0)) FROM {table}"
        mixed_up = f"AVG skips NULLs, so a {name} without {amount} does not count."
    else:
        wanted, right, other = f"the average {amount} among rows that have one", over_some, over_all
        why = f"AVG skips the rows whose {amount} is NULL."
        truth = f"SELECT avg({amount}) FROM {table} WHERE {amount} IS NOT NULL"
        mixed_up = f"`count(*)` counts every row, also those whose {amount} is NULL."
    return _Measure(
        table,
        (name, amount),
        rows,
        f"one row per {name}, with NULL for no {amount}",
        wanted,
        right,
        why,
        truth,
        (
            ("other-rows", other, mixed_up),
            (
                "counts-different-amounts",
                f"sum({amount}) / count(DISTINCT {amount})",
                "That divides by the number of different amounts.",
            ),
            (
                "average-of-different-amounts",
                f"avg(DISTINCT {amount})",
                "DISTINCT drops repeated amounts, which are real.",
            ),
            ("largest-amount", f"max({amount})", "That is the largest amount."),
        ),
    )


def _tested(measure: _Measure, expression: str, *, otherwise: str, same: bool) -> str:
    """Return SQL that yields an expression if it finds the figure (or another one), or something else."""
    figures = (
        f"round((SELECT {expression} FROM {measure.table}), 6) {'=' if same else '<>'} round(({measure.truth}), 6)"
    )
    return f"SELECT CASE WHEN {figures} THEN '{expression}' ELSE '{otherwise}' END;"


def _cells(row: Sequence[object]) -> str:
    """Return a row as SQL."""
    return "(" + ", ".join("NULL" if cell is None else repr(cell) for cell in row) + ")"


_MEASURES: tuple[Callable[[random.Random], _Measure], ...] = (_balance, _rate, _weighted, _header, _missing)


@template(
    name="expression-for-a-measure",
    topic=Topic.DATA_MODELING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    form=QuestionForm.CHOOSE,
    tags=("measures", "additivity", "grain"),
    title="Kimball Group, Dimensional Modeling Techniques, Additive, Semi-Additive, Non-Additive Facts",
    url="https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/"
    "dimensional-modeling-techniques/additive-semi-additive-non-additive-fact/",
    rated=(2, 2, 2),
)
def expression_for_a_measure(rng: random.Random) -> Draft:
    """Choose the expression that yields a figure from a table whose grain forbids a plain sum or average."""
    measure = rng.choice(_MEASURES)(rng)
    kinds = ["TEXT" if isinstance(cell, str) else "INT" for cell in measure.rows[0]]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(measure.columns, kinds, strict=True))
    shown = [["NULL" if cell is None else str(cell) for cell in row] for row in measure.rows]
    widths = [max(map(len, column)) for column in zip(measure.columns, *shown, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (measure.columns, *shown)
    ]
    mistakes = [
        Misconception(name, why, run=_tested(measure, expression, otherwise=measure.right, same=False))
        for name, expression, why in measure.wrong
    ]
    return Draft(
        prompt=(
            f"`{measure.table}` has {measure.grain}. A report over all rows needs {measure.wanted}. "
            "Which expression is right in DuckDB, where `/` keeps fractions?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"CREATE TABLE {measure.table} ({columns});"
        f" INSERT INTO {measure.table} VALUES {', '.join(map(_cells, measure.rows))};",
        run=_tested(measure, measure.right, otherwise="another figure", same=True),
        option="`{}`",
        why=measure.why,
        misconceptions=mistakes,
        explanation=(
            "Before you aggregate, ask what one row stands for and along which columns its figure adds up. Balances do "
            "not add up over time, rates and prices not at all, and an amount of the order not over its lines. Keep "
            "numerator and denominator, and divide last."
        ),
    )
