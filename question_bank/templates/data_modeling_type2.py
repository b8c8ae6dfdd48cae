"""Templates on data modeling, for those who debug and repair type 2 dimensions."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

END = 99
"""Where the current version of a row ends."""

_TYPE_2 = (
    ("customer", "city", ("Rome", "Oslo", "Lyon"), "sales", "amount"),
    ("employee", "team", ("core", "apps", "data"), "bonuses", "amount"),
    ("product", "brand", ("Alba", "Boro", "Cima"), "orders", "pieces"),
    ("device", "site", ("north", "south", "west"), "readings", "kwh"),
    ("driver", "depot", ("D1", "D2", "D3"), "trips", "km"),
)


def _versions(rng: random.Random, values: tuple[str, ...]) -> list[tuple[int, str, int, int]]:
    """Return five versions (id, value, from, to) of two entities, one of which comes back to an old value."""
    there, away, third = rng.sample(values, 3)
    paths = ([there, away, there], [rng.choice((there, third)), rng.choice((there, away))])
    rows = []
    for key, path in zip(rng.sample(range(1, 10), 2), paths, strict=True):
        if path[0] == path[1]:
            path[1] = third
        starts = [1, *sorted(rng.sample(range(4, 27, 3), len(path) - 1))]
        ends = [*starts[1:], END]
        rows += [(key, value, start, end) for value, start, end in zip(path, starts, ends, strict=True)]
    return rows


def _mistakes_about_scd2_join(names: tuple[str, str, str], wants: str, wanted: str) -> tuple[Misconception, ...]:
    """Return what people expect of a join that ignores the validity of versions."""
    dim, fact, measure = names
    joined = f"FROM {fact} f JOIN {dim} d ON d.id = f.id"
    return (
        Misconception(
            "join-finds-the-version-of-the-day",
            f"That counts '{wanted}' as of each day. It needs `f.day >= d.v_from AND f.day < d.v_to` in the join.",
            run=f"SELECT sum(f.{measure}) {joined} AND f.day >= d.v_from AND f.day < d.v_to {wants};",
        ),
        Misconception(
            "join-finds-the-current-version",
            f"That counts only ids that are '{wanted}' now. Nothing in the query asks for the current version.",
            run=f"SELECT sum(f.{measure}) {joined} AND d.v_to = {END} {wants};",
        ),
        Misconception(
            "each-fact-counts-once",
            f"That counts each row of `{fact}` once. An `id` with two versions in '{wanted}' doubles its rows.",
            run=f"SELECT sum({measure}) FROM {fact} f WHERE EXISTS (FROM {dim} d {wants} AND d.id = f.id);",
        ),
        Misconception(
            "filter-has-no-effect",
            f"That is the total of `{fact}`. The filter keeps only joined rows with '{wanted}'.",
            run=f"SELECT sum({measure}) FROM {fact};",
        ),
        Misconception(
            "every-version-counts",
            f"That counts a row once for each version of its `id`. WHERE drops the versions without '{wanted}'.",
            run=f"SELECT sum(f.{measure}) {joined};",
        ),
        Misconception(
            "every-row-meets-every-wanted-version",
            f"That pairs each row of `{fact}` with each version with '{wanted}'. ON asks for the same `id` as well.",
            run=f"SELECT sum(f.{measure}) FROM {fact} f, {dim} d {wants};",
        ),
    )


@template(
    name="scd2-join-without-dates",
    topic=Topic.DATA_MODELING,
    level=Level.ADVANCED,
    engine=CheckEngine.DUCKDB,
    tags=("scd-type-2", "fan-out", "joins"),
    title="dbt documentation, Add snapshots to your DAG",
    url="https://docs.getdbt.com/docs/build/snapshots",
)
def scd2_join_without_dates(rng: random.Random) -> Draft:
    """Sum a fact that was joined to a type 2 dimension on the business key alone."""
    entity, attribute, values, fact, measure = rng.choice(_TYPE_2)
    versions = _versions(rng, values)
    wanted = versions[0][1]
    keys = [versions[0][0], versions[0][0], versions[-1][0], rng.choice((versions[0][0], versions[-1][0]))]
    facts = [(key, rng.randint(1, 30), 10 * rng.randint(1, 9)) for key in sorted(keys)]
    dim = f"dim_{entity}"
    wants = f"WHERE d.{attribute} = '{wanted}'"
    usual, *others = _mistakes_about_scd2_join((dim, fact, measure), wants, wanted)
    query = f"SELECT sum(f.{measure})\nFROM {fact} f\nJOIN {dim} d ON d.id = f.id\n{wants};"
    lines = [f"-- {dim}: id, {attribute}, v_from, v_to"]
    lines += ["-- " + ", ".join(map(str, row)) for row in versions]
    lines += [f"-- {fact}: id, day, {measure}", *("-- " + ", ".join(map(str, row)) for row in facts), query]
    dim_cells = ", ".join(f"({key}, '{value}', {start}, {end})" for key, value, start, end in versions)
    return Draft(
        prompt=(
            f"`{dim}` is a type 2 dimension with the business key `id`; days are numbered and `v_to` is exclusive. "
            "What does the query return?"
        ),
        code="\n".join(lines),
        language="sql",
        setup=f"CREATE TABLE {dim} (id INT, {attribute} TEXT, v_from INT, v_to INT);"
        f" INSERT INTO {dim} VALUES {dim_cells};"
        f" CREATE TABLE {fact} (id INT, day INT, {measure} INT);"
        f" INSERT INTO {fact} VALUES {', '.join(map(str, facts))};",
        run=query,
        why=f"Each row of `{fact}` counts once for every version of its `id` with '{wanted}', whatever its day.",
        misconceptions=(usual, *rng.sample(others, len(others))),
        explanation=(
            "The business key of a type 2 dimension is not unique, so a join on it alone yields one row per version. "
            "Join on the surrogate key that the load looked up, or add the validity range. A total that is too high "
            "after such a join is the usual sign."
        ),
    )


_MECHANISM = """
def build(events):
    state, starts = {}, {}
    for day, column, value in sorted(events, key=lambda event: event[0]):
        state[column] = value
        starts[day] = dict(state)
    days = sorted(starts)
    return [(day, end, starts[day]) for day, end in zip(days, days[1:] + [99])]

def key_of(rows, day):
    return next(start for start, end, _ in rows if start <= day < end)

def answer(dims, facts):
    print(f"dimension {dims}, facts {facts}")

old, new = build(events), build(events + [late])
later = {start: (end, state) for start, end, state in new}
updated = sum(later[start] != (end, state) for start, end, state in old)
moved = sum(key_of(old, day) != key_of(new, day) for day in facts)
since = sum(day >= late[0] for day in facts)
"""

_ATTRIBUTES = (
    ("customer", "city", "tier", ("Rome", "Oslo", "Lyon"), ("basic", "silver", "gold")),
    ("employee", "team", "grade", ("core", "apps", "data"), ("junior", "senior", "lead")),
    ("product", "group", "tax", ("food", "toys", "home"), ("low", "normal", "none")),
    ("supplier", "region", "rating", ("north", "south", "west"), ("A", "B", "C")),
    ("machine", "hall", "state", ("H1", "H2", "H3"), ("new", "used", "rented")),
)


def _history(
    rng: random.Random, columns: tuple[str, str], pools: tuple[tuple[str, ...], ...]
) -> tuple[list[tuple[int, str, str]], tuple[int, str, str]]:
    """Return the recorded changes (day, column, value) and one that becomes known late."""
    days = [1, *sorted(rng.sample(range(9, 65, 8), rng.choice((3, 4))))]
    now = {column: rng.choice(pool) for column, pool in zip(columns, pools, strict=True)}
    events = [(1, column, value) for column, value in now.items()]
    late_column = rng.choice(columns)
    late_after = rng.randrange(len(days) - 2)
    late = (0, "", "")
    for position, day in enumerate(days):
        if position:
            column = rng.choice(columns)
            if position == late_after + 1:  # so that the late value has to be carried into a later row
                column = next(name for name in columns if name != late_column)
            pool = pools[columns.index(column)]
            now[column] = rng.choice([value for value in pool if value != now[column] and value != late[2]])
            events.append((day, column, now[column]))
        if position == late_after:
            pool = pools[columns.index(late_column)]
            value = rng.choice([value for value in pool if value != now[late_column]])
            late = (rng.randrange(day + 2, days[position + 1] - 2), late_column, value)
    return events, late


def _table(events: list[tuple[int, str, str]], columns: tuple[str, str]) -> list[str]:
    """Return the dimension rows that the events led to, as text."""
    days = sorted({day for day, _, _ in events})
    now: dict[str, str] = {}
    lines = []
    for key, (day, end) in enumerate(zip(days, [*days[1:], END], strict=True), 101):
        now |= {column: value for start, column, value in events if start == day}
        lines.append(f"{key}  {now[columns[0]]:8}{now[columns[1]]:8}{day:4}{end:4}")
    return lines


def _mistakes_about_late_change(day: int, column: str, value: str) -> tuple[Misconception, ...]:
    """Return the repairs that change too little or too much."""
    return (
        Misconception(
            "facts-follow-every-updated-row",
            f"A later row that gets '{value}' keeps its key, so its facts already point to the right row.",
            run=(
                "stop = min((d for d, c, _ in events if c == late[1] and d > late[0]), default=99)\n"
                "answer(updated, sum(late[0] <= day < stop for day in facts))"
            ),
        ),
        Misconception(
            "later-rows-stay-as-they-are",
            f"That only splits one row. The next row repeats the old `{column}`, which was not true any more.",
            run="answer(1, moved)",
        ),
        Misconception(
            "late-value-overwrites-to-the-end",
            f"That writes '{value}' into every later row, also past the day when a recorded change took over.",
            run="answer(sum(end > late[0] for _, end, _ in old), moved)",
        ),
        Misconception(
            "facts-are-never-changed",
            f"Facts between day {day} and the end of the split row point to the row that now ends on day {day}.",
            run="answer(updated, 0)",
        ),
        Misconception(
            "all-later-facts-move",
            f"That moves all facts since day {day}. Facts of later rows keep keys that are still right.",
            run="answer(updated, since)",
        ),
    )


@template(
    name="late-change-rewrites-history",
    topic=Topic.DATA_MODELING,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("scd-type-2", "late-arriving-data", "surrogate-key"),
    title="Kimball Group, Dimensional Modeling Techniques, Late Arriving Dimensions",
    url="https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/"
    "dimensional-modeling-techniques/late-arriving-dimension/",
)
def late_change_rewrites_history(rng: random.Random) -> Draft:
    """Find the rows that must change when an old change of a type 2 attribute becomes known late."""
    entity, one, two, *pools = rng.choice(_ATTRIBUTES)
    columns = (one, two)
    events, late = _history(rng, columns, (pools[0], pools[1]))
    day, column, value = late
    starts = sorted({start for start, _, _ in events})
    moving = range(day + 1, next(start for start in starts if start > day))
    facts = set(rng.sample(moving, rng.choice((1, 2)))) | set(rng.sample(range(2, 70), 7))
    head = f"key  {one:8}{two:8}from  to"
    return Draft(
        prompt=(
            f"A type 2 dimension tracks two attributes of one {entity} (`to` is exclusive). Later it becomes known "
            f"that `{column}` became '{value}' on day {day}; each change recorded at its `from` day stays true. The "
            f"row that covers day {day} keeps its key for the time before it. How many existing dimension rows must be "
            "updated, and how many facts need another key?"
        ),
        code="\n".join([head, *_table(events, columns), "", "days of the facts:", ", ".join(map(str, sorted(facts)))]),
        language="text",
        setup=f"events = {events}\nlate = {late}\nfacts = {sorted(facts)}\n{_MECHANISM}",
        run="answer(updated, moved)",
        why=(
            f"One row is closed at day {day}; those after it carry '{value}' up to the next change of `{column}`. Only "
            "facts inside the new row change keys."
        ),
        misconceptions=_mistakes_about_late_change(*late),
        explanation=(
            "A late change splits the row that covers its day: close it, insert a new key, and point the facts of that "
            "span to it. Then carry the value forward through later rows until the same attribute changes. Two type 2 "
            "attributes in one row make such repairs spread."
        ),
    )
