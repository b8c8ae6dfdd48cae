"""Templates on streaming: late events, log compaction and checkpoint barriers."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_LATENESS = """
def results(lateness, delay=delay, purge=False, only_last=False):
    watermark, count, fired, out = float("-inf"), 0, False, []
    for time in events:
        if start <= time < end and watermark < end + lateness:
            count += 1
            if watermark >= end:
                out.append(count)
                count = 0 if purge else count
        watermark = max(watermark, time - delay)
        if watermark >= end and not fired:
            fired = True
            out.append(count)
            count = 0 if purge else count
    print(", ".join(map(str, out[-1:] if only_last else out)))
"""


def _late_events(rng: random.Random, start: int, size: int, delay: int, lateness: int) -> list[int]:
    """Draw event times whose window closes, is updated by late events, and then is gone."""
    end = start + size

    def inside() -> int:
        return rng.randrange(start, end)

    events = [inside() for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.5:  # noqa: PLR2004 - either of two
        events += [end + rng.randint(0, delay - 1), inside()]
    events.append(end + delay + rng.randint(0, 2))
    events += [inside() for _ in range(rng.randint(1, 2))]
    events.append(end + delay + lateness + rng.randint(0, 3))
    events += [inside() for _ in range(rng.randint(1, 2))]
    return events


def _allowed_lateness_firings_mistakes(lateness: int, delay: int, start: int, size: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "late-events-dropped-at-once",
            f"The window stays for {lateness} s of allowed lateness after its first result, and each event in that "
            "time "
            "emits an update.",
            run="results(0)",
        ),
        Misconception(
            "never-closed",
            f"The last events come when the watermark has reached {start + size} + {lateness}: the window is gone, so "
            "they are dropped.",
            run='results(float("inf"))',
        ),
        Misconception(
            "emits-only-the-late-ones",
            "The state is kept after the first result, so an update holds the count of all events, not just of the "
            "new.",
            run=f"results({lateness}, purge=True)",
        ),
        Misconception(
            "emits-once-at-the-end",
            "Allowed lateness doesn't delay the first result: that is emitted as soon as the watermark reaches the "
            "end.",
            run=f"results({lateness}, only_last=True)",
        ),
        Misconception(
            "watermark-without-the-delay",
            f"That takes the highest event time as the watermark. It stays {delay} s behind it.",
            run=f"results({lateness}, delay=0)",
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
)
def allowed_lateness_firings(rng: random.Random) -> Draft:
    """List what one event-time window emits, with events before, within and after the allowed lateness."""
    size = rng.choice((10, 20, 30, 60))
    start = size * rng.randint(1, 6)
    delay, lateness = rng.randint(3, 8), rng.randint(5, 20)
    events = _late_events(rng, start, size, delay, lateness)
    mistakes = _allowed_lateness_firings_mistakes(lateness, delay, start, size)
    return Draft(
        prompt=(
            f"A Flink job counts events in tumbling windows of {size} s with an allowed lateness of {lateness} s and "
            "the "
            f"default trigger. The watermark is the highest event time so far minus {delay} s, updated after each "
            "event. "
            f"The event times in order of arrival are shown. Which counts does the window from {start} to "
            f"{start + size} "
            "(end exclusive) emit?"
        ),
        code="\n".join(" ".join(map(str, events[place : place + 8])) for place in range(0, len(events), 8)),
        language="text",
        setup=f"start, end, delay, events = {start}, {start + size}, {delay}, {events}{_LATENESS}",
        run=f"results({lateness})",
        why=(
            f"It emits when the watermark reaches {start + size}, and again for each later event of the window until "
            f"the watermark reaches {start + size + lateness}."
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
        "That drops closed records whose key comes again in the active segment. The cleaner's map of newest "
        "offsets "
        "ends before that segment.",
        run="print(newest([key for key in closed if key not in active]) + len(active))",
    ),
    Misconception(
        "each-segment-alone",
        "That cleans each segment alone. The cleaner's map of newest offsets spans all segments that it cleans.",
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
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("kafka", "log-compaction", "segments"),
    title="Apache Kafka documentation, Design, Log Compaction",
    url="https://kafka.apache.org/documentation/#compaction",
)
def compaction_active_segment(rng: random.Random) -> Draft:
    """Count the records that log compaction leaves, with a segment that is still being written."""
    what, names = rng.choice(
        (
            ("prices", ("tea", "rice", "salt", "corn", "oil")),
            ("settings", ("k1", "k2", "k3", "k4", "k5")),
            ("addresses", ("u7", "u8", "u9", "u10", "u11")),
        )
    )
    size = rng.randint(4, 6)
    segments = [rng.choices(names, k=size) for _ in range(rng.randint(2, 3))]
    segments.append(rng.choices(names, k=rng.randint(2, size - 1)))
    lines, offset = [], 0
    for place, segment in enumerate(segments):
        lines.append(f"{offset:3}  {'active' if place == len(segments) - 1 else 'closed'}  {' '.join(segment)}")
        offset += len(segment)
    return Draft(
        prompt=(
            f"A compacted Kafka partition holds {what}. For each segment its base offset, its state and the keys of "
            "its records as they were written are shown; no value is null. Then the log cleaner cleans everything that "
            "it may clean; `min.compaction.lag.ms` is 0. How many records does a consumer get that reads from offset "
            "0 after that?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"segments = {segments}{_COMPACTION}",
        run="print(newest(closed) + len(active))",
        why=(
            "One record for each key of the closed segments stays, and each record of the active segment, which is not "
            f"cleaned: {len(segments[-1])} more."
        ),
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
    for entry in arrivals:
        channel, is_barrier = entry[0], entry.endswith("#")
        if is_barrier:
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
            f"The operator stores its state when both barriers are there. Records of {slow} still count after "
            f"`{fast}#`.",
            run="print(snapshot(until_first=True))",
        ),
        Misconception(
            "all-that-is-shown",
            f"Records after the second barrier, `{slow}#`, belong to the next checkpoint.",
            run="print(snapshot(aligned=False, everything=True))",
        ),
        Misconception(
            "waits-on-both-inputs",
            f"That leaves the records of {fast} out of the whole count. Those before its own barrier do belong to it.",
            run=f"print(before + sum(entry == {slow!r} for entry in arrivals[:arrivals.index('{slow}#')]))",
        ),
    )


@template(
    name="checkpoint-barrier-count",
    topic=Topic.STREAMING,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("flink", "checkpoints", "exactly-once"),
    title="Apache Flink documentation, Stateful Stream Processing, Checkpointing",
    url="https://nightlies.apache.org/flink/flink-docs-stable/docs/concepts/stateful-stream-processing/#checkpointing",
)
def checkpoint_barrier_count(rng: random.Random) -> Draft:
    """Find the count that a checkpoint stores, when the barriers of two inputs arrive one after the other."""
    fast, slow = rng.sample("AB", 2)
    before = rng.choice((100, 200, 500, 1000))
    number = rng.randint(3, 90)
    head = rng.choices("AB", k=rng.randint(2, 5))
    wait = rng.sample([fast] * rng.randint(2, 4) + [slow] * rng.randint(1, 3), 3)
    wait += rng.choices("AB", k=rng.randint(0, 2))
    tail = rng.choices("AB", k=rng.randint(1, 3))
    arrivals = [*head, f"{fast}#", *wait, f"{slow}#", *tail]
    aligned = rng.random() < 0.6  # noqa: PLR2004 - exactly once is what most jobs use
    mode = "EXACTLY_ONCE" if aligned else "AT_LEAST_ONCE"
    other = (
        f"That counts records of {fast} behind its barrier. With EXACTLY_ONCE and alignment they wait until the "
        "barrier "
        f"of {slow} is there."
        if aligned
        else f"That is the count of EXACTLY_ONCE. With AT_LEAST_ONCE the records of {fast} behind its barrier are not "
        "held back."
    )
    mistakes = _checkpoint_barrier_count_mistakes(other, fast, slow, aligned=aligned)
    return Draft(
        prompt=(
            f"A Flink operator reads two inputs, A and B, and counts records. Its count is {before} when the entries "
            f"below arrive in this order; A# and B# are the barriers of checkpoint {number}. The mode is {mode}, "
            "unaligned checkpoints are off. Which count does the checkpoint store?"
        ),
        code=" ".join(arrivals),
        language="text",
        setup=f"before, arrivals = {before}, {arrivals}{_BARRIERS}",
        run=f"print(snapshot(aligned={aligned}))",
        why=(
            f"Only records before the barrier of their own input count; those of {fast} behind `{fast}#` wait."
            if aligned
            else f"Nothing waits in this mode, so all records before the second barrier, `{slow}#`, are counted."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "Alignment holds back the faster input, so that the state matches one position in each input. Without it "
            "the state holds records that are also replayed after a failure, and they count twice. Take AT_LEAST_ONCE "
            "only where that is harmless."
        ),
    )
