"""The bots that the service speaks through: each with its own access to Telegram, pace and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bot.gateway import TelegramGateway
from bot.picture_cache import PictureCache
from domain.errors import UnknownBotError
from domain.ids import BotId, LearnerId


@dataclass(frozen=True, slots=True)
class Account:
    """One bot."""

    id: BotId
    gateway: TelegramGateway
    pictures: PictureCache


class Accounts:
    """All bots of the service by their ids."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        """Take the bots.

        Args:
            accounts: at least one, each with an id of its own.
        """
        self._by_id = {account.id: account for account in accounts}

    def __iter__(self) -> Iterator[Account]:
        """Yield each bot, in the order of the settings."""
        return iter(self._by_id.values())

    def __contains__(self, bot_id: BotId | None) -> bool:
        """Return whether a bot is one of the service's.

        Args:
            bot_id: which.
        """
        return bot_id in self._by_id

    @property
    def first(self) -> Account:
        """Return the bot that the settings name first."""
        return next(iter(self))

    def of(self, bot_id: BotId) -> Account:
        """Return a bot.

        Args:
            bot_id: which.

        Raises:
            UnknownBotError: the service has no token for it.
        """
        try:
            return self._by_id[bot_id]
        except KeyError:
            raise UnknownBotError(bot_id) from None

    async def forget_pictures(self, learner_id: LearnerId) -> None:
        """Forget the pictures of a learner, whichever bot sent them.

        Args:
            learner_id: whose.
        """
        for account in self:
            await account.pictures.forget(learner_id)
