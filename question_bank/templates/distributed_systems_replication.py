"""Templates on distributed systems: elections, synchronous standbys, and partitions after a failure of brokers."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_ELECTION = """
def by_last_entry(log):
    return (log[-1], len(log))

def winners(rank, votes=3):
    for name, log in running.items():
        granted = sum(rank(log) >= rank(other) for other in running.values())
        if granted >= votes:
            yield name

def show(names):
    print(", ".join(sorted(names)) or "no node")
"""


def _cluster(rng: random.Random) -> tuple[dict[str, list[int]], str]:
    """Draw the logs of five Raft nodes after two leaders, and the one that is down.

    The leader of the older term got its last entries to fewer than three nodes; the others elected the next leader.
    """
    old = rng.randint(2, 4)
    new = old + rng.randint(1, 2)
    shared = sorted(rng.choices(range(1, old + 1), k=2))
    tail = rng.randint(2, 3)
    logs = [[*shared, *[old] * tail], [*shared, *[old] * rng.randint(0, tail)]]
    added = rng.randint(1, 2)
    logs.append([*shared, *[new] * added])
    logs.extend([*shared, *[new] * rng.randint(0, added)] for _ in range(2))
    rng.shuffle(logs)
    prefix = rng.choice(("n", "m", "node-", "db-"))
    names = [f"{prefix}{number}" for number in range(1, 6)]
    return dict(zip(names, logs, strict=True)), rng.choice(names)


_RAFT_ELECTION_WINNERS_MISTAKES = (
    Misconception(
        "longest-log-wins",
        "That compares lengths. A voter compares the term of the last entry first; length only decides "
        "between equal terms.",
        run="show(winners(len))",
    ),
    Misconception(
        "only-the-best-log",
        "Not only the best log can win: two votes besides its own are enough for a candidate.",
        run="show(winners(by_last_entry, len(running)))",
    ),
    Misconception(
        "any-running-node",
        "Voters refuse a candidate whose log is less up to date than theirs, so not each node finds three votes.",
        run="show(running)",
    ),
    Misconception(
        "term-alone",
        "The last term decides first, but between equal terms the shorter log is refused by the longer one.",
        run="show(winners(lambda log: log[-1]))",
    ),
    Misconception(
        "half-is-enough",
        "Two votes are no majority: three of all five nodes are needed, also while one of them is down.",
        run="show(winners(by_last_entry, 2))",
    ),
)


@template(
    name="raft-election-winners",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("raft", "leader-election", "consensus"),
    title="In Search of an Understandable Consensus Algorithm (Raft), 5.4.1 Election restriction",
    url="https://raft.github.io/raft.pdf",
    rated=(3, 3, 3),
)
def raft_election_winners(rng: random.Random) -> Draft:
    """Say which nodes of a Raft cluster can become the leader with the logs that they have."""
    logs, down = _cluster(rng)
    running = {name: log for name, log in logs.items() if name != down}
    last = max(log[-1] for log in running.values())
    lines = [f"{name}  {' '.join(map(str, log))}{'  (down)' if name == down else ''}" for name, log in logs.items()]
    return Draft(
        prompt=(
            "A Raft cluster of five nodes has lost its leader, and one node is down. The logs are shown as the term of "
            "each entry. The four running nodes reach each other. Which of them wins an election if only it becomes a "
            "candidate, in a new term?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"running = {running}{_ELECTION}",
        run="show(winners(by_last_entry))",
        why=(
            f"Each is at least as up to date as three running nodes, itself included. The term of the last entry "
            f"counts first (here up to {last}), then the length."
        ),
        misconceptions=rng.sample(_RAFT_ELECTION_WINNERS_MISTAKES, len(_RAFT_ELECTION_WINNERS_MISTAKES)),
        explanation=(
            "A voter grants its vote if the candidate's last entry has a higher term, or the same term and a log at "
            "least as long. A committed entry is on a majority, so each majority holds a voter that protects it."
        ),
    )


_SYNC = """
columns = ["write", "flush", "replay"]
waits_for = {"remote_write": "write", "on": "flush", "remote_apply": "replay"}

def last(rule, number, column, order):
    place = columns.index(column)
    have = [seen[name][place] for name in order if name in seen]
    if rule == "FIRST":
        return min(have[:number])
    return sorted(have, reverse=True)[number - 1]
"""


def _standbys(rng: random.Random, names: list[str], away: str | None) -> dict[str, tuple[int, int, int]]:
    """Draw how far each connected standby has written, flushed and replayed."""
    seen = {}
    for name in names:
        replay = rng.randint(1, 3)
        flush = replay + rng.randint(0, 2)
        write = flush + rng.randint(0, 1)
        if name != away:
            seen[name] = (100 * write, 100 * flush, 100 * replay)
    return seen


def _last_answered_commit_mistakes(rule: str, number: int, column: str, level: str) -> tuple[Misconception, ...]:
    other = "ANY" if rule == "FIRST" else "FIRST"
    rest = tuple(name for name in ("write", "flush", "replay") if name != column)
    call = "print(last({!r}, {}, {!r}, {}))"
    means = {"write": "written", "flush": "flushed", "replay": "replayed"}
    return (
        Misconception(
            "first-and-any-confused",
            f"That reads {rule} as {other}. FIRST waits for the connected standbys that the list names first, ANY for "
            "the fastest ones.",
            run=call.format(other, number, column, "order"),
        ),
        *(
            Misconception(
                f"{name}-for-{column}",
                f"That waits until the commit is {means[name]}. With `{level}` it must be {means[column]}.",
                run=call.format(rule, number, name, "order"),
            )
            for name in rest
        ),
        Misconception(
            "waits-for-all",
            f"That waits for each connected standby. {rule} {number} waits for {number} of them.",
            run=call.format("ANY", "len(seen)", column, "order"),
        ),
        Misconception(
            "fastest-is-enough",
            "That waits for the fastest standby alone.",
            run=call.format("ANY", 1, column, "order"),
        ),
        Misconception(
            "order-of-the-table",
            "That takes the order of the view. The order of `synchronous_standby_names` gives the priority.",
            run=call.format(rule, number, column, "sorted(order)"),
        ),
    )


@template(
    name="last-answered-commit",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("postgresql", "synchronous-replication", "durability"),
    title="PostgreSQL 18 documentation, 26.2.8 Synchronous Replication",
    url="https://www.postgresql.org/docs/18/warm-standby.html#SYNCHRONOUS-REPLICATION",
    form=QuestionForm.READ,
    rated=(3, 3, 3),
)
def last_answered_commit(rng: random.Random) -> Draft:
    """Find the last commit that returned, from the settings of a primary and the progress of its standbys."""
    order = rng.sample(rng.choice((("bern", "oslo", "riga"), ("pg2", "pg3", "pg4"), ("dc1", "dc2", "dc3"))), 3)
    rule, number = rng.choice(("FIRST", "ANY")), rng.choice((1, 2))
    level = rng.choice(("on", "remote_write", "remote_apply"))
    column = {"remote_write": "write", "on": "flush", "remote_apply": "replay"}[level]
    away = rng.choice((None, None, *order))
    seen = _standbys(rng, order, away)
    rows = [
        f"{name:10}" + ("".join(f"{place:7}" for place in seen[name]) if name in seen else "   not connected")
        for name in sorted(order)
    ]
    mistakes = _last_answered_commit_mistakes(rule, number, column, level)
    who = {
        ("FIRST", 1): "the first connected standby of the list",
        ("FIRST", 2): "the first two connected standbys of the list",
        ("ANY", 1): "the fastest standby",
        ("ANY", 2): "the two fastest standbys",
    }[rule, number]
    return Draft(
        prompt=(
            "A primary of PostgreSQL 18 has flushed commits that end at the WAL positions 100, 200 and so on up to "
            "600. You see its settings and what its standbys have reported. Which is the last commit that has returned "
            "to its client?"
        ),
        code="\n".join(
            [
                "synchronous_standby_names =",
                f"  '{rule} {number} ({', '.join(order)})'",
                f"synchronous_commit = {level}",
                "",
                f"{'standby':10}  write  flush replay",
                *rows,
            ]
        ),
        language="text",
        setup=f"seen, order = {seen!r}, {order!r}{_SYNC}",
        run=f"print(last({rule!r}, {number}, waits_for[{level!r}], order))",
        option="the commit at {}",
        why=(f"With `{level}` the column {column} counts, and {rule} {number} waits for {who}."),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "FIRST gives priorities, and the next in the list replaces one that is gone; ANY is a quorum. Only "
            "`remote_apply` lets a read on these standbys see the commit. After a failure promote the standby with the "
            "highest flushed position, or commits that clients know of are lost."
        ),
    )


_KAFKA = """
def state(leader, replicas, isr, least, kept=True, unclean=False):
    alive = [broker for broker in isr if broker not in down]
    able = [broker for broker in (replicas if unclean else isr) if broker not in down]
    if not able or (not kept and leader in down):
        return "offline"
    return "writable" if len(alive) >= least else "thin"

def tell(wanted, **how):
    how = {"least": least} | how
    found = [number for number, part in enumerate(parts) if state(*part, **how) in wanted]
    print(show(found))

def show(found):
    if not found:
        return "none of the four"
    return ("partition " if len(found) == 1 else "partitions ") + ", ".join(map(str, found))
"""

_ASKED = {
    "Which partitions still take writes with `acks=all`?": (
        ("writable",),
        ("writable", "thin"),
        "That forgets `min.insync.replicas`: with a single replica in sync, writes with `acks=all` are refused.",
    ),
    "Which partitions refuse writes with `acks=all`, but can be read?": (
        ("thin",),
        ("thin", "offline"),
        "That includes partitions without a leader, which cannot be read.",
    ),
    "Which partitions can neither be read nor written?": (
        ("offline",),
        ("thin", "offline"),
        "That closes partitions below `min.insync.replicas`. They refuse writes with `acks=all`, but can be read.",
    ),
    "Which partitions still take writes with `acks=1`?": (
        ("writable", "thin"),
        ("writable",),
        "That applies `min.insync.replicas` to `acks=1`. It stops writes with `acks=all` alone.",
    ),
}
"""For each question which states it asks for, which ones a common mistake takes, and why that is one."""


def _kafka_mistakes(wanted: tuple[str, ...], mistaken: tuple[str, ...], why: str) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "replicas-for-isr",
            "That counts all replicas that run. Only those in the ISR have every confirmed record, so only they count "
            "and lead.",
            run=f"parts = [(a, b, b) for a, b, c in parts]\ntell({wanted})",
        ),
        Misconception(
            "any-live-replica-leads",
            "That lets a replica outside the ISR lead. With unclean elections off the partition waits for one of the "
            "ISR.",
            run=f"tell({wanted}, unclean=True)",
        ),
        Misconception(
            "no-new-leader",
            "That gives up a partition with its leader. Another broker of the ISR takes over within seconds.",
            run=f"tell({wanted}, kept=False)",
        ),
        Misconception(
            "isr-before-the-failure",
            "That reads the ISR as it was. The brokers that failed have left it.",
            run=f"down = []\ntell({wanted})",
        ),
        Misconception(
            "all-replicas-must-confirm",
            "That takes `acks=all` for all replicas. It means those in the ISR, and at least `min.insync.replicas`.",
            run=f"tell({wanted}, least=3)",
        ),
        Misconception("reach-of-min-insync-replicas", why, run=f"tell({mistaken})"),
    )


@template(
    name="partitions-after-lost-brokers",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("kafka", "replication", "availability", "isr"),
    title="Apache Kafka 3.9 documentation, Design, Replication: Availability and Durability Guarantees",
    url="https://kafka.apache.org/39/design/design/",
    form=QuestionForm.READ,
    rated=(3, 3, 3),
)
def partitions_after_lost_brokers(rng: random.Random) -> Draft:
    """Tell from the replicas and the ISR which partitions still work after two brokers fail."""
    topic = rng.choice(("orders", "payments", "clicks", "meters"))
    parts = []
    for _ in range(4):
        replicas = rng.sample(range(1, 6), 3)
        isr = replicas[: rng.choice((1, 2, 2, 3))]
        parts.append((rng.choice(isr), sorted(replicas), sorted(isr)))
    down = sorted(rng.sample(range(1, 6), 2))
    asked, (wanted, mistaken, why) = rng.choice(list(_ASKED.items()))
    mistakes = _kafka_mistakes(wanted, mistaken, why)
    rows = [
        f"{number:4}{leader:9}   {','.join(map(str, replicas)):10} {','.join(map(str, isr))}"
        for number, (leader, replicas, isr) in enumerate(parts)
    ]
    return Draft(
        prompt=(
            f"Kafka 3.9, `min.insync.replicas=2`, unclean leader election off. This is the topic `{topic}` just before "
            f"brokers {down[0]} and {down[1]} fail for good. Right after the elections, with no replica back in sync, "
            f"{asked[0].lower()}{asked[1:]}"
        ),
        code="\n".join(["part   leader   replicas   ISR", *rows]),
        language="text",
        setup=f"parts, down, least = {parts!r}, {down!r}, 2{_KAFKA}",
        run=f"tell({wanted})",
        why=(
            "A broker that runs and was in the ISR can lead, and reads and `acks=1` need no more. For `acks=all` there "
            "must be two such brokers."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "The ISR, not the list of replicas, says who may lead and who counts for `min.insync.replicas`. Alert on "
            "under-replicated partitions: one with a single replica in sync goes offline with the next failure. Spread "
            "replicas over zones by `broker.rack`."
        ),
    )
