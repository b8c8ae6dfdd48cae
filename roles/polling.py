"""How a bot makes itself known to Telegram, and long polling: for a bot without a public address."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from telegram.error import Conflict, RetryAfter
from telegram.error import TelegramError as LibraryError

from bot.accounts import Account
from bot.client import seconds_to_wait
from bot.updates import ALLOWED_UPDATES, GroupUpdate, find_group, parse_update
from domain.addresses import is_loopback
from domain.errors import NotAnUpdateError, PollingError, StorageUnavailableError
from domain.ids import MAX_ID
from domain.settings import Settings, TelegramMode
from domain.updates import Incoming
from observability import metrics
from observability.background import keep_trying, run_forever
from observability.logs import one_line

logger = logging.getLogger(__name__)

POLL_SECONDS = 25
"""For which Telegram holds a request while there is nothing new."""

IDLE_SECONDS = 1.0
"""Between two requests if an answer moved nothing on and came at once."""

CONFLICT_SECONDS = 15.0
"""Until the next request when another process polls: each request takes the updates away from the other."""

COMMANDS_SECONDS = 300.0
"""At most between two attempts to publish the commands, which learners can do without."""

MAX_LINE_LENGTH = 200

Receive = Callable[[Incoming], Awaitable[str | None]]
"""Stores an update and returns what its sender reads at once if it is a tap, or raises StorageUnavailableError."""

Greet = Callable[[GroupUpdate], None]
"""Begins to say in a group, once, where the bot works."""


class Poller:
    """Asks Telegram for a bot's updates. Each is stored before the next request confirms it."""

    def __init__(self, account: Account, receive: Receive, greet: Greet) -> None:
        self.bot_id = account.id
        self.problem = "Telegram has not been asked for updates yet"
        self._gateway = account.gateway
        self._bot = account.gateway.bot
        self._receive = receive
        self._greet = greet
        self._offset: int | None = None

    @property
    def problem(self) -> str | None:
        """Return why no updates come, in one line; None while they do."""
        return self._problem

    @problem.setter
    def problem(self, problem: str | None) -> None:
        self._problem = problem
        metrics.POLLING_FAILS.labels(str(self.bot_id)).set(1 if problem else 0)

    async def poll(self) -> None:
        """Ask once, and take what comes.

        Raises:
            PollingError: Telegram gave no updates.
            StorageUnavailableError: an update could not be stored; it and those after it will be asked for again.
        """
        loop = asyncio.get_running_loop()
        asked_at, offset = loop.time(), self._offset
        try:
            updates = await self._fetch()
        except RetryAfter as error:
            seconds = seconds_to_wait(error)
            await self._wait(seconds, f"Telegram asks to wait {seconds:g} s before the next getUpdates")
            return
        except Conflict as error:
            await self._wait(CONFLICT_SECONDS, await self._explain(error))
            return
        except Exception as error:  # noqa: BLE001 - told by its name, since its words and cause may be a learner's
            self.problem = f"getUpdates fails: {_line(error)}"
            raise PollingError(_line(error)) from None
        if self.problem:
            logger.info("bot %d: polling Telegram for updates", self.bot_id)
            self.problem = None
        for update in updates:
            await self._take(update)
        if self._offset == offset and loop.time() - asked_at < IDLE_SECONDS:
            await asyncio.sleep(IDLE_SECONDS)

    async def _fetch(self) -> list[Any]:
        """Return updates as Telegram sent them: the library reads all of them or, if it cannot read one, none.

        While there is a problem, Telegram answers at once, so that its end shows.
        """
        data = {
            "offset": self._offset,
            "timeout": 0 if self.problem else POLL_SECONDS,
            "allowed_updates": list(ALLOWED_UPDATES),
        }
        updates = await self._bot._post("getUpdates", data)  # noqa: SLF001 - nothing public returns them as they are
        if not isinstance(updates, list):
            raise PollingError("what came is no list of updates")
        return updates

    async def _take(self, received: object) -> None:
        """Store an update; one that cannot be read or stored by itself must not hold up those after it."""
        update, text = None, None
        update_id = received.get("update_id") if isinstance(received, dict) else None
        if type(update_id) is not int or not 0 <= update_id < MAX_ID:
            update_id = None
        try:
            body = json.dumps(received)
            if update := parse_update(body):
                text = await self._receive(update)
            elif group := find_group(body):
                self._greet(group)
        except StorageUnavailableError:
            raise
        except NotAnUpdateError as error:
            metrics.UPDATES_REFUSED.labels("form").inc()
            logger.warning("bot %d: update %s is skipped: %s", self.bot_id, update_id, error)
        except Exception as error:  # noqa: BLE001 - its words may be a learner's
            metrics.UPDATES_REFUSED.labels("form").inc()
            logger.error("bot %d: update %s is skipped: %s", self.bot_id, update_id, type(error).__name__)  # noqa: TRY400
        else:
            await self._acknowledge(update, text)
        if update_id is not None:
            self._offset = max(self._offset or 0, update_id + 1)

    async def _acknowledge(self, update: Incoming | None, text: str | None) -> None:
        if update is None or update.callback_id is None:
            return
        try:
            await self._gateway.acknowledge(update.callback_id, text)
        except Exception as error:  # noqa: BLE001 - the update is stored, and will be worked off
            logger.warning("the tap in update %d was not acknowledged: %s", update.update_id, type(error).__name__)

    async def _explain(self, conflict: Conflict) -> str:
        try:
            url = (await self._bot.get_webhook_info()).url
        except LibraryError:
            return f"getUpdates fails: {_line(conflict)}"
        if url:
            host = urlsplit(url).hostname  # the path may be a secret
            return f"a webhook is set ({host}): run `python main.py webhook delete` to poll, or set WEBHOOK_URL"
        return "another process polls with the same token: stop one of the two"

    async def _wait(self, seconds: float, problem: str) -> None:
        if problem != self.problem:
            logger.warning("bot %d gets no updates: %s", self.bot_id, problem)
        self.problem = problem
        await asyncio.sleep(seconds)


async def receive_updates(
    settings: Settings, account: Account, poller: Poller | None, set_webhook: Callable[[], Awaitable[None]]
) -> None:
    """Tell Telegram the commands and how updates come in, and poll if they come by polling, until cancelled.

    With Telegram itself, only `main.py webhook set` sets the webhook: replicas would overwrite each other's.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_trying("commands menu", account.gateway.publish_commands, max_pause=COMMANDS_SECONDS))
        if poller:
            group.create_task(run_forever("polling", poller.poll))
        elif _is_local(settings):
            group.create_task(keep_trying("local webhook", set_webhook))


def make_poller(settings: Settings, account: Account, receive: Receive, greet: Greet) -> Poller | None:
    """Return what polls for a bot, or None if its updates come by webhook."""
    return Poller(account, receive, greet) if settings.mode is TelegramMode.POLLING else None


def _is_local(settings: Settings) -> bool:
    return is_loopback(settings.telegram_api_base_url) and is_loopback(settings.webhook_url or "")


def _line(error: Exception) -> str:
    """Return an error in one short line; of what is none of the library's, only its name is known to be harmless."""
    if not isinstance(error, LibraryError | PollingError):
        return type(error).__name__
    return one_line(error, MAX_LINE_LENGTH)
