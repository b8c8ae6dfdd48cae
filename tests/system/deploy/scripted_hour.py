"""An hour of the service, compressed into a minute: learners, a refill, and each fault that an alert is for.

Bot, polling bot and worker are processes of their own on servers of their own, as they are deployed. Time is
compressed where only time would do: rows are moved into the past, and the worker looks at its gauges and at stalled
quizzes every half second. In place of Prefect, which takes long to start, something answers that it is there and takes
no flow runs; distributions and refills run here, by the functions that the flows call.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path

import asyncpg
import httpx
from fastapi import FastAPI

from dev.stack import BOT_ID, SECRET, ServerStack
from domain.catalog import Level, QuizKind, Topic
from domain.service_state import BackupState, DistributionState, Role
from domain.settings import Settings
from local import servers
from local.supervisor import Program
from quizzes.cohorts import find_due_learners
from quizzes.delivery import prepare_quizzes, serve_quizzes
from quizzes.distributions import noted_distribution
from roles.webhook_registration import PATH, SECRET_HEADER
from tests.integration.llm.support import keep_writing
from tests.support.factories import some_id
from tests.support.llm_server import LlmServer, failure, serve_llm
from tests.support.prometheus import Monitoring, monitoring
from tests.support.service import Learner, connected
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS, until
from wiring import Runtime, open_runtime, send_heartbeats

OTHER_TOKEN = "616161:" + "p" * 35
"""Of a bot that polls although a webhook is set for it."""

HURRIED_WORKER = """
import sys
import main
import roles.worker
roles.worker.WATCH_SECONDS = roles.worker.RECOVER_SECONDS = 0.5
roles.worker.LOOK_SHARE = 0
sys.exit(main.main(["worker"]))
"""

QUIZZES = 24
"""More than are let fail without an alert."""

AT_ONCE = 20

COMMANDS = ("/help", "/privacy", "/stats", "/settings", "/quiz", "/review", "/export", "/stop", "/resume")

_updates = count(10**6)
"""Ids beyond those of the simulator."""


@dataclass(slots=True)
class Hour:
    """What runs during the hour, and what is known at its end."""

    stack: ServerStack
    runtime: Runtime
    llm: LlmServer
    telegram: httpx.AsyncClient
    bot: Program
    worker: Program
    polling_bot: Program
    valkey: Program
    admin: asyncpg.Connection
    prefect: asyncio.Task[None]
    watched: Monitoring
    begun_at: float
    ended_at: float = 0.0
    told_while_healthy: set[str] = field(default_factory=set)

    async def sql(self, statement: str, *arguments: object) -> None:
        """Move what only time would."""
        await self.runtime.repository.database._pool.execute(statement, *arguments)  # noqa: SLF001

    async def new_learner(self) -> Learner:
        """Return somebody who has pressed START."""
        reply = await self.telegram.post("/api/learners", json={"id": some_id()})
        learner = Learner(self.telegram, reply.json()["id"], BOT_ID)
        await learner.ask("/start", "Welcome")
        return learner

    async def make_due(self, number: int, late: timedelta) -> None:
        """Let new learners press START, and their daily quiz be due for a while."""
        ids = [learner.id for learner in await asyncio.gather(*(self.new_learner() for _ in range(number)))]
        await self.sql("UPDATE learners SET next_daily_at = now() - $2::interval WHERE id = ANY($1)", ids, late)

    async def fail(self, kind: str, method: str = "*", **fault: object) -> None:
        """Let Telegram answer a bot's calls so until `heal`."""
        body = {"kind": kind, "method": method, "count": 10**6, "bot": BOT_ID} | fault
        (await self.telegram.post("/api/faults", json=body)).raise_for_status()

    async def heal(self) -> None:
        """Let Telegram answer as usual."""
        await self.telegram.delete("/api/faults")

    async def post_updates(self, senders: list[int], secret: str = SECRET) -> None:
        """Deliver a command of each sender to the webhook, in order where a sender comes twice."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(base_url=self.bot.url, timeout=WAIT_SECONDS) as client:

            async def post(place: int, sender: int) -> None:
                async with slots:
                    await client.post(PATH, json=command(sender, place), headers={SECRET_HEADER: secret})

            await asyncio.gather(*(post(place, sender) for place, sender in enumerate(senders)))


def command(sender: int, place: int) -> dict[str, object]:
    """Return an update; those in a row of a learner differ, since a repeated request is left out."""
    number = next(_updates)
    user = {"id": sender, "is_bot": False, "first_name": "Learner"}
    chat = {"id": sender, "type": "private", "first_name": "Learner"}
    text = COMMANDS[place % len(COMMANDS)]
    entities = [{"type": "bot_command", "offset": 0, "length": len(text)}]
    message = {"message_id": number, "date": int(time.time()), "chat": chat, "from": user, "text": text}
    return {"update_id": number, "message": message | {"entities": entities}}


# ---------------------------------------------------------------- the service


@asynccontextmanager
async def scripted_hour(folder: Path, database_url: str, admin_url: str, bank_folder: Path) -> AsyncIterator[Hour]:
    """Yield the hour when it is over and everything still runs that has not been killed."""
    with ExitStack() as processes:
        async with serve_llm() as llm, serving(_prefect_that_takes_nothing(), servers.free_port()) as prefect_url:
            keep_writing(llm)
            stack = ServerStack(folder, processes)
            stack.environment |= {
                "DATABASE_URL": database_url,
                "PREFECT_API_URL": f"{prefect_url}/api",
                "PREFECT_HOME": str(folder / "prefect"),
                "QUESTION_BANK_DIR": str(bank_folder),
                "OPENAI_API_KEY": "sk-of-the-scripted-hour",
                "OPENAI_BASE_URL": llm.url,
                "OPENAI_LIVE_SECONDS": "10",
                "REPORTS_TO_QUARANTINE": "1",
                "BACKUP_DIR": str(folder / "backups"),
            }
            valkey = stack.start_valkey()
            stack.start_telegram()
            async with _running_roles(stack, llm, valkey, admin_url) as hour:
                await _play(hour)
                yield hour


@asynccontextmanager
async def _running_roles(stack: ServerStack, llm: LlmServer, valkey: Program, admin_url: str) -> AsyncIterator[Hour]:
    bot, polling_bot = _bot(stack), _polling_bot(stack)
    worker = _worker(stack)
    for program in (bot, polling_bot, worker):
        stack.launch(program)
    jobs = {"quiz-bot": [bot.port, polling_bot.port], "quiz-worker": [worker.port]}
    admin = await asyncpg.connect(admin_url)
    async with (
        httpx.AsyncClient(base_url=stack.environment["TELEGRAM_API_BASE_URL"], timeout=WAIT_SECONDS) as telegram,
        open_runtime(_settings(stack)) as runtime,
        monitoring(stack.folder, jobs) as watched,
    ):
        prefect = asyncio.create_task(send_heartbeats(runtime.repository, Role.PREFECT))
        for program in (bot, polling_bot, worker):
            await asyncio.to_thread(stack.wait_for, program)
        await connected(telegram, "webhook")
        await until(lambda: watched.query("count(count_over_time(up[1m]) > 1 and up == 1) == 3"))
        yield Hour(
            stack, runtime, llm, telegram, bot, worker, polling_bot, valkey, admin, prefect, watched, time.time()
        )
        prefect.cancel()
    await admin.close()


def _settings(stack: ServerStack) -> Settings:
    """Return the settings of the flows, which run in this process."""
    names = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "QUESTION_BANK_DIR")
    return stack.settings(**{name.lower(): stack.environment[name] for name in names})


def _prefect_that_takes_nothing() -> FastAPI:
    app = FastAPI()
    app.get("/api/version")(lambda: "3.9.1")
    return app


def _bot(stack: ServerStack) -> Program:
    program = stack.role("bot")
    program.port, program.health = int(program.environment["WEBHOOK_PORT"]), "/health"
    return program


def _polling_bot(stack: ServerStack) -> Program:
    port = servers.free_port()
    own = {"TELEGRAM_BOT_TOKEN": OTHER_TOKEN, "TELEGRAM_MODE": "polling", "WEBHOOK_PORT": str(port)}
    program = stack.role("bot", "polling bot", **own)
    program.port, program.health = port, "/health"
    return program


def _worker(stack: ServerStack, port: int = 0, **extra: str) -> Program:
    port = port or servers.free_port()
    program = stack.role("worker", WORKER_METRICS_PORT=str(port), **extra)
    program.command, program.port, program.health = servers.python("-c", HURRIED_WORKER), port, "/health"
    return program


# ---------------------------------------------------------------- the script


async def _play(hour: Hour) -> None:
    await until(lambda: hour.watched.query("min(max by (role) (quiz_role_processes)) > 0"))
    hour.watched.told.clear()
    await _everybody_is_served(hour)
    hour.told_while_healthy = set(hour.watched.told)
    for faults in FAULTS:
        await asyncio.gather(*(fault(hour) for fault in faults))
    hour.ended_at = time.time()


async def _everybody_is_served(hour: Hour) -> None:
    """Learners ask and answer, one of them a question that the model writes; a distribution and a refill run."""
    learners = [await hour.new_learner() for _ in range(3)]
    for column, learner in enumerate(learners):
        for _ in range(3):
            await learner.answer(await learner.get_question(), column)
    await hour.make_due(3, timedelta(minutes=1))
    assert await _distribute(hour) is DistributionState.COMPLETED
    assert hour.runtime.context.generator.llm
    await hour.runtime.context.generator.llm.generate(Topic.STREAMING, Level.BEGINNER)
    await until(lambda: hour.watched.query("max(quiz_llm_questions_today{outcome='accepted'}) > 0"))
    await until(lambda: hour.watched.query("max(quiz_distribution_learners{outcome='sent'}) == 3"))


async def _distribute(hour: Hour) -> DistributionState:
    context = hour.runtime.context
    due = await find_due_learners(context, context.now())
    async with noted_distribution(context, len(due)) as ending:
        ending.deliveries = await serve_quizzes(context, due, QuizKind.DAILY)
    return ending.state


async def _a_learner_doubts_a_question(hour: Hour) -> None:
    learner = await hour.new_learner()
    told = await learner.answer(await learner.get_question(), 0)
    await learner.press_labelled(told, "Report")
    asked = await learner.wait_for(lambda message: "wrong" in str(message.get("reply_markup")).lower())
    await learner.press_labelled(asked, "rong")
    await hour.watched.has_told("QuizQuestionsDoubted")


async def _somebody_guesses_the_secret(hour: Hour) -> None:
    await hour.post_updates([some_id() for _ in range(QUIZZES)], "a-wrong-secret-of-somebody")
    await hour.watched.has_told("QuizWrongSecret")


async def _prefect_takes_no_flow_runs(hour: Hour) -> None:
    async def keep_asking() -> None:
        learner = await hour.new_learner()
        while "QuizWorkNotShown" not in hour.watched.told:
            await learner.get_question()

    await asyncio.gather(*(keep_asking() for _ in range(6)))


async def _a_bot_polls_although_a_webhook_is_set(hour: Hour) -> None:
    body = {"url": "http://127.0.0.1:9/elsewhere"}
    (await hour.telegram.post(f"/bot{OTHER_TOKEN}/setWebhook", json=body)).raise_for_status()
    await hour.watched.has_told("QuizPollingFails")


async def _the_model_fails_and_its_budget_is_spent(hour: Hour) -> None:
    hour.llm.compose = None
    hour.llm.answer(failure(500))
    learner = await hour.new_learner()
    await learner.answer(await learner.get_question(), 0)
    assert hour.runtime.context.generator.llm
    while not await hour.watched.query("max(quiz_llm_closed) == 1"):
        with contextlib.suppress(Exception):
            await hour.runtime.context.generator.llm.generate(Topic.STREAMING, Level.EXPERT)
    await hour.sql("UPDATE questions SET state = 'retired' WHERE source = 'llm'")  # as if all were used up
    await learner.get_question()  # it would be the model's
    await hour.sql("INSERT INTO generations (topic, level, model, cost) VALUES ('streaming', 1, 'gpt-5-mini', 0.95)")
    await hour.watched.has_told("QuizModelLeftAlone", "QuizBudgetSpent")


async def _a_release_gets_stuck(hour: Hour) -> None:
    await hour.runtime.repository.record_heartbeat("worker:left-behind:1", Role.WORKER, "0.0.1")
    await hour.watched.has_told("QuizVersionsMixed")


async def _the_last_backup_is_old(hour: Hour) -> None:
    repository = hour.runtime.repository
    backup_id = await repository.begin_backup("quiz-20261127T032700Z.dump")
    await repository.end_backup(backup_id, BackupState.VERIFIED, size_bytes=10**6, differences=0)
    await hour.sql("UPDATE backups SET begun_at = begun_at - interval '3 days'")
    await hour.watched.has_told("QuizBackupOld")


async def _telegram_answers_500(hour: Hour) -> None:
    await hour.make_due(QUIZZES, timedelta(minutes=1))
    await hour.fail("500", "sendmessage")
    assert await _distribute(hour) is DistributionState.FAILED
    await hour.watched.has_told("QuizDistributionFailed")
    await hour.sql("UPDATE quizzes SET touched_at = now() - interval '1 hour' WHERE state = 'pending'")
    await hour.watched.has_told("QuizSendingFails")
    await hour.heal()


async def _telegram_asks_to_slow_down(hour: Hour) -> None:
    await hour.fail("429", "sendmessage", retry_after=1)
    await hour.post_updates([some_id() for _ in range(QUIZZES)])
    await hour.watched.has_told("QuizRateLimited")
    await hour.heal()


async def _quizzes_are_given_up(hour: Hour) -> None:
    """As after Telegram's refusal of a message, which the simulator has none of."""
    await hour.make_due(QUIZZES, timedelta(minutes=1))
    context = hour.runtime.context
    due = await find_due_learners(context, context.now())
    prepared = await prepare_quizzes(context, due, QuizKind.DAILY)
    for quiz_id in prepared.quiz_ids:
        await hour.runtime.repository.mark_send_failed(quiz_id, "Bad Request: message is too long", for_good=True)
    await hour.watched.has_told("QuizQuizzesGivenUp")


async def _prefects_worker_dies(hour: Hour) -> None:
    """Nobody begins a distribution, and who is due waits."""
    hour.prefect.cancel()
    await hour.sql("UPDATE heartbeats SET seen_at = seen_at - interval '1 minute' WHERE role = 'prefect'")
    await hour.sql("UPDATE distributions SET begun_at = begun_at - interval '3 hours'")
    await hour.make_due(1, timedelta(hours=3))
    await hour.watched.has_told("QuizNoDistribution", "QuizDailyOverdue", "QuizRoleMissing")


async def _the_worker_dies_under_a_flood(hour: Hour) -> None:
    learner = await hour.new_learner()
    question = await learner.get_question()
    hour.worker.running.kill()
    hour.worker.running.wait()
    await learner.press(question, 0)
    await hour.post_updates([some_id()] * 1400)
    await hour.post_updates([some_id() for _ in range(510)])
    await hour.sql("UPDATE updates SET received_at = received_at - interval '3 minutes' WHERE state = 'new'")
    await hour.watched.has_told("QuizWorkerDown", "QuizUpdatesOld", "QuizUpdatesPileUp", "QuizFlood")
    await hour.sql("DELETE FROM updates WHERE state = 'new' AND kind = 'command'")


async def _another_worker_finds_no_prefect_and_a_late_tap(hour: Hour) -> None:
    nowhere = f"http://127.0.0.1:{servers.free_port()}/api"
    hour.worker = _worker(hour.stack, hour.worker.port, PREFECT_API_URL=nowhere)
    await asyncio.to_thread(hour.stack.start, hour.worker)
    await hour.watched.has_told("QuizPrefectAway", "QuizFeedbackSlow")


async def _telegram_refuses_the_bot(hour: Hour) -> None:
    await hour.fail("401")
    await hour.post_updates([some_id()])
    await hour.watched.has_told("QuizBotRefused")


async def _redis_is_away(hour: Hour) -> None:
    hour.valkey.stop()
    await hour.heal()
    await until(lambda: hour.watched.query("max(quiz_bot_refused) == 0"))
    await hour.post_updates([some_id() for _ in range(5)])
    await hour.watched.has_told("QuizRedisAway")


async def _the_database_is_away(hour: Hour) -> None:
    name = hour.stack.environment["DATABASE_URL"].partition("?")[0].rpartition("/")[2]
    await hour.admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
    await hour.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    await hour.post_updates([some_id() for _ in range(5)])
    await hour.watched.has_told("QuizDatabaseAway", "QuizStateUnknown")
    await hour.admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')


async def _all_roles_die(hour: Hour) -> None:
    for program in (hour.bot, hour.polling_bot, hour.worker):
        program.running.kill()
    await hour.watched.has_told("QuizBotDown")


FAULTS: tuple[tuple[Callable[[Hour], Awaitable[None]], ...], ...] = (
    (
        _a_release_gets_stuck,
        _the_last_backup_is_old,
        _a_learner_doubts_a_question,
        _the_model_fails_and_its_budget_is_spent,
        _somebody_guesses_the_secret,
        _a_bot_polls_although_a_webhook_is_set,
        _prefect_takes_no_flow_runs,
    ),
    (_telegram_answers_500,),
    (_telegram_asks_to_slow_down,),
    (_quizzes_are_given_up,),
    (_prefects_worker_dies,),
    (_the_worker_dies_under_a_flood,),
    (_another_worker_finds_no_prefect_and_a_late_tap,),
    (_telegram_refuses_the_bot,),
    (_redis_is_away,),
    (_the_database_is_away,),
    (_all_roles_die,),
)
"""Those of a row come together, one row after the other."""
