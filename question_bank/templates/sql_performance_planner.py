"""Templates on SQL performance: what an index scan reads, and where a plan spends its time."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_INDEXES = (
    ("orders", ("shop", "day", "state")),
    ("logs", ("host", "hour", "level")),
    ("trips", ("zone", "day", "kind")),
    ("sensors", ("site", "week", "type")),
    ("calls", ("team", "hour", "topic")),
    ("tasks", ("queue", "prio", "owner")),
)

_SCAN = """
holds = {"=": lambda a, b: a == b, ">": lambda a, b: a > b, "<": lambda a, b: a < b}

def passes(entry, conditions):
    return all(holds[op](entry[column], value) for column, op, value in conditions)

def bounding(conditions):
    used = []
    for column in range(3):
        here = [one for one in conditions if one[0] == column]
        used += here
        if not here or here[0][1] != "=":
            break
    return used

def scan(conditions):
    limits, read = bounding(conditions), 0
    for entry in sorted(entries):
        if passes(entry, limits):
            read += 1
        elif read:
            break
    return read
"""

_SHAPES = ("=.=", "=.=", "=>=", "=<=", ">=.", "<=.", ">=.", "=>=", ">.=")
"""The operator on each column of the index; a dot where there is no condition."""


def _literal(column: int, value: int) -> str:
    """Return a value of an index entry as a learner reads it: numbers, and letters in the last column."""
    return f"'{'ABC'[value]}'" if column == len("ab") else str(value)


def _mistakes_about_index_entries(
    columns: tuple[str, ...], conditions: list[tuple[int, str, int]]
) -> tuple[Misconception, ...]:
    """Return the ways to misjudge which conditions bound the scan."""
    first, last = columns[conditions[0][0]], columns[conditions[-1][0]]
    by_last = Misconception(
        "last-condition-decides",
        f"That goes by `{last}` alone. Its values lie scattered over the index.",
        run="print(sum(passes(entry, conditions[-1:]) for entry in entries))",
    )
    return (
        Misconception(
            "every-condition-narrows-the-run",
            "That counts the rows of the result. A condition after a range or a gap does not shorten the run.",
            run="print(sum(passes(entry, conditions) for entry in entries))",
        ),
        Misconception(
            "only-the-first-column-narrows",
            f"That uses `{first}` alone. After an equality, the next column narrows the run too.",
            run="print(scan(conditions[:1]))",
        ),
        Misconception(
            "a-gap-makes-the-index-useless",
            f"That reads the whole index. The condition on `{first}` alone already bounds a run.",
            run="print(len(entries))",
        ),
        Misconception(
            "stops-at-the-last-match",
            "That ends at the last row of the result. The engine cannot know it is the last before the run ends.",
            run=(
                "run = [passes(e, conditions) for e in sorted(entries) if passes(e, bounding(conditions))]\n"
                "print(max((n for n, hit in enumerate(run, 1) if hit), default=0))"
            ),
        ),
        *([by_last] if len(conditions) < len(columns) else []),
    )


@template(
    name="index-entries-read",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("indexes", "b-tree", "column-order"),
    title="PostgreSQL 17 documentation, 11.3 Multicolumn Indexes",
    url="https://www.postgresql.org/docs/17/indexes-multicolumn.html",
    rated=(3, 3, 3),
)
def index_entries_read(rng: random.Random) -> Draft:
    """Count the entries that a range scan of a three-column index reads."""
    table, columns = rng.choice(_INDEXES)
    universe = [(one, two, three) for one in (1, 2) for two in range(1, 6) for three in range(3)]
    entries = sorted(rng.sample(universe, 8))
    shape = rng.choice(_SHAPES)
    pick = rng.choice(entries)
    bounds = {">": (1, rng.choice((1, 2, 3))), "<": (2, rng.choice((3, 4, 5)))}
    conditions = []
    for column, operator in enumerate(shape):
        if operator != ".":
            value = pick[column] if operator == "=" or column > 1 else bounds[operator][column]
            conditions.append((column, operator, value))
    where = "\n  AND ".join(f"{columns[column]} {op} {_literal(column, value)}" for column, op, value in conditions)
    shown = [f"--   {one}, {two}, {_literal(2, three)[1]}" for one, two, three in entries]
    return Draft(
        prompt=(
            f"PostgreSQL 17, which knows no skip scan: the comments show a B-tree index on `{table}`, entry by entry. "
            "The query runs as one plain index scan. How many entries lie in the range that it scans?"
        ),
        code="\n".join([f"-- index ({', '.join(columns)})", *shown, f"SELECT * FROM {table}", f"WHERE {where};"]),
        language="sql",
        setup=f"entries = {entries}\nconditions = {conditions}\n{_SCAN}",
        run="print(scan(conditions))",
        why=(
            "Equalities on leading columns and the first range after them bound the run. Other conditions are checked "
            "entry by entry inside it."
        ),
        misconceptions=_mistakes_about_index_entries(columns, conditions),
        explanation=(
            "Put columns that are compared with = first, then one range column. What follows the range, or a column "
            "that was skipped, only filters entries already read: it saves table visits, not index reads."
        ),
    )


_PLANS = (
    (("Sort", 0), ("Nested Loop", 1), ("Seq Scan on {a}", 2), ("Index Scan on {b}", 2)),
    (("Limit", 0), ("Sort", 1), ("Nested Loop", 2), ("Seq Scan on {a}", 3), ("Index Scan on {b}", 3)),
    (("Nested Loop", 0), ("Seq Scan on {a}", 1), ("Aggregate", 1), ("Index Scan on {b}", 2)),
    (("HashAggregate", 0), ("Hash Join", 1), ("Seq Scan on {b}", 2), ("Hash", 2), ("Seq Scan on {a}", 3)),
    (("WindowAgg", 0), ("Sort", 1), ("Hash Join", 2), ("Seq Scan on {b}", 3), ("Hash", 3), ("Seq Scan on {a}", 4)),
)
"""Steps of a plan with their depth. What stands below a nested loop after its first scan runs once for each row."""

_JOINED = (("orders", "items"), ("users", "logins"), ("shops", "sales"), ("hosts", "alerts"), ("drivers", "trips"))

_IDLE = frozenset({"Limit", "Hash", "Nested Loop"})
"""Steps that are never the slow one here."""

_OWN_TIME = """
def total(step):
    return steps[step][2] * steps[step][4]

def children(step):
    depth = steps[step][1]
    for below in range(step + 1, len(steps)):
        if steps[below][1] <= depth:
            return
        if steps[below][1] == depth + 1:
            yield below

def own(step):
    return total(step) - sum(map(total, children(step)))

def own_without_loops(step):
    return steps[step][2] - sum(steps[below][2] for below in children(step))

def largest(measure):
    print(steps[max(range(len(steps)), key=measure)][0])
"""

_Step = tuple[str, int, float, int, int]
"""Name, depth, milliseconds of one loop with all that is below, rows of one loop, loops."""


def _plan(rng: random.Random) -> tuple[list[_Step], dict[str, int]]:
    """Return a plan with one slow step, and how many milliseconds each step takes by itself."""
    shape = rng.choice(_PLANS)
    one, two = rng.choice(_JOINED)
    names = [name.format(a=one, b=two) for name, _ in shape]
    depths = [depth for _, depth in shape]
    slow = rng.choice([*(name for name in names if name not in _IDLE), names[-1], names[-1]])
    own = {name: 0 if name == "Limit" else rng.choice((10, 20, 40, 60)) for name in names}
    own[slow] = rng.choice((400, 600, 800))
    outer = rng.choice((200, 500, 1000, 2000))
    loop = names.index("Nested Loop") if "Nested Loop" in names else len(names)
    steps: list[_Step] = []
    for at, (name, depth) in enumerate(zip(names, depths, strict=True)):
        below = next((n for n in range(at + 1, len(names)) if depths[n] <= depth), len(names))
        loops = outer if at > loop + 1 else 1
        inner = outer if loops == 1 else 300 if "Aggregate" in names and name != "Aggregate" else 1
        rows = {"Limit": 10, "HashAggregate": 50, f"Seq Scan on {two}": 100 * outer}.get(name, inner)
        steps.append((name, depth, sum(own[step] for step in names[at:below]) / loops, rows, loops))
    return steps, own


def _mistakes_about_own_time(own: dict[str, int]) -> tuple[Misconception, ...]:
    """Return the ways to blame another step."""
    return (
        Misconception(
            "time-of-a-step-is-its-own",
            "Its time includes the steps below it. What remains for the step itself is little.",
            run="largest(lambda step: steps[step][2])",
        ),
        Misconception(
            "loops-are-left-out",
            "Times are averages for one loop. Multiply them by `loops` before you compare or subtract.",
            run="largest(own_without_loops)",
        ),
        Misconception(
            "most-rows-cost-most",
            "Many rows can be cheap. Compare the times: those of a step, less those of the steps below it.",
            run="largest(lambda step: steps[step][3])",
        ),
        *(
            Misconception(
                f"blames-{name.split(' on ')[0].lower().replace(' ', '-')}-{at}",
                f"By itself it takes {time} ms: its time in all loops, less that of the steps below it.",
                value=name,
            )
            for at, (name, time) in enumerate(own.items())
            if name != "Limit"
        ),
    )


@template(
    name="slowest-step-of-a-plan",
    topic=Topic.SQL_PERFORMANCE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    form=QuestionForm.READ,
    tags=("explain", "query-plan", "loops"),
    title="PostgreSQL 18 documentation, 14.1.2 EXPLAIN ANALYZE",
    url="https://www.postgresql.org/docs/18/using-explain.html",
    rated=(2, 2, 2),
)
def slowest_step_of_a_plan(rng: random.Random) -> Draft:
    """Find the step of a plan that takes the most time by itself, among loops and times that include others."""
    steps, own = _plan(rng)
    slow = max(own, key=lambda name: own[name])
    lines = []
    for name, depth, time, rows, loops in steps:
        lines += [f"{'  ' * depth}{name}", f"{'  ' * depth}  ms={time:g} rows={rows} loops={loops}"]
    return Draft(
        prompt=(
            "`EXPLAIN ANALYZE` of PostgreSQL 18, shortened: `ms` is the second figure of `actual time`. "
            "Which step takes the most time by itself?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"steps = {steps}\n{_OWN_TIME}",
        run="largest(own)",
        why=f"By itself it takes {own[slow]} ms, once loops are counted and the steps below are taken off.",
        misconceptions=_mistakes_about_own_time(own),
        explanation=(
            "The time of a step is an average for one loop and includes the steps below. Multiply it by `loops`, then "
            "subtract what is below. Mend the step with the largest remainder: an index or another join for many "
            "loops, more memory for a sort, fewer rows for a scan."
        ),
    )
