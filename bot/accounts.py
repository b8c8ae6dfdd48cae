"""The bots that the service speaks through: each with its own access to Telegram, pace and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bot.client import TelegramGateway
from bot.picture_cache import PictureCache
from domain.errors import UnknownBotError
from domain.ids import BotId, LearnerId
from domain.readiness import BOT_REFUSED


@dataclass(frozen=True, slots=True)
class Account:
    """One bot."""

    id: BotId
    gateway: TelegramGateway
    pictures: PictureCache

    @property
    def refusal(self) -> str | None:
        """Return Telegram's words while this process finds that Telegram refuses the bot."""
        return self.gateway.breaker.refusal


class Accounts:
    """All bots of the service by their ids."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        """Take at least one bot, each with an id of its own."""
        self._by_id = {account.id: account for account in accounts}

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_id.values())

    def __contains__(self, bot_id: BotId | None) -> bool:
        return bot_id in self._by_id

    @property
    def first(self) -> Account:
        """Return the bot that the settings name first."""
        return next(iter(self))

    def of(self, bot_id: BotId) -> Account:
        """Return a bot.

        Raises:
            UnknownBotError: the service has no token for it.
        """
        try:
            return self._by_id[bot_id]
        except KeyError:
            raise UnknownBotError(bot_id) from None

    def refused(self) -> dict[BotId, str]:
        """Return the bots that this process finds refused, with Telegram's words."""
        return {account.id: words for account in self if (words := account.refusal)}

    async def describe_refused(self) -> list[str]:
        """Return a line for each bot that Telegram refuses, whichever process found out, with what to do."""
        refusals = {account.id: await account.gateway.breaker.find_refusal() for account in self}
        return [
            f"{BOT_REFUSED} {bot_id} ({words}): look it up at @BotFather and put its present token into "
            "TELEGRAM_BOT_TOKEN; its quizzes wait until Telegram accepts it again"
            for bot_id, words in refusals.items()
            if words
        ]

    async def forget_pictures(self, learner_id: LearnerId) -> None:
        """Forget the pictures of a learner, whichever bot sent them."""
        for account in self:
            await account.pictures.forget(learner_id)
