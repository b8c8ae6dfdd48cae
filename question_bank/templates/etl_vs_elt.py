"""Templates on ETL and ELT: upserts, flattened lists, high-water marks and joins that are kept up to date."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template


def _values(pairs: Iterable[tuple[object, ...]]) -> str:
    """Write rows as SQL does."""
    return ", ".join("(" + ", ".join(repr(cell) for cell in pair) + ")" for pair in pairs)


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
)
def upsert_total(rng: random.Random) -> Draft:
    """Add up a column after an upsert that meets known and new keys."""
    table, key, column = rng.choice(_UPSERT_SCENES)
    letters = rng.sample("ABCDEFGH", 5)
    old = [(letter, rng.randint(2, 40)) for letter in sorted(letters[:3])]
    known = rng.choice((1, 2))
    batch = [(letter, rng.randint(2, 40)) for letter in (*letters[:known], *letters[3 : 6 - known])]
    rng.shuffle(batch)
    overwrites = rng.random() < 0.6  # noqa: PLR2004 - the usual upsert somewhat more often
    action = f" DO UPDATE\n  SET {column} = excluded.{column}" if overwrites else "\n  DO NOTHING"
    statement = f"INSERT INTO {table} ({key}, {column})\nVALUES {_values(batch)}\nON CONFLICT ({key}){action};"
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
)
def flattened_lists(rng: random.Random) -> Draft:
    """Flatten lists of a raw table, some of them empty or NULL, and add up a column of the outer row."""
    table, amount, nested = rng.choice(_NESTED_SCENES)
    sizes: list[int | None] = [rng.choice((2, 3)), rng.choice((1, 2)), 0, None, *rng.choice(((), (1,), (3,)))]
    rng.shuffle(sizes)
    rows = [(rng.randint(2, 30), size) for size in sizes]
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


_NEXT_MARK = "max(\n        [mark] + [at for i, at in got])"


@template(
    name="watermark-overlap-lost-rows",
    topic=Topic.ETL_VS_ELT,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("incremental-load", "watermark", "late-data"),
    title="dbt documentation, Configure incremental models, Filtering rows on an incremental run",
    url="https://docs.getdbt.com/docs/build/incremental-models",
)
def watermark_overlap_lost_rows(rng: random.Random) -> Draft:
    """Find the rows that a high-water mark with an overlap never reads."""
    step = rng.choice((10, 12, 15))
    overlap, sign = rng.choice((2, 3, 4, 5)), rng.choice((">", ">="))
    rows = _late_rows(rng, step, overlap, sign)
    middle = len(rows) // 2
    lines = [", ".join(map(str, half)) for half in (rows[:middle], rows[middle:])]
    listing = "rows = [  # id, at, end\n" + "".join(f"    {line},\n" for line in lines) + "]\n"
    loop = (
        "mark, target = 0, set()\n"
        f"for now in ({step}, {2 * step}, {3 * step}):\n"
        "    got = [\n        (i, at) for i, at, end in rows\n"
        f"        if end <= now and at {sign} mark - {overlap}]\n"
        "    target |= {i for i, at in got}\n"
        f"    mark = {_NEXT_MARK}\n"
    )
    ask = "print([i for i, _, _ in rows\n       if i not in target])"
    return Draft(
        prompt=(
            "A job reads a table at the three minutes of the loop. A row gets its time stamp `at` early in its "
            "transaction and can be read from minute `end` on, when that has committed. The target is a set of ids, "
            "so reading a row twice does no harm. Which ids does it never get, that is, what is printed?"
        ),
        code=listing + loop + ask,
        language="python",
        setup=listing,
        run=loop + ask,
        why=_watermark_why(_lost(rows, step, overlap, sign), overlap),
        misconceptions=_watermark_mistakes(rng, step, overlap, loop, ask),
        explanation=(
            "A row whose transaction commits late shows up behind the high-water mark. An overlap helps only if it is "
            "longer than the mark can run ahead of the slowest commit; with an upsert it costs nothing but reads. "
            "Log-based CDC, which follows commit order, needs none."
        ),
    )


def _watermark_why(lost: set[int], overlap: int) -> str:
    """Say why rows are lost, or why none is."""
    if not lost:
        return f"No late row was so far behind the mark that the overlap of {overlap} minutes did not reach it."
    they = "it" if len(lost) == 1 else "they"
    return f"When {they} could first be read, the highest `at` read before was too far ahead for {overlap} minutes."


def _watermark_mistakes(rng: random.Random, step: int, overlap: int, loop: str, ask: str) -> list[Misconception]:
    """Return what people take the filter for, in any order."""
    mistakes = [
        Misconception(
            "overlap-overlooked",
            f"That compares with `mark` itself. The filter goes back {overlap} minutes behind it and so saves some "
            "of the late rows.",
            run=loop.replace(f"mark - {overlap}", "mark") + ask,
        ),
        Misconception(
            "mark-is-the-run-time",
            "That sets the mark to the minute of the run. It is the highest `at` that was read, which lies "
            "earlier and so lets more rows pass.",
            run=loop.replace(_NEXT_MARK, "now") + ask,
        ),
        Misconception(
            "every-late-row-is-lost",
            f"Those took more than {overlap} minutes to commit. What counts is how far `mark` had moved past "
            "`at` at the first run that could see the row.",
            run=f"print([i for i, at, end in rows if end - at > {overlap}])",
        ),
        Misconception(
            "mark-lags-a-run",
            "That filters with the mark of the run before the last one. `mark` is moved at the end of each run, "
            "so the next one already uses it.",
            run=loop.replace("mark, target =", "last, mark, target = 0,")
            .replace(f"mark - {overlap}", f"last - {overlap}")
            .replace("    mark =", "    last, mark = mark,")
            + ask,
        ),
        Misconception(
            "nothing-is-lost",
            f"Every row can be read by minute {3 * step}, but the filter on `at` turns away rows that lie behind "
            "the mark by then.",
            value="[]",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


def _late_rows(rng: random.Random, step: int, overlap: int, sign: str) -> list[tuple[int, int, int]]:
    """Draw rows as (id, time stamp, minute of the commit) until they tell the misconceptions apart."""
    none_lost, lag_tells = rng.random() < 0.15, rng.random() < 0.7  # noqa: PLR2004 - so that no kind of list gives it away
    while True:
        slow = rng.sample(range(6), 3)
        rows = []
        for number, at in enumerate(sorted(rng.sample(range(2, 3 * step - 1), 6))):
            lag = rng.randint(overlap + 1, 2 * step) if number in slow else rng.choice((0, 1))
            rows.append((number + 1, at, min(at + lag, 3 * step)))
        lost, strict = (_lost(rows, step, reach, sign) for reach in (overlap, 0))
        late = {number for number, at, end in rows if end - at > overlap}
        lagging = {number for number, at, end in rows if end > 2 * step and at < step - overlap}
        if bool(lost) == none_lost or lost in (strict, late):
            continue
        if none_lost or not lag_tells or lagging not in (set(), lost):
            return rows


def _lost(rows: list[tuple[int, int, int]], step: int, overlap: int, sign: str) -> set[int]:
    """Say which rows the loop misses, only to choose telling ones: the answer comes from the loop that is shown."""
    mark, missed = 0, {number for number, _, _ in rows}
    for now in (step, 2 * step, 3 * step):
        least = mark - overlap + (sign == ">")
        got = [(number, at) for number, at, end in rows if end <= now and at >= least]
        missed -= {number for number, _ in got}
        mark = max([mark, *(at for _, at in got)])
    return missed


_JOIN_SCENES = (
    ("orders", "payments"),
    ("parcels", "scans"),
    ("tickets", "notes"),
    ("trips", "ratings"),
    ("claims", "letters"),
    ("flights", "delays"),
)
_DELTAS: Mapping[str, Sequence[tuple[str, str]]] = {
    "full": (("l_new", "r"), ("l_old", "r_new")),
    "twice": (("l_new", "r"), ("l", "r_new")),
    "gap": (("l_new", "r_old"), ("l_old", "r_new")),
    "side": (("l_new", "r"),),
    "new": (("l_new", "r_new"),),
}
"""Ways to bring a join up to date, the last only in somebody's mind: which pairs of inputs are joined and added."""


@template(
    name="join-kept-up-to-date",
    topic=Topic.ETL_VS_ELT,
    level=Level.EXPERT,
    engine=CheckEngine.DUCKDB,
    tags=("incremental-models", "joins", "view-maintenance"),
    title="DBSP: Automatic Incremental View Maintenance for Rich Query Languages, incremental joins",
    url="https://arxiv.org/abs/2203.16684",
)
def join_kept_up_to_date(rng: random.Random) -> Draft:
    """Maintain a join from the new rows of both sides."""
    left, right = rng.choice(_JOIN_SCENES)
    ids = rng.sample(range(1, 10), 6)
    l_old, l_new = sorted(ids[:3]), sorted(ids[3:5])
    r_old = sorted([*rng.sample(l_old, 2), rng.choice((l_new[0], ids[5]))])
    r_new = sorted([rng.choice(l_old), *rng.choices(l_new, k=rng.choice((1, 2))), *rng.choices(ids, k=1)])
    shown = rng.choice(("twice", "twice", "gap", "gap", "side", "full"))
    branches = [f"SELECT * FROM {one}\nJOIN {other} USING (id)" for one, other in _DELTAS[shown]]
    inputs = {"l_old": l_old, "l_new": l_new, "r_old": r_old, "r_new": r_new}
    given = "WITH " + ", ".join(
        f"{name} AS (SELECT unnest({numbers}) AS id)"
        for name, numbers in {**inputs, "l": l_old + l_new, "r": r_old + r_new}.items()
    )
    both = sum(r_new.count(number) for number in l_new)
    late = sum(r_new.count(number) for number in l_old)
    return Draft(
        prompt=(
            f"A table `joined` holds the join of {left} (each id once) and {right}; both only grow. Ids up to "
            f"yesterday: {left} {_listed(l_old)}; {right} {_listed(r_old)}. Today adds: {left} {_listed(l_new)}; "
            f"{right} {_listed(r_new)}. `l` is {left}, `r` is {right}, with today's rows; `_old` is without them, "
            f"`_new` only them. Yesterday `joined` was right. How many rows has it after this INSERT?"
        ),
        code="INSERT INTO joined\n" + "\nUNION ALL\n".join(branches) + ";",
        language="sql",
        run=_joined_after(given, shown),
        why={
            "full": "All pairs with a new row come in exactly once: one branch takes the pairs of two new rows.",
            "twice": f"Both branches read today's rows on both sides, which counts {_pairs(both)} of new rows twice.",
            "gap": f"Both branches join new rows with old ones only, which leaves out {_pairs(both)} of two new rows.",
            "side": f"Only new {left} are joined, which leaves out {_pairs(late)} of old {left} with new {right}.",
        }[shown],
        misconceptions=_join_mistakes(given, shown, (left, right), both, late),
        explanation=(
            "For added rows, the change of a join is new x all plus old x new (or new x old plus all x new). "
            "All x new on both sides counts pairs of two new rows twice, old on both sides loses them, and a filter "
            "on one input alone misses late rows of the other. Compare with a full rebuild now and then."
        ),
        option="{} rows",
    )


def _pairs(count: int) -> str:
    return "the one pair" if count == 1 else f"the {count} pairs"


def _joined_after(given: str, way: str) -> str:
    """Count the rows of yesterday's join and those that a way of updating it adds."""
    parts = [("l_old", "r_old"), *_DELTAS[way]]
    return f"{given} SELECT " + " + ".join(f"(SELECT count(*) FROM {a} JOIN {b} USING (id))" for a, b in parts)


def _join_mistakes(given: str, shown: str, names: tuple[str, str], both: int, late: int) -> list[Misconception]:
    """Return what the other ways would lead to, each told to whoever expects it from the way shown."""
    left, right = names
    pairs = f"{_pairs(both)} of two new rows"
    shown_does = {
        "full": "Here exactly one branch has both kinds of new rows in it.",
        "twice": "Here `l` and `r` contain today's rows, so both branches find such pairs.",
        "gap": "Here each branch joins new rows with old ones only, so no branch finds such pairs.",
        "side": f"Here one branch joins new {left} with everything, and nothing joins old {left} with new {right}.",
    }[shown]
    guesses = {
        "full": ("same-as-a-rebuild", f"That is the full join. {shown_does}"),
        "twice": ("new-pairs-twice", f"That counts {pairs} twice. {shown_does}"),
        "gap": ("new-pairs-missing", f"That leaves out {pairs}. {shown_does}"),
        "side": (
            "one-side-only",
            f"That leaves out {_pairs(late)} of old {left} with new {right}, which the second branch adds.",
        ),
        "new": (
            "only-new-with-new",
            "That joins today's rows only with each other. A new row also meets rows that were there before.",
        ),
    }
    return [
        Misconception(name, why, run=_joined_after(given, way)) for way, (name, why) in guesses.items() if way != shown
    ]
