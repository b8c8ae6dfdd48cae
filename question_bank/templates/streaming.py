"""Templates on streaming: offsets, consumer groups and duplicates."""

from __future__ import annotations

import random
from inspect import getsource

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_CRASH = """
def consume(commit_every, from_start=False, commit_before=False, atomic=False):
    written, committed, crashed = 0, 0, False
    while True:
        for message in range((0 if from_start else committed) + 1, total + 1):
            if commit_before and message % commit_every == 1:
                committed = message + commit_every - 1
            written += 1
            if message == crash and not crashed:
                crashed = True
                break
            if not commit_before and (message % commit_every == 0 or atomic):
                committed = message
        else:
            return written
        if atomic:
            committed = crash
"""

_EFFECTS = (
    ("insert_row(msg)", "rows does the table, which has no key, hold"),
    ("send_mail(msg)", "mails are sent in all"),
    ("print_label(msg)", "labels are printed in all"),
    ("post_invoice(msg)", "invoices are posted in all"),
)


def _rows_after_consumer_crash_mistakes(every: int, done: int, again: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "offset-saved-with-each-message",
            f"That would be exactly once, but the offset of the {again} messages after message {done} was not saved, "
            "so they come again.",
            run=f"print(consume({every}, atomic=True))",
        ),
        Misconception(
            "starts-from-the-beginning",
            f"A restart goes on from the last saved offset, after message {done}, and not from the first message.",
            run=f"print(consume({every}, from_start=True))",
        ),
        Misconception(
            "open-batch-is-lost",
            "That is so if the offset is saved before the work. Here it is saved after it, so no message is left out.",
            run=f"print(consume({every}, commit_before=True))",
        ),
        Misconception(
            "whole-batch-again",
            f"Of the open batch only {again} messages were handled before the crash; just these are handled twice.",
            run=f"crash += {every - again}\nprint(consume({every}))",
        ),
    )


@template(
    name="rows-after-consumer-crash",
    topic=Topic.STREAMING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("offsets", "at-least-once", "duplicates"),
    title="Apache Kafka documentation, Design, Message Delivery Semantics",
    url="https://kafka.apache.org/documentation/#semantics",
    rated=(2, 2, 2),
)
def rows_after_consumer_crash(rng: random.Random) -> Draft:
    """Count what a consumer has done in all, when it crashes between two commits of its offset."""
    call, asked = rng.choice(_EFFECTS)
    every = rng.choice((10, 20, 50, 100))
    done = every * rng.randint(1, 4)
    again = every // 10 * rng.randint(2, 8)
    crash = done + again
    total = done + every * rng.randint(2, 5)
    mistakes = _rows_after_consumer_crash_mistakes(every, done, again)
    return Draft(
        prompt=(
            f"A topic with one partition holds messages 1 to {total}. The consumer below crashes once, right after the "
            f"call for message {crash}, and restarts. How many {asked}, when it has read them all?"
        ),
        code=f"for n, msg in read_after(saved):\n    {call}\n    if n % {every} == 0:\n        save_offset(n)",
        language="python",
        setup=f"total, crash = {total}, {crash}{_CRASH}",
        run=f"print(consume({every}))",
        why=f"The last saved offset is {done}, so messages {done + 1} to {crash} are handled twice: {total} + {again}.",
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "If the offset is saved after the work, a crash in between repeats the work since the last save: at least "
            "once. Make the effect idempotent, for example by a unique key, or save the offset in the same transaction."
        ),
    )


_RANGE = """
def ranges(first_gets_more=True, leftovers=True, topics=topics):
    owned = [0] * consumers
    for count in topics:
        share, extra = divmod(count, consumers)
        for place in range(consumers):
            lucky = place < extra if first_gets_more else place >= consumers - extra
            owned[place] += share + (leftovers and lucky)
    return owned

def rest_to_first():
    shares = [divmod(count, consumers) for count in topics]
    return [sum(map(sum, shares)), sum(share for share, _ in shares)]

def round_robin():
    owned = [0] * consumers
    for number in range(sum(topics)):
        owned[number % consumers] += 1
    return owned

def show(owned):
    print(owned[0], "and", owned[-1])
"""


_RANGE_ASSIGNOR_MANY_TOPICS_MISTAKES = (
    Misconception(
        "dealt-out-over-all-topics",
        "That deals out the partitions of all topics in turn, as RoundRobinAssignor does. The range assignor starts "
        "again with each topic.",
        run="show(round_robin())",
    ),
    Misconception(
        "last-gets-the-leftovers",
        "The remainder of a topic goes to the first consumers in the order of their ids, not to the last.",
        run="show(ranges(first_gets_more=False))",
    ),
    Misconception(
        "leftovers-unassigned",
        "No partition stays without an owner. The remainder of each topic goes to the first consumers, one for each.",
        run="show(ranges(leftovers=False))",
    ),
    Misconception(
        "whole-rest-to-the-first",
        "The remainder of a topic doesn't go to `c0` alone: each of the first consumers takes one partition of it.",
        run="show(rest_to_first())",
    ),
    Misconception(
        "first-topic-only",
        "That is the share of the first topic. The group has subscribed to each of them.",
        run="show(ranges(topics=topics[:1]))",
    ),
)


@template(
    name="range-assignor-many-topics",
    topic=Topic.STREAMING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("kafka", "consumer-groups", "partition-assignment"),
    title="Apache Kafka 4.0 Javadoc, RangeAssignor",
    url="https://kafka.apache.org/40/javadoc/org/apache/kafka/clients/consumer/RangeAssignor.html",
    rated=(2, 3, 2),
)
def range_assignor_many_topics(rng: random.Random) -> Draft:
    """Spread the partitions of several topics over a consumer group by ranges."""
    consumers = rng.randint(3, 4)
    names = rng.sample(("orders", "clicks", "prices", "stock", "users", "returns", "visits"), rng.randint(2, 3))
    topics = [consumers * rng.randint(0, 2) + rng.randint(1, consumers - 1) for _ in names]
    last = f"c{consumers - 1}"
    shown = ", ".join(f"`{name}` ({count})" for name, count in zip(names, topics, strict=True))
    return Draft(
        prompt=(
            f"A Kafka group with the classic protocol uses RangeAssignor, without racks. Its {consumers} consumers, "
            f"`c0` to `{last}` by member id, read these topics (partitions in brackets): {shown}. How many partitions "
            f"do `c0` and `{last}` get?"
        ),
        setup=f"consumers, topics = {consumers}, {topics}{_RANGE}",
        run="show(ranges())",
        why=(
            f"Each topic is divided by {consumers} on its own, and the remainder goes to the first consumers, one "
            "each. So `c0` gets one more from every topic."
        ),
        misconceptions=rng.sample(_RANGE_ASSIGNOR_MANY_TOPICS_MISTAKES, len(_RANGE_ASSIGNOR_MANY_TOPICS_MISTAKES)),
        explanation=(
            "RangeAssignor works topic by topic, so the first consumers get the remainder of every topic: uneven load "
            "if a group reads many topics. It keeps equal partition numbers together; if you need no such pairs, take "
            "CooperativeStickyAssignor, which balances over all topics."
        ),
    )


def _dedup_per_window_count_mistakes(table: str, key: str, minutes: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "unique-for-ever",
            "That counts each id once for all time. The query keeps one per window, so an id passes again in the next "
            "window.",
            run=f"SELECT count(DISTINCT {key}) FROM {table}",
        ),
        Misconception(
            "window-starts-with-the-event",
            f"That drops an id seen less than {minutes} minutes before. Buckets stand on the clock, so two events "
            "close "
            "to each other may be in two of them.",
            run=f"SELECT count(*) FROM (SELECT ts - lag(ts) OVER (PARTITION BY {key} ORDER BY ts) AS gap FROM {table}) "
            f"WHERE gap IS NULL OR gap >= INTERVAL {minutes} MINUTE",
        ),
        Misconception(
            "only-repeats-in-a-row",
            "That drops a row only if the row just before has its id. DISTINCT finds each repeat inside a bucket.",
            run=f"SELECT count(*) FROM (SELECT {key} IS DISTINCT FROM lag({key}) OVER (ORDER BY ts) AS other "
            f"FROM {table}) WHERE other",
        ),
        Misconception(
            "nothing-removed",
            "That is each row. Rows with the same id in the same bucket become one by DISTINCT.",
            run=f"SELECT count(*) FROM {table}",
        ),
        Misconception(
            "counts-windows",
            "That is the number of buckets with a row. DISTINCT is over the id and the bucket together.",
            run=f"SELECT count(DISTINCT time_bucket(INTERVAL {minutes} MINUTE, ts)) FROM {table}",
        ),
    )


@template(
    name="dedup-per-window-count",
    topic=Topic.STREAMING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("deduplication", "tumbling-windows", "state"),
    title="DuckDB documentation, Timestamp Functions, time_bucket",
    url="https://duckdb.org/docs/stable/sql/functions/timestamp.html",
    rated=(2, 2, 2),
)
def dedup_per_window_count(rng: random.Random) -> Draft:
    """Remove duplicates inside each tumbling window, and count those that pass across its edge."""
    minutes = rng.choice((10, 15, 20, 30))
    table, key = rng.choice((("payments", "payment_id"), ("clicks", "click_id"), ("orders", "order_id")))
    hour, count = rng.randint(6, 20), 6
    times = sorted(rng.sample([minute for minute in range(60) if minute % minutes], count))
    keys = [rng.choice("abc") for _ in times]
    cells = [f"{hour:02}:{minute:02} {name}" for minute, name in zip(times, keys, strict=True)]
    rows = ", ".join(f"('{cell[-1]}', '2026-03-02 {cell[:5]}')" for cell in cells)
    query = (
        f"SELECT count(*) FROM (\n  SELECT DISTINCT {key},\n    time_bucket(\n"
        f"      INTERVAL {minutes} MINUTE, ts)\n  FROM {table})"
    )
    mistakes = _dedup_per_window_count_mistakes(table, key, minutes)
    shown = "\n".join("-- " + "  ".join(cells[place : place + 3]) for place in range(0, count, 3))
    return Draft(
        prompt=(
            f"A stream job drops duplicate {table}, but forgets every id at the end of each window of {minutes} "
            "minutes; windows start on the full hour. The query does the same. The comments show time and id of each "
            "row. How many rows pass?"
        ),
        code=f"{shown}\n{query}",
        language="sql",
        setup=f"CREATE TABLE {table} ({key} TEXT, ts TIMESTAMP); INSERT INTO {table} VALUES {rows};",
        run=query,
        why="One row passes for each pair of id and bucket; an id in two buckets passes twice.",
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "State that is cleared per window catches duplicates only inside a window; a retry across the edge passes. "
            "Keep ids for a time after each event that is longer than the longest retry, or let the sink upsert by id."
        ),
    )


def start_offset(policy: str, committed: int | None, first: int, end: int) -> int | str:
    """Return where a consumer starts to read: what a drawing executes."""
    if committed is not None and first <= committed <= end:
        return committed
    resets: dict[str, int | str] = {"earliest": first, "latest": end, "none": "stop"}
    return resets[policy]


_OFFSET_STORIES = {
    "deleted": "A consumer of `{topic}` comes back after a long weekend. Meanwhile retention has deleted old messages.",
    "short": "A consumer of `{topic}` comes back after a deployment of five minutes.",
    "renamed": "A colleague renames the consumer group that reads `{topic}`, and deploys.",
    "expired": "A consumer of `{topic}` comes back after a month. Its group's offsets have expired.",
}


def _start_offset_mistakes(story: str, policy: str, committed: int | None, first: int) -> list[Misconception]:
    lost = "There is no committed offset" if committed is None else f"Offset {committed:,} is no longer in the log"
    applies = f"{lost}, so `auto.offset.reset={policy}` decides."
    unused = f"`auto.offset.reset` counts only without a usable offset. The committed {committed or 0:,} is in the log."
    why = unused if story == "short" else applies
    return [
        Misconception("starts-at-the-log-start", why, run='print(start_offset("earliest", None, first, end))'),
        Misconception("starts-at-the-log-end", why, run='print(start_offset("latest", None, first, end))'),
        Misconception("refuses-to-guess", why, run='print(start_offset("none", None, first, end))'),
        Misconception(
            "earliest-is-zero",
            f"The log of this partition starts at {first:,}; offsets are not counted anew when old messages go. {why}",
            value="0",
        ),
        *([Misconception("goes-on-as-committed", why, run="print(committed)")] if committed is not None else []),
    ]


@template(
    name="start-offset-after-downtime",
    topic=Topic.STREAMING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("kafka", "offsets", "retention"),
    title="Apache Kafka 4.1 documentation, Consumer Configs, auto.offset.reset",
    url="https://kafka.apache.org/41/configuration/consumer-configs/",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def start_offset_after_downtime(rng: random.Random) -> Draft:
    """Find where a consumer starts, after its offset or the messages behind it may have gone."""
    story = rng.choice(tuple(_OFFSET_STORIES))
    policy = rng.choice(("earliest", "latest", "none"))
    first, end = rng.randint(4, 9) * 1000, rng.randint(12, 30) * 1000
    committed = {"deleted": first - rng.randint(1, 3) * 500, "short": end - rng.randint(1, 5) * 100}.get(story)
    told = "none" if committed is None else f"{committed:,}"
    topic = rng.choice(("orders", "payments", "clicks", "prices", "scans", "refunds"))
    mistakes = _start_offset_mistakes(story, policy, committed, first)
    return Draft(
        prompt=f"{_OFFSET_STORIES[story].format(topic=topic)} This is its partition. At which offset does it start?",
        code=(
            f"auto.offset.reset   {policy}\ncommitted offset    {told}\n"
            f"log start offset    {first:,}\nlog end offset      {end:,}"
        ),
        language="text",
        setup=f"{getsource(start_offset)}policy, committed, first, end = {policy!r}, {committed}, {first}, {end}\n",
        run="print(start_offset(policy, committed, first, end))",
        why=(
            "The committed offset is still in the log, so it counts, whatever the policy."
            if story == "short"
            else f"No committed offset is left in the log, so the policy `{policy}` decides."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "`auto.offset.reset` decides when a group has no committed offset, or one that the log no longer holds. "
            "`latest` then skips messages in silence, `earliest` reads old ones again, `none` makes the consumer fail. "
            "Alert on lag long before it reaches the retention."
        ),
        texts={str(number): f"At {number:,}" for number in {0, first, end, *([committed] if committed else [])}}
        | {"stop": "It stops with an error"},
    )
