"""Learners for a benchmark: in the simulator, in the database, and with a question in their chats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import httpx

from dev.stack import BOT_ID, TOKEN, Say, ServerStack
from domain.catalog import QuizKind
from domain.ids import BotId, LearnerId
from domain.models import Outcome, Quiz
from local.supervisor import Program
from question_sources.bank_sync import sync_bank
from quizzes.delivery import serve_quizzes
from wiring import Runtime, open_runtime

AT_ONCE = 200
SHOWN_EVERY = 1000
UNPACED = 1000.0
"""Messages a second while learners are prepared, which is not measured."""

FAST = {"TELEGRAM_RATE_PER_SECOND": str(UNPACED)}
"""The same for the roles: more than the machine can, so that the limiter is asked and never waited for."""

SENT = "SELECT count(*) FROM quizzes WHERE message_id IS NOT NULL"
"""How many questions have reached a chat."""


@asynccontextmanager
async def preparing(stack: ServerStack) -> AsyncIterator[Runtime]:
    """Yield open services on a database with schema and question bank, which send as fast as they can."""
    async with open_runtime(stack.settings(telegram_rate_per_second=UNPACED)) as runtime:
        await runtime.repository.database.prepare_schema()
        await sync_bank(runtime.repository, runtime.settings.question_bank_dir)
        yield runtime


async def make_learners(simulator: Program, count: int) -> list[LearnerId]:
    """Make learners with an open chat of whom the service knows nothing, and return their ids."""
    async with httpx.AsyncClient(base_url=simulator.url, timeout=60) as client:
        (await client.get(f"/bot{TOKEN}/getMe")).raise_for_status()  # from its first call on, the simulator knows a bot
        reply = await client.post("/api/crowd", json={"count": count, "text": "", "probability": 0})
        reply.raise_for_status()
    return [LearnerId(learner_id) for learner_id in reply.json()["learners"]]


async def register(simulator: Program, runtime: Runtime, count: int) -> list[LearnerId]:
    """Make learners who have started the bot, and return their ids."""
    learner_ids = await make_learners(simulator, count)
    for some in in_parts(learner_ids):
        await asyncio.gather(*(runtime.repository.add_learner(one, BotId(BOT_ID), runtime.settings) for one in some))
    return learner_ids


async def give_questions(runtime: Runtime, learner_ids: Sequence[LearnerId], say: Say) -> list[Quiz]:
    """Put a question into each learner's chat, and return the quizzes that wait for an answer.

    Args:
        learner_ids: registered learners without an open quiz.
    """
    quizzes: list[Quiz] = []
    for some in in_parts(learner_ids):
        deliveries = await serve_quizzes(runtime.context, some, QuizKind.ON_DEMAND)
        sent = [one.quiz_id for one in deliveries if one.outcome is Outcome.SENT and one.quiz_id is not None]
        if len(sent) != len(some):
            raise RuntimeError(f"only {len(sent)} of {len(some)} questions could be sent")
        quizzes += await runtime.repository.get_quizzes(sent)
        if len(quizzes) % SHOWN_EVERY == 0 or len(quizzes) == len(learner_ids):
            say(f"{len(quizzes)} of {len(learner_ids)} learners have a question")
    return quizzes


def in_parts(learner_ids: Sequence[LearnerId]) -> Iterator[Sequence[LearnerId]]:
    """Yield parts of a list that are small enough to be handled at once."""
    for start in range(0, len(learner_ids), AT_ONCE):
        yield learner_ids[start : start + AT_ONCE]
