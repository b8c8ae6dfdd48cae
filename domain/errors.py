"""Every error that the service raises on purpose. An error's docstring is its message."""

from __future__ import annotations

import inspect


class QuizServiceError(Exception):
    """Something in the quiz service went wrong."""

    def __init__(self, detail: str = "") -> None:
        """Take the detail that follows the class's own message.

        Args:
            detail: what exactly; nothing secret, since it is logged and shown to operators.
        """
        message = (inspect.getdoc(type(self)) or "").splitlines()[0].rstrip(".")
        super().__init__(f"{message}: {detail}" if detail else message)


class StartupError(QuizServiceError):
    """The service cannot start."""


class StorageUnavailableError(QuizServiceError):
    """The database cannot be reached."""


class ForgedCallbackError(QuizServiceError):
    """A button's data is none that this service made."""


class GenerationError(QuizServiceError):
    """No question could be generated."""


class ModelUnavailableError(QuizServiceError):
    """The language model is not asked just now."""


class ModelError(QuizServiceError):
    """The language model did not answer with what it was asked for."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        """Take what went wrong.

        Args:
            reason: one of a few words, such as ``timeout``, so that they can be counted.
            retry_after: seconds for which the provider asks to be left alone.
        """
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class PictureError(QuizServiceError):
    """The picture could not be drawn."""


class TelegramError(QuizServiceError):
    """Telegram refused a request."""


class LearnerUnreachableError(TelegramError):
    """The learner blocked the bot or is gone."""


class RateLimitedError(TelegramError):
    """Telegram asks to slow down."""

    def __init__(self, retry_after: float) -> None:
        """Take how long Telegram asks to wait.

        Args:
            retry_after: seconds until the next request may be made.
        """
        super().__init__(f"retry after {retry_after:g} s")
        self.retry_after = retry_after


class MessageGoneError(TelegramError):
    """The message to edit does not exist any more."""


class FileGoneError(TelegramError):
    """Telegram does not know the file any more."""


class TelegramUnavailableError(TelegramError):
    """Telegram did not answer, so whether it acted is not known."""


class UnknownBotError(TelegramUnavailableError):
    """A learner's bot is not among those that the service has a token for: it may come back with the next start."""

    def __init__(self, bot_id: int) -> None:
        """Take which one.

        Args:
            bot_id: the bot's own id.
        """
        super().__init__(f"bot {bot_id} has no token in TELEGRAM_BOT_TOKEN or TELEGRAM_BOT_TOKENS")
