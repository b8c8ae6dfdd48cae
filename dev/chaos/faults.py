"""The faults, each as it is really done to the servers and roles of a stage."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

import httpx
import psutil

from dev.chaos.environment import DrillEnvironment
from dev.chaos.load import Load
from dev.hanging_model import hanging_model
from dev.stack import BOT_ID, SECRET, Say
from domain.callbacks import AnswerTap
from roles.webhook_registration import PATH, SECRET_HEADER

OUTAGE_SECONDS = 20.0
PREFECT_OUTAGE_SECONDS = 60.0
WRITE_OUTAGE_SECONDS = 15.0
KEPT_FLOWS = ["grade_answers", "send_requested_questions"]
REPLACED_SECONDS = 60.0
"""At most until cancelled runs are replaced."""

TELEGRAM_SECONDS = 10.0
FLOOD_SECONDS = 40.0
"""Longer than one call bears 429s."""

REFUSED_SECONDS = 60.0
CHAT_SECONDS = 20.0
CHAT_RETRY_AFTER = 30
"""Seconds that Telegram asks to leave one chat alone, longer than anybody waits for a chat."""

TERMINATION_SECONDS = 10.0
"""How long a role may take to end after SIGTERM."""

MODEL_SECONDS = 60.0
"""At most until the restarted worker has asked the model for the first time."""

FIRST_OWN_UPDATE = 2_000_000_000
"""Ids of updates that a fault makes by itself, beyond those of the simulator."""

AT_LEAST_HELD = 3
_HELD = "SELECT count(*) FROM updates WHERE state = 'claimed' AND claimed_until > now() AND error IS NULL"

_numbers = itertools.count(FIRST_OWN_UPDATE, 10)


@dataclass(slots=True)
class Scene:
    """What a fault works with, and what it leaves to be told."""

    env: DrillEnvironment
    telegram: httpx.AsyncClient
    """The simulator's control API."""
    load: Load
    say: Say
    accepted: set[int] = field(default_factory=set)
    """Updates beyond the simulator's own that a webhook answered with 200."""
    deviations: list[str] = field(default_factory=list)
    """What the fault itself found to be wrong."""
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail."""

    about: str
    """What is done, as the report says it."""
    strike: Callable[[Scene], Awaitable[None]]
    """Does it, and returns when it is over."""


# ---------------------------------------------------------------- processes


async def _kill_bot(scene: Scene) -> None:
    """Kill the bot while it stores what everybody does at once."""
    acting = asyncio.create_task(scene.load.burst())
    await asyncio.sleep(0.1)
    scene.env.kill("bot")
    await acting


async def _kill_worker(scene: Scene) -> None:
    acting = await _begin_batch(scene)
    scene.env.kill("worker")
    await acting


async def _kill_prefect_worker(scene: Scene) -> None:
    scene.env.kill("prefect")


async def _begin_batch(scene: Scene) -> asyncio.Task[None]:
    """Let everybody act, and return their acting when the worker has some of it in its hands."""
    acting = asyncio.create_task(scene.load.burst())
    async with scene.env.connection() as connection, asyncio.timeout(TERMINATION_SECONDS):
        while (held := await connection.fetchval(_HELD)) < AT_LEAST_HELD:  # noqa: ASYNC110 - asked of the database
            await asyncio.sleep(0.01)
    scene.remarks.append(f"{held} updates in the worker's hands")
    return acting


async def _terminate(scene: Scene) -> None:
    """Send SIGTERM in the middle of a batch and look at what the worker leaves."""
    env = scene.env
    acting = await _begin_batch(scene)
    worker = env.programs["worker"].running
    began = time.monotonic()
    worker.terminate()
    while worker.poll() is None and time.monotonic() < began + 2 * TERMINATION_SECONDS:  # noqa: ASYNC110 - a process
        await asyncio.sleep(0.02)
    seconds = time.monotonic() - began
    await acting
    async with env.connection() as connection:
        held = await connection.fetchval(_HELD)
        taken = await connection.fetchval(
            "SELECT count(*) FROM updates WHERE state <> 'new' AND received_at > now() - $1 * interval '1 s'",
            max(0.0, seconds - 1),
        )
    scene.remarks.append(f"ended after {seconds:.1f} s")
    if seconds > TERMINATION_SECONDS or worker.returncode != 0:
        scene.deviations.append(f"the worker ended after {seconds:.1f} s with status {worker.returncode}")
    if held:
        scene.deviations.append(f"the worker ended with {held} updates in its hands")
    if taken:
        scene.deviations.append(f"the worker took {taken} updates that came after SIGTERM")


# ---------------------------------------------------------------- servers


async def _stop_postgres(scene: Scene) -> None:
    await asyncio.to_thread(scene.env.postgres.stop)
    try:
        await asyncio.sleep(OUTAGE_SECONDS)
    finally:
        await asyncio.to_thread(scene.env.postgres.start)


async def _freeze_postgres(scene: Scene) -> None:
    frozen = scene.env.postgres.processes()
    for process in frozen:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        await asyncio.sleep(OUTAGE_SECONDS)
    finally:
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


async def _refuse_logins(scene: Scene) -> None:
    postgres = scene.env.postgres
    processes = {role: program.running for role, program in scene.env.programs.items()}
    await asyncio.to_thread(postgres.refuse, "quiz")
    try:
        await asyncio.sleep(OUTAGE_SECONDS)
    finally:
        await asyncio.to_thread(postgres.accept)
    ended = [role for role, process in processes.items() if process.poll() is not None]
    if ended:
        scene.deviations.append(f"ended meanwhile: {', '.join(ended)}")


async def _kill_valkey(scene: Scene) -> None:
    scene.env.valkey.kill()
    await asyncio.sleep(OUTAGE_SECONDS / 2)
    await asyncio.to_thread(scene.env.start, scene.env.valkey)


async def _kill_prefect_server(scene: Scene) -> None:
    scene.env.prefect.kill()
    await asyncio.sleep(PREFECT_OUTAGE_SECONDS)
    await asyncio.to_thread(scene.env.start, scene.env.prefect)


async def _cancel_runs(scene: Scene) -> None:
    """Cancel the flow runs that show answers and requests, as an operator does in the UI, in the middle of a batch."""
    acting = await _begin_batch(scene)
    async with httpx.AsyncClient(base_url=scene.env.environment["PREFECT_API_URL"], timeout=30) as prefect:
        cancelled = await _running_runs(prefect)
        for run_id in cancelled:
            state = {"state": {"type": "CANCELLING"}}
            (await prefect.post(f"/flow_runs/{run_id}/set_state", json=state)).raise_for_status()
        await acting
        scene.remarks.append(f"{len(cancelled)} runs cancelled")
        following: set[str] = set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPLACED_SECONDS):
                while len(following) < len(KEPT_FLOWS):
                    await asyncio.sleep(0.5)
                    following = await _running_runs(prefect) - cancelled
    if len(cancelled) < len(KEPT_FLOWS) or len(following) < len(KEPT_FLOWS):
        scene.deviations.append(f"{len(cancelled)} runs were under way, and {len(following)} have taken their place")


async def _running_runs(prefect: httpx.AsyncClient) -> set[str]:
    body = {"flows": {"name": {"any_": KEPT_FLOWS}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    reply = await prefect.post("/flow_runs/filter", json=body)
    reply.raise_for_status()
    return {run["id"] for run in reply.json()}


_DISK_FULL = """
CREATE OR REPLACE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$
"""
_WRITTEN = ("updates", "quizzes", "answers", "learners")


async def _fill_disk(scene: Scene) -> None:
    raising = "FOR EACH STATEMENT EXECUTE FUNCTION disk_full()"
    triggers = (f"CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON {table} {raising}" for table in _WRITTEN)
    await scene.env.execute(_DISK_FULL, *triggers)
    await asyncio.sleep(WRITE_OUTAGE_SECONDS)
    await scene.env.execute(*(f"DROP TRIGGER disk_full ON {table}" for table in _WRITTEN))


async def _make_read_only(scene: Scene) -> None:
    await scene.env.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    await asyncio.sleep(WRITE_OUTAGE_SECONDS)
    await scene.env.execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


# ---------------------------------------------------------------- Telegram and the model


def _telegram(
    kind: str, for_seconds: float = TELEGRAM_SECONDS, **fault: object
) -> Callable[[Scene], Coroutine[None, None, None]]:
    """Let calls of every method fail for some seconds."""

    async def strike(scene: Scene) -> None:
        body = {"method": "*", "kind": kind, "count": 100_000, **fault}
        (await scene.telegram.post("/api/faults", json=body)).raise_for_status()
        try:
            await asyncio.sleep(for_seconds)
        finally:
            (await scene.telegram.delete("/api/faults")).raise_for_status()

    return strike


async def _refuse_bot(scene: Scene) -> None:
    """Let Telegram answer 401 whatever the bot asks for, as it does once a token is revoked."""
    refusing = asyncio.create_task(_telegram("401", REFUSED_SECONDS)(scene))
    lines: set[str] = set()
    async with httpx.AsyncClient(base_url=scene.env.programs["bot"].url, timeout=5) as bot:
        while not refusing.done():
            with contextlib.suppress(httpx.HTTPError):
                lines |= set((await bot.get("/ready")).json()["problems"])
            await asyncio.sleep(0.5)
    await refusing
    if not any(line.startswith(f"Telegram refuses bot {BOT_ID} (Unauthorized)") for line in lines):
        scene.deviations.append(f"/ready does not say that the bot is refused, but {sorted(lines)}")


async def _refuse_chat(scene: Scene) -> None:
    """Let Telegram answer 429 for the chat of one learner, while everybody acts."""
    held = scene.load.people[0].id
    began = time.time()
    strike = _telegram("429", CHAT_SECONDS, chat=held, retry_after=CHAT_RETRY_AFTER)
    await asyncio.gather(strike(scene), scene.load.burst())
    reply = await scene.telegram.get("/api/requests", params={"limit": 5_000})
    calls = [call for call in reply.json() if call["at"] > began and call["values"].get("chat_id")]
    refused = sum(call["status"] == httpx.codes.TOO_MANY_REQUESTS for call in calls)
    served = {call["values"]["chat_id"] for call in calls if call["status"] == httpx.codes.OK}
    scene.remarks.append(f"{refused} calls refused, {len(served)} other chats served meanwhile")
    if not refused:
        scene.deviations.append("nothing was sent to the chat, so that it was refused shows nothing")
    if len(served - {str(held), held}) < len(scene.load.people) // 2:
        scene.deviations.append(f"only {len(served)} other chats were served while one was refused")


async def _hang_model(scene: Scene) -> None:
    env = scene.env
    async with hanging_model() as model:
        for role in ("worker", "prefect"):
            await env.restart(role, env.environment | model.environment)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MODEL_SECONDS):
                while not model.connections:  # noqa: ASYNC110 - counted as learners come to need a question
                    await asyncio.sleep(0.1)
        await asyncio.sleep(OUTAGE_SECONDS)
        scene.remarks.append(f"{model.connections} requests to the model")
        if not model.connections:
            scene.deviations.append("nobody asked the model, so that it hung shows nothing")
        for role in ("worker", "prefect"):
            await env.restart(role, env.environment)


# ---------------------------------------------------------------- updates


async def _redeliver(scene: Scene) -> None:
    deliveries = await _statistic(scene, "deliveries")
    reply = await scene.telegram.post("/api/redeliveries", json={"times": 2, "seed": 5})
    reply.raise_for_status()
    scene.remarks.append(f"{reply.json()['deliveries']} deliveries")
    async with asyncio.timeout(60):
        while await _statistic(scene, "deliveries") < deliveries + reply.json()["deliveries"]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def _statistic(scene: Scene, name: str) -> int:
    return int((await scene.telegram.get("/api/statistics")).json()[name])


RACES = 12
"""Learners who tap two options, in the wrong order and at two bots."""


async def _two_bots(scene: Scene) -> None:
    """Let two bots get the same updates at once, and taps in the wrong order."""
    env, rng = scene.env, random.Random(7)
    with env.second_bot() as second:
        bots = [env.programs["bot"].url, second]
        history = (await scene.telegram.get("/api/updates")).json()["history"][-200:]
        races = await _races(scene)
        posts = [(url, update) for update in [*history, *races] for url in bots]
        rng.shuffle(posts)
        posts.sort(key=lambda post: -int(post[1]["update_id"]) if post[1] in races else 0)  # the later tap comes first
        async with httpx.AsyncClient(timeout=20) as client:
            turns = asyncio.Semaphore(20)

            async def post(url: str, update: dict[str, object]) -> None:
                async with turns:
                    reply = await client.post(url + PATH, content=json.dumps(update), headers={SECRET_HEADER: SECRET})
                if reply.is_success and update in races:
                    scene.accepted.add(int(str(update["update_id"])))

            await asyncio.gather(*(post(url, update) for url, update in posts))
        scene.remarks.append(f"{len(posts)} posts, {len(races) // 2} races")


async def _races(scene: Scene) -> list[dict[str, object]]:
    """Return two taps on each of some open questions, as Telegram would word them."""
    async with scene.env.connection() as connection:
        rows = await connection.fetch(
            "SELECT DISTINCT ON (learner_id) id, learner_id, message_id FROM quizzes "
            "WHERE state = 'sent' AND learner_id = ANY($1::bigint[]) ORDER BY learner_id, id DESC LIMIT $2",
            [person.id for person in scene.load.people],
            RACES,
        )
    return [
        _tap(number + place, row["learner_id"], row["message_id"], AnswerTap(row["id"], place).pack())
        for row, number in zip(rows, _numbers, strict=False)
        for place in (0, 1)
    ]


def _tap(update_id: int, learner_id: int, message_id: int, data: str) -> dict[str, object]:
    person = {"id": learner_id, "is_bot": False, "first_name": "Learner"}
    chat = {"id": learner_id, "type": "private", "first_name": "Learner"}
    message = {"message_id": message_id, "date": int(time.time()), "chat": chat}
    query = {"id": str(update_id), "from": person, "message": message, "chat_instance": "1", "data": data}
    return {"update_id": update_id, "callback_query": query}


FAULTS = {
    "kill-bot": Fault("SIGKILL of the bot while everybody taps", _kill_bot),
    "kill-worker": Fault("SIGKILL of the worker in the middle of a batch", _kill_worker),
    "kill-prefect-worker": Fault(
        "SIGKILL of the Prefect worker and of the distribution that it runs, in the middle of a batch",
        _kill_prefect_worker,
    ),
    "sigterm": Fault("SIGTERM to the worker in the middle of a batch", _terminate),
    "redelivered": Fault("every update so far delivered twice more, in random order", _redeliver),
    "two-bots": Fault(
        "the last 200 updates at once to two bots, and double taps whose second one comes first", _two_bots
    ),
    "postgres-stopped": Fault(f"PostgreSQL shut down for {OUTAGE_SECONDS:.0f} s, clients cut off", _stop_postgres),
    "postgres-frozen": Fault(
        f"PostgreSQL's processes stopped (SIGSTOP) for {OUTAGE_SECONDS:.0f} s, connections left open", _freeze_postgres
    ),
    "postgres-refuses": Fault(
        f"for {OUTAGE_SECONDS:.0f} s PostgreSQL rejects every login (SQLSTATE 28000), clients cut off", _refuse_logins
    ),
    "disk-full": Fault(
        f"for {WRITE_OUTAGE_SECONDS:.0f} s every write fails with SQLSTATE 53100, raised by triggers", _fill_disk
    ),
    "read-only": Fault(
        f"for {WRITE_OUTAGE_SECONDS:.0f} s PostgreSQL is read-only (`default_transaction_read_only`)", _make_read_only
    ),
    "valkey-killed": Fault(f"SIGKILL of Valkey, started empty after {OUTAGE_SECONDS / 2:.0f} s", _kill_valkey),
    "prefect-server-killed": Fault(
        f"SIGKILL of the Prefect server, started after {PREFECT_OUTAGE_SECONDS:.0f} s", _kill_prefect_server
    ),
    "runs-cancelled": Fault(
        "the flow runs of answers and requests cancelled in the UI, in the middle of a batch", _cancel_runs
    ),
    "telegram-429": Fault(
        f"Telegram answers 429 for {FLOOD_SECONDS:.0f} s, to wait 5 s each time",
        _telegram("429", FLOOD_SECONDS, retry_after=5),
    ),
    "telegram-502": Fault(f"Telegram answers 502 for {TELEGRAM_SECONDS:.0f} s", _telegram("502")),
    "telegram-403-page": Fault(
        f"for {TELEGRAM_SECONDS:.0f} s something before Telegram answers every request with 403 and an HTML page",
        _telegram("403-page"),
    ),
    "telegram-401": Fault(
        f"for {REFUSED_SECONDS:.0f} s Telegram answers 401, as for a token that is revoked", _refuse_bot
    ),
    "chat-429": Fault(
        f"for {CHAT_SECONDS:.0f} s Telegram answers 429 for one chat, to wait {CHAT_RETRY_AFTER} s each time",
        _refuse_chat,
    ),
    "telegram-hangs": Fault(
        f"for {TELEGRAM_SECONDS:.0f} s Telegram takes messages and never answers", _telegram("hang")
    ),
    "telegram-resets": Fault(
        f"for {TELEGRAM_SECONDS:.0f} s Telegram takes messages and resets the connection", _telegram("reset")
    ),
    "model-hangs": Fault(
        f"a language model that accepts connections and never answers, for {OUTAGE_SECONDS:.0f} s", _hang_model
    ),
}
"""By name, the quick ones first."""
