"""The webhook beside a bare endpoint that makes one durable insert, and one that does nothing: rounds in turn."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import asyncpg

from dev.benchmarks import bare
from dev.benchmarks.load import Generator, Round, format_request
from dev.benchmarks.numbers import SHARES, Figures, latency_figures, spread
from dev.benchmarks.people import give_questions, preparing, register
from dev.benchmarks.section import Section, Table, plain
from dev.stack import SECRET, Say, ServerStack, cpu_seconds, open_ground
from domain.callbacks import AnswerTap
from domain.catalog import OPTION_COUNT
from domain.models import Quiz
from local import servers
from roles.webhook_registration import PATH, SECRET_HEADER

COMMANDS = ("quiz", "stats", "settings", "help")
TAPS_IN_TEN = 8
"""Learners mostly tap; the rest are commands."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    concurrencies: tuple[int, ...]
    rounds: int
    seconds: float
    learners: int


FULL = Size(concurrencies=(1, 16, 64), rounds=10, seconds=2.0, learners=4_000)
"""So many that none of them taps faster than people do: that would be a flood, which is turned away."""
QUICK = Size(concurrencies=(1, 8), rounds=2, seconds=0.3, learners=400)


@dataclass(slots=True)
class Target:
    """One of the endpoints."""

    name: str
    port: int
    pid: int
    next_request: Callable[[], bytes]
    rounds: list[Round] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    """CPU milliseconds of the server's process for each request, one value a round."""
    postgres_cpu: list[float] = field(default_factory=list)
    answered: int = 0


class Updates:
    """Makes distinct updates, as Telegram sends them."""

    def __init__(self, quizzes: list[Quiz], path: str) -> None:
        """Take what learners tap on and where the updates go.

        Args:
            quizzes: in the learners' chats, not answered.
        """
        self._quizzes = itertools.cycle(quizzes)
        self._numbers = itertools.count(1)
        self._path = path
        self._rng = random.Random(7)

    def next_request(self) -> bytes:
        """Return the next update's request."""
        number, quiz = next(self._numbers), next(self._quizzes)
        if number % 10 < TAPS_IN_TEN:
            return make_tap(self._path, number, quiz, self._rng.randrange(OPTION_COUNT))
        return make_command(self._path, number, quiz, self._rng.choice(COMMANDS))


def make_tap(path: str, number: int, quiz: Quiz, place: int) -> bytes:
    """Return the request by which Telegram delivers a tap on an answer.

    Args:
        place: of the tapped button, from 0.
    """
    message = {
        "message_id": quiz.message_id,
        "from": {"id": 1, "is_bot": True, "first_name": "Quiz", "username": "quiz_bot"},
        "chat": _chat(quiz),
        "date": 1_700_000_000,
        "text": quiz.question.prompt,
    }
    data = AnswerTap(quiz.id, place).pack()
    tap = {"id": f"{number:019}", "from": _user(quiz), "message": message, "chat_instance": "1", "data": data}
    return _make_request(path, {"update_id": number, "callback_query": tap})


def make_command(path: str, number: int, quiz: Quiz, command: str) -> bytes:
    """Return the request by which Telegram delivers a command."""
    text = f"/{command}"
    message = {
        "message_id": number,
        "from": _user(quiz),
        "chat": _chat(quiz),
        "date": 1_700_000_000,
        "text": text,
        "entities": [{"offset": 0, "length": len(text), "type": "bot_command"}],
    }
    return _make_request(path, {"update_id": number, "message": message})


def _make_request(path: str, update: Figures) -> bytes:
    return format_request(path, json.dumps(update).encode(), {SECRET_HEADER: SECRET})


def _user(quiz: Quiz) -> Figures:
    return {"id": quiz.learner_id, "is_bot": False, "first_name": "Learner", "language_code": "en"}


def _chat(quiz: Quiz) -> Figures:
    return {"id": quiz.learner_id, "first_name": "Learner", "type": "private"}


async def measure(size: Size, say: Say) -> Figures:
    """Load the endpoints in turn."""
    with open_ground() as stack:
        say("starting PostgreSQL, Valkey, the simulator and the bot role")
        targets = await _start(stack, size, say)
        results = [await _at_concurrency(stack, targets, concurrency, size, say) for concurrency in size.concurrencies]
        return {
            "rounds": size.rounds,
            "seconds_a_round": size.seconds,
            "durable": await _check_rows(stack, targets),
            "at": results,
        }


async def _start(stack: ServerStack, size: Size, say: Say) -> list[Target]:
    stack.start_storage()
    simulator = stack.start_telegram()
    async with preparing(stack) as runtime:
        learner_ids = await register(simulator, runtime, size.learners)
        quizzes = await give_questions(runtime, learner_ids, say)
    await bare.make_table(stack.environment["DATABASE_URL"])
    bot, port = stack.start_bot(), servers.free_port()
    other = stack.start_python("bare", "-m", "dev.benchmarks.bare", str(port), port=port)
    return [
        Target("webhook", bot.port, bot.pid, Updates(quizzes, PATH).next_request),
        Target("bare", port, other.pid, Updates(quizzes, bare.INSERT_PATH).next_request),
        Target("nothing", port, other.pid, Updates(quizzes, bare.NOTHING_PATH).next_request),
    ]


async def _at_concurrency(stack: ServerStack, targets: list[Target], concurrency: int, size: Size, say: Say) -> Figures:
    for target in targets:
        target.rounds.clear()
        target.server_cpu.clear()
        target.postgres_cpu.clear()
        await _one_round(stack, target, concurrency, size.seconds / 3, keep=False)  # connections and caches get warm
    for number in range(size.rounds):
        for target in targets if number % 2 == 0 else reversed(targets):
            await _one_round(stack, target, concurrency, size.seconds, keep=True)
        speeds = ", ".join(f"{target.name} {target.rounds[-1].per_second:.0f}/s" for target in targets)
        say(f"{concurrency} at once, round {number + 1} of {size.rounds}: {speeds}")
    return _summary(concurrency, targets)


async def _one_round(stack: ServerStack, target: Target, concurrency: int, seconds: float, *, keep: bool) -> None:
    server, postgres = cpu_seconds(target.pid), cpu_seconds(stack.postgres_pid)
    async with await Generator.connect(target.port, concurrency, target.next_request) as generator:
        result = await generator.run(seconds)
    target.answered += len(result.latencies) - result.failed
    if keep:
        answers = len(result.latencies)
        target.rounds.append(result)
        target.server_cpu.append(1000 * (cpu_seconds(target.pid) - server) / answers)
        target.postgres_cpu.append(1000 * (cpu_seconds(stack.postgres_pid) - postgres) / answers)


def _summary(concurrency: int, targets: list[Target]) -> Figures:
    figures: Figures = {"concurrency": concurrency}
    for target in targets:
        figures[target.name] = {
            "per_second": spread([one.per_second for one in target.rounds], 0),
            "latency": latency_figures([seconds for one in target.rounds for seconds in one.latencies]),
            "failed": sum(one.failed for one in target.rounds),
            "server_cpu_ms": spread(target.server_cpu),
            "postgres_cpu_ms": spread(target.postgres_cpu),
            "generator_share_of_a_core": spread([one.generator_share for one in target.rounds]),
        }
    webhook, other, _ = targets
    pairs = zip(webhook.rounds, other.rounds, strict=True)
    figures["ratio"] = spread([ours.per_second / bare_one.per_second for ours, bare_one in pairs])
    return figures


async def _check_rows(stack: ServerStack, targets: list[Target]) -> Figures:
    """Compare what was answered 200 with the rows that are there, and say whether commits wait for the disk."""
    connection = await asyncpg.connect(stack.environment["DATABASE_URL"])
    figures: Figures = {
        "fsync": await connection.fetchval("SHOW fsync"),
        "synchronous_commit": await connection.fetchval("SHOW synchronous_commit"),
        "webhook_answered": targets[0].answered,
        "webhook_rows": await connection.fetchval("SELECT count(*) FROM updates"),
        "bare_answered": targets[1].answered,
        "bare_rows": await connection.fetchval(f"SELECT count(*) FROM {bare.TABLE}"),
    }
    await connection.close()
    return figures


def present(figures: Figures) -> Section:
    """Show the figures."""
    durable = figures["durable"]
    return Section(
        title="Webhook: updates a second",
        about=(
            f"`POST {PATH}` of the bot role (`python main.py bot`, one process), beside a bare FastAPI endpoint that "
            "makes one durable insert with asyncpg into a table like it (same columns, checks and indexes), and one "
            "that reads the body and does nothing. All under uvicorn with uvloop and httptools, on the same "
            f"PostgreSQL, in the same run: {figures['rounds']} rounds of {figures['seconds_a_round']:g} s each in "
            "turn, every second turn in reverse order. The updates are distinct: eight taps on open quizzes to two "
            "commands."
        ),
        tables=[_speeds(figures), _costs(figures)],
        notes=[
            (
                "What one update does more than the bare insert: the secret is compared in constant time; the body is "
                "validated strictly and everything personal but the user id stripped; a redelivery is recognised "
                "(`ON CONFLICT`); in the same statement the tapped quiz is looked up, so that the answer's body can "
                "acknowledge the tap with the right words (`answerCallbackQuery`); counters are kept; and the workers "
                "are woken, by one NOTIFY for whatever has come in the meantime."
            ),
            (
                f"Durable: `fsync = {durable['fsync']}`, `synchronous_commit = {durable['synchronous_commit']}`. "
                f"Answered with 200 and found as rows afterwards: webhook {plain(durable['webhook_answered'])} and "
                f"{plain(durable['webhook_rows'])}, bare {plain(durable['bare_answered'])} and "
                f"{plain(durable['bare_rows'])}."
            ),
            (
                "The generator is not the bottleneck as long as its share of a core stays well under 1 and the "
                "endpoint that does nothing is answered much faster than the others."
            ),
        ],
        limits=[
            "No worker drains the updates meanwhile, and the network to Telegram, TLS and a reverse proxy are absent.",
            (
                "The generator, the server and PostgreSQL share the machine's cores, so the absolute figures are lower "
                "than on a machine of their own; the ratio is what carries over."
            ),
        ],
    )


def _speeds(figures: Figures) -> Table:
    rows = []
    for at in figures["at"]:
        for name in ("webhook", "bare", "nothing"):
            one = at[name]
            speed, latency = one["per_second"], one["latency"]
            ratio = at["ratio"] if name == "webhook" else None
            rows.append(
                [
                    str(at["concurrency"]),
                    name,
                    f"{plain(speed['median'])} ({plain(speed['least'])}–{plain(speed['greatest'])})",
                    *(f"{latency[share]:.1f}" for share in list(SHARES)[:3]),
                    f"**{ratio['median']:.2f}** ({ratio['least']:.2f}–{ratio['greatest']:.2f})" if ratio else "",
                    str(one["failed"]),
                ]
            )
    columns = ["at once", "endpoint", "a second", "p50 ms", "p95 ms", "p99 ms", "webhook / bare", "failed"]
    return Table("Requests a second: median of the rounds (least–greatest); latencies over all rounds", columns, rows)


def _costs(figures: Figures) -> Table:
    rows = [
        [
            str(at["concurrency"]),
            name,
            *(f"{at[name][cost]['median']:.2f}" for cost in ("server_cpu_ms", "postgres_cpu_ms")),
            f"{at[name]['generator_share_of_a_core']['median']:.2f}",
        ]
        for at in figures["at"]
        for name in ("webhook", "bare", "nothing")
    ]
    columns = ["at once", "endpoint", "server CPU ms", "PostgreSQL CPU ms", "generator, share of a core"]
    return Table("CPU for one request: median of the rounds", columns, rows)
