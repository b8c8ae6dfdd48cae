"""The service's own error classes; there are no others. An error's docstring is its message.

Libraries get the types that they expect: pydantic's validators raise ValueError, the reader of YAML files PyYAML's
errors, the Redis clients redis-py's. The simulator and `dev/` have errors of their own.
"""

from __future__ import annotations

import inspect


def first_line(error: BaseException, limit: int = 500) -> str:
    """Return the first line of an error's message, which may be empty; libraries may add further lines."""
    text = str(error)[: 4 * limit]  # cut first: a message may have millions of lines
    return (text.splitlines() or [""])[0][:limit]


class QuizServiceError(Exception):
    """Something in the quiz service went wrong."""

    def __init__(self, detail: str = "") -> None:
        """Take the detail that follows the class's own message."""
        message = (inspect.getdoc(type(self)) or "").splitlines()[0].rstrip(".")
        super().__init__(f"{message}: {detail}" if detail else message)


class StartupError(QuizServiceError):
    """The service cannot start."""


class PrefectLoginError(StartupError):
    """The Prefect server refuses the login; set PREFECT_API_AUTH_STRING to its own, user:password."""


class PrefectUnavailableError(QuizServiceError):
    """Prefect cannot be used."""


class StorageUnavailableError(QuizServiceError):
    """The database cannot be reached."""


class BackupError(QuizServiceError):
    """The backup failed."""


class RestoreError(QuizServiceError):
    """Nothing was restored."""


class NotAnUpdateError(QuizServiceError):
    """This is not a Telegram update."""


class ForgedCallbackError(QuizServiceError):
    """The button's data was not made by this service."""


class GenerationError(QuizServiceError):
    """No question could be generated."""


class ModelUnavailableError(QuizServiceError):
    """The language model is not called at the moment."""


class ModelError(QuizServiceError):
    """The language model did not answer with what it was asked for."""

    def __init__(self, reason: str, *, detail: str = "", retry_after: float | None = None) -> None:
        """Take what went wrong.

        Args:
            reason: one of a few words, such as ``timeout``, so that they can be counted.
            detail: what the server says about it, in one line without secrets.
            retry_after: seconds for which the provider asks to be left alone.
        """
        self.message = f"{reason}: {detail}" if detail else reason
        super().__init__(self.message)
        self.reason = reason
        self.retry_after = retry_after


class SandboxError(QuizServiceError):
    """The sandbox failed, whatever the code in it."""


class SchemaMismatchError(QuizServiceError):
    """The database has the schema of another version, which `python main.py init` brings up to date."""


class UnknownQuestionError(QuizServiceError):
    """There is no such question."""


class QuestionRetiredError(QuizServiceError):
    """The question is gone from the bank's files, and comes back only with them."""


class UnknownLearnerError(QuizServiceError):
    """There is no such learner."""


class AnnouncementError(QuizServiceError):
    """Telegram would not take the announcement."""


class ExportError(QuizServiceError):
    """The questions cannot be written there."""


class NetworkError(QuizServiceError):
    """No page answers; this command needs a network."""


class PictureError(QuizServiceError):
    """The picture could not be drawn."""


class TelegramError(QuizServiceError):
    """Telegram refused a request."""


class LearnerUnreachableError(TelegramError):
    """The learner blocked the bot or is gone."""


class RateLimitedError(TelegramError):
    """Telegram asks to slow down."""

    def __init__(self, retry_after: float) -> None:
        """Take the seconds until the next request may be made."""
        super().__init__(f"retry after {retry_after:g} s")
        self.retry_after = retry_after


class MessageGoneError(TelegramError):
    """The message to edit does not exist any more."""


class FileGoneError(TelegramError):
    """Telegram does not know the file any more."""


class TelegramUnavailableError(TelegramError):
    """Telegram did not answer, so whether it acted is not known."""


class PollingError(TelegramError):
    """Telegram gave no updates."""


class UnknownBotError(TelegramUnavailableError):
    """The service has no token for a learner's bot.

    It may have one after the next start.
    """

    def __init__(self, bot_id: int) -> None:
        super().__init__(f"{bot_id} is in neither TELEGRAM_BOT_TOKEN nor TELEGRAM_BOT_TOKENS")


class BotRefusedError(TelegramUnavailableError):
    """Telegram refuses a bot."""

    def __init__(self, bot_id: int, words: str) -> None:
        """Take Telegram's words."""
        super().__init__(f"{bot_id} ({words})")
