"""Memory of each role over a hundred thousand updates: what it is once all is warm, and whether it grows."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import psutil

from benchmarks.ground import ROOT, Ground, Say, open_ground
from benchmarks.load import Connection
from benchmarks.numbers import Figures
from benchmarks.people import give_questions, preparing, register
from benchmarks.section import Section, Table, plain
from benchmarks.webhook import Updates
from webhook import PATH

COMMANDS = ("quiz", "settings", "help", "privacy")
CONNECTIONS = 8
MOST_WAITING = 2_000
"""Updates that wait for the worker at most; more would measure the queue and not the roles."""

FAST = {"TELEGRAM_RATE_PER_SECOND": "1000"}
SAMPLES = 20
HANDLED_WITHIN = 1_800.0
_WAITING = "SELECT count(*) FROM updates WHERE state IN ('new', 'claimed')"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    updates: int
    learners: int


FULL = Size(updates=100_000, learners=2_000)
QUICK = Size(updates=400, learners=20)


# ---------------------------------------------------------------- measuring


async def measure(size: Size, say: Say) -> Figures:
    """Send updates as fast as the worker handles them, and look at each role's memory meanwhile.

    Args:
        size: how much to measure.
        say: shows progress.
    """
    with open_ground() as ground:
        say("starting PostgreSQL, Valkey, the simulator and the Prefect server, and giving every learner a question")
        ground.start_postgres()
        ground.start_valkey()
        simulator = ground.start_simulator(rate=0, chat_rate=0)
        async with preparing(ground) as wiring:
            quizzes = await give_questions(wiring, await register(simulator, wiring, size.learners), say)
        ground.environment |= FAST
        prefect = ground.start_prefect()
        bot, port = ground.start_bot()
        worker, _ = ground.start_worker(port)
        takes_runs = ground.start("prefect-worker", [str(ROOT / "main.py"), "prefect"])
        roles = {"bot": bot, "worker": worker, "prefect": takes_runs, "Prefect server": prefect}
        pids = {name: started.pid for name, started in roles.items()}
        began = time.monotonic()
        samples = await _load(ground, port, Updates(quizzes, PATH, COMMANDS), size, pids, say)
        return {
            "updates": size.updates,
            "learners": size.learners,
            "seconds": round(time.monotonic() - began, 1),
            "samples": samples,
        }


async def _load(
    ground: Ground, port: int, updates: Updates, size: Size, pids: dict[str, int], say: Say
) -> list[Figures]:
    """Send all updates, and return a sample after each part of them that is handled."""
    samples: list[Figures] = []
    database = await asyncpg.connect(ground.environment["DATABASE_URL"])
    connections = [await Connection.open(port) for _ in range(CONNECTIONS)]
    part = size.updates // SAMPLES
    try:
        for number in range(1, SAMPLES + 1):
            await _send_part(database, connections, updates, part)
            samples.append({"updates": number * part, "rss_mb": {name: _rss_mb(pid) for name, pid in pids.items()}})
            told = ", ".join(f"{name} {mb:.0f} MB" for name, mb in samples[-1]["rss_mb"].items())
            say(f"{number * part:,} updates: {told}")
    finally:
        for connection in connections:
            connection.close()
        await database.close()
    return samples


async def _send_part(
    database: asyncpg.Connection[asyncpg.Record], connections: Sequence[Connection], updates: Updates, count: int
) -> None:
    """Send so many updates, no faster than they are handled, and return when all are."""
    left = count
    while left > 0:
        some = min(left, MOST_WAITING // 2)
        shares = [some // len(connections) + (place < some % len(connections)) for place in range(len(connections))]
        await asyncio.gather(*(_send_each(*pair, updates) for pair in zip(connections, shares, strict=True)))
        left -= some
        await _until_handled(database, MOST_WAITING // 2 if left else 0)


async def _send_each(connection: Connection, count: int, updates: Updates) -> None:
    for _ in range(count):
        status, _ = await connection.ask(updates.next_request())
        if status != 200:
            msg = f"the webhook answered {status}"
            raise RuntimeError(msg)


async def _until_handled(database: asyncpg.Connection[asyncpg.Record], most: int) -> None:
    async with asyncio.timeout(HANDLED_WITHIN):
        while await database.fetchval(_WAITING) > most:  # noqa: ASYNC110 - asked of the database
            await asyncio.sleep(0.05)


def _rss_mb(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB."""
    main = psutil.Process(pid)
    total = 0
    for one in (main, *main.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return float(round(total / 2**20, 1))


# ---------------------------------------------------------------- presenting


def present(figures: Figures) -> Section:
    """Show the figures.

    Args:
        figures: what `measure` returned, or its like out of JSON.
    """
    updates, seconds = figures["updates"], figures["seconds"]
    return Section(
        title=f"Memory over {plain(updates)} updates",
        about=(
            f"{plain(updates)} updates of {plain(figures['learners'])} learners, eight taps on answers to two "
            "commands, posted to the webhook as fast as one worker handles them, with Prefect. Resident memory of each "
            f"role and of what it started, {SAMPLES} samples, each when all updates so far were handled."
        ),
        tables=[_memory(figures)],
        notes=[
            f"All of it took {seconds:.0f} s: {updates / seconds:.0f} updates a second through one bot and one worker.",
            (
                "*Grows by* compares the medians of the third and of the last quarter of the samples: what is kept for "
                "good would go on growing, what is cached does not."
            ),
        ],
        limits=["Flow runs in processes of their own, which come and go with their memory."],
    )


def growth(figures: Figures, role: str) -> tuple[float, float]:
    """Return a role's memory in the third and in the last quarter of the samples: medians in MB.

    Args:
        figures: what `measure` returned, or its like out of JSON.
        role: which.
    """
    values = [sample["rss_mb"][role] for sample in figures["samples"]]
    quarter = len(values) // 4
    return statistics.median(values[2 * quarter : 3 * quarter]), statistics.median(values[3 * quarter :])


def _memory(figures: Figures) -> Table:
    first, middle, last = (figures["samples"][place] for place in (0, len(figures["samples"]) // 2, -1))
    rows = []
    for role in first["rss_mb"]:
        third, fourth = growth(figures, role)
        cells = [f"{sample['rss_mb'][role]:.0f}" for sample in (first, middle, last)]
        rows.append([role, *cells, f"{fourth - third:+.1f} MB (**{100 * (fourth / third - 1):+.1f}%**)"])
    columns = ["role", *(f"after {plain(sample['updates'])}" for sample in (first, middle, last)), "grows by"]
    return Table("Resident memory, MB", columns, rows)
