"""Templates on distributed systems: replicas, placement, circuit breakers and leases."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_REPLICA = """
def follower(now, delay):
    value = None
    for second, written in writes:
        if second + delay <= now:
            value = written
    print(value)
"""


def _follower_read_after_delay_mistakes(now: int, delay: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "reads-the-leader",
            f"The leader has this value by second {now}, but the write takes {delay} more seconds to the follower.",
            run=f"follower({now}, 0)",
        ),
        Misconception(
            "delay-counted-twice",
            f"That goes back {2 * delay} seconds. The delay of {delay} seconds counts once, from leader to follower.",
            run=f"follower({now}, {2 * delay})",
        ),
        Misconception(
            "write-on-its-way",
            f"This write is still on its way: it came after second {now - delay}, so it reaches the follower later.",
            run=f"print(next(value for second, value in writes if second + {delay} > {now}))",
        ),
        Misconception(
            "never-refreshed",
            f"That is the first write. A follower takes over each later one too, {delay} seconds after the leader.",
            run="print(writes[0][1])",
        ),
    )


@template(
    name="follower-read-after-delay",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.BEGINNER,
    engine=CheckEngine.PYTHON,
    tags=("replication", "replica-lag", "stale-reads"),
    title="PostgreSQL 18 documentation, 26.4 Hot Standby",
    url="https://www.postgresql.org/docs/18/hot-standby.html",
    rated=(1, 1, 1),
)
def follower_read_after_delay(rng: random.Random) -> Draft:
    """Read a value from a follower that is a few seconds behind."""
    what = rng.choice(("stock of a shoe", "price of a ticket", "seats left on a flight", "limit of a credit card"))
    delay = rng.choice((10, 15, 20, 25, 30))
    gaps = [rng.choice((10, 20, 30)) for _ in range(4)]
    seconds = [10 + sum(gaps[:place]) for place in range(5)]
    values = rng.sample(range(20, 100, 5), 5)
    place = rng.randint(1, 3)
    now = seconds[place] + delay + rng.randrange(5, gaps[place], 5)
    writes = list(zip(seconds, values, strict=True))
    mistakes = _follower_read_after_delay_mistakes(now, delay)
    if now - 2 * delay < seconds[0]:  # twice the delay goes back to before the first write: no value to choose
        mistakes = tuple(mistake for mistake in mistakes if mistake.name != "delay-counted-twice")
    return Draft(
        prompt=(
            f"A database has a leader and a follower. Each write reaches the follower {delay} s later. The table shows "
            f"all writes of the {what}. A client reads it from the follower at second {now}. Which value does it get?"
        ),
        code="\n".join(["second  value", *(f"{second:6}  {value:5}" for second, value in writes)]),
        language="text",
        setup=f"writes = {writes}{_REPLICA}",
        run=f"follower({now}, {delay})",
        why=(
            f"At second {now} the follower has all writes up to second {now - delay}; the last of them, of second "
            f"{seconds[place]}, set {values[place]}."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "A read from an asynchronous follower shows the state of the leader some time ago. To read your own "
            "writes, ask the leader, or wait until the follower has replayed the position of your write."
        ),
    )


_RING = """
def owner(key, nodes, step=1):
    while key not in nodes:
        key = (key + step) % 100
    return nodes[key]

def moved(place):
    return sum(place(key, before) != place(key, after) for key in keys)
"""


def _ring(rng: random.Random) -> tuple[dict[int, str], int, list[int]]:
    """Draw four nodes on a ring, the position of the one that comes or goes, and eight keys."""
    names = rng.choice((("a", "b", "c", "d"), ("n1", "n2", "n3", "n4"), ("c1", "c2", "c3", "c4")))
    places = sorted(rng.sample(range(5, 100, 5), 12))
    spots = sorted(rng.sample(places, 4))
    keys = [place for place in places if place not in spots]
    served = [spot for spot in spots if places[places.index(spot) - 1] in keys]  # at least one key stands before it
    return dict(zip(spots, rng.sample(names, 4), strict=True)), rng.choice(served), keys


def _hash_ring_moved_keys_mistakes(
    name: str, spot: int, rest: dict[int, str], neighbour: str
) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "modulo-rehash",
            "So many move with `key % nodes`, as each change of the node count places the keys anew. A ring avoids "
            "just that.",
            run="print(moved(lambda key, nodes: list(nodes.values())[key % len(nodes)]))",
        ),
        Misconception(
            "whole-arc-of-the-neighbour",
            f"Those are all keys of {neighbour} with {name} gone. Only the part up to position {spot} is {name}'s.",
            run=f"print(sum(owner(key, {rest}) == {neighbour!r} for key in keys))",
        ),
        Misconception(
            "wrong-direction",
            f"That counts the keys after {spot}, up to the next node. Keys go up the ring: those before {spot} count.",
            run="print(moved(lambda key, nodes: owner(key, nodes, -1)))",
        ),
        Misconception(
            "fair-share",
            "A quarter of the keys is only the mean over many rings. With one position per node the arcs differ.",
            run="print(len(keys) // max(len(before), len(after)))",
        ),
    )


@template(
    name="hash-ring-moved-keys",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("consistent-hashing", "partitioning", "rebalancing"),
    title="Dynamo: Amazon's Highly Available Key-value Store, 4.2 Partitioning Algorithm",
    url="https://www.allthingsdistributed.com/files/amazon-dynamo-sosp2007.pdf",
    rated=(2, 2, 2),
)
def hash_ring_moved_keys(rng: random.Random) -> Draft:
    """Let a node join or leave a hash ring, and count the keys that move."""
    full, spot, keys = _ring(rng)
    name = full[spot]
    rest = {place: node for place, node in full.items() if place != spot}
    joins = rng.random() < 0.5  # noqa: PLR2004 - either of two
    before, after = (rest, full) if joins else (full, rest)
    neighbour = rest[min(rest, key=lambda place: (place - spot) % 100)]
    what = rng.choice(("cache", "store", "queue service"))
    event = f"{name} joins at {spot}" if joins else f"{name} leaves"
    shown = "  ".join(f"{node} {place}" for place, node in before.items())
    lines = [f"nodes  {shown}", f"keys   {' '.join(map(str, keys))}"]
    mistakes = _hash_ring_moved_keys_mistakes(name, spot, rest, neighbour)
    return Draft(
        prompt=(
            f"A {what} places keys on a hash ring of 0 to 99. A key belongs to the first node at or above its "
            f"position; after 99 comes 0. There are no virtual nodes and no replicas. Now node {event}. How many "
            "of the 8 keys change their node?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"keys = {keys}\nbefore = {before}\nafter = {after}{_RING}",
        run="print(moved(owner))",
        why=(
            f"Only the keys between the node before {spot} and {spot} itself change: they go "
            f"{f'from {neighbour} to {name}' if joins else f'from {name} to {neighbour}'}."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "On a hash ring a node that joins or leaves moves only the keys of its own arc; modulo placement moves "
            "most keys. One position per node makes arcs uneven, so real stores give each node many virtual nodes."
        ),
    )


_BREAKER = """
def calls_sent(failures=3, trial_failures=1, recovers=True, refusal_restarts=False):
    sent = streak = 0
    opened = None
    trial = False
    for now in calls:
        if opened is not None:
            if not recovers or now - opened < pause:
                if refusal_restarts:
                    opened = now
                continue
            opened, trial, streak = None, True, 0
        sent += 1
        if start <= now < end:
            streak += 1
            if streak >= (trial_failures if trial else failures):
                opened = now
        else:
            streak, trial = 0, False
    return sent
"""


def _circuit_breaker_calls_mistakes(failures: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "trial-needs-full-streak",
            f"That lets {failures} calls fail after each pause. One failed trial is enough to open it again.",
            run=f"print(calls_sent({failures}, {failures}))",
        ),
        Misconception(
            "stays-open",
            "That counts only the calls up to the first opening. The breaker tries again by itself, and a good "
            "trial closes it.",
            run=f"print(calls_sent({failures}, recovers=False))",
        ),
        Misconception(
            "opens-at-first-failure",
            f"That opens at the first failure. A closed breaker waits for {failures} failures in a row.",
            run="print(calls_sent(1))",
        ),
        Misconception(
            "refuses-only-during-the-outage",
            "That leaves out just the errors. The first errors and the trials reach the API too, and the last pause "
            "can outlive the outage.",
            run="print(sum(not start <= now < end for now in calls))",
        ),
        Misconception(
            "never-refuses",
            "That is every call, as without a breaker. While it is open the calls fail at once and spare the API.",
            run="print(len(calls))",
        ),
    )


@template(
    name="circuit-breaker-calls",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("circuit-breaker", "retries", "overload"),
    title="Azure Architecture Center, Circuit Breaker pattern",
    url="https://learn.microsoft.com/en-us/azure/architecture/patterns/circuit-breaker",
    rated=(2, 2, 2),
)
def circuit_breaker_calls(rng: random.Random) -> Draft:
    """Count the calls that a circuit breaker lets through during an outage."""
    step = rng.choice((2, 4, 10))
    failures = rng.choice((2, 3))
    pause = step * rng.choice((1, 2)) + step // 2
    count = rng.randint(6, 8)
    first = rng.randint(0, 3)
    last = rng.randint(min(first + failures, count - 2), count - 2)
    start, end = step * first, step * (last + 1)
    job = rng.choice(("A loader", "An export", "A sync job", "A worker"))
    mistakes = _circuit_breaker_calls_mistakes(failures)
    numbers = "".join(f"{step * number:3}" for number in range(count))
    answers = "".join("  x" if first <= number <= last else " ok" for number in range(count))
    return Draft(
        prompt=(
            f"{job} calls an API every {step} s. The table shows what the API would answer (`x` is an error). A "
            f"circuit breaker opens after {failures} errors in a row, and {pause} s later it lets a trial call pass. "
            f"How many of the {count} calls reach the API?"
        ),
        code=f"second {numbers}\nanswer {answers}",
        language="text",
        setup=f"calls = range(0, {step * count}, {step})\nstart, end, pause = {start}, {end}, {pause}{_BREAKER}",
        run=f"print(calls_sent({failures}))",
        why=(
            f"{failures} errors open it, and each trial that fails opens it for {pause} s more. After the first good "
            "trial all calls pass."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "An open breaker fails fast; after its pause a trial call decides. A longer pause spares the service but "
            "delays the recovery by up to that pause, so choose it near the usual time to repair."
        ),
    )


_LEASE = """
answered = [(sent, back) for sent, back in renewals if back is not None]
sent, back = answered[-1]
"""


def _lease_safe_until_mistakes(back: int, sent: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "counts-from-the-answer",
            f"The service may have handled it right after {sent}. Counting from the answer at {back} adds time "
            "that the lease may not have.",
            run="print(back + lease)",
        ),
        Misconception(
            "trusts-the-lost-renewal",
            "That counts on a renewal without an answer, which perhaps never reached the service.",
            run="print(renewals[-1][0] + lease)",
        ),
        Misconception(
            "subtracts-the-round-trip",
            f"Too careful: counting from the sending at {sent} is safe already, as the service can't handle a request "
            "before it is sent.",
            run="print(2 * sent - back + lease)",
        ),
        Misconception(
            "half-the-round-trip",
            "Half the round trip is a guess; the request may have been fast and the answer slow. Only the time of "
            "sending is certain.",
            run="print((sent + back) // 2 + lease)",
        ),
        Misconception(
            "ends-at-missed-renewal",
            "A missing answer doesn't end the lease. The last answered renewal still holds for its full time.",
            run="print(renewals[len(answered)][0])",
        ),
    )


@template(
    name="lease-safe-until",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("leases", "leader-election", "clocks"),
    title="Amazon Builders' Library, Leader election in distributed systems",
    url="https://aws.amazon.com/builders-library/leader-election-in-distributed-systems/",
    rated=(3, 3, 3),
)
def lease_safe_until(rng: random.Random) -> Draft:
    """Find the last second at which the holder of a lease may act, when an answer is missing."""
    who = rng.choice(("A scheduler", "The only writer of a table", "A compaction job", "A leader"))
    lease = rng.choice((20, 30, 40, 60))
    every = 10
    first = rng.randrange(100, 400, 10)
    lost = rng.choice((1, 1, 2))
    starts = range(first, first + 4 * every, every)
    answered = [(start, start + rng.choice((2, 4, 6))) for start in starts[: 4 - lost]]
    renewals = [*answered, *((start, None) for start in starts[4 - lost :])]
    sent, back = answered[-1]
    mistakes = _lease_safe_until_mistakes(back, sent)
    return Draft(
        prompt=(
            f"{who} holds a lease. Each renewal sets its end to {lease} s after the lock service handles the request. "
            "The table is in seconds of the holder's clock; all clocks run equally fast. Until which second can the "
            "holder be sure that nobody else gets the lease?"
        ),
        code="\n".join(["renewal sent   answered", *(f"{start:12} {end or 'never':>10}" for start, end in renewals)]),
        language="text",
        setup=f"lease = {lease}\nrenewals = {renewals}{_LEASE}",
        run="print(sent + lease)",
        why=(
            f"The renewal sent at {sent} is the last that surely worked. It was handled at {sent} or later, so the "
            f"lease lasts at least until {sent} + {lease}."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "Time a lease from before the request is sent, by a monotonic clock, and trust answered renewals only. "
            "Pauses can still delay a write beyond the end, so let the storage check a fencing token as well."
        ),
    )
