"""The rows of quizzes while they are sent: begun a few in one statement, and noted as sent together.

Theory of operation. A row says `sending` from before its message is handed to Telegram until after it is noted as sent.
A process that dies in between leaves it so, and after `STALLED_AFTER` another sends it. A message that Telegram has
taken comes twice then, since nothing tells whether it did; one never handed over comes once, a minute late. So:

- A quiz is begun before it is handed over, by one process: what is not begun is handed over by nobody.
- A sender takes its next quiz only when its last one is noted. However many are begun or noted in one statement, the
  messages in doubt are at most one for each sender.
- Quizzes are begun at most `BEGUN_AT_ONCE` in advance. They are in no doubt: a crash delays them by a minute, and an
  error or a cancellation gives them back at once.
- One that was begun `LEASE_SECONDS` ago, since Telegram makes the bot wait, may look stalled to others soon. It is
  begun again before it is taken, which succeeds only if nobody else has begun it meanwhile.
- What was sent while a statement ran is noted by the next one (group commit). Nothing waits for more to come: at
  Telegram's rate a message is noted as soon as with a statement of its own.
- Notes whose statement fails or is cancelled are repeated by the next sender, and in the end by `close`. Quizzes whose
  beginning fails or is cancelled may be begun or not: they wait until they look stalled.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

from domain.catalog import QuizState
from domain.errors import BotRefusedError, StorageUnavailableError
from domain.models import Quiz, SentQuestion
from observability.tracing import current_traceparent
from quizzes.context import QuizContext

BEGUN_AT_ONCE = 16
"""Quizzes begun in one statement: what is sent within half a second at Telegram's rate."""

LEASE_SECONDS = 20.0
"""A quiz that was begun longer ago is begun again before it is sent. It must be noted as sent within `STALLED_AFTER`,
of which a statement may take half."""


class SendingRows:
    """Quizzes that are to be sent, shared by several senders."""

    def __init__(
        self,
        context: QuizContext,
        quizzes: Sequence[Quiz],
        *,
        again: bool = False,
        stalled_for: timedelta | None = None,
    ) -> None:
        """Take the quizzes; the rest is as in `Repository.begin_sending`."""
        self.left_alone: list[Quiz] = []
        """Those that are not to be sent: answered, taken by others, or of a bot that is paused."""
        self.held: dict[str, list[Quiz]] = {}
        """Those that were not begun, since Telegram refuses their bot, by what it says."""
        self._repository = context.repository
        self._refused_bots = context.messenger.refused
        self._waiting = deque(quizzes)
        self._again = again
        self._stalled_for = stalled_for
        self._begun: deque[Quiz] = deque()
        self._begun_at = 0.0
        self._beginning, self._noting = asyncio.Lock(), asyncio.Lock()
        self._sent: list[SentQuestion] = []
        """Those that are not noted yet."""

    async def take(self) -> Quiz | None:
        """Return a quiz that the caller is to send, or None when there are no more.

        Raises:
            StorageUnavailableError: the database is unavailable.
        """
        async with self._beginning:
            if self._begun and time.monotonic() - self._begun_at > LEASE_SECONDS:
                begun, self._begun = self._begun, deque()
                await self._begin(begun, stalled_for=timedelta(seconds=LEASE_SECONDS))
            while self._waiting and not self._begun:
                if chunk := self._next_chunk():
                    await self._begin(chunk, again=self._again, stalled_for=self._stalled_for)
            return self._begun.popleft() if self._begun else None

    def _next_chunk(self) -> list[Quiz]:
        refused = self._refused_bots()
        chunk: list[Quiz] = []
        while self._waiting and len(chunk) < BEGUN_AT_ONCE:
            quiz = self._waiting.popleft()
            if words := refused.get(quiz.bot_id):
                self.held.setdefault(str(BotRefusedError(quiz.bot_id, words)), []).append(quiz)
            else:
                chunk.append(quiz)
        return chunk

    async def _begin(self, quizzes: Sequence[Quiz], *, again: bool = False, stalled_for: timedelta | None) -> None:
        quiz_ids = [quiz.id for quiz in quizzes]
        begun = await self._repository.begin_sending(quiz_ids, again=again, stalled_for=stalled_for)
        self._begun_at = time.monotonic()
        for quiz in quizzes:
            (self._begun if quiz.id in begun else self.left_alone).append(quiz)

    async def mark_sent(self, quiz: Quiz, message_id: int) -> None:
        """Return once a quiz is noted as sent.

        Raises:
            StorageUnavailableError: the database is unavailable.
        """
        sent = SentQuestion(quiz.id, message_id, quiz.bot_id, current_traceparent())
        self._sent.append(sent)
        async with self._noting:
            if sent in self._sent:  # the statement that ran meanwhile began without it
                await self._note()

    async def _note(self) -> None:
        await asyncio.sleep(0)  # for those whose answers have come at the same moment
        sent = self._sent[:]
        await self._repository.mark_sent(sent)
        del self._sent[: len(sent)]

    async def close(self) -> None:
        """Note what was sent all the same, and give back what nobody took, if the database is there."""
        begun, self._begun = [quiz.id for quiz in self._begun], deque()
        with contextlib.suppress(StorageUnavailableError):
            if self._sent:
                await self._note()
            if begun and time.monotonic() - self._begun_at < LEASE_SECONDS:
                await self._repository.return_quizzes(begun, None, QuizState.SENDING)
