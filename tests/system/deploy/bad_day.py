"""The service of docs/operations.md, and the incidents that its sections are about.

Bot, worker and Prefect worker are processes of their own, with real servers and the simulator.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from dev.stack import BOT_ID, ServerStack
from local.supervisor import Program
from tests.conftest import run_psql
from tests.integration.test_cli import run
from tests.support.factories import some_id
from tests.support.service import Learner, connected, is_question
from tests.support.waiting import WAIT_SECONDS, until

BACKUP = "python main.py backup"
DUMP = "quiz-20261130T032700Z.dump"
KEY = "stream-watermarks-late-rows"


@dataclass(slots=True)
class Day:
    """The service, and what the page's names stand for."""

    stack: ServerStack
    telegram: httpx.AsyncClient
    roles: dict[str, Program]
    names: dict[str, str]
    """What stands on the page, and what it is here."""
    waiting: Learner
    """Who asks for a question in vain, and is to get it in the end."""

    async def run(self, command: str) -> str:
        """Run a command of the page, and return what it prints, in the page's names."""
        for name, ours in self.names.items():
            command = command.replace(name, ours)
        _, *printed = await run(*shlex.split(command)[2:], **self.stack.environment)
        told = "".join(printed)
        for name, ours in self.names.items():
            told = told.replace(ours, name)
        return told

    async def new_learner(self) -> Learner:
        """Return somebody who has pressed START."""
        reply = await self.telegram.post("/api/learners", json={"id": some_id()})
        learner = Learner(self.telegram, reply.json()["id"])
        await learner.ask("/start", "Welcome")
        return learner

    async def serve_who_waits(self) -> None:
        """Return when the learner has the question; by itself it may be tried again only after minutes."""
        self.sql("UPDATE quizzes SET touched_at = touched_at - interval '1 hour' WHERE state IN ('pending', 'sending')")
        await self.waiting.wait_for(is_question)

    async def fail(self, kind: str) -> None:
        """Let Telegram answer every call so."""
        body = {"kind": kind, "count": 10**6}
        (await self.telegram.post("/api/faults", json=body)).raise_for_status()

    async def heal(self) -> None:
        """Let Telegram answer as usual."""
        (await self.telegram.delete("/api/faults")).raise_for_status()

    async def start(self, *names: str) -> None:
        """Start roles, or start them again with the present settings."""
        for name in names or tuple(self.roles):
            await asyncio.to_thread(self.roles[name].stop)
            self.roles[name].environment |= self.stack.environment
            await asyncio.to_thread(self.stack.start, self.roles[name])

    async def stop(self) -> None:
        """Stop the roles."""
        for program in self.roles.values():
            await asyncio.to_thread(program.stop)

    def sql(self, *statements: str, database: str = "quiz") -> None:
        """Do to the database what makes an incident, or what the page does with psql."""
        run_psql(self.stack.database_url(database), *statements)


@asynccontextmanager
async def running_day(folder: Path, bank_folder: Path) -> AsyncIterator[Day]:
    """Run a service of which nothing is wrong."""
    with ExitStack() as processes:
        stack = ServerStack(folder, processes)
        stack.start_storage()
        stack.start_prefect()
        stack.start_telegram()
        del stack.environment["TELEGRAM_WEBHOOK_SECRET"]  # it is to follow from the token
        stack.environment |= {"QUESTION_BANK_DIR": str(bank_folder), "BACKUP_DIR": str(folder / "backups")}
        roles = {name: stack.role(name) for name in ("bot", "worker", "prefect")}
        roles["bot"].port, roles["bot"].health = int(stack.environment["WEBHOOK_PORT"]), "/health"
        names = {"https://quiz.example.org": stack.environment["WEBHOOK_URL"], "/backups": str(folder / "backups")}
        names |= {"123456789": str(BOT_ID), "correction.txt": str(folder / "correction.txt")}
        (folder / "correction.txt").write_text("We were wrong: B is right as well.\n", encoding="utf-8")
        url = stack.environment["TELEGRAM_API_BASE_URL"]
        async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as telegram:
            day = Day(stack, telegram, roles, names, Learner(telegram, 0))
            await day.start()
            await connected(telegram, "webhook")
            assert "verified" in await day.run(BACKUP)
            yield day


# ---------------------------------------------------------------- the incidents

Action = Callable[[Day], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Incident:
    """What happens to the service in a section."""

    begin: Action
    after: dict[str, Action] = field(default_factory=dict)
    """What happens of itself, or as the page says in words, after a command is run for the first time."""
    end: Action = Day.serve_who_waits


async def _telegram_fails(day: Day) -> None:
    await day.fail("502")
    await day.waiting.say("/quiz")


async def _the_worker_dies(day: Day) -> None:
    await asyncio.to_thread(day.roles["worker"].kill)
    await day.waiting.say("/quiz")


async def _a_learner_reports_a_question(day: Day) -> None:
    learner = await day.new_learner()
    told = await learner.answer(await learner.get_question(), 0)
    await learner.press_labelled(told, "Report")
    await learner.press_labelled(await learner.wait_for(lambda one: "is wrong" in str(one)), "is wrong")
    day.names[KEY] = await until(lambda: _reported_key(day))
    await day.waiting.say("/quiz")


async def _reported_key(day: Day) -> str | None:
    questions = json.loads(await day.run("python main.py questions list --reported --json"))
    return str(questions[0]["key"]) if questions else None


async def _the_token_is_revoked(day: Day) -> None:
    await day.fail("401")
    await day.waiting.say("/quiz")


async def _there_is_a_new_token(day: Day) -> None:
    await day.heal()
    day.stack.environment["TELEGRAM_BOT_TOKEN"] = f"{BOT_ID}:{'n' * 35}"


async def _the_disk_is_full(day: Day) -> None:
    """Refuse rows with PostgreSQL's words and SQLSTATE for it; to fill a real disk takes a file system of its own."""
    words = 'could not extend file "base/16385/16402": No space left on device'
    day.sql(
        "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = '53100'; END $$",
        *(
            f"CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION disk_full()"
            for table in ("updates", "quizzes", "answers", "learners", "heartbeats")
        ),
    )
    await day.waiting.say("/quiz")


async def make_room(day: Day) -> None:
    """Let the database take rows again."""
    day.sql("DROP FUNCTION disk_full() CASCADE")


async def _rows_are_damaged(day: Day) -> None:
    await day.waiting.answer(await day.waiting.get_question(), 0)
    await until(lambda: _is_settled(day))
    verified = await day.run(BACKUP)
    day.names[DUMP] = verified.split()[1].rstrip(":")
    day.sql("CREATE ROLE quiz", "UPDATE learners SET run = run + 1 WHERE id = (SELECT max(learner_id) FROM answers)")


async def _is_settled(day: Day) -> bool:
    return ": nothing to report" in await day.run("python main.py replay")


async def _somebody_new_is_served(day: Day) -> None:
    await (await day.new_learner()).get_question()


INCIDENTS = {
    "Telegram is down": Incident(_telegram_fails, {'python main.py pause --reason "Telegram is down"': Day.heal}),
    "A worker is dead": Incident(_the_worker_dies),
    "A wrong question is out": Incident(_a_learner_reports_a_question),
    "A token leaked": Incident(_the_token_is_revoked, {"python main.py status": _there_is_a_new_token}),
    "The database is full": Incident(_the_disk_is_full),
    "A restore": Incident(_rows_are_damaged, end=_somebody_new_is_served),
}
"""By the section's heading."""
