"""Updates on their way to a bot: kept until confirmed, in order, by webhook or by long polling."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

import aiohttp
import orjson

from simulator.clock import Clock
from simulator.errors import OTHER_GET_UPDATES, conflict
from simulator.events import Hub
from simulator.model import Bot, Update
from simulator.options import Options
from simulator.params import Json
from simulator.stats import Statistics
from simulator.store import Store

_MAX_DELAY: Final = 60.0
_FAST: Final = 1 / 50
_MAX_RETRY_AFTER: Final = 3600.0
_SECRET_HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name
_ACKNOWLEDGED: Final = range(200, 300)
_IDLE_SECONDS: Final = 3.0
"""A server may close an idle connection just as it is used again: rather open a new one."""

ReplyHandler = Callable[[Json], None]


class Keeper(Protocol):
    """What delivery needs of the simulator."""

    options: Options
    clock: Clock
    store: Store
    stats: Statistics
    hub: Hub
    http: aiohttp.ClientSession


def open_http(timeout: float) -> aiohttp.ClientSession:
    """Make the client for webhooks; `timeout` is for one delivery, in seconds."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),  # each webhook has its own limit
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=timeout),
    )


def retry_delay(failures: int, *, fast: bool = False) -> float:
    """Seconds until a delivery is tried again: at once after the first failure, then 2, 4, 8 up to 60."""
    if failures <= 1:
        return 0.0
    # The exponent is bounded: 2 ** 6 is past the longest delay already.
    delay = min(_MAX_DELAY, 2.0 ** min(failures - 1, 6))
    return delay * _FAST if fast else delay


class Outbox:
    """All updates of one bot that it has not confirmed yet, and those it has, for redelivery."""

    def __init__(self, bot: Bot, keeper: Keeper, on_reply: ReplyHandler) -> None:
        """Begin empty; `on_reply` executes a method call that a webhook answered with."""
        self._bot = bot
        self._keeper = keeper
        self._on_reply = on_reply
        self._sender: WebhookSender | None = None
        self._poll: asyncio.Future[None] | None = None
        self._replays: deque[Update] = deque()
        self.pending: dict[int, Update] = {}
        self.history: deque[Update] = deque(maxlen=keeper.options.record_limit)

    @property
    def is_polled(self) -> bool:
        """Whether a getUpdates waits right now."""
        return self._poll is not None and not self._poll.done()

    def push(self, kind: str, payload: Json, key: tuple[str, int]) -> Update | None:
        """Add an update, unless the bot did not ask for its kind."""
        allowed = self._bot.webhook.allowed
        if allowed is not None and kind not in allowed:
            return None
        options = self._keeper.options
        lifetime = options.callback_lifetime if kind == "callback_query" else options.message_lifetime
        self._bot.last_update_id += 1
        now = self._keeper.clock.now()
        update = Update(self._bot.last_update_id, kind, payload, key, now + lifetime, now)
        self._keeper.stats.counts["updates"] += 1
        self._keeper.store.put("bot", 0, self._bot.id, self._bot)
        self._keeper.store.put("update", self._bot.id, update.id, update)
        self.restore(update)
        return update

    def restore(self, update: Update) -> None:
        """Take up an update that has its number already."""
        self.pending[update.id] = update
        self.history.append(update)
        self._hand_over(update)

    def replay(self, times: int, rng: random.Random) -> int:
        """Deliver all past updates again, in random order and side by side; returns how many deliveries follow."""
        copies = [update for update in self.history for _ in range(times)]
        rng.shuffle(copies)
        for number, update in enumerate(copies):
            self._replay(update, number)
        self._wake()
        return len(copies)

    def replay_last(self, learner_id: int) -> int | None:
        """Deliver a learner's last update again, however old it is; returns its id, if there is one."""
        update = next((one for one in reversed(self.history) if one.key[1] == learner_id), None)
        if update is None:
            return None
        again = replace(update, expires=self._keeper.clock.now() + self._keeper.options.message_lifetime)
        self._replay(again, update.id)
        self._wake()
        return update.id

    def _replay(self, update: Update, number: int) -> None:
        copy = replace(update, key=("replay", number))
        if self._sender is not None:
            self._sender.add(copy)
        else:
            self._replays.append(copy)

    def forget(self, learner_id: int) -> None:
        """Forget all updates of a learner, delivered or not."""
        for update in [one for one in self.history if one.key[1] == learner_id]:
            self.history.remove(update)
            self.confirm(update.id)

    def confirm(self, update_id: int) -> None:
        """Forget an update that the bot has."""
        if self.pending.pop(update_id, None) is not None:
            self._keeper.store.delete("update", self._bot.id, update_id)

    def drop_all(self) -> None:
        """Forget all pending updates."""
        for update_id in list(self.pending):
            self.confirm(update_id)

    def connect(self) -> None:
        """Follow the bot's webhook settings, which have just changed."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        if self._bot.webhook.url:
            if self._poll is not None and self.is_polled:
                self._poll.set_exception(conflict("terminated by setWebhook request"))
            self._sender = WebhookSender(self._bot, self, self._keeper, self._on_reply)
            for update in self.pending.values():
                self._sender.add(update)

    def close(self) -> None:
        """Stop delivering."""
        if self._sender is not None:
            self._sender.close()
        self._wake()

    async def poll(self, offset: int, limit: int, seconds: float) -> list[Update]:
        """Answer `getUpdates`: confirm what is below the offset, wait for what is new.

        Raises:
            ApiError: 409, when another getUpdates or a setWebhook takes over meanwhile.
        """
        if self._poll is not None and self.is_polled:
            self._poll.set_exception(conflict(OTHER_GET_UPDATES))
        self._settle(offset)
        if seconds and not (self._keeper.hub.is_closed or self.pending or self._replays):
            self._poll = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._poll
        now = self._keeper.clock.now()
        for update in [one for one in self.pending.values() if one.expires < now]:
            self.confirm(update.id)
        replays = [self._replays.popleft() for _ in range(min(limit, len(self._replays)))]
        return [*replays, *list(self.pending.values())[: limit - len(replays)]]

    def _settle(self, offset: int) -> None:
        known = list(self.pending)
        gone = known[:offset] if offset < 0 else [update_id for update_id in known if update_id < offset]
        for update_id in gone:
            self.confirm(update_id)

    def _hand_over(self, update: Update) -> None:
        if self._sender is not None:
            self._sender.add(update)
        self._wake()

    def _wake(self) -> None:
        if self._poll is not None and self.is_polled:
            self._poll.set_result(None)


class WebhookSender:
    """Posts updates to a webhook: one at a time for each key, different keys in parallel."""

    def __init__(self, bot: Bot, outbox: Outbox, keeper: Keeper, on_reply: ReplyHandler) -> None:
        self._bot = bot
        self._outbox = outbox
        self._keeper = keeper
        self._on_reply = on_reply
        self._url = bot.webhook.url
        self._headers = {_SECRET_HEADER: bot.webhook.secret} if bot.webhook.secret else {}
        self._slots = asyncio.Semaphore(bot.webhook.max_connections)
        self._queues: dict[tuple[str, int], deque[Update]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, update: Update) -> None:
        """Queue an update behind those of its key."""
        queue = self._queues.get(update.key)
        if queue is not None:
            queue.append(update)
            return
        self._queues[update.key] = deque([update])
        task = asyncio.get_running_loop().create_task(self._drain(update.key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop; what is unconfirmed stays pending."""
        for task in self._tasks:
            task.cancel()
        self._queues.clear()

    async def _drain(self, key: tuple[str, int]) -> None:
        queue = self._queues[key]
        while queue:
            await self._deliver(queue[0])
            queue.popleft()
        del self._queues[key]

    async def _deliver(self, update: Update) -> None:
        """Send one update until the webhook takes it or it is too old."""
        body = orjson.dumps(update.body())
        failures = 0
        while True:
            # A replay is sent although it was confirmed before; a dropped update is not sent.
            if update.key[0] != "replay" and update.id not in self._outbox.pending:
                return
            retry_after = await self._attempt(body)
            if retry_after is None:
                break
            failures += 1
            delay = retry_after or retry_delay(failures, fast=self._keeper.options.fast_retries)
            if self._keeper.clock.now() + delay > update.expires:
                break
            await asyncio.sleep(delay)
        self._outbox.confirm(update.id)

    async def _attempt(self, body: bytes) -> float | None:
        """Post once; None when acknowledged, else the seconds that the webhook asked to wait (0: unsaid)."""
        counts = self._keeper.stats.counts
        counts["deliveries"] += 1
        async with self._slots:
            posted_at = self._keeper.clock.monotonic()
            try:
                async with self._keeper.http.post(
                    self._url, data=body, headers=self._headers, allow_redirects=False
                ) as answer:
                    content = await answer.read()
            except (aiohttp.ClientError, OSError) as error:
                failure, retry_after = _error_text(error), 0.0
            else:
                if answer.status in _ACKNOWLEDGED:
                    self._keeper.stats.webhook_latencies.append(self._keeper.clock.monotonic() - posted_at)
                    self._execute(content)
                    return None
                failure = f"Wrong response from the webhook: {answer.status} {answer.reason}"
                asked = answer.headers.get("Retry-After", "")
                retry_after = min(_MAX_RETRY_AFTER, float(asked)) if asked.isdecimal() else 0.0
        counts["failed_deliveries"] += 1
        self._bot.webhook.last_error = failure
        self._bot.webhook.last_error_date = int(self._keeper.clock.now())
        return retry_after

    def _execute(self, content: bytes) -> None:
        """Carry out a method call in the answer's body; anything else in it is ignored, as Telegram does."""
        try:
            call = orjson.loads(content)
        except orjson.JSONDecodeError:
            return
        if isinstance(call, dict) and isinstance(call.get("method"), str):
            self._on_reply(call)


def _error_text(error: Exception) -> str:
    """How Telegram words a failed delivery in `last_error_message`."""
    match error:
        case TimeoutError():
            return "Read timeout expired"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "Connection refused"
        case aiohttp.ClientConnectorError(os_error=cause):
            return f"Connection failed: {type(cause).__name__}"
    return "Webhook connection closed"
