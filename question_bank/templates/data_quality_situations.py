"""Templates on data quality: alert rules on daily counts, comparisons of two copies, and loaders that meet."""

from __future__ import annotations

import random
from dataclasses import dataclass
from inspect import getsource

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_MISSING = "On the last day some files were missing. Which rule alerts for that day?"
_COMPLETE = "All days are complete. Which rule sends a false alarm for the last day?"

_VOLUME = """
today, before = counts[-1], counts[:-1]
fires = {
    "yesterday": today < before[-1] / 2,
    "week": today < before[0] / 2,
    "lowest": today < min(before),
    "floor": today < floor,
}
print(", ".join(rule for rule, alerts in fires.items() if alerts))
"""


@dataclass(frozen=True)
class _Week:
    """Eight days, oldest first, in tens: what a day's count is, and the fixed floor of a rule."""

    tens: tuple[int, ...]
    floor: int
    first_day: str
    """Weekday of the first and of the last count; empty where any will do."""
    asked: str
    lesson: str


_WEEKS = (
    _Week(
        (10, 11, 10, 12, 11, 2, 1, 4), 0, "Mon", _MISSING, "Where weekends are quiet, compare a Monday with a Monday."
    ),
    _Week(
        (20, 22, 20, 21, 20, 4, 3, 8), 2, "Mon", _MISSING, "Where weekends are quiet, compare a Monday with a Monday."
    ),
    _Week((3, 2, 10, 12, 11, 10, 12, 3), 1, "Sat", _COMPLETE, "A quiet weekend looks like a loss beside a Friday."),
    _Week((4, 3, 20, 22, 20, 24, 20, 4), 1, "Sat", _COMPLETE, "A quiet weekend looks like a loss beside a Friday."),
    _Week((10, 10, 9, 9, 8, 8, 7, 6), 4, "", _MISSING, "A slow leak never halves a day, but it sets new lows."),
    _Week((20, 19, 18, 17, 16, 15, 14, 12), 8, "", _MISSING, "A slow leak never halves a day, but it sets new lows."),
    _Week((3, 10, 11, 10, 10, 12, 11, 4), 2, "", _MISSING, "A bad day a week ago makes a poor yardstick for today."),
    _Week((5, 20, 22, 21, 20, 22, 20, 6), 4, "", _MISSING, "A bad day a week ago makes a poor yardstick for today."),
    _Week((10, 11, 10, 10, 12, 11, 4, 4), 3, "", _MISSING, "On the second day of an outage yesterday is no yardstick."),
    _Week((20, 22, 20, 21, 20, 22, 6, 7), 5, "", _MISSING, "On the second day of an outage yesterday is no yardstick."),
    _Week((10, 11, 9, 10, 11, 10, 30, 10), 5, "", _COMPLETE, "After a peak a normal day looks like a loss."),
    _Week((20, 22, 18, 20, 21, 20, 50, 19), 9, "", _COMPLETE, "After a peak a normal day looks like a loss."),
    _Week((30, 11, 9, 10, 11, 10, 12, 10), 5, "", _COMPLETE, "A peak a week ago makes a normal day look like a loss."),
    _Week((50, 21, 18, 20, 22, 20, 21, 20), 9, "", _COMPLETE, "A peak a week ago makes a normal day look like a loss."),
    _Week((6, 5, 6, 5, 7, 6, 5, 6), 8, "", _COMPLETE, "A floor from the busy season fires all through the quiet one."),
    _Week((9, 8, 9, 7, 8, 9, 8, 9), 12, "", _COMPLETE, "A floor from the busy season fires all through the quiet one."),
)


@template(
    name="volume-rule-for-a-week",
    topic=Topic.DATA_QUALITY,
    level=Level.BEGINNER,
    engine=CheckEngine.PYTHON,
    tags=("anomaly-detection", "volume-checks", "seasonality"),
    title="Elementary documentation, Anomaly detection configuration, seasonality",
    url="https://docs.elementary-data.com/data-tests/anomaly-detection-configuration/seasonality",
    form=QuestionForm.READ,
    rated=(1, 1, 1),
)
def volume_rule_for_a_week(rng: random.Random) -> Draft:
    """Find the one rule on daily counts that catches a faulty day, or that raises a false alarm."""
    week = rng.choice(_WEEKS)
    factor = rng.choice((10, 20, 50, 100, 1_000))
    counts = [ten * factor for ten in week.tens]
    floor = week.floor * factor or factor // 2
    first = _DAYS.index(week.first_day or rng.choice(_DAYS))
    things = rng.choice(("orders", "bookings", "claims", "invoices", "deliveries", "payments"))
    pattern = "Weekends are quiet." if week.first_day else "All days of the week are alike."
    days = [_DAYS[(first + at) % 7] for at in range(8)]
    return Draft(
        prompt=f"You monitor how many {things} are loaded each day. {pattern} {week.asked}",
        code="\n".join(
            [
                f"day  {things}",
                *(f"{day}  {count:>{len(things)},}" for day, count in zip(days, counts, strict=True)),
                f"\nfixed minimum: {floor:,}",
            ]
        ),
        language="text",
        setup=f"counts, floor = {counts}, {floor}",
        run=_VOLUME,
        why=f"It is the only one of the four that fires at {counts[-1]:,}. {week.lesson}",
        misconceptions=_volume_mistakes(counts, floor),
        texts={
            "yesterday": "fewer than half of the day before",
            "week": "fewer than half of the day a week before",
            "lowest": "fewer than on each of the seven days before",
            "floor": "fewer than the fixed minimum",
        },
        explanation=(
            "Each yardstick has its blind spot: the day before fails after peaks and at weekends, the same weekday "
            "after holidays, a minimum after one bad day, a fixed floor as business changes. Combine two, and try "
            "them on the days of past incidents."
        ),
    )


def _volume_mistakes(counts: list[int], floor: int) -> tuple[Misconception, ...]:
    today, before = counts[-1], counts[:-1]

    def beside(limit: float, name: str) -> str:
        return f"{today:,} is {'below' if today < limit else 'not below'} {limit:,.0f}, {name}."

    return (
        Misconception("any-day-will-do", beside(before[-1] / 2, "half of the day before"), value="yesterday"),
        Misconception("last-week-is-normal", beside(before[0] / 2, "half of the day a week before"), value="week"),
        Misconception("lows-are-rare", beside(min(before), "the lowest of the seven days before"), value="lowest"),
        Misconception("one-limit-for-all-days", beside(floor, "the fixed limit"), value="floor"),
    )


_COMPARISONS = {
    "count": "(SELECT count(*) FROM {one}) <> (SELECT count(*) FROM {two})",
    "sum": "(SELECT sum(amount) FROM {one}) <> (SELECT sum(amount) FROM {two})",
    "ids": "(SELECT count(DISTINCT id) FROM {one}) <> (SELECT count(DISTINCT id) FROM {two})",
    "forth": "EXISTS (FROM {one} EXCEPT FROM {two})",
    "back": "EXISTS (FROM {two} EXCEPT FROM {one})",
    "join": "EXISTS (FROM {one} s JOIN {two} t ON s.id = t.id WHERE s.amount <> t.amount)",
    "lost": "EXISTS (FROM {one} s WHERE NOT EXISTS (FROM {two} t WHERE t.id = s.id))",
}
_COMPARISON_TEXTS = {
    "count": "count(*) of both",
    "sum": "sum(amount) of both",
    "ids": "count(DISTINCT id) of both",
    "forth": "{one} EXCEPT {two}",
    "back": "{two} EXCEPT {one}",
    "join": "join on id, amounts <>",
    "lost": "ids of {one} not in {two}",
}
_BLIND = {
    "count": "It counts rows, whatever is in them, and both sides have the same number.",
    "sum": "It compares totals. Faults that cancel out, or that change nothing in the total, stay hidden.",
    "ids": "It counts different ids, and both sides have the same number of them.",
    "forth": "EXCEPT finds distinct rows of {one} that {two} lacks; here it lacks none of them.",
    "back": "EXCEPT finds distinct rows of {two} that {one} lacks; here it lacks none of them.",
    "join": "It sees ids on both sides only, and `<>` with a NULL is not true. No pair has two amounts that differ.",
    "lost": "It looks for ids of {one} that are missing in {two}; each of them is there.",
}
_SEES = {
    "count": "The two sides differ in the number of rows.",
    "sum": "The two totals differ.",
    "ids": "The two sides differ in the number of different ids.",
    "forth": "{one} has a row that {two} does not have in this form.",
    "back": "{two} has a row that {one} does not have in this form.",
    "join": "An id is on both sides, with amounts that differ.",
    "lost": "An id of {one} is not in {two}.",
}
_FAULTS = {
    "doubled": ("count", "sum"),
    "lost-zero": ("count", "ids", "forth", "lost"),
    "swapped": ("forth", "back", "join"),
    "lost-and-doubled": ("ids", "forth", "lost"),
    "emptied": ("sum", "forth", "back"),
    "invented": ("count", "sum", "ids", "back"),
    "renumbered": ("forth", "back", "lost"),
}
"""What can happen to a copy, and which comparisons see it; running them must find just the one that is offered."""

_Copy = list[tuple[int, int | None]]


@template(
    name="comparison-that-sees-the-fault",
    topic=Topic.DATA_QUALITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("reconciliation", "except", "migration"),
    title="PostgreSQL 18 documentation, 7.4 Combining Queries (UNION, INTERSECT, EXCEPT)",
    url="https://www.postgresql.org/docs/18/queries-union.html",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def comparison_that_sees_the_fault(rng: random.Random) -> Draft:
    """Find the one comparison of a table with its copy that notices what went wrong."""
    fault = rng.choice(tuple(_FAULTS))
    one, two = rng.choice((("shop", "lake"), ("billing", "mart"), ("app", "replica"), ("ledger", "dwh")))
    right = rng.choice(_FAULTS[fault])
    blind = rng.sample([name for name in _COMPARISONS if name not in _FAULTS[fault]], 3)
    source, target = _copies(rng, fault)
    offered = ", ".join(f"({name!r}, {_COMPARISONS[name]})" for name in (right, *blind)).format(one=one, two=two)
    names = {"one": one, "two": two}
    return Draft(
        prompt=(
            f"`{one}` was copied to `{two}`, and something went wrong. These are all rows of both. Which comparison "
            "shows a difference?"
        ),
        code="\n".join([f"{one:13}{two}", "id  amount   id  amount", *_side_by_side(source, target)]),
        language="text",
        setup=_table(one, source) + _table(two, target),
        run=f"SELECT string_agg(name, ' and ') FROM (VALUES {offered}) AS v(name, differs) WHERE differs",
        why=_SEES[right].format(**names),
        misconceptions=[
            Misconception(f"{name}-sees-everything", _BLIND[name].format(**names), value=name) for name in blind
        ],
        texts={name: text.format(**names) for name, text in _COMPARISON_TEXTS.items()},
        explanation=(
            "Totals miss what cancels out, EXCEPT misses extra copies and works one way, a join misses ids on one side "
            "and NULLs. Compare the counts, then FULL JOIN on the key with IS DISTINCT FROM: where the key is unique, "
            "together they see every difference."
        ),
    )


def _copies(rng: random.Random, fault: str) -> tuple[_Copy, _Copy]:
    """Return four rows and what became of them."""
    start = rng.choice((1, 11, 40, 71))
    amounts = [ten * 10 for ten in rng.sample(range(2, 10), 4)]
    at, other = rng.sample(range(4), 2)
    if fault == "lost-zero":
        amounts[at] = 0
    if fault == "lost-and-doubled":
        amounts[other] = amounts[at]
    source: _Copy = [(start + number, amount) for number, amount in enumerate(amounts)]
    target = list(source)
    match fault:
        case "doubled":
            target.insert(at, source[at])
        case "lost-zero":
            del target[at]
        case "swapped":
            target[at], target[other] = (source[at][0], amounts[other]), (source[other][0], amounts[at])
        case "lost-and-doubled":
            target[at] = source[other]
        case "emptied":
            target[at] = (source[at][0], None)
        case "invented":
            target.append((start + rng.randint(5, 8), rng.choice((10, 15, 25))))
        case "renumbered":
            target[at] = (start + rng.randint(5, 8), amounts[at])
    return source, sorted(target, key=lambda row: row[0])


def _table(name: str, rows: _Copy) -> str:
    values = ", ".join(f"({key}, {'NULL' if amount is None else amount})" for key, amount in rows)
    return f"CREATE TABLE {name} (id INT, amount INT); INSERT INTO {name} VALUES {values}; "


def _side_by_side(source: _Copy, target: _Copy) -> list[str]:
    cells = [
        [f"{key:<4}{'NULL' if amount is None else amount:<9}" for key, amount in rows] for rows in (source, target)
    ]
    height = max(map(len, cells))
    left, right = (column + [" " * 13] * (height - len(column)) for column in cells)
    return [(one + two).rstrip() for one, two in zip(left, right, strict=True)]


_READ_COMMITTED, _REPEATABLE_READ, _SERIALIZABLE = "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"


def second_loader(isolation: str, statement: str, timeline: str) -> str:
    """Return what becomes of the second of two loaders with one key; PostgreSQL 18.0 agrees in all cases."""
    keeps_snapshot = isolation != "READ COMMITTED"  # else each statement takes its own
    if timeline == "rolled back":
        return "alone"
    if statement == "not exists":  # without a unique index
        if timeline == "early" and not keeps_snapshot:
            return "nothing"
        return "serialization" if isolation == "SERIALIZABLE" else "both"
    if statement == "plain":
        return "unique"
    if keeps_snapshot:
        return "serialization"
    return "nothing" if statement == "do nothing" else "update"


_INSERTS = {
    "plain": "INSERT INTO {table} (id)\n  VALUES ({key})",
    "do nothing": "INSERT INTO {table} (id)\n  VALUES ({key})\n  ON CONFLICT DO NOTHING",
    "update": "INSERT INTO {table} (id)\n  VALUES ({key})\n  ON CONFLICT (id) DO UPDATE\n  SET seen_at = now()",
    "not exists": "INSERT INTO {table} (id)\n  SELECT {key} WHERE NOT EXISTS\n"
    "  (SELECT FROM {table}\n   WHERE id = {key})",
}
_TIMELINES = {
    "overlapping": "A  BEGIN; INSERT ...\nB  BEGIN; INSERT ...\nA  COMMIT\nB  COMMIT",
    "early": "B  BEGIN; SELECT count(*) ...\nA  BEGIN; INSERT ...; COMMIT\nB  INSERT ...; COMMIT",
    "rolled back": "A  BEGIN; INSERT ...\nB  BEGIN; INSERT ...\nA  ROLLBACK\nB  COMMIT",
}
_LOADER_TEXTS = {
    "both": "It adds a second row with this id",
    "nothing": "It commits without adding a row",
    "update": "It overwrites the row of A and commits",
    "unique": "It fails with a unique violation",
    "serialization": "It fails with a serialization failure",
    "alone": "It adds the only row with this id",
}
_LOADER_WHYS = {
    "both": "The snapshot of B lacks the row of A, and no unique index looks beyond snapshots.",
    "nothing": "By then the row of A is committed, and B is to add nothing if there is one.",
    "update": "READ COMMITTED may update a row that was committed after the statement began.",
    "unique": "The row of A is committed, and a unique index looks beyond the snapshot of B.",
    "serialization": "What B does depends on a row that its snapshot cannot show, so PostgreSQL stops it. Run B again.",
    "alone": "B meets no other row: that of A is gone with its rollback.",
}


@template(
    name="two-loaders-one-key",
    topic=Topic.DATA_QUALITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("postgresql", "isolation", "on-conflict", "duplicates"),
    title="PostgreSQL 18 documentation, 13.2 Transaction Isolation",
    url="https://www.postgresql.org/docs/18/transaction-iso.html",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def two_loaders_one_key(rng: random.Random) -> Draft:
    """Tell what becomes of a loader when another one inserts the same key."""
    isolation = rng.choice((_READ_COMMITTED, _REPEATABLE_READ, _SERIALIZABLE))
    statement = rng.choice(("plain", "do nothing", "do nothing", "update", "not exists", "not exists"))
    timeline = rng.choice(("overlapping", "overlapping", "early", "early", "rolled back"))
    table, key = rng.choice(("orders", "payments", "tickets", "users", "devices")), rng.choice((7, 12, 40, 300))
    case = (isolation, statement, timeline)
    index = "no unique index" if statement == "not exists" else "a unique index on `id`"
    return Draft(
        prompt=(
            f"PostgreSQL 18. `{table}` has {index} and no row with id {key}. Loaders A and B run this INSERT, both in "
            f"{isolation}, in the order below; a step waits if it has to. What becomes of B?"
        ),
        code=f"{_INSERTS[statement].format(table=table, key=key)};\n\n{_TIMELINES[timeline]}",
        language="sql",
        setup=getsource(second_loader),
        run=f"print(second_loader{case})",
        why=_LOADER_WHYS[second_loader(*case)],
        misconceptions=_loader_mistakes(rng, case),
        texts=_LOADER_TEXTS,
        explanation=(
            "Only a unique index keeps a second row out at every level; NOT EXISTS alone is a race. ON CONFLICT suits "
            "READ COMMITTED. Above it, and with checks of your own in SERIALIZABLE, expect SQLSTATE 40001 and run the "
            "whole transaction again."
        ),
    )


def _loader_mistakes(rng: random.Random, case: tuple[str, str, str]) -> list[Misconception]:
    """Return what other rules would lead to first, then other ends that are not far-fetched."""
    isolation, statement, timeline = case
    others = [
        ("isolation-level-ignored", (_READ_COMMITTED, statement, timeline)),
        ("snapshot-of-the-transaction", (_REPEATABLE_READ, statement, timeline)),
        ("serializable-everywhere", (_SERIALIZABLE, statement, timeline)),
        ("conflict-clause-overlooked", (isolation, "plain", timeline)),
        ("rollback-overlooked", (isolation, statement, "overlapping")),
        ("commit-overlooked", (isolation, statement, "rolled back")),
        ("start-of-b-overlooked", (isolation, statement, "early")),
    ]
    rng.shuffle(others)
    ends = ["both", "nothing", "unique", "serialization"]
    rng.shuffle(ends)
    return [
        *(
            Misconception(name, _why_not(second_loader(*other), case), run=f"print(second_loader{other})")
            for name, other in others
        ),
        *(Misconception(f"{end}-by-habit", _why_not(end, case), value=end) for end in ends),
    ]


_WHY_NOT = {
    ("both", "not exists in SERIALIZABLE"): "REPEATABLE READ ends so. SERIALIZABLE notices that B missed what A wrote, "
    "and one of them must fail.",
    ("both", "not exists"): "In READ COMMITTED the INSERT takes a new snapshot, so its subquery finds the row of A.",
    ("both", ""): "The unique index lets in one row with this id, whatever the snapshot of B shows.",
    ("nothing", "not exists"): "The subquery cannot find the row of A: it was not committed when the snapshot of B was "
    "taken.",
    ("nothing", "do nothing"): "READ COMMITTED ends so. In {isolation} B may not skip for a row that its snapshot "
    "cannot show.",
    ("nothing", ""): "Nothing in the statement tells B to skip a row that is there.",
    ("unique", "not exists"): "There is no unique index that could be violated.",
    ("unique", ""): "ON CONFLICT takes care of the conflict before it becomes a violation.",
    ("serialization", _READ_COMMITTED): "READ COMMITTED does not fail so: it goes on with what is committed by now.",
    ("serialization", "not exists"): "REPEATABLE READ fails where two change one row. These are two new rows; only "
    "SERIALIZABLE would notice.",
    ("serialization", ""): "The unique index is checked first, and reports a plain violation.",
    ("update", ""): "READ COMMITTED ends so. In {isolation} B may not change a row that its snapshot cannot show.",
    ("alone", ""): "A committed, so its row stays and counts.",
}
"""Why B does not end so, in the narrowest case that fits: statement in isolation, isolation, statement, or any."""


def _why_not(end: str, case: tuple[str, str, str]) -> str:
    isolation, statement, timeline = case
    if timeline == "rolled back":
        return "A rolled back: its row counts for nothing, and B goes on as if it had never been there."
    kinds = (f"{statement} in {isolation}", isolation, statement, "")
    return next(_WHY_NOT[end, kind] for kind in kinds if (end, kind) in _WHY_NOT).format(isolation=isolation)
