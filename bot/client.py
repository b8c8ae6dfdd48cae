"""python-telegram-bot's Bot behind the rate limiter, with its errors translated."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from opentelemetry.trace import SpanKind
from pydantic import SecretStr
from telegram import Bot, BotCommand, InlineKeyboardMarkup, InputFile, LinkPreviewOptions, Message
from telegram.constants import ChatAction, ParseMode
from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, InvalidToken, RetryAfter
from telegram.error import TelegramError as LibraryError

from bot.answers import Meaning, meaning_of
from bot.breaker import IDLE_SECONDS, PROBE_SECONDS, BotBreaker
from bot.rate_limiter import RateLimiter
from bot.texts import COMMANDS
from bot.transport import AiohttpRequest
from domain.catalog import Priority
from domain.errors import (
    FileGoneError,
    LearnerUnreachableError,
    MessageGoneError,
    RateLimitedError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import MAX_ID, LearnerId
from domain.settings import Settings
from observability import metrics, tracing
from observability.background import run_forever

logger = logging.getLogger(__name__)

T = TypeVar("T")

SILENT = logging.CRITICAL + 1
"""The library's bot logs addresses with the token at DEBUG, and whole updates that it cannot read at any level."""

_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
_MAX_RATE_LIMIT_RETRIES = 5

CHAT_PATIENCE_SECONDS = 10.0
"""A chat that takes no message for longer is not waited for: what was to be sent there is sent later."""

NAME_PAUSE_SECONDS = 30.0
"""After Telegram did not tell a bot's name: whoever wants it does without."""

_STATUSES: tuple[tuple[type[LibraryError], int], ...] = (
    (BadRequest, 400),
    (ChatMigrated, 400),
    (Forbidden, 403),
    (Conflict, 409),
    (RetryAfter, 429),
)
"""The library's errors by the status that it read; `AiohttpRequest` sees to it that each is Telegram's own."""

_ERRORS: dict[Meaning, type[TelegramError]] = {
    Meaning.LEARNER: LearnerUnreachableError,
    Meaning.MESSAGE_GONE: MessageGoneError,
    Meaning.FILE_GONE: FileGoneError,
}
"""What to raise; a `TelegramError` for every other refusal."""


def make_bot(settings: Settings, token: SecretStr) -> Bot:
    """Build the library's Bot."""
    logging.getLogger("telegram.Bot").setLevel(SILENT)
    seconds = settings.telegram_timeout_seconds
    request = AiohttpRequest(
        pool_size=32,
        connect_timeout=min(seconds, 5),
        read_timeout=seconds,
        write_timeout=seconds,
        pool_timeout=seconds,
    )
    return Bot(
        token.get_secret_value(),
        base_url=f"{settings.telegram_api_base_url}/bot",
        base_file_url=f"{settings.telegram_api_base_url}/file/bot",
        request=request,
        get_updates_request=AiohttpRequest(pool_size=2, read_timeout=seconds + 30),
    )


class TelegramGateway:
    """Sends and edits messages: paced, counted, and with errors that say what to do next."""

    def __init__(self, bot: Bot, limiter: RateLimiter, breaker: BotBreaker, *, paid_broadcast: bool = False) -> None:
        """Take the library's bot and the limiter that all its processes share.

        Args:
            bot: not yet initialised.
            breaker: tripped while Telegram refuses the bot.
            paid_broadcast: whether what is sent may cost Stars, so that it may go faster.
        """
        self.bot = bot
        self.breaker = breaker
        self._limiter = limiter
        self._methods_wait: dict[str, float] = {}
        self._probed_at = time.monotonic()
        self._name: str | None = None
        self._nameless_until = 0.0
        self._paid = paid_broadcast or None  # what is None is not sent at all

    async def send(
        self,
        learner_id: LearnerId,
        text: str,
        keyboard: InlineKeyboardMarkup | None = None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> int:
        """Send a message and return its id.

        Args:
            text: Telegram's HTML.

        Raises:
            LearnerUnreachableError: the learner blocked the bot or is gone.
            TelegramUnavailableError: no answer came, so it may or may not have been sent.
            TelegramError: Telegram refused it for good.
        """
        message: Message = await self._call(
            "sendMessage",
            lambda: self.bot.send_message(
                learner_id,
                text,
                parse_mode=ParseMode.HTML,
                reply_markup=keyboard,
                link_preview_options=_NO_PREVIEW,
                allow_paid_broadcast=self._paid,
            ),
            priority,
            learner_id,
        )
        return _message_id(message)

    async def send_to_group(self, chat_id: int, text: str, topic_id: int | None = None) -> None:
        """Send a message to a group.

        Args:
            text: Telegram's HTML.
            topic_id: the topic of a forum; None for the group itself.

        Raises:
            TelegramUnavailableError: no answer came, so it may or may not have been sent.
            TelegramError: Telegram refused it.
        """
        await self._call(
            "sendMessage",
            lambda: self.bot.send_message(
                chat_id,
                text,
                parse_mode=ParseMode.HTML,
                message_thread_id=topic_id,
                link_preview_options=_NO_PREVIEW,
            ),
            Priority.INTERACTIVE,
            LearnerId(chat_id),  # the limiter's chats have numbers, whoever is in them
        )

    async def edit(
        self, learner_id: LearnerId, message_id: int, text: str, keyboard: InlineKeyboardMarkup | None = None
    ) -> None:
        """Replace a message's text and buttons; saying the same again is no error.

        Args:
            text: Telegram's HTML.
            keyboard: buttons under it; None takes them away.

        Raises:
            MessageGoneError: there is no such message any more.
            LearnerUnreachableError: the learner blocked the bot or is gone.
            TelegramUnavailableError: no answer came.
            TelegramError: Telegram refused it for good.
        """
        await self._call(
            "editMessageText",
            lambda: self.bot.edit_message_text(
                text,
                chat_id=learner_id,
                message_id=message_id,
                parse_mode=ParseMode.HTML,
                reply_markup=keyboard,
                link_preview_options=_NO_PREVIEW,
            ),
            Priority.INTERACTIVE,
            learner_id,
        )

    async def edit_keyboard(self, learner_id: LearnerId, message_id: int, keyboard: InlineKeyboardMarkup) -> None:
        """Replace a message's buttons and leave its text; the same buttons again are no error.

        Raises:
            MessageGoneError: there is no such message any more.
            LearnerUnreachableError: the learner blocked the bot or is gone.
            TelegramUnavailableError: no answer came.
            TelegramError: Telegram refused it for good.
        """
        await self._call(
            "editMessageReplyMarkup",
            lambda: self.bot.edit_message_reply_markup(
                chat_id=learner_id, message_id=message_id, reply_markup=keyboard
            ),
            Priority.INTERACTIVE,
            learner_id,
        )

    async def send_file(self, learner_id: LearnerId, content: bytes, name: str, caption: str) -> None:
        """Send a file.

        Raises:
            LearnerUnreachableError: the learner blocked the bot or is gone.
            TelegramUnavailableError: no answer came.
            TelegramError: Telegram refused it for good.
        """
        await self._call(
            "sendDocument",
            lambda: self.bot.send_document(
                learner_id, InputFile(content, filename=name), caption=caption, allow_paid_broadcast=self._paid
            ),
            Priority.INTERACTIVE,
            learner_id,
        )

    async def send_photo(
        self, learner_id: LearnerId, photo: bytes | str, caption: str, keyboard: InlineKeyboardMarkup | None = None
    ) -> str:
        """Send a picture, and return the id by which it can be sent again without uploading it.

        Args:
            photo: a picture's bytes, or the id of one that this bot sent before.
            caption: Telegram's HTML, at most 1024 characters when shown.

        Raises:
            FileGoneError: Telegram does not know the id any more, or never did.
            LearnerUnreachableError: the learner blocked the bot or is gone.
            TelegramUnavailableError: no answer came, so it may or may not have been sent.
            TelegramError: Telegram refused it for good.
        """
        file = photo if isinstance(photo, str) else InputFile(photo, filename="picture.png")
        message: Message = await self._call(
            "sendPhoto",
            lambda: self.bot.send_photo(
                learner_id,
                file,
                caption=caption,
                parse_mode=ParseMode.HTML,
                reply_markup=keyboard,
                allow_paid_broadcast=self._paid,
            ),
            Priority.INTERACTIVE,
            learner_id,
        )
        try:
            return max(message.photo, key=lambda size: size.width * size.height).file_id
        except (AttributeError, TypeError, ValueError) as error:
            raise TelegramUnavailableError(_unreadable(error)) from None

    async def find_busy_chats(self, learner_ids: Sequence[LearnerId]) -> dict[LearnerId, float]:
        """Return whose chats have had their share of messages, and for how many seconds they take none."""
        waits = await self._limiter.chat_waits(learner_ids)
        return {LearnerId(learner_id): wait for learner_id, wait in waits.items()}

    async def acknowledge(self, callback_id: str, text: str | None = None) -> None:
        """Answer a tap, where the webhook's response cannot; a tap too old to answer is ignored.

        Args:
            text: shown as a notification, at most 200 characters.
        """
        try:
            await self.bot.answer_callback_query(callback_id, text)
        except LibraryError as error:
            logger.debug("a tap was not acknowledged: %s", error)

    async def name(self) -> str | None:
        """Return how learners find the bot, such as @quiz_bot; None while Telegram does not say.

        After a failure it is not asked for `NAME_PAUSE_SECONDS`.
        """
        if self._name is None and time.monotonic() >= self._nameless_until:
            try:
                user = await self._call("getMe", self.bot.get_me, Priority.INTERACTIVE)
            except TelegramError:
                self._nameless_until = time.monotonic() + NAME_PAUSE_SECONDS
            else:
                self._name = f"@{user.username}" if user.username else user.first_name
        return self._name

    async def publish_commands(self) -> None:
        """Tell Telegram the commands menu.

        Raises:
            TelegramError: Telegram refused.
        """
        commands = [BotCommand(name, about) for name, about in COMMANDS]
        await self._call("setMyCommands", lambda: self.bot.set_my_commands(commands), Priority.INTERACTIVE)

    # ------------------------------------------------------------ whether Telegram accepts the bot

    async def watch(self) -> None:
        """Find out in the background whether Telegram takes the bot, until cancelled."""
        await run_forever("bot probe", self._probe_when_due)

    async def _probe_when_due(self) -> None:
        await asyncio.sleep(PROBE_SECONDS)
        if self.breaker.refusal is not None or time.monotonic() - self._probed_at >= IDLE_SECONDS:
            self._probed_at = time.monotonic()
            await self.probe()

    async def probe(self) -> None:
        """Ask Telegram whether it takes the bot, and reset or trip the breaker accordingly."""
        try:
            await (self.breaker.probe or self.bot.get_me)()
        except LibraryError as error:
            meaning = _meaning_of(error)
            if meaning is Meaning.BOT:
                await self.breaker.trip(error.message)
            if meaning in {
                Meaning.BOT,
                Meaning.NETWORK,
                Meaning.RATE_LIMITED,
            }:  # of which the latter two tell nothing new
                await self.breaker.share()
                if isinstance(error, RetryAfter):
                    await asyncio.sleep(seconds_to_wait(error))
                return
        except Exception as error:  # noqa: BLE001 - what the library cannot read may be anything
            logger.warning(
                "bot %d: the answer to the probe cannot be read: %s", self.breaker.bot_id, type(error).__name__
            )
            return
        await self.breaker.reset()

    # ------------------------------------------------------------ calling

    async def _call(
        self,
        method: str,
        request: Callable[[], Awaitable[T]],
        priority: Priority,
        learner_id: LearnerId | None = None,
    ) -> T:
        for _ in range(_MAX_RATE_LIMIT_RETRIES):
            await self._wait_for_turn(method, priority, learner_id)
            try:
                with tracing.span(method, SpanKind.CLIENT, attributes={"quiz.bot.id": self.breaker.bot_id}):
                    result = await request()
            except LibraryError as error:
                meaning = _meaning_of(error)
                metrics.TELEGRAM_REQUESTS.labels(method, meaning.value).inc()
                if isinstance(error, RetryAfter):
                    last = await self._slow_down(error, method, learner_id)
                    continue
                if meaning is Meaning.UNCHANGED:
                    return None  # type: ignore[return-value]  # only edits are ever unchanged, and they return nothing
                if meaning is Meaning.BOT:
                    raise await self.breaker.trip(error.message, self._probe_of(request, learner_id)) from error
                raise _translate(error, meaning, method) from error
            except Exception as error:  # noqa: BLE001 - an answer that the library stumbles over, and that may hold a name
                metrics.TELEGRAM_REQUESTS.labels(method, Meaning.NETWORK.value).inc()
                raise TelegramUnavailableError(_unreadable(error)) from None
            else:
                metrics.TELEGRAM_REQUESTS.labels(method, Meaning.OK.value).inc()
                return result
        raise last

    async def _wait_for_turn(self, method: str, priority: Priority, learner_id: LearnerId | None) -> None:
        """Return when a request may be made; one that would have to wait for long fails instead."""
        self.breaker.check()
        if (wait := self._methods_wait.get(method, 0.0) - time.monotonic()) > 0:
            raise RateLimitedError(wait)
        await self._limiter.wait(priority, learner_id, CHAT_PATIENCE_SECONDS)
        self.breaker.check()  # others may have been refused meanwhile

    async def _slow_down(self, error: RetryAfter, method: str, learner_id: LearnerId | None) -> RateLimitedError:
        """Let the chat wait, or the method where there is no chat."""
        seconds = seconds_to_wait(error)
        metrics.TELEGRAM_RATE_LIMITED.inc()
        if learner_id is None:
            self._methods_wait[method] = time.monotonic() + seconds
            logger.warning("bot %d has to wait %.0f s before the next %s", self.breaker.bot_id, seconds, method)
        else:
            await self._limiter.pause_chat(learner_id, seconds)
        return RateLimitedError(seconds)

    def _probe_of(
        self, request: Callable[[], Awaitable[object]], learner_id: LearnerId | None
    ) -> Callable[[], Awaitable[object]]:
        """Return what shows whether Telegram accepts the bot again; a frozen one may still call getMe."""
        if learner_id is None:
            return request
        return lambda: self.bot.send_chat_action(learner_id, ChatAction.TYPING)


def _unreadable(error: Exception) -> str:
    return f"the answer cannot be read ({type(error).__name__})"


def _message_id(message: object) -> int:
    """Return the id of a message that was sent, if the answer has one that the database can hold."""
    found = getattr(message, "message_id", None)
    if type(found) is not int or not 0 < found <= MAX_ID:
        raise TelegramUnavailableError("the answer has no message's id")
    return found


def seconds_to_wait(error: RetryAfter) -> float:
    """Return how long Telegram asks to wait, in seconds; the library gives a number or a timedelta."""
    after = error.retry_after
    return float(after) if isinstance(after, int | float) else after.total_seconds()


def _meaning_of(error: LibraryError) -> Meaning:
    """Return what the library's error means."""
    if isinstance(error, InvalidToken):
        status: int | None = 404 if error.message.lower().startswith("not found") else 401
    else:
        status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
    return meaning_of(status, error.message)


def _translate(error: LibraryError, meaning: Meaning, method: str) -> TelegramError:
    """Turn the library's error into the one that says what to do next."""
    if meaning is Meaning.NETWORK:
        return TelegramUnavailableError(error.message)
    if meaning is Meaning.UNKNOWN:
        logger.warning("Telegram refuses %s for a reason that is not known: %s", method, error.message)
    return _ERRORS.get(meaning, TelegramError)(error.message)
