"""The webhook at Telegram: its address, its secret, and the command that sets, deletes or shows it."""

from __future__ import annotations

import hashlib
import hmac

from telegram import Bot, WebhookInfo
from telegram.error import TelegramError as LibraryError

from bot.updates import ALLOWED_UPDATES
from domain.errors import StartupError
from domain.ids import BotId
from domain.settings import Settings
from observability.logs import redact
from wiring import make_bots

PATH = "/telegram/webhook"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name


def webhook_secret(settings: Settings, bot_id: BotId) -> str:
    """Return the secret that Telegram shows with each update of a bot.

    Args:
        settings: with the secret, or a token to derive one from, so that all replicas agree on it.
    """
    if settings.telegram_webhook_secret:
        return settings.telegram_webhook_secret.get_secret_value()
    return hmac.new(settings.bots[bot_id].get_secret_value().encode(), b"webhook secret", hashlib.sha256).hexdigest()


def webhook_path(settings: Settings, bot_id: BotId) -> str:
    """Return where Telegram delivers a bot's updates; of several bots, each has a path of its own."""
    return f"{PATH}/{bot_id}" if len(settings.bots) > 1 else PATH


async def set_webhook(bot: Bot, settings: Settings, bot_id: BotId) -> None:
    """Ask Telegram to deliver a bot's updates to this service."""
    await bot.set_webhook(
        f"{settings.webhook_url}{webhook_path(settings, bot_id)}",
        allowed_updates=list(ALLOWED_UPDATES),
        secret_token=webhook_secret(settings, bot_id),
        max_connections=100,
    )


async def manage_webhook(settings: Settings, action: str) -> int:
    """Set, delete or show the webhook of each bot at Telegram, and print the result.

    Args:
        action: ``set``, ``delete`` or ``info``.

    Returns:
        The exit status.

    Raises:
        StartupError: something is missing, or Telegram refused.
    """
    if action == "set" and not settings.webhook_url:
        raise StartupError("WEBHOOK_URL is not set: the public https address that Telegram is to call")
    for bot_id, made in make_bots(settings).items():
        try:
            async with made as bot:
                if action == "set":
                    await set_webhook(bot, settings, bot_id)
                elif action == "delete":
                    await bot.delete_webhook()
                info = await bot.get_webhook_info()
        except LibraryError as error:
            raise StartupError(f"Telegram refused: {redact(error.message)}") from None
        _print_webhook(f"bot {bot_id}: " if len(settings.bots) > 1 else "", info)
    return 0


def _print_webhook(whose: str, info: WebhookInfo) -> None:
    print(f"{whose}webhook: {info.url or 'none'}; updates that wait: {info.pending_update_count}")  # noqa: T201
    if info.last_error_message:
        print(f"{whose}last error: {info.last_error_message} ({info.last_error_date:%Y-%m-%d %H:%M:%S %Z})")  # noqa: T201
