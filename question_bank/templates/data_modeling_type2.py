"""Templates on data modeling, for those who debug type 2 dimensions."""

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
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("scd-type-2", "fan-out", "joins"),
    title="dbt documentation, Add snapshots to your DAG",
    url="https://docs.getdbt.com/docs/build/snapshots",
    rated=(2, 2, 2),
)
def scd2_join_without_dates(rng: random.Random) -> Draft:
    """Sum a fact that was joined to a type 2 dimension on the business key alone."""
    entity, attribute, values, fact, measure = rng.choice(_TYPE_2)
    versions = _versions(rng, values)
    wanted = versions[0][1]
    keys = [versions[0][0], versions[0][0], versions[-1][0]]
    facts = [(key, rng.randint(1, 30), 10 * rng.randint(1, 9)) for key in sorted(keys)]
    dim = f"dim_{entity}"
    wants = f"WHERE d.{attribute} = '{wanted}'"
    usual, *others = _mistakes_about_scd2_join((dim, fact, measure), wants, wanted)
    query = f"SELECT sum(f.{measure})\nFROM {fact} f\nJOIN {dim} d ON d.id = f.id\n{wants};"
    lines = [f"-- {dim}:", f"-- id, {attribute}, v_from, v_to"]
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
