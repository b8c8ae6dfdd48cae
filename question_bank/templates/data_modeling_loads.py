"""Templates on data modeling, for those who load type 2 dimensions: crashes, and changes heard of late."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_MOVES = (
    ("customer", "city", ("Rome", "Oslo", "Lyon")),
    ("employee", "team", ("core", "apps", "data")),
    ("product", "brand", ("Alba", "Boro", "Cima")),
    ("device", "site", ("north", "south", "west")),
    ("driver", "depot", ("Bonn", "Kiel", "Ulm")),
)

_CLOSE = {
    "changed": "UPDATE dim SET active = false\nFROM feed f\nWHERE dim.id = f.id AND active\n  AND dim.{c} <> f.{c};",
    "delivered": "UPDATE dim SET active = false\nFROM feed f\nWHERE dim.id = f.id AND active;",
}

_INSERT_HEAD = "INSERT INTO dim\nSELECT id, {c}, true FROM feed f"

_ROW = "EXISTS (\n  SELECT 1 FROM dim d\n  WHERE d.id = f.id"

_INSERT = {
    "no active row": f"\nWHERE NOT {_ROW} AND d.active);",
    "no active row with the value": f"\nWHERE NOT {_ROW} AND d.active\n    AND d.{{c}} = f.{{c}});",
    "no row with the value": f"\nWHERE NOT {_ROW}\n    AND d.{{c}} = f.{{c}});",
    "an active row with another value": f"\nWHERE {_ROW} AND d.active\n    AND d.{{c}} <> f.{{c}});",
    "always": ";",
}
"""What an INSERT asks of the dimension before it adds a row of the feed."""

_AT_FIRST = "no active row", "no active row with the value", "no row with the value", "always"
_AT_LAST = "no active row with the value", "no row with the value", "an active row with another value", "always"

_LOADS = (
    *((close, insert, True, between) for close in _CLOSE for insert in _AT_FIRST for between in (True, False)),
    *(("changed", insert, False, between) for insert in _AT_LAST for between in (True, False)),
)
"""Loads that work without a crash: what each step asks, whether the UPDATE is first, and a crash between the steps."""

_HARMED = (
    ("changed", "always", True, False),
    ("delivered", "no active row", True, False),
    ("delivered", "no row with the value", True, False),
    ("delivered", "always", True, False),
    ("changed", "an active row with another value", False, True),
    ("changed", "always", False, True),
    ("changed", "always", False, False),
)
"""Those that a rerun does not heal, to be drawn more often."""

_STATE = """
SELECT coalesce(string_agg(part, ', ' ORDER BY active, value), 'no row') FROM (
  SELECT {c} AS value, active, {c} || CASE WHEN active THEN ' active' ELSE ' closed' END
    || CASE WHEN count(*) > 1 THEN ' twice' ELSE '' END AS part
  FROM dim GROUP BY {c}, active);
"""


def _mistakes_about_rerun(run: dict[str, str], old: str, new: str) -> tuple[Misconception, ...]:
    """Return what people expect of a load that crashed and runs again."""
    return (
        Misconception(
            "crash-undoes-the-first-run",
            "That is one clean run. Here the first run has left its committed steps behind, and the rerun meets them.",
            run=run["clean"],
        ),
        Misconception(
            "rerun-changes-nothing",
            "That is what the first run left behind. The rerun finds this state and changes it.",
            run=run["crashed"],
        ),
        Misconception(
            "steps-in-the-other-order",
            "That takes the steps in the other order. Each step sees what the one before it has changed.",
            run=run["swapped"],
        ),
        Misconception(
            "rerun-heals-everything",
            "That is what a load should leave. Follow the two conditions on the rows that the first run left.",
            value=f"{old} closed, {new} active",
        ),
        Misconception(
            "both-runs-insert",
            "That has two active rows. Look up which rows each INSERT and each UPDATE finds.",
            value=f"{old} closed, {new} active twice",
        ),
        Misconception(
            "nothing-is-inserted",
            "That has no active row. Look up what each INSERT finds when it runs.",
            value=f"{old} closed",
        ),
        Misconception(
            "nothing-is-closed",
            f"That keeps two values active. The UPDATE closes {old}, which the feed does not hold.",
            value=", ".join(sorted((f"{old} active", f"{new} active"))),
        ),
    )


@template(
    name="dimension-after-crash-and-rerun",
    topic=Topic.DATA_MODELING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    form=QuestionForm.CODE_REVIEW,
    tags=("scd-type-2", "idempotency", "transactions"),
    title="Kimball Group, Dimensional Modeling Techniques, Type 2: Add New Row",
    url="https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/"
    "dimensional-modeling-techniques/type-2/",
    rated=(2, 2, 2),
)
def dimension_after_crash_and_rerun(rng: random.Random) -> Draft:
    """Read what a type 2 dimension holds after its load crashed and ran again, with steps in either order."""
    entity, column, values = rng.choice(_MOVES)
    old, new = rng.sample(values, 2)
    closes, inserts, closes_first, between = rng.choice(rng.choice((_LOADS, _HARMED)))
    close, insert = _CLOSE[closes].format(c=column), (_INSERT_HEAD + _INSERT[inserts]).format(c=column)
    steps = [close, insert] if closes_first else [insert, close]
    first = steps[:1] if between else steps
    reset, state = "CREATE OR REPLACE TABLE dim AS FROM saved;", _STATE.format(c=column)
    runs = {
        "clean": "\n".join([reset, *steps, state]),
        "crashed": "\n".join([reset, *first, state]),
        "swapped": "\n".join([reset, *(steps[1:] if between else steps[::-1]), *steps[::-1], state]),
    }
    crash = "between the steps" if between else "after both, before it reports success"
    return Draft(
        prompt=(
            f"In `dim` (id, {column}, active), {entity} 7 has one row: {old}, active. `feed` now says {new}. Each step "
            f"commits by itself. The job crashes {crash}, and is rerun in full. What does `dim` hold?"
        ),
        code=f"-- step 1\n{steps[0]}\n-- step 2\n{steps[1]}",
        language="sql",
        setup=f"CREATE TABLE saved (id INT, {column} TEXT, active BOOLEAN);"
        f" INSERT INTO saved VALUES (7, '{old}', true);"
        f" CREATE TABLE feed (id INT, {column} TEXT); INSERT INTO feed VALUES (7, '{new}');",
        run="\n".join([reset, *first, *steps, state]),
        why="Each statement acts on what is committed before it, so the rerun starts from what the first run left.",
        misconceptions=_mistakes_about_rerun(runs, old, new),
        explanation=(
            "Assume that a load stops after any statement. Commit both steps in one transaction, or give each a "
            "condition that holds only while its work is undone: close rows that differ from the feed, insert where no "
            "active row has the value. Then test a rerun after each step."
        ),
    )


_LATE = """
def in_new(fact, start, lookup, report, rekey):
    day, loaded = fact
    if report == "current":
        return True
    if report == "day":
        return day >= start
    if rekey and loaded < arrival and day >= start:
        return True
    return loaded >= arrival and (lookup == "current" or day >= start)

def works(change=None):
    design = dict(base)
    if change:
        part, value = change.split("=")
        design[part] = value
    design["start"] = {"move": move, "arrival": arrival}[design["start"]]
    return all(in_new(fact, **design) == (fact[0] >= move) for fact in facts)

is_fair = works(right) and not works()

def only_if(found, change):
    print("redraw" if not is_fair else change if found else right)
"""

_LATE_FACTS = (
    ("customer", "city", "sale", ("Rome", "Oslo", "Lyon")),
    ("employee", "team", "ticket", ("core", "apps", "data")),
    ("device", "site", "reading", ("north", "south", "west")),
    ("driver", "depot", "trip", ("Bonn", "Kiel", "Ulm")),
    ("product", "brand", "order", ("Alba", "Boro", "Cima")),
)

_CHANGES = {
    "start=move": "Start a version on the day of the move",
    "start=arrival": "Start a version on the day it becomes known",
    "lookup=day": "Look up the version of the {fact}'s day",
    "lookup=current": "Look up the version that is current at the load",
    "report=day": "Join the report on id and the {fact}'s day",
    "report=key": "Join the report on the stored key",
    "report=current": "Join the report on id and the current version",
    "rekey=yes": "Update keys of loaded {fact}s when a version arrives",
}

_DESIGN = {
    "start=move": "a version starts: on the move",
    "start=arrival": "a version starts: on its arrival",
    "lookup=day": "key looked up: by the {fact}'s day",
    "lookup=current": "key looked up: current at the load",
    "report=day": "report joins on: id and day",
    "report=key": "report joins on: the stored key",
    "report=current": "report joins on: id, current row",
}


def _why_not(change: str, base: dict[str, str], values: tuple[str, str], days: tuple[int, int], fact: str) -> str:
    """Return why a change does not get every fact right."""
    (old, new), (move, arrival) = values, days
    too_late = f"The version starts on day {arrival} here, so {fact}s since day {move} still fall under {old}."
    whys = {
        "start=move": f"The version then covers the right days, but this report does not go by the {fact}'s day.",
        "start=arrival": f"That dates the move too late: from day {move} on, {new} is right.",
        "report=current": f"It counts every {fact} under {new}, also those of before day {move}.",
        "report=key": f"A stored key depends on when its {fact} was loaded, so a late load or late change spoils it.",
        "report=day": too_late,
        "lookup=current": f"What is current at the load need not be what held on the {fact}'s day.",
        "lookup=day": f"A {fact} loaded before day {arrival} found {old} only, and nothing changes its key later.",
        "rekey=yes": f"A late {fact} of before day {move} still gets the version that is current when it is loaded.",
    }
    if change.startswith(("lookup", "rekey")) and base["report"] != "key":
        return "The report does not use the stored keys, so it shows the same as before."
    if change in {"lookup=day", "rekey=yes"} and base["start"] == "arrival":
        return too_late
    return whys[change]


def _facts(rng: random.Random, move: int, arrival: int) -> list[tuple[int, int]]:
    """Return four facts (day, day of its load), before and after the move, loaded in time or late."""
    early, between, late = range(1, move), range(move + 1, arrival), range(arrival + 1, arrival + 4)
    first, gap, after = rng.choice(early), rng.choice(between), rng.choice(late)
    kinds = [
        (rng.choice(early), rng.choice(late)),
        (gap, gap),
        (rng.choice(between), rng.choice(late)),
        (after, after),
    ]
    return sorted([(first, first), *rng.sample(kinds, 3)])


@template(
    name="design-for-a-late-change",
    topic=Topic.DATA_MODELING,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    form=QuestionForm.CHOOSE,
    tags=("scd-type-2", "late-arriving-data", "surrogate-key"),
    title="Kimball Group, Dimensional Modeling Techniques, Late Arriving Dimensions",
    url="https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/"
    "dimensional-modeling-techniques/late-arriving-dimension/",
    rated=(3, 3, 3),
)
def design_for_a_late_change(rng: random.Random) -> Draft:
    """Choose the one change to a load or report that gets facts right when a version arrives late."""
    entity, column, fact, pool = rng.choice(_LATE_FACTS)
    old, new = rng.sample(pool, 2)
    move = rng.randint(3, 6)
    arrival = move + rng.choice((3, 4))
    facts = _facts(rng, move, arrival)
    base = {
        "start": rng.choice(("move", "arrival")),
        "lookup": rng.choice(("day", "current")),
        "report": rng.choice(("key", "key", "key", "day", "current")),
        "rekey": "",
    }
    held = [f"{part}={value}" for part, value in base.items() if value]
    changes = [change for change in _CHANGES if change not in held]
    rng.shuffle(changes)
    right, *others = changes
    lines = [f"{fact:9}on day  loaded on", *(f"{at:<9}{day:<8}{loaded}" for at, (day, loaded) in enumerate(facts, 1))]
    return Draft(
        prompt=(
            f"A type 2 dimension hears on day {arrival} that {entity} 7 went from {old} to {new} on day {move}. The "
            f"report must count each {fact} under the {column} of its day. Which one change, in place from the start, "
            f"gets all four {fact}s right?"
        ),
        code="\n".join([*lines, "", *(_DESIGN[line].format(fact=fact) for line in held)]),
        language="text",
        setup=f"move, arrival, facts = {move}, {arrival}, {facts}\nbase, right = {base}, {right!r}\n{_LATE}",
        run="only_if(True, right)",
        texts={change: text.format(fact=fact) for change, text in _CHANGES.items()},
        why=f"With it, each of the four {fact}s meets the version that held on its day.",
        misconceptions=[
            Misconception(
                change.replace("=", "-"),
                _why_not(change, base, (old, new), (move, arrival), fact),
                run=f"only_if(not works({change!r}), {change!r})",
            )
            for change in others
        ],
        explanation=(
            "Two delays meet here: of the change and of the facts. A version must start when the change happened, not "
            "when it was heard of. Stored keys must be looked up by the fact's day and updated when a version comes "
            "late. A join on id and day needs neither, but costs more in each report."
        ),
    )
