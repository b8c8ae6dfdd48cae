"""Templates on streaming: late events, log compaction and checkpoint barriers."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_LATENESS = """
def results(lateness, purge=False, only_last=False):
    watermark, count, fired, out = 0, 0, False, []
    for kind, time in arrivals:
        if kind == "watermark":
            watermark = time
            if watermark >= end and not fired:
                fired = True
                out.append(count)
                count = 0 if purge else count
        elif time < end and watermark < end + lateness:
            count += 1
            if watermark >= end:
                out.append(count)
                count = 0 if purge else count
    print(", ".join(map(str, out[-1:] if only_last else out)))
"""


def _late_arrivals(rng: random.Random, end: int, lateness: int) -> list[tuple[str, int]]:
    """Draw eight events and watermarks: the window fires, is updated by late events, and then is gone."""

    def events(count: int) -> list[tuple[str, int]]:
        return [("event", rng.randint(1, end - 1)) for _ in range(count)]

    before = rng.randint(1, 3)
    within = rng.randint(1, 4 - before) if before < 3 else 1  # noqa: PLR2004 - five events are enough
    return [
        *events(before),
        ("watermark", end + rng.randint(1, lateness - 2)),
        *events(within),
        ("watermark", end + lateness + rng.randint(1, 5)),
        *events(rng.randint(1, 5 - before - within)),
    ]


def _allowed_lateness_firings_mistakes(lateness: int, end: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "late-events-dropped-at-once",
            f"The window stays for {lateness} s of allowed lateness after its first result. Each event in that time "
            "makes it emit again.",
            run="results(0)",
        ),
        Misconception(
            "never-closed",
            f"The last events come when the watermark has passed {end} + {lateness}. The window is gone, so they are "
            "dropped.",
            run='results(float("inf"))',
        ),
        Misconception(
            "emits-only-the-late-ones",
            "The state is kept after the first result, so an update holds the count of all events, not of new ones.",
            run=f"results({lateness}, purge=True)",
        ),
        Misconception(
            "emits-once-at-the-end",
            "Allowed lateness doesn't delay the first result: it is emitted as soon as the watermark passes the end.",
            run=f"results({lateness}, only_last=True)",
        ),
    )


@template(
    name="allowed-lateness-firings",
    topic=Topic.STREAMING,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("flink", "watermarks", "allowed-lateness"),
    title="Apache Flink 1.20 documentation, Windows, Allowed Lateness",
    url="https://nightlies.apache.org/flink/flink-docs-stable/docs/dev/datastream/operators/windows/#allowed-lateness",
    rated=(3, 3, 3),
)
def allowed_lateness_firings(rng: random.Random) -> Draft:
    """List what one event-time window emits, with events before, within and after the allowed lateness."""
    end, lateness = rng.choice((20, 30, 60)), rng.choice((5, 10, 20))
    what = rng.choice(("clicks", "orders", "payments", "trips", "scans"))
    arrivals = _late_arrivals(rng, end, lateness)
    mistakes = _allowed_lateness_firings_mistakes(lateness, end)
    return Draft(
        prompt=(
            f"A Flink job counts {what} in windows of {end} s, with an allowed lateness of {lateness} s and the usual "
            "trigger. Its operator gets these events and watermarks in this order; times are in seconds. "
            f"Which counts does the window 0-{end} emit?"
        ),
        code="\n".join(f"{kind:9}  {time:3}" for kind, time in arrivals),
        language="text",
        setup=f"end, arrivals = {end}, {arrivals}{_LATENESS}",
        run=f"results({lateness})",
        why=(
            f"It emits when the watermark passes {end}, and again for each event until the watermark passes "
            f"{end + lateness}; then its state is gone."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "Allowed lateness keeps a window's state after its first result. A late event inside it makes the window "
            "emit its whole result again; events after it are dropped or go to a side output. So the sink must "
            "overwrite by key and window, not add up."
        ),
    )


_COMPACTION = """
def newest(records):
    return len({key for key in records})

closed = [key for segment in segments[:-1] for key in segment]
active = segments[-1]
"""


_COMPACTION_ACTIVE_SEGMENT_MISTAKES = (
    Misconception(
        "one-per-key",
        "That is the number of keys. The active segment is not cleaned, so older records of a key can stand there "
        "or before it.",
        run="print(newest(closed + active))",
    ),
    Misconception(
        "active-replaces-closed",
        "That drops closed records whose key comes again in the active segment. The cleaner looks at closed segments "
        "only.",
        run="print(newest([key for key in closed if key not in active]) + len(active))",
    ),
    Misconception(
        "each-segment-alone",
        "That cleans each segment alone. Of all closed segments together, one record of each key stays.",
        run="print(sum(newest(segment) for segment in segments[:-1]) + len(active))",
    ),
    Misconception(
        "active-cleaned-alone",
        "That removes the duplicates inside the active segment too, but it is never cleaned before it is rolled.",
        run="print(newest(closed) + newest(active))",
    ),
    Misconception(
        "nothing-removed",
        "That is all records. In the closed segments only the newest record of each key stays.",
        run="print(len(closed + active))",
    ),
)


@template(
    name="compaction-active-segment",
    topic=Topic.STREAMING,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("kafka", "log-compaction", "segments"),
    title="Apache Kafka documentation, Design, Log Compaction",
    url="https://kafka.apache.org/documentation/#compaction",
    rated=(3, 3, 3),
)
def compaction_active_segment(rng: random.Random) -> Draft:
    """Count the records that log compaction leaves, with a segment that is still being written."""
    what, names = rng.choice(
        (
            ("prices", ("tea", "rice", "salt", "oil")),
            ("addresses", ("Ann", "Bob", "Cem", "Dee")),
            ("stock levels", ("shoe", "hat", "coat", "belt")),
            ("exchange rates", ("EUR", "JPY", "GBP", "CHF")),
        )
    )
    segments = [rng.choices(names, k=3), rng.choices(names, k=3), rng.choices(names, k=2)]
    lines = [f"{state}  {' '.join(keys)}" for state, keys in zip(("closed", "closed", "active"), segments, strict=True)]
    return Draft(
        prompt=(
            f"A compacted Kafka topic with one partition holds {what}; no value is null. For each segment you see the "
            "keys of its records, oldest first. The log cleaner has now cleaned all that it may. How many records does "
            "a new consumer read from the start?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"segments = {segments}{_COMPACTION}",
        run="print(newest(closed) + len(active))",
        why="One record for each key of the closed segments stays, and both records of the active segment.",
        misconceptions=rng.sample(_COMPACTION_ACTIVE_SEGMENT_MISTAKES, len(_COMPACTION_ACTIVE_SEGMENT_MISTAKES)),
        explanation=(
            "Compaction leaves at least the newest record of each key; the active segment is never cleaned, so readers "
            "still meet several. Let them overwrite by key. If the tail is too long, roll segments earlier with "
            "`segment.ms` or `max.compaction.lag.ms`."
        ),
    )


_BARRIERS = """
def snapshot(aligned=True, until_first=False, everything=False):
    count, seen = before, []
    for channel, what in arrivals:
        if what == "barrier":
            seen.append(channel)
            if until_first or (len(seen) == 2 and not everything):
                return count
        elif not (aligned and channel in seen):
            count += 1
    return count
"""


def _checkpoint_barrier_count_mistakes(other: str, fast: str, slow: str, *, aligned: bool) -> tuple[Misconception, ...]:
    return (
        Misconception("other-mode", other, run=f"print(snapshot(aligned={not aligned}))"),
        Misconception(
            "first-barrier-decides",
            f"The operator stores its state when both barriers are there. Rows of `{slow}` still count after the "
            f"barrier of `{fast}`.",
            run="print(snapshot(until_first=True))",
        ),
        Misconception(
            "all-that-is-shown",
            "Rows after the second barrier belong to the next checkpoint.",
            run="print(snapshot(aligned=False, everything=True))",
        ),
        Misconception(
            "waits-on-both-inputs",
            f"That leaves the rows of `{fast}` out of the whole count. Those before its own barrier do belong to it.",
            run=(
                f"print(before + sum(entry == ({slow!r}, 'row') for entry in "
                f"arrivals[:arrivals.index(({slow!r}, 'barrier'))]))"
            ),
        ),
    )


@template(
    name="checkpoint-barrier-count",
    topic=Topic.STREAMING,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("flink", "checkpoints", "exactly-once"),
    title="Apache Flink documentation, Stateful Stream Processing, Checkpointing",
    url="https://nightlies.apache.org/flink/flink-docs-stable/docs/concepts/stateful-stream-processing/#checkpointing",
    rated=(3, 3, 3),
)
def checkpoint_barrier_count(rng: random.Random) -> Draft:
    """Find the count that a checkpoint stores, when the barriers of two inputs arrive one after the other."""
    names = rng.choice((("orders", "clicks"), ("web", "app"), ("prices", "trades"), ("north", "south")))
    fast, slow = rng.sample(names, 2)
    before = rng.choice((100, 200, 500))
    wait = rng.sample([fast] * 2 + [slow] * 2, 3 if rng.random() < 0.5 else 2)  # noqa: PLR2004 - two or three
    head, tail = rng.choices(names, k=rng.randint(1, 2)), rng.choices(names, k=1)
    arrivals = [
        *((name, "row") for name in head),
        (fast, "barrier"),
        *((name, "row") for name in wait),
        (slow, "barrier"),
        *((name, "row") for name in tail),
    ]
    aligned = rng.random() < 0.6  # noqa: PLR2004 - exactly once is what most jobs use
    mode = "EXACTLY_ONCE" if aligned else "AT_LEAST_ONCE"
    other = (
        f"That counts rows of `{fast}` behind its barrier. With EXACTLY_ONCE they wait until the barrier of `{slow}` "
        "is there."
        if aligned
        else f"That is the count of EXACTLY_ONCE. With AT_LEAST_ONCE the rows of `{fast}` behind its barrier are not "
        "held back."
    )
    mistakes = _checkpoint_barrier_count_mistakes(other, fast, slow, aligned=aligned)
    return Draft(
        prompt=(
            f"A Flink operator counts the rows of two inputs, `{names[0]}` and `{names[1]}`. Its count is {before} "
            f"when the entries below arrive, top first. The mode is {mode}, without unaligned checkpoints. Which count "
            "does the checkpoint of these barriers store?"
        ),
        code="\n".join(f"{channel:6}  {what.upper() if what == 'barrier' else what}" for channel, what in arrivals),
        language="text",
        setup=f"before, arrivals = {before}, {arrivals}{_BARRIERS}",
        run=f"print(snapshot(aligned={aligned}))",
        why=(
            f"Only rows before the barrier of their own input count; those of `{fast}` behind its barrier wait."
            if aligned
            else f"Nothing waits in this mode, so all rows before the second barrier, that of `{slow}`, are counted."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "Alignment holds back the faster input, so that the state matches one position in each input. Without it "
            "the state holds rows that are also replayed after a failure, and they count twice. Take AT_LEAST_ONCE "
            "only where that is harmless."
        ),
    )
