"""Templates on distributed systems: elections and the repair of replicas."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
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
    shared = sorted(rng.choices(range(1, old + 1), k=rng.randint(2, 3)))
    tail = rng.randint(2, 4)
    logs = [[*shared, *[old] * tail], [*shared, *[old] * rng.randint(0, tail)]]
    added = rng.randint(1, 2)
    logs.append([*shared, *[new] * added])
    logs.extend([*shared, *[new] * rng.randint(0, added)] for _ in range(2))
    rng.shuffle(logs)
    prefix = rng.choice(("n", "m", "s", "node-", "db-"))
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
        "Not only the best log can win: two votes besides its own are enough, and who stands first may get them.",
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
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("raft", "leader-election", "consensus"),
    title="In Search of an Understandable Consensus Algorithm (Raft), 5.4.1 Election restriction",
    url="https://raft.github.io/raft.pdf",
)
def raft_election_winners(rng: random.Random) -> Draft:
    """Say which nodes of a Raft cluster can become the leader with the logs that they have."""
    logs, down = _cluster(rng)
    running = {name: log for name, log in logs.items() if name != down}
    last = max(log[-1] for log in running.values())
    lines = [f"{name}  {' '.join(map(str, log))}{'  (down)' if name == down else ''}" for name, log in logs.items()]
    return Draft(
        prompt=(
            "A Raft cluster of five nodes has lost its leader, and one of the nodes is down. The logs are shown as the "
            "term of each entry. The four running nodes reach each other, and no other entries exist. Which of them "
            "can win an election, if it alone stands for a new, higher term?"
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


_REPAIR = """
def digests(rows):
    return [sum(rows[start:start + leaf]) for start in range(0, len(rows), leaf)]

mine = [1] * total
theirs = [1] * total
for row in differing:
    theirs[row] += 1
leaves = [place for place, pair in enumerate(zip(digests(mine), digests(theirs))) if pair[0] != pair[1]]
"""


_MERKLE_REPAIR_OVERSTREAMING_MISTAKES = (
    Misconception(
        "only-what-differs",
        "That would need a hash of each partition. The trees can't tell which partition inside a leaf differs.",
        run="print(sum(a != b for a, b in zip(mine, theirs)))",
    ),
    Misconception(
        "one-leaf-each",
        "That counts a leaf for each differing partition, but some of them share a leaf, which is streamed once.",
        run="print(len(differing) * leaf)",
    ),
    Misconception(
        "range-from-first-to-last",
        "That streams all leaves from the first that differs to the last. Equal leaves in between are left out.",
        run="print((leaves[-1] - leaves[0] + 1) * leaf)",
    ),
    Misconception(
        "half-from-each-side",
        "That shares a leaf between the sides. A hash doesn't say which side is newer, so each one sends all of it.",
        run="print(len(leaves) * leaf // 2)",
    ),
    Misconception(
        "first-leaf-only",
        "That stops at the first leaf that differs. The comparison visits each subtree with different hashes.",
        run="print(leaf)",
    ),
    Misconception(
        "everything",
        "The root hashes differ, but the comparison goes on to the children and leaves equal subtrees alone.",
        run="print(len(mine))",
    ),
)


@template(
    name="merkle-repair-overstreaming",
    topic=Topic.DISTRIBUTED_SYSTEMS,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("merkle-tree", "anti-entropy", "cassandra"),
    title="DataStax documentation for Apache Cassandra, Manual repair: Anti-entropy repair",
    url="https://docs.datastax.com/en/cassandra-oss/3.x/cassandra/operations/opsRepairNodesManualRepair.html",
)
def merkle_repair_overstreaming(rng: random.Random) -> Draft:
    """Count what a repair streams when the leaves of its Merkle trees cover many partitions each."""
    leaf = rng.choice((250, 400, 500, 800, 1000))
    count = rng.choice((8, 16, 32))
    total = leaf * count
    hit = sorted(rng.sample(range(count), rng.randint(2, min(4, count // 3))))
    places = [*hit, *rng.choices(hit, k=rng.randint(1, 3))]
    within = rng.sample(range(1, leaf), len(places))  # all different, so that no partition is named twice
    differing = sorted(place * leaf + offset for place, offset in zip(places, within, strict=True))
    shown = ", ".join(map(str, differing[:-1]))
    return Draft(
        prompt=(
            f"Two Cassandra-like replicas hold the same {total} partitions, numbered from 0 in token order. A full "
            f"repair compares Merkle trees with {count} leaves: leaf 0 covers the partitions 0 to {leaf - 1}, leaf 1 "
            f"the next {leaf}, and so on. The partitions {shown} and {differing[-1]} differ. How many partitions does "
            "each replica stream to the other?"
        ),
        setup=f"total, leaf = {total}, {leaf}\ndiffering = {differing}{_REPAIR}",
        run="print(len(leaves) * leaf)",
        why=(
            f"The {len(differing)} partitions fall into {len(hit)} leaves. A tree shows only that a leaf differs, so "
            f"all its {leaf} partitions go over the network."
        ),
        misconceptions=rng.sample(_MERKLE_REPAIR_OVERSTREAMING_MISTAKES, len(_MERKLE_REPAIR_OVERSTREAMING_MISTAKES)),
        explanation=(
            "A repair streams whole leaf ranges. The depth of the tree is limited by memory, so over a huge range few "
            "differing rows cause much streaming. Repair in small subranges: there each leaf covers fewer rows."
        ),
    )
