"""Learners for a benchmark: in the simulator, in the database, and with a question in their chats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import httpx

from benchmarks.ground import BOT_ID, TOKEN, Ground, Say, Simulator
from domain.catalog import QuizKind
from domain.ids import BotId, LearnerId
from domain.models import Outcome, Quiz
from quiz_generator import sync_bank
from quiz_session import serve_quizzes
from services import Wiring, open_services

AT_ONCE = 200
SHOWN_EVERY = 1000
UNPACED = 1000.0
"""Messages a second while learners are prepared, which is not measured."""

FAST = {"TELEGRAM_RATE_PER_SECOND": str(UNPACED)}
"""The same for the roles: more than the machine can, so that the limiter is asked and never waited for."""

SENT = "SELECT count(*) FROM quizzes WHERE message_id IS NOT NULL"
"""How many questions have reached a chat."""


@asynccontextmanager
async def preparing(ground: Ground) -> AsyncIterator[Wiring]:
    """Yield open services on a database with schema and question bank, which send as fast as they can.

    Args:
        ground: with PostgreSQL, Valkey and the simulator started.
    """
    async with open_services(ground.settings(telegram_rate_per_second=UNPACED)) as wiring:
        await wiring.repository.database.prepare_schema()
        await sync_bank(wiring.repository, wiring.settings.question_bank_dir)
        yield wiring


async def register(simulator: Simulator, wiring: Wiring, count: int) -> list[LearnerId]:
    """Make learners who have started the bot, and return their ids.

    Args:
        simulator: where their chats are.
        wiring: open services.
        count: how many.
    """
    async with httpx.AsyncClient(base_url=simulator.url, timeout=60) as client:
        (await client.get(f"/bot{TOKEN}/getMe")).raise_for_status()  # from its first call on, the simulator knows a bot
        reply = await client.post("/api/crowd", json={"count": count, "text": "", "probability": 0})
        reply.raise_for_status()
    learner_ids = [LearnerId(learner_id) for learner_id in reply.json()["learners"]]
    for some in in_parts(learner_ids):
        await asyncio.gather(*(wiring.repository.add_learner(one, BotId(BOT_ID), wiring.settings) for one in some))
    return learner_ids


async def give_questions(wiring: Wiring, learner_ids: Sequence[LearnerId], say: Say) -> list[Quiz]:
    """Put a question into each learner's chat, and return the quizzes that wait for an answer.

    Args:
        wiring: open services.
        learner_ids: registered learners without an open quiz.
        say: shows progress.
    """
    quizzes: list[Quiz] = []
    for some in in_parts(learner_ids):
        deliveries = await serve_quizzes(wiring.services, some, QuizKind.ON_DEMAND)
        sent = [one.quiz_id for one in deliveries if one.outcome is Outcome.SENT and one.quiz_id is not None]
        if len(sent) != len(some):
            msg = f"only {len(sent)} of {len(some)} questions could be sent"
            raise RuntimeError(msg)
        quizzes += await wiring.repository.get_quizzes(sent)
        if len(quizzes) % SHOWN_EVERY == 0 or len(quizzes) == len(learner_ids):
            say(f"{len(quizzes)} of {len(learner_ids)} learners have a question")
    return quizzes


def in_parts(learner_ids: Sequence[LearnerId]) -> Iterator[Sequence[LearnerId]]:
    """Yield parts of a list that are small enough to be handled at once.

    Args:
        learner_ids: the whole list.
    """
    for start in range(0, len(learner_ids), AT_ONCE):
        yield learner_ids[start : start + AT_ONCE]
