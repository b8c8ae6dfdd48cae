"""python-telegram-bot's Bot behind the rate limiter, with its errors in our words."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import SecretStr
from telegram import Bot, BotCommand, InlineKeyboardMarkup, InputFile, LinkPreviewOptions, Message
from telegram.constants import ParseMode
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TimedOut,
)
from telegram.error import TelegramError as LibraryError

from bot.limiter import RateLimiter
from bot.messages import COMMANDS
from bot.transport import UNREADABLE, AiohttpRequest
from domain.catalog import Priority
from domain.errors import (
    FileGoneError,
    LearnerUnreachableError,
    MessageGoneError,
    RateLimitedError,
    StartupError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import LearnerId
from domain.settings import Settings
from observability import metrics

logger = logging.getLogger(__name__)

T = TypeVar("T")

SILENT = logging.CRITICAL + 1
"""The library's bot logs addresses with the token to whoever debugs, and whole updates that it cannot read to all."""

_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
_MAX_RATE_LIMIT_RETRIES = 5
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")
_FILE_GONE = re.compile(r"(wrong|invalid) (remote )?file identifier|wrong file_id|file_reference_")
_UNREACHABLE = ("chat not found", "user is deactivated", "bot was blocked", "peer_id_invalid", "user not found")


def make_bot(settings: Settings, token: SecretStr) -> Bot:
    """Build the library's Bot.

    Args:
        settings: where to call, and how long to wait.
        token: the bot's.

    Raises:
        StartupError: the token is none, or the environment names a proxy that cannot be used.
    """
    logging.getLogger("telegram.Bot").setLevel(SILENT)
    seconds = settings.telegram_timeout_seconds
    request = AiohttpRequest(
        pool_size=32,
        connect_timeout=min(seconds, 5),
        read_timeout=seconds,
        write_timeout=seconds,
        pool_timeout=seconds,
    )
    try:
        return Bot(
            token.get_secret_value(),
            base_url=f"{settings.telegram_api_base_url}/bot",
            base_file_url=f"{settings.telegram_api_base_url}/file/bot",
            request=request,
            get_updates_request=AiohttpRequest(pool_size=2, read_timeout=seconds + 30),
        )
    except InvalidToken:
        raise StartupError("TELEGRAM_BOT_TOKEN is not a bot token; @BotFather shows it as 123456:ABC...") from None


class TelegramGateway:
    """Sends and edits messages: paced, counted, and with errors that say what to do next."""

    def __init__(self, bot: Bot, limiter: RateLimiter, *, paid_broadcast: bool = False) -> None:
        """Take the library's bot and the limiter that all its processes share.

        Args:
            bot: not yet initialised.
            limiter: the pace.
            paid_broadcast: whether what is sent may cost Stars, so that it may go faster.
        """
        self.bot = bot
        self._limiter = limiter
        self._name: str | None = None
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
            learner_id: to whom; a private chat has its user's id.
            text: Telegram's HTML.
            keyboard: buttons under it.
            priority: whether a learner waits for it.

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
        return message.message_id

    async def edit(
        self, learner_id: LearnerId, message_id: int, text: str, keyboard: InlineKeyboardMarkup | None = None
    ) -> None:
        """Replace a message's text and buttons; saying the same again is no error.

        Args:
            learner_id: whose chat.
            message_id: which message.
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

        Args:
            learner_id: whose chat.
            message_id: which message.
            keyboard: the new buttons.

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

        Args:
            learner_id: to whom.
            content: its bytes.
            name: its name.
            caption: plain text under it.

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
            learner_id: to whom.
            photo: a picture's bytes, or the id of one that this bot sent before.
            caption: Telegram's HTML, at most 1024 characters when shown.
            keyboard: buttons under it.

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
        return max(message.photo, key=lambda size: size.width * size.height).file_id

    async def find_busy_chats(self, learner_ids: Sequence[LearnerId]) -> dict[LearnerId, float]:
        """Return whose chats have had their share of messages, and for how many seconds they take none.

        Args:
            learner_ids: whom to ask about.
        """
        waits = await self._limiter.chat_waits(learner_ids)
        return {LearnerId(learner_id): wait for learner_id, wait in waits.items()}

    async def acknowledge(self, callback_id: str, text: str | None = None) -> None:
        """Answer a tap, where the webhook's response cannot; a tap too old to answer is no matter.

        Args:
            callback_id: the tap's own id.
            text: a toast of at most 200 characters.
        """
        try:
            await self.bot.answer_callback_query(callback_id, text)
        except LibraryError as error:
            logger.debug("a tap was not acknowledged: %s", error)

    async def name(self) -> str | None:
        """Return how learners find the bot, such as @quiz_bot; None while Telegram does not say."""
        if self._name is None:
            with contextlib.suppress(TelegramError):
                user = await self._call("getMe", self.bot.get_me, Priority.INTERACTIVE)
                self._name = f"@{user.username}" if user.username else user.first_name
        return self._name

    async def publish_commands(self) -> None:
        """Tell Telegram the commands menu.

        Raises:
            TelegramError: Telegram refused.
        """
        commands = [BotCommand(name, about) for name, about in COMMANDS]
        await self._call("setMyCommands", lambda: self.bot.set_my_commands(commands), Priority.INTERACTIVE)

    async def _call(
        self,
        method: str,
        request: Callable[[], Awaitable[T]],
        priority: Priority,
        learner_id: LearnerId | None = None,
    ) -> T:
        for _ in range(_MAX_RATE_LIMIT_RETRIES):
            await self._limiter.wait(priority, learner_id)
            try:
                result = await request()
            except RetryAfter as error:
                seconds = seconds_to_wait(error)
                metrics.TELEGRAM_REQUESTS.labels(method, "rate_limited").inc()
                await self._limiter.pause(seconds)
                last = RateLimitedError(seconds)
            except BadRequest as error:
                if "message is not modified" in error.message.lower():
                    metrics.TELEGRAM_REQUESTS.labels(method, "unchanged").inc()
                    return None  # type: ignore[return-value]  # only edits are ever unchanged, and they return nothing
                metrics.TELEGRAM_REQUESTS.labels(method, "refused").inc()
                raise _translate(error) from error
            except LibraryError as error:
                metrics.TELEGRAM_REQUESTS.labels(method, type(error).__name__).inc()
                raise _translate(error) from error
            else:
                metrics.TELEGRAM_REQUESTS.labels(method, "ok").inc()
                return result
        raise last


def seconds_to_wait(error: RetryAfter) -> float:
    """Return how long Telegram asks to wait, in seconds; the library gives a number or a timedelta.

    Args:
        error: a 429.
    """
    after = error.retry_after
    return float(after) if isinstance(after, int | float) else after.total_seconds()


def _translate(error: LibraryError) -> TelegramError:
    """Turn the library's error into the one that says what to do next."""
    words = error.message.lower()
    if isinstance(error, Forbidden) or any(part in words for part in _UNREACHABLE):
        return LearnerUnreachableError(error.message)
    if _FILE_GONE.search(words):
        return FileGoneError(error.message)
    if any(part in words for part in _GONE):
        return MessageGoneError(error.message)
    if isinstance(error, BadRequest | ChatMigrated | InvalidToken):
        return TelegramError(error.message)
    if isinstance(error, TimedOut | NetworkError) or error.message == UNREADABLE:
        return TelegramUnavailableError(type(error).__name__)
    return TelegramError(error.message)
