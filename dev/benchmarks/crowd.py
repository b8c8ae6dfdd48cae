"""A thousand learners who start, ask and answer at their own pace, and forty who all do so at the same moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from dataclasses import asdict, dataclass

import asyncpg
import httpx
from httpx import codes

from dev.benchmarks.distribution import TELEGRAM_RATE, DistributionBench, due_learners, send
from dev.benchmarks.learners import CALLS, KINDS, Learner, at_their_chats, summarise
from dev.benchmarks.numbers import Figures
from dev.benchmarks.people import make_learners, preparing, register
from dev.benchmarks.section import Section, Table, plain
from dev.probes import SimulatorClient
from dev.stack import Postgres, Say, ServerStack, cpu_seconds, open_ground, rss_mb
from domain.ids import LearnerId
from local.embedded_postgres import get_server
from storage.loader import load_queries

BURST = 3
"""Messages that may go at once after a rest, so that no second has more than the rate and a tenth."""

POLL_SECONDS = 2.0
STATEMENTS = 5
SHOWN_LETTERS = 70
ENOUGH_LETTERS = 25
"""Alike at the beginning, they tell that a statement is one of our queries."""

_CONNECTED = """SELECT datname || ' as ' || coalesce(nullif(application_name, ''), '(none)') AS who, count(*) AS number
FROM pg_stat_activity WHERE datname = ANY($1::text[]) AND pid <> pg_backend_pid() GROUP BY 1"""
_SLOWEST = """SELECT query, calls, mean_exec_time AS mean_ms, max_exec_time AS max_ms, total_exec_time AS total_ms
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE datname = $1 AND query !~ 'pg_stat_'
ORDER BY total_ms DESC LIMIT $2"""
DATABASES = ("quiz", "prefect")
SHARES = ("p50", "p95", "p99")
LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
ERRORS = {
    "most_in_any_second": "most in any second",
    "failed_deliveries": "HTTP errors",
    "too_many_requests": "429",
    "try_again": "asked to try again",
    "missing": "without a reply",
    "extra": "messages too many",
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    learners: int
    seconds: float
    """From the moment at which all of them press START."""
    think_seconds: tuple[float, float]
    """Between which a learner's mean is; together they ask for a little less than the rate."""
    at_once: int
    broadcast: int
    """To how many others the daily quiz goes while some act at once."""


FULL = Size(learners=1_000, seconds=180, think_seconds=(20, 60), at_once=40, broadcast=600)
QUICK = Size(learners=6, seconds=4, think_seconds=(0.5, 1), at_once=4, broadcast=12)


async def measure(size: Size, say: Say) -> Figures:
    """Let some act at once, alone and during a broadcast, and then many live at their own pace."""
    _allow_connections(4 * size.learners)
    with open_ground() as stack:
        say("starting PostgreSQL, Valkey, the simulator, the Prefect server, the bot and the worker")
        valkey = stack.start_storage()
        _keep_statements(stack)
        simulator = stack.start_telegram(rate=TELEGRAM_RATE, chat_rate=1)
        async with preparing(stack) as runtime:
            some = await register(simulator, runtime, size.at_once)
        prefect, bot = stack.start_prefect(), stack.start_bot()
        worker = stack.start_worker(bot)
        async with httpx.AsyncClient(timeout=60) as client:
            watch = SimulatorClient(simulator, client)
            bench = DistributionBench(stack, simulator, prefect, watch, client, say, idle=0.0)
            await watch.reset_statistics()
            alone = await _at_once(bench, some)
            during = await _at_once_during_a_broadcast(bench, some, size.broadcast)
            roles = {"bot": bot, "worker": worker, "Prefect server": prefect, "Valkey": valkey, "simulator": simulator}
            pids = {name: one.pid for name, one in roles.items()} | {"PostgreSQL": stack.postgres_pid}
            crowd = await _crowd(bench, size, pids)
    return asdict(size) | {"telegram_rate": TELEGRAM_RATE, "alone": alone, "during": during, "crowd": crowd}


def _allow_connections(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))  # the simulator has as many, and inherits this


def _keep_statements(stack: ServerStack) -> None:
    server = get_server(stack.folder / "postgres")
    server.psql("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';")
    postgres = Postgres(server)
    postgres.stop()
    postgres.start()


async def _at_once(bench: DistributionBench, learner_ids: list[LearnerId]) -> Figures:
    """Let everybody ask for a question at the same moment, and answer at the same moment once all have one."""
    bench.say(f"{len(learner_ids)} learners ask and answer at once")
    async with at_their_chats(bench.simulator, bench.client, learner_ids) as learners:
        messages = await asyncio.gather(*(learner.step() for learner in learners))
        await asyncio.gather(*(one.step(message) for one, message in zip(learners, messages, strict=True)))
        return await _summarise(bench, learners)


async def _at_once_during_a_broadcast(bench: DistributionBench, learner_ids: list[LearnerId], count: int) -> Figures:
    others = await due_learners(bench, count)
    async with asyncio.TaskGroup() as group:
        await bench.watch.reset_statistics()
        sending = group.create_task(send(bench, "flow", others))
        while not sending.done() and not (await bench.watch.statistics())["messages_sent"]:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.1)
        figures = await _at_once(bench, learner_ids)
        went_on = not sending.done()
    if not went_on:
        raise RuntimeError("the broadcast was over before the others were served")
    whole = sending.result()
    return figures | {name: whole[name] for name in ("most_in_any_second", "too_many_requests")}


async def _crowd(bench: DistributionBench, size: Size, pids: dict[str, int]) -> Figures:
    learner_ids = await make_learners(bench.simulator, size.learners)
    database = await asyncpg.connect(bench.stack.environment["DATABASE_URL"])
    peaks: dict[str, dict[str, float]] = {"mb": {}, "connections": {}}
    await database.execute("CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()")
    await bench.watch.reset_statistics()
    cpu, own, began = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.process_time(), time.monotonic()
    bench.say(f"{size.learners} learners press START, and go on at their own pace for {size.seconds:g} s")
    sampling = asyncio.create_task(_sample(database, pids, peaks))
    try:
        async with at_their_chats(bench.simulator, bench.client, learner_ids) as learners:
            await asyncio.gather(*(one.live(began + size.seconds, size.think_seconds) for one in learners))
            took = time.monotonic() - began
            figures = await _summarise(bench, learners)
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
    cores = {name: (cpu_seconds(pid) - cpu[name]) / took for name, pid in pids.items()}
    cores["the learners themselves"] = (time.process_time() - own) / took
    statements = {name: await database.fetch(_SLOWEST, name, STATEMENTS) for name in DATABASES}
    await database.close()
    return figures | {
        "cores": {name: round(share, 3) for name, share in cores.items()},
        "max_mb": peaks["mb"],
        "max_connections": peaks["connections"],
        "statements": {
            name: [dict(row) | {"query": _name(row["query"])} for row in rows] for name, rows in statements.items()
        },
    }


def _name(statement: str) -> str:
    """Return the name of our query that begins like a statement, or how it begins if none does."""
    shared = {name: len(os.path.commonprefix([text, statement])) for name, text in load_queries().items()}  # noqa: RUF071
    name = max(shared, key=shared.__getitem__)
    return name if shared[name] >= ENOUGH_LETTERS else f"`{' '.join(statement.split())[:SHOWN_LETTERS]}`"


async def _sample(
    database: asyncpg.Connection[asyncpg.Record], pids: dict[str, int], peaks: dict[str, dict[str, float]]
) -> None:
    while True:
        now = {name: rss_mb(pid) for name, pid in pids.items()}
        connected = {row["who"]: row["number"] for row in await database.fetch(_CONNECTED, DATABASES)}
        for kind, values in (("mb", now), ("connections", connected)):
            peaks[kind] |= {name: max(value, peaks[kind].get(name, 0)) for name, value in values.items()}
        await asyncio.sleep(POLL_SECONDS)


async def _summarise(bench: DistributionBench, learners: list[Learner]) -> Figures:
    seen = await bench.watch.statistics()
    calls = [call for method in CALLS for call in await bench.watch.requests(method) if call["status"] == codes.OK]
    actions = [action for learner in learners for action in learner.actions]
    return summarise(actions, calls, TELEGRAM_RATE, BURST) | {
        "webhook_ms": {name: round(1000 * seen["webhook_seconds"][name], 1) for name in SHARES},
        "updates": seen["webhook_seconds"]["count"],
        **{name: seen[name] for name in ("most_in_any_second", "too_many_requests", "failed_deliveries")},
    }


def present(figures: Figures) -> Section:
    """Show the figures."""
    learners, some = plain(figures["learners"]), figures["at_once"]
    return Section(
        title=f"A crowd: {learners} learners at once",
        about=(
            f"{learners} learners, each with a connection of their own to the simulator, press START at the same "
            f"moment, choose how experienced they are, ask for a question, answer it and ask again for "
            f"{figures['seconds']:g} s, each thinking for as long as they do: on average between "
            f"{figures['think_seconds'][0]:g} and {figures['think_seconds'][1]:g} s. The simulator delivers each "
            "update to the webhook as Telegram does. Before that, "
            f"{some} others ask at the same moment, and answer at the same moment: alone, and while a broadcast goes "
            f"to {figures['broadcast']} more."
        ),
        tables=[_waits(figures), _webhook(figures), _resources(figures), _statements(figures)],
        notes=[
            (
                "*At least*: how long they would wait if each message left as soon as the rate of "
                f"{figures['telegram_rate']} a second allows, in the order in which they were asked for, {BURST} at "
                "once after a rest. Every one thousand messages are 33 s of it."
            ),
            "Connections to PostgreSQL at most: "
            + ", ".join(f"{number} to {who}" for who, number in sorted(figures["crowd"]["max_connections"].items()))
            + ".",
        ],
        limits=[
            "The way to Telegram and back; several bots or workers.",
            "All processes, the learners among them, share the machine's cores.",
        ],
    )


def _groups(figures: Figures) -> list[tuple[str, Figures]]:
    some = figures["at_once"]
    return [
        (f"{some} at once", figures["alone"]),
        (f"{some} at once, during a broadcast", figures["during"]),
        (f"{plain(figures['learners'])} at their own pace", figures["crowd"]),
    ]


def _waits(figures: Figures) -> Table:
    rows = [
        [who, kind, plain(one["reply"]["count"])]
        + [f"{one[of][share] / 1000:.2f}" for of in ("reply", "least") for share in LATENCIES]
        for who, group in _groups(figures)
        for kind in KINDS
        if (one := group["kinds"].get(kind))
    ]
    columns = [f"{share.removesuffix('_ms')}{of}" for of in (", s", ", at least") for share in LATENCIES]
    return Table("From what a learner did to the reply", ["learners", "wait for", "times", *columns], rows)


def _webhook(figures: Figures) -> Table:
    rows = [
        [who, plain(one["updates"]), *(f"{one['webhook_ms'][share]:g}" for share in SHARES)]
        + [str(one[name]) for name in ERRORS]
        for who, one in _groups(figures)
    ]
    columns = ["learners", "updates", *(f"webhook {share}, ms" for share in SHARES)]
    return Table("The webhook's answers, and errors", [*columns, *ERRORS.values()], rows)


def _resources(figures: Figures) -> Table:
    max_mb = {role: f"{mb:.0f}" for role, mb in figures["crowd"]["max_mb"].items()}
    rows = [[role, f"{share:.2f}", max_mb.get(role, "–")] for role, share in figures["crowd"]["cores"].items()]
    return Table("What each process took of the crowd's time", ["process", "cores, on average", "MB at most"], rows)


def _statements(figures: Figures) -> Table:
    rows = [
        [database, one["query"], plain(one["calls"]), *(f"{one[key]:.2f}" for key in ("mean_ms", "max_ms", "total_ms"))]
        for database, statements in figures["crowd"]["statements"].items()
        for one in statements
    ]
    columns = ["database", "statement", "calls", "mean, ms", "longest, ms", "together, ms"]
    return Table("Statements that took PostgreSQL longest (`pg_stat_statements`)", columns, rows)
