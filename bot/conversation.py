"""One learner's update, and the replies to it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from telegram import InlineKeyboardMarkup

from bot import keyboards, texts
from bot.accounts import Account, Accounts
from domain.errors import MessageGoneError
from domain.ids import BotId, LearnerId
from domain.updates import ClaimedUpdate
from quizzes.context import QuizContext


@dataclass(frozen=True, slots=True)
class Conversation:
    """One learner's update, answered by the bot that received it."""

    context: QuizContext
    accounts: Accounts
    update: ClaimedUpdate

    @property
    def learner_id(self) -> LearnerId:
        """Return who wrote or tapped."""
        return self.update.learner_id

    @property
    def account(self) -> Account:
        """Return the bot that received it.

        Raises:
            UnknownBotError: the service has no token for it any more.
        """
        return self.accounts.of(self.update.bot_id)

    async def reply(self, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
        """Send a message in Telegram's HTML."""
        await self.account.gateway.send(self.learner_id, text, keyboard)

    async def edit_or_reply(self, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
        """Change the message whose button was tapped, or send a new one if it is gone; in Telegram's HTML."""
        if self.update.message_id is not None:
            try:
                await self.account.gateway.edit(self.learner_id, self.update.message_id, text, keyboard)
            except MessageGoneError:
                pass
            else:
                return
        await self.reply(text, keyboard)

    async def change_keyboard(self, keyboard: InlineKeyboardMarkup) -> None:
        """Change the buttons under the message that was tapped, and nothing else; a message that is gone has none."""
        if self.update.message_id is not None:
            with contextlib.suppress(MessageGoneError):
                await self.account.gateway.edit_keyboard(self.learner_id, self.update.message_id, keyboard)

    async def redirect_to_home_bot(self, home: BotId) -> None:
        """Say which bot the learner belongs to, and offer to change that.

        Raises:
            UnknownBotError: the service has no token for that bot.
        """
        name = await self.accounts.of(home).gateway.name()
        await self.reply(texts.elsewhere_text(name), keyboards.move_keyboard())

    async def move_here(self) -> None:
        """Let the learner's questions come through the bot that received this."""
        moved = await self.context.repository.move_learner(self.learner_id, self.update.bot_id)
        if moved is None:
            await self.reply(texts.NOT_REGISTERED)
        else:
            await self.edit_or_reply(texts.MOVED_TEXT, keyboards.next_keyboard())
