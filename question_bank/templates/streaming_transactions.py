"""Templates on streaming: what readers see of Kafka transactions that are open, aborted or cut off by a crash."""

from __future__ import annotations

import random
from collections.abc import Sequence
from inspect import getsource

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_VIEW = """
ends = {who: what for who, what in log if what in ("commit", "abort")}

def show(found):
    print(", ".join(found) or "nothing yet")

def view(uncommitted=False, waits=True, drops_aborted=True):
    found = []
    for who, what in log:
        state = ends.get(who, "commit" if who == plain else "open")
        if what in ("commit", "abort"):
            continue
        if state == "open" and not uncommitted:
            if waits:
                break
            continue
        if state != "abort" or uncommitted or not drops_aborted:
            found.append(what)
    return found

def by_commit():
    found, held = [], {}
    for who, what in log:
        if who == plain:
            found.append(what)
        elif what == "commit":
            found += held.pop(who, [])
        elif what != "abort":
            held.setdefault(who, []).append(what)
    return found
"""


def _log(rng: random.Random, first: str, second: str, plain: str) -> list[tuple[str, str]]:
    """Draw seven records or fewer of two transactions and a plain producer."""
    writes = [first] * rng.randint(1, 2) + [second] * rng.randint(1, 2) + [plain]
    rng.shuffle(writes)
    log = [(who, f"p{number}") for number, who in enumerate(writes, 1)]
    for who in (first, second):
        end = rng.choice(("commit", "commit", "abort", None))
        if end:
            last = max(place for place, entry in enumerate(log) if entry[0] == who)
            log.insert(rng.randint(last + 1, len(log)), (who, end))
    return log


def _read_committed_view_mistakes(*, uncommitted: bool, plain: str) -> tuple[Misconception, ...]:
    if uncommitted:
        why = "A `read_uncommitted` reader gets every record at once, also those of open and of aborted transactions."
        return tuple(
            Misconception(name, why, run=f"show({run})")
            for name, run in (
                ("waits-for-the-open-transaction", "view()"),
                ("hides-open-transactions", "view(waits=False)"),
                (
                    "hides-aborted-transactions-only",
                    "[p for p in view(True) if p in view(waits=False) or p in still_open]",
                ),
                ("shows-committed-first", "by_commit()"),
                ("only-transactions-that-ended", "view(waits=False, drops_aborted=False)"),
                ("skips-the-plain-producer", "[p for who, p in log if who != plain and p in view(True)]"),
            )
        )
    return (
        Misconception(
            "goes-past-the-open-transaction",
            "The reader stops before the first record of an open transaction (the last stable offset), whatever stands "
            "behind it.",
            run="show(view(waits=False))",
        ),
        Misconception(
            "sees-everything",
            "That is what `read_uncommitted` gives. `read_committed` drops aborted records and waits at open ones.",
            run="show(view(uncommitted=True))",
        ),
        Misconception(
            "aborted-records-stay",
            "An abort marker makes the reader drop the records of its transaction; they stay in the log, unseen.",
            run="show(view(drops_aborted=False))",
        ),
        Misconception(
            "ordered-by-commit",
            "A reader gets records in the order of their offsets, never in that of the commits.",
            run="show(by_commit())",
        ),
        Misconception(
            "plain-records-are-hidden",
            f"`{plain}` writes outside of any transaction. Its records need no commit; they only wait in line.",
            run="show([p for who, p in log if who != plain and p in view()])",
        ),
    )


@template(
    name="read-committed-view",
    topic=Topic.STREAMING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("kafka", "transactions", "isolation-level"),
    title="Apache Kafka 4.1 documentation, Consumer Configs, isolation.level",
    url="https://kafka.apache.org/41/configuration/consumer-configs/",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def read_committed_view(rng: random.Random) -> Draft:
    """Find which records a reader gets from a log with open, committed and aborted transactions."""
    first, second, plain = rng.choice(
        (("shop", "bank", "till"), ("web", "app", "crm"), ("east", "west", "test"), ("ads", "pay", "fix"))
    )
    log = _log(rng, first, second, plain)
    uncommitted = rng.random() < 0.2  # noqa: PLR2004 - the level that needs thought comes up more often
    ended = {who for who, what in log if what in ("commit", "abort")}
    still_open = [what for who, what in log if who not in {*ended, plain}]
    mistakes = _read_committed_view_mistakes(uncommitted=uncommitted, plain=plain)
    level = "read_uncommitted" if uncommitted else "read_committed"
    return Draft(
        prompt=(
            f"The log of a Kafka partition, oldest entry first, with who wrote it. `{first}` and `{second}` use "
            f"transactions, one each so far; `{plain}` does not. A reader with `isolation.level={level}` starts at "
            "offset 0. Which payments does it get by now?"
        ),
        code="\n".join(f"{offset}  {who:5}  {what}" for offset, (who, what) in enumerate(log)),
        language="text",
        setup=f"log, plain, still_open = {log}, {plain!r}, {still_open}{_VIEW}",
        run=f"show(view(uncommitted={uncommitted}))",
        why=_view_why(still_open, uncommitted=uncommitted),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "A `read_committed` reader gets records in offset order, up to the first open transaction, and none of "
            "aborted ones. So a producer that hangs in a transaction holds up everything behind it, until its "
            "`transaction.timeout.ms` has passed. Watch the lag of such readers."
        ),
    )


def _view_why(still_open: Sequence[str], *, uncommitted: bool) -> str:
    if uncommitted:
        return (
            "Without `read_committed` the reader gets each record as soon as it is replicated, whatever becomes of it."
        )
    if still_open:
        return f"It stops before {still_open[0]}, the first record of an open transaction. Aborted records are dropped."
    return "No transaction is open, so it reads to the end and drops only what was aborted."


def after_crash(guarantee: str, isolation: str, timeout: int, limit: int, interval: int, outage: int) -> str:
    """Return what readers get of the rows around a crash: what a drawing executes.

    Args:
        timeout: of the sink's transactions, in minutes, as are the broker's limit for it, the time between checkpoints,
            and that until the restart.
    """
    if guarantee == "AT_LEAST_ONCE":
        return "twice"
    if timeout > limit:
        return "refused"
    if isolation == "read_uncommitted":
        return "twice"
    age = interval + outage  # a transaction opens as the checkpoint before it ends
    return "lost" if age > timeout else "once"


_AFTER_CRASH = {
    "once": "All rows, each once",
    "twice": "All rows, some twice",
    "lost": "Not all rows, none twice",
    "refused": "No rows: the sink never starts",
}
_TIMES = {
    5: "5 min",
    10: "10 min",
    15: "15 min",
    20: "20 min",
    30: "30 min",
    50: "50 min",
    60: "1 h",
    120: "2 h",
    240: "4 h",
}


def _after_crash_mistakes(
    right: str, guarantee: str, isolation: str, timeout: int, limit: int, interval: int, outage: int
) -> list[Misconception]:
    """Return the three other outcomes, each told why it is not this one's."""
    asked = f"The sink asks for a timeout of {_TIMES[timeout]}, and the broker allows {_TIMES[limit]} at most"
    if right == "refused":
        whys = dict.fromkeys(_AFTER_CRASH, f"{asked}: it refuses the producer, so the job fails before it writes.")
    elif guarantee == "AT_LEAST_ONCE":
        whys = {
            "once": "AT_LEAST_ONCE writes without transactions: rows after the checkpoint stay, and are written again.",
            "lost": "Without transactions nothing waits for a commit, so what is written stays.",
            "refused": "AT_LEAST_ONCE opens no transaction, so the broker's limit for them does not matter.",
        }
    elif isolation == "read_uncommitted":
        whys = {
            "once": "The reader takes uncommitted rows too: it sees those after the checkpoint, and again later.",
            "lost": "The broker may abort a transaction, but a `read_uncommitted` reader gets its rows all the same.",
            "refused": f"{asked}, so it starts.",
        }
    else:
        whys = {
            "once": f"The transaction of the checkpoint was open for {_TIMES[interval]} before the crash and "
            f"{_TIMES[outage]} after it, past its timeout of {_TIMES[timeout]}. The broker has aborted it.",
            "lost": f"The transaction may be open for {_TIMES[timeout]}. That is longer than {_TIMES[interval]} before "
            f"the crash and {_TIMES[outage]} after it, so the new job commits it.",
            "twice": "Rows after the checkpoint are in a transaction that never commits; `read_committed` hides them.",
            "refused": f"{asked}, so it starts.",
        }
    names = {
        "once": "exactly-once-holds-everywhere",
        "twice": "a-restart-writes-twice",
        "lost": "a-crash-loses-open-transactions",
        "refused": "the-timeout-is-above-the-limit",
    }
    return [Misconception(names[value], why, value=value) for value, why in whys.items() if value != right]


@template(
    name="flink-kafka-sink-after-crash",
    topic=Topic.STREAMING,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("flink", "kafka", "exactly-once", "transactions"),
    title="Apache Flink documentation, Kafka Connector, Kafka Sink, Fault Tolerance",
    url="https://nightlies.apache.org/flink/flink-docs-stable/docs/connectors/datastream/kafka/",
    form=QuestionForm.CODE_REVIEW,
    rated=(4, 3, 3),
)
def flink_kafka_sink_after_crash(rng: random.Random) -> Draft:
    """Review the settings of a Flink job that writes to Kafka for what its readers get after a crash."""
    wanted = rng.choice(tuple(_AFTER_CRASH))
    while True:
        guarantee = rng.choice(("EXACTLY_ONCE", "EXACTLY_ONCE", "AT_LEAST_ONCE"))
        isolation = rng.choice(("read_committed", "read_committed", "read_uncommitted"))
        timeout, limit = rng.choice((15, 60, 240)), rng.choice((15, 60, 240))
        interval, outage = rng.choice(((5, 5), (5, 30), (10, 10), (20, 30), (20, 50), (30, 120)))
        if after_crash(guarantee, isolation, timeout, limit, interval, outage) == wanted and interval < timeout:
            break
    what = rng.choice(("orders", "payments", "alerts", "scores", "trades", "bookings", "refunds", "bids"))
    facts = (guarantee, isolation, timeout, limit, interval, outage)
    return Draft(
        prompt=(
            f"A new Flink job, not started yet, is to write {what} to Kafka day and night. Think one crash through: a "
            "checkpoint ends, some rows more are written, the job dies before the sink commits, and it restarts "
            f"from that checkpoint after {_TIMES[outage]}. With this setup, what would readers get?"
        ),
        code=(
            f"# Flink, checkpoints\ninterval: {_TIMES[interval]}\n"
            f"# Flink KafkaSink\nguarantee: {guarantee}\ntransaction.timeout.ms: {_TIMES[timeout]}\n"
            f"# Kafka broker\ntransaction.max.timeout.ms: {_TIMES[limit]}\n"
            f"# reader\nisolation.level: {isolation}"
        ),
        language="text",
        setup=getsource(after_crash),
        run=f"print(after_crash{facts})",
        why={
            "once": "The transaction of the checkpoint is still open after the outage and is committed; later rows are "
            "written anew.",
            "twice": "Rows after the checkpoint are written again, and nothing hides the first ones from this reader.",
            "lost": f"The transaction of the checkpoint opened {_TIMES[interval]} before the crash. The broker aborts "
            f"it after {_TIMES[timeout]}, and its rows are not replayed.",
            "refused": f"The broker refuses a timeout above its limit of {_TIMES[limit]}, so the job fails at once.",
        }[wanted],
        misconceptions=_after_crash_mistakes(wanted, *facts),
        explanation=(
            "Exactly once into Kafka needs four things: transactions in the sink, a timeout above the time between "
            "checkpoints plus the longest outage, a broker's limit that allows it, and readers with `read_committed`. "
            "The price of a long timeout: a transaction that hangs holds up those readers as long."
        ),
        texts=_AFTER_CRASH,
    )
