"""The dependencies of the use cases."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from domain.announcements import Recipient
from domain.catalog import Priority
from domain.ids import BotId, LearnerId
from domain.models import Grade, Quiz, StaleMessage
from domain.settings import Settings
from quiz_generator import QuestionGenerator
from repository import Repository


class Messenger(Protocol):
    """What puts quizzes and feedback into a learner's chat."""

    def refused(self) -> Mapping[BotId, str]:
        """Return the bots that Telegram is known to refuse as a whole, with its words: nothing can be sent there."""

    async def send_question(self, quiz: Quiz, priority: Priority) -> int:
        """Send a question and return its message's id.

        Raises:
            BotRefusedError: Telegram refuses the learner's bot.
            LearnerUnreachableError: the learner blocked the bot or is gone.
            RateLimitedError: the chat takes no message for a while.
            TelegramUnavailableError: no answer came.
            TelegramError: Telegram refused it for good.
        """

    async def send_announcement(self, recipient: Recipient, text: str) -> None:
        """Send an announcement at a broadcast's pace.

        Args:
            text: Telegram's HTML.

        Raises:
            BotRefusedError: Telegram refuses the learner's bot; nothing was sent.
            UnknownBotError: the service has no token for it; nothing was sent.
            LearnerUnreachableError: the learner blocked the bot or is gone.
            RateLimitedError: the chat takes no message for a while; nothing was sent.
            TelegramUnavailableError: no answer came, so it may or may not have been sent.
            TelegramError: Telegram refused it for good.
        """

    async def close_message(self, message: StaleMessage) -> None:
        """Take a question's buttons away, and say why.

        Raises:
            LearnerUnreachableError: the learner blocked the bot or is gone.
            MessageGoneError: there is no such message any more.
            RateLimitedError: the chat takes no edit for a while.
            TelegramUnavailableError: no answer came.
            TelegramError: Telegram refused it for good.
        """

    async def send_feedback(self, quiz: Quiz, grade: Grade) -> None:
        """Show what was right, why, and what the answer changed.

        Raises:
            LearnerUnreachableError: the learner blocked the bot or is gone.
            MessageGoneError: there is no message to show it in.
            TelegramUnavailableError: no answer came.
            TelegramError: Telegram refused it for good.
        """


@dataclass(frozen=True, slots=True)
class QuizContext:
    """Everything that the use cases depend on, clock and randomness included."""

    settings: Settings
    repository: Repository
    generator: QuestionGenerator
    messenger: Messenger
    forget_runs: Callable[[LearnerId], Awaitable[None]] | None = None
    """Deletes the run records that are named after a learner; None without Prefect."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    rng: random.Random = field(default_factory=random.SystemRandom)

    def accepted_bots(self) -> list[BotId] | None:
        """Return the bots that Telegram accepts, so that what waits for others delays nothing.

        Returns:
            None where the settings name no bot.
        """
        if not self.settings.bots:
            return None
        refused = self.messenger.refused()
        return [bot_id for bot_id in self.settings.bots if bot_id not in refused]
