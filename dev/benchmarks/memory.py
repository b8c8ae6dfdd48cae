"""Memory of each role over a hundred thousand updates: what it is once all is warm, and whether it grows."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import asyncpg
import httpx

from dev.benchmarks.load import Connection
from dev.benchmarks.numbers import Figures
from dev.benchmarks.people import FAST, SENT, give_questions, preparing, register
from dev.benchmarks.section import Section, Table, plain
from dev.benchmarks.webhook import make_command, make_tap
from dev.probes import count_runs
from dev.stack import Say, open_ground, rss_mb
from domain.catalog import OPTION_COUNT
from domain.ids import QuizId
from repository import Repository
from roles.webhook_registration import PATH
from wiring import open_runtime

OTHER_COMMANDS = ("stats", *3 * ("settings", "help", "privacy"))
"""One in ten asks for the picture, which takes a worker longer than all the others."""

CONNECTIONS = 8
QUARTERS = 4
AT_ONCE = 1_000
"""Updates that wait for the worker at most; more would measure the queue and not the roles."""

HANDLED_WITHIN = 600.0
_WAITING = "SELECT count(*) FROM updates WHERE state IN ('new', 'claimed')"
_OPEN = "SELECT id FROM quizzes WHERE state = 'sent'"
_ANSWERS = "SELECT count(*) FROM answers"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    learners: int
    rounds: int
    """In each, every learner answers a question and asks for another, and every second one writes something else."""


FULL = Size(learners=2_000, rounds=20)
QUICK = Size(learners=10, rounds=4)


async def measure(size: Size, say: Say) -> Figures:
    """Let learners take one question after another, as fast as they are served, and look at each role's memory."""
    with open_ground() as stack:
        say("starting PostgreSQL, Valkey, the simulator and the Prefect server, and giving every learner a question")
        stack.start_storage()
        simulator = stack.start_telegram()
        async with preparing(stack) as runtime:
            await give_questions(runtime, await register(simulator, runtime, size.learners), say)
        stack.environment |= FAST
        prefect = stack.start_prefect()
        bot = stack.start_bot()
        worker = stack.start_worker(bot)
        takes_runs = stack.start(stack.role("prefect"))
        roles = {"bot": bot, "worker": worker, "prefect": takes_runs, "Prefect server": prefect}
        pids = {name: one.pid for name, one in roles.items()}
        database = await asyncpg.connect(stack.environment["DATABASE_URL"])
        try:
            async with open_runtime(stack.settings()) as runtime:
                figures = await _Load(runtime.repository, database, bot.port).run(size, pids, say)
            api = stack.environment["PREFECT_API_URL"]
            async with httpx.AsyncClient() as client:
                runs = {kind: await count_runs(client, api, None, kind=kind) for kind in ("flow_runs", "task_runs")}
                return figures | {"runs": runs["flow_runs"], "task_runs": runs["task_runs"]}
        finally:
            await database.close()


class _Load:
    """Posts what learners do to the webhook."""

    def __init__(self, repository: Repository, database: asyncpg.Connection[asyncpg.Record], port: int) -> None:
        self._repository = repository
        self._database = database
        self._port = port
        self._numbers = itertools.count(1)
        self._rng = random.Random(19)

    async def run(self, size: Size, pids: dict[str, int], say: Say) -> Figures:
        """Return how it went, with a sample of every process's memory after each round."""
        before = await self._count()
        samples: list[Figures] = []
        sent = 0
        began = time.monotonic()
        for _ in range(size.rounds):
            sent += await self._one_round(size)
            samples.append({"updates": sent, "rss_mb": {name: rss_mb(pid) for name, pid in pids.items()}})
            told = ", ".join(f"{name} {mb:.0f} MB" for name, mb in samples[-1]["rss_mb"].items())
            say(f"{sent:,} updates: {told}")
        seconds = round(time.monotonic() - began, 1)
        answers, questions = (after - earlier for after, earlier in zip(await self._count(), before, strict=True))
        return {
            "updates": sent,
            "learners": size.learners,
            "answers": answers,
            "questions": questions,
            "seconds": seconds,
            "samples": samples,
        }

    async def _count(self) -> tuple[int, int]:
        """Return how many answers and how many sent questions there are."""
        return await self._database.fetchval(_ANSWERS), await self._database.fetchval(SENT)

    async def _one_round(self, size: Size) -> int:
        """Send what every learner does once, each step when the one before is handled, and return how many updates."""
        ids = [QuizId(row["id"]) for row in await self._database.fetch(_OPEN)]
        quizzes = await self._repository.get_quizzes(ids)
        if len(quizzes) != size.learners:
            raise RuntimeError(f"{len(quizzes)} of {size.learners} learners have a question to answer")
        others = quizzes[::2]
        await self._post(
            [make_tap(PATH, next(self._numbers), one, self._rng.randrange(OPTION_COUNT)) for one in quizzes]
        )
        await self._post([make_command(PATH, next(self._numbers), one, "quiz") for one in quizzes])
        await self._post(
            [make_command(PATH, next(self._numbers), one, self._rng.choice(OTHER_COMMANDS)) for one in others]
        )
        return 2 * len(quizzes) + len(others)

    async def _post(self, requests: Sequence[bytes]) -> None:
        """Send them no faster than they are handled, and return when all are."""
        for start in range(0, len(requests), AT_ONCE):
            some = requests[start : start + AT_ONCE]
            await asyncio.gather(*(self._post_each(some[place::CONNECTIONS]) for place in range(CONNECTIONS)))
            await self._until_handled()

    async def _post_each(self, requests: Sequence[bytes]) -> None:
        connection = await Connection.open(self._port)  # anew each time: the server ends one that rests for 5 s
        try:
            for request in requests:
                status, _ = await connection.ask(request)
                if status != HTTPStatus.OK:
                    raise RuntimeError(f"the webhook answered {status}")
        finally:
            connection.close()

    async def _until_handled(self) -> None:
        async with asyncio.timeout(HANDLED_WITHIN):
            while await self._database.fetchval(_WAITING):  # noqa: ASYNC110 - asked of the database
                await asyncio.sleep(0.05)


def present(figures: Figures) -> Section:
    """Show the figures."""
    updates, seconds = figures["updates"], figures["seconds"]
    tasks = f" of {plain(figures['task_runs'])} tasks" if "task_runs" in figures else ""  # older figures have none
    return Section(
        title=f"Memory over {plain(updates)} updates",
        about=(
            f"{plain(figures['learners'])} learners take one question after another, as fast as one bot and one worker "
            f"serve them with Prefect: {plain(updates)} updates to the webhook, of which {plain(figures['answers'])} "
            f"were answers that were graded, {plain(figures['questions'])} asked for a question and got one, and the "
            "rest were other commands. Resident memory of each role and of what it started, "
            f"{len(figures['samples'])} samples, each when all updates so far were handled."
        ),
        tables=[_memory(figures)],
        notes=[
            (
                f"All of it took {seconds:.0f} s: {updates / seconds:.0f} updates a second through one bot and one "
                f"worker, in {plain(figures['runs'])} flow runs{tasks}."
            ),
            (
                "What is kept for good would raise the least of one quarter above that of the one before. Above "
                "the least, garbage comes and goes: each picture of `/stats` leaves some megabytes until the next "
                "collection."
            ),
        ],
        limits=["PostgreSQL and Valkey; several days of work; the Prefect worker here has nothing to run."],
    )


def quarters(figures: Figures, role: str) -> list[tuple[float, float]]:
    """Return the least and the greatest memory of a role in each quarter of the samples, in MB."""
    values = [sample["rss_mb"][role] for sample in figures["samples"]]
    size = len(values) // QUARTERS
    parts = [values[start : start + size] for start in range(0, QUARTERS * size, size)]
    return [(min(part), max(part)) for part in parts]


def _memory(figures: Figures) -> Table:
    rows = []
    for role in figures["samples"][0]["rss_mb"]:
        ranges = quarters(figures, role)
        (before, _), (after, _) = ranges[-2:]
        shown = [f"{least:.0f}–{greatest:.0f}" for least, greatest in ranges]
        rows.append([role, *shown, f"{after - before:+.1f} MB (**{100 * (after / before - 1):+.1f}%**)"])
    columns = ["role", "first quarter", "second", "third", "last", "least of the last against the third"]
    return Table("Resident memory in MB, least–greatest in each quarter of the updates", columns, rows)
