"""Templates on batch processing with Spark: slow stages, joins, and the files that a crash leaves."""

from __future__ import annotations

import random
from collections.abc import Mapping
from inspect import getsource

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_DIAGNOSE = """
def first_change(table):
    time, read, spill = table
    if read[2] >= 10 * read[1]:
        return "skew"
    if time[2] >= 5 * time[1]:
        return "machine"
    if spill[1] > 0:
        return "more"
    return "fewer" if time[1] < 1 else "nothing"
"""
_CHANGES = {
    "skew": "Spread the hot key over many tasks",
    "machine": "Take out the slow machine",
    "more": "Cut the data into more partitions",
    "fewer": "Cut the data into fewer partitions",
}


def _seconds(value: float) -> str:
    if value < 1:
        return f"{round(value * 1000)} ms"
    return f"{round(value)} s" if value < 120 else f"{round(value / 60)} min"  # noqa: PLR2004 - two minutes


def _size(mb: float) -> str:
    if mb < 1:
        return f"{round(mb * 1000)} KB" if mb else "0"
    return f"{round(mb)} MB" if mb < 1000 else f"{mb / 1000:.1f} GB"  # noqa: PLR2004 - a gigabyte


def _stage(rng: random.Random, cause: str) -> tuple[int, list[list[float]]]:
    """Draw the number of tasks, and minimum, median and maximum of time in s, read and spill in MB."""
    tasks, read, second = rng.choice((200, 400, 800)), float(rng.choice((60, 80, 120))), float(rng.choice((8, 10, 15)))
    if cause == "skew":
        big = read * rng.choice((20, 30, 40))
        times, sizes, spill = (second, second * 1.2, second * 50), (read * 0.9, read, big), (0.0, 0.0, big * 2)
    elif cause == "machine":
        times, sizes, spill = (second, second * 1.2, second * 40), (read * 0.9, read, read * 1.2), (0.0, 0.0, 0.0)
    elif cause == "more":
        times, sizes = (second * 40, second * 42, second * 48), (read * 40, read * 42, read * 44)
        spill = (read * 80, read * 90, read * 99)
    else:
        tasks = rng.choice((20, 40, 60)) * 1000
        times, sizes, spill = (0.02, 0.04, 0.12), (0.02, 0.05, 0.06), (0.0, 0.0, 0.0)
    return tasks, [list(times), list(sizes), list(spill)]


def _first_change_whys(cause: str, tasks: int, table: list[list[float]]) -> dict[str, str]:
    """Say of each change why it helps, or why it does not."""
    times, sizes, spill = table
    typical, largest = _size(sizes[1]), _size(sizes[2])
    whys = {
        "skew": f"No task reads much more than the others: {typical} at the median, {largest} at most.",
        "machine": f"The slowest tasks take {_seconds(times[2])}, hardly more than the median of {_seconds(times[1])}.",
        "more": f"A task with {typical} is small enough; most tasks spill nothing.",
        "fewer": f"Tasks of {_seconds(times[1])} are not too small; larger ones would only run longer.",
    }
    if cause == "skew":
        whys["machine"] = f"The slow task is slow on any machine: it reads {largest}, the others {typical}."
        whys["more"] = "All rows of one key go to one partition, however many there are."
    if cause == "fewer":
        whys["machine"] = f"No task is slow on its own: {_seconds(times[2])} at most."
    if cause == "more":
        whys["machine"] = f"All tasks are slow, even the fastest: {_seconds(times[0])}."
    right = {
        "skew": f"One task reads {largest}, against {typical} at the median: one key, or a few, hold most rows.",
        "machine": f"All tasks read about {typical}, but some take {_seconds(times[2])}, not {_seconds(times[1])}, "
        "all on one node.",
        "more": f"Even the median task reads {typical} and spills {_size(spill[1])}: each partition is too large.",
        "fewer": f"{tasks:,} tasks of {_seconds(times[1])} with {typical} each: starting them costs most.",
    }
    return whys | {cause: right[cause]}


@template(
    name="slow-stage-first-change",
    topic=Topic.BATCH_PROCESSING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("spark", "data-skew", "shuffle-partitions"),
    title="Apache Spark 4.0 documentation, Web UI, Stages Tab, Stage detail",
    url="https://spark.apache.org/docs/4.0.0/web-ui.html#stage-detail",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def slow_stage_first_change(rng: random.Random) -> Draft:
    """Read the metrics of a slow stage, and choose what to change."""
    cause = rng.choice(tuple(_CHANGES))
    tasks, table = _stage(rng, cause)
    whys = _first_change_whys(cause, tasks, table)
    names = {"skew": "it-is-skew", "machine": "it-is-hardware", "more": "tasks-too-large", "fewer": "tasks-too-small"}
    rows = [
        (name, *map(show, cells))
        for name, show, cells in zip(("time", "read", "spill"), (_seconds, _size, _size), table, strict=True)
    ]
    lines = [
        f"{name:6}{least:>10}{median:>10}{most:>10}"
        for name, least, median, most in (("", "min", "median", "max"), *rows)
    ]
    host = f"node-{rng.randint(2, 30)}"
    slowest = (
        f"slowest tasks: {'1' if cause == 'skew' else '12'} on {host}"
        if cause in ("skew", "machine")
        else "slowest tasks: on many nodes"
    )
    job = rng.choice(("nightly revenue", "customer export", "stock report", "billing", "ad reach", "fraud score"))
    return Draft(
        prompt=(
            f"One stage of the {job} job is slow. It aggregates after a shuffle, with {tasks:,} tasks. The Spark UI "
            "shows the metrics below. What do you change first?"
        ),
        code="\n".join((*lines, slowest)),
        language="text",
        setup=f"{_DIAGNOSE}table = {table}",
        run="print(first_change(table))",
        why=whys[cause],
        misconceptions=[
            Misconception(names[change], whys[change], value=change) for change in _CHANGES if change != cause
        ],
        explanation=(
            "Compare median and maximum. More data in a few tasks is skew; more time on as much data is a machine; "
            "spill in the median task means partitions too large; milliseconds in the median task, too small. Then "
            "change one thing, and compare again."
        ),
        texts=_CHANGES,
    )


def pick_join(kind: str, left: int, right: int, hint: str, side: str) -> str:
    """Return how Spark 4 executes a join on equal keys: what a drawing executes.

    Args:
        left: size in MB, as is the right one.
        side: that the hint names.
    """
    may_send = {"JOIN": "LR", "LEFT JOIN": "R", "RIGHT JOIN": "L", "LEFT ANTI JOIN": "R", "FULL JOIN": ""}[kind]
    if hint == "BROADCAST" and side in may_send:
        return f"send {side}"
    if hint == "MERGE":
        return "merge"
    if hint == "SHUFFLE_HASH" and (kind != "LEFT ANTI JOIN" or side == "R"):
        return "hash"
    small = [(size, name) for size, name in ((left, "L"), (right, "R")) if name in may_send and size <= 10]  # noqa: PLR2004 - MB
    return f"send {min(small)[1]}" if small else "merge"


_KINDS = ("JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "LEFT ANTI JOIN", "FULL JOIN")


def _join_why(kind: str, left: int, right: int, hint: str, side: str, names: Mapping[str, str]) -> str:
    """Say by which rule Spark picks the join."""
    found = pick_join(kind, left, right, hint, side)
    may_send = {"LEFT JOIN": "R", "LEFT ANTI JOIN": "R", "RIGHT JOIN": "L"}.get(kind)
    limit = f"A {kind} can broadcast only `{names[may_send]}`" if may_send else "A FULL JOIN can broadcast neither side"
    if hint == "BROADCAST":
        return (
            f"The hint may name `{names[side]}` in this join, and it goes before the threshold."
            if found == f"send {side}"
            else f"{limit}, so the hint is ignored."
        )
    if hint == "MERGE" or found == "hash":
        return f"The hint {hint} applies to any size, and goes before a broadcast by size."
    if hint:
        return f"A {kind} can hash only `{names['R']}`, so the hint is ignored, and without it both sides are sorted."
    if found != "merge":
        return f"`{names[found[-1]]}` is below the threshold, and this join may broadcast it."
    if min(left, right) > 10:  # noqa: PLR2004 - MB
        return "Neither side is below the threshold, and without a hint Spark prefers to sort both."
    return f"{limit}, so the small table is no help here. Spark sorts both sides."


def _join_mistakes(kind: str, left: int, right: int, hint: str, side: str, large: str, why: str) -> list[Misconception]:
    """Return the ways to misread a join.

    Args:
        side: where the small table stands.
        large: which table is large, and how large.
    """
    found, other = pick_join(kind, left, right, hint, side), "R" if side == "L" else "L"
    return [
        Misconception("a-hint-is-an-order", why, run=f"print(pick_join('JOIN', {left}, {right}, {hint!r}, {side!r}))"),
        Misconception("hints-are-comments", why, run=f"print(pick_join({kind!r}, {left}, {right}, '', ''))"),
        Misconception("the-smaller-side-is-sent", why, value=f"send {side}"),
        Misconception(
            "large-tables-can-be-sent",
            f"{large}. Spark does not choose to copy that to each executor.",
            value=f"send {other}",
        ),
        Misconception("equal-keys-are-merged", why, value="merge"),
        Misconception(
            "equal-keys-are-hashed",
            "Without the hint SHUFFLE_HASH, Spark prefers a sort-merge join to a shuffled hash join."
            if found == "merge"
            else why,
            value="hash",
        ),
    ]


@template(
    name="join-strategy-in-the-plan",
    topic=Topic.BATCH_PROCESSING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("spark", "broadcast-join", "join-hints"),
    title="Apache Spark 4.0 documentation, Performance Tuning, Join Strategy Hints",
    url="https://spark.apache.org/docs/4.0.0/sql-performance-tuning.html#join-strategy-hints",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def join_strategy_in_the_plan(rng: random.Random) -> Draft:
    """Find the join that Spark plans from its type, the sizes and a hint."""
    large, small, key = rng.choice(
        (("orders", "shops", "shop"), ("clicks", "ads", "ad"), ("trips", "zones", "zone"), ("scans", "hubs", "hub"))
    )
    wanted = rng.choice(("send", "send", "merge", "merge", "hash"))
    while True:
        kind, small_side = rng.choice(_KINDS), rng.choice("LR")
        size, huge = rng.choice((4, 8, 8, 200)), rng.choice((40, 300, 900))
        hint = rng.choice(("", "", "BROADCAST", "BROADCAST", "MERGE", "SHUFFLE_HASH"))
        left, right = (size, huge * 1000) if small_side == "L" else (huge * 1000, size)
        facts = (kind, left, right, hint, small_side)
        told_twice = hint == "BROADCAST" and size < 200 and pick_join(*facts) != "merge"  # noqa: PLR2004 - MB
        if pick_join(*facts).startswith(wanted) and not told_twice:
            break
    names = {"L": small, "R": large} if small_side == "L" else {"L": large, "R": small}
    why = _join_why(*facts, names)
    comment = f" /*+ {hint}({small}) */" if hint else ""
    return Draft(
        prompt=(
            f"Spark 4 plans this query. `{large}` has {huge} GB, `{small}` {size} MB; both figures are exact. "
            "`autoBroadcastJoinThreshold` is 10 MB; the rest is default. Which join does the plan show?"
        ),
        code=f"SELECT{comment} *\nFROM {names['L']}\n{kind} {names['R']}\n  ON {names['L']}.{key} = {names['R']}.{key}",
        language="sql",
        setup=getsource(pick_join),
        run=f"print(pick_join{facts})",
        why=why,
        misconceptions=_join_mistakes(*facts, f"`{large}` has {huge} GB", why),
        explanation=(
            "A hint goes before sizes, but no hint changes what a join type allows: the side whose rows are all kept "
            "cannot be broadcast, and FULL JOIN broadcasts none. If the small table stands on the kept side, see "
            "whether you can turn the join into an inner one."
        ),
        texts={
            "send L": f"Broadcast hash join, sends `{names['L']}`",
            "send R": f"Broadcast hash join, sends `{names['R']}`",
            "merge": "Sort-merge join of both",
            "hash": "Shuffled hash join of both",
        },
    )


def files_seen(mode: str, writer: str, crash: str) -> str:
    """Return what a reader of the table finds after a crash: what a drawing executes."""
    if writer == "Iceberg":
        new = "all" if crash == "after" else "no"
        return f"{'old' if mode == 'append' or new == 'no' else 'no'}, {new} new"
    if writer == "1":
        new = {"tasks": "no", "commit": "some", "after": "all"}[crash]
    else:
        new = {"tasks": "some", "commit": "all", "after": "all"}[crash]
    return f"{'old' if mode == 'append' else 'no'}, {new} new"


_CRASHES = {
    "tasks": "The driver dies when {done} of {tasks} tasks have committed.",
    "commit": "All {tasks} tasks have committed; the driver dies in the middle of the job commit.",
    "after": "All {tasks} tasks have committed; the driver dies just after the job commit.",
}
_SEEN = {
    "old, no new": "The old rows only",
    "old, some new": "The old rows, and some new ones",
    "old, all new": "The old rows, and all new ones",
    "no, no new": "No rows at all",
    "no, some new": "Some of the new rows only",
    "no, all new": "All of the new rows only",
}


def _seen_why(mode: str, writer: str, crash: str) -> str:
    if writer == "Iceberg":
        return (
            "The commit of a table format swaps one pointer. It had happened, so readers see the new snapshot."
            if crash == "after"
            else "A table format shows new files only by its commit, one atomic step. Readers get the old snapshot."
        )
    first = "Overwrite deletes the old files before the first task writes. " if mode == "overwrite" else ""
    if writer == "1":
        return (
            first
            + {
                "tasks": "Version 1 keeps the files of committed tasks in `_temporary` until the job commit.",
                "commit": "Version 1 moves the files one by one in the job commit, and some had been moved.",
                "after": "The job commit had moved all files.",
            }[crash]
        )
    return (
        first
        + {
            "tasks": "Version 2 moves a task's files into the folder when the task commits.",
            "commit": "Version 2 had moved all files with the tasks; the job commit only adds `_SUCCESS`.",
            "after": "All files had been moved with the tasks.",
        }[crash]
    )


@template(
    name="files-seen-after-spark-crash",
    topic=Topic.BATCH_PROCESSING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("spark", "output-committer", "atomicity"),
    title="Apache Hadoop documentation, mapred-default.xml, mapreduce.fileoutputcommitter.algorithm.version",
    url="https://hadoop.apache.org/docs/stable/hadoop-mapreduce-client/hadoop-mapreduce-client-core/mapred-default.xml",
    rated=(2, 2, 2),
)
def files_seen_after_spark_crash(rng: random.Random) -> Draft:
    """Find what a reader meets after a Spark job has died, by committer, write mode and moment."""
    mode, writer = rng.choice(("append", "overwrite")), rng.choice(("1", "1", "2", "2", "Iceberg"))
    crash = rng.choice(("tasks", "after") if writer == "Iceberg" else ("tasks", "tasks", "commit", "commit", "after"))
    table = rng.choice(("sales", "visits", "stock", "trips", "bills", "scores", "orders", "claims"))
    facts = (mode, writer, crash)
    why = _seen_why(*facts)
    tasks = rng.choice((10, 40, 200))
    story = _CRASHES[crash].format(tasks=tasks, done=rng.choice((tasks // 2, tasks // 5 * 4)))
    other_mode, other_writer = "overwrite" if mode == "append" else "append", "2" if writer == "1" else "1"
    beliefs = {
        "a-job-is-atomic": (mode, "Iceberg", crash),
        "version-does-not-matter": (mode, other_writer, crash),
        "mode-acts-at-the-end": (other_mode, writer, crash),
        "tasks-show-at-once": (mode, "2", crash),
        "nothing-shows-before-the-end": (mode, "1", "tasks"),
        "committed-is-done": (mode, writer, "after"),
    }
    mistakes = [Misconception(name, why, run=f"print(files_seen{belief})") for name, belief in beliefs.items()]
    rest = [Misconception(f"sees-{seen.replace(', ', '-').replace(' ', '-')}", why, value=seen) for seen in _SEEN]
    place = f"db.{table}" if writer == "Iceberg" else f"/lake/{table}"
    setting = "# Iceberg table" if writer == "Iceberg" else f"# table on HDFS, file committer {writer}"
    layout = "iceberg" if writer == "Iceberg" else "parquet"
    return Draft(
        prompt=f"A Spark 4 job writes like this. {story} What does a query find right after that?",
        code=f'{setting}\n(df.write\n   .format("{layout}")\n   .mode("{mode}")\n   .save("{place}"))',
        language="python",
        setup=getsource(files_seen),
        run=f"print(files_seen{facts})",
        why=why,
        misconceptions=[*rng.sample(mistakes, len(mistakes)), *rng.sample(rest, len(rest))],
        explanation=(
            "On plain files a job is not atomic: version 1 is exposed during the job commit, version 2 from the first "
            "task on, and overwrite deletes first. Write to a new folder and switch to it, or use a table format, and "
            "let readers wait for `_SUCCESS` until then."
        ),
        texts=_SEEN,
    )
