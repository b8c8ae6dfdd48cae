"""Refusals, in Telegram's words."""

NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current "
    "content and reply markup of the message"
)
WEBHOOK_ACTIVE = "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
OTHER_GET_UPDATES = "terminated by other getUpdates request; make sure that only one bot instance is running"
QUERY_TOO_OLD = "query is too old and response timeout expired or query ID is invalid"


class ApiError(Exception):
    """The Bot API refuses a call.

    Attributes:
        code: The HTTP status, which the body repeats.
        description: What the body says.
        retry_after: Seconds to wait, for a 429.
    """

    def __init__(self, code: int, description: str, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.retry_after = retry_after


def bad_request(message: str) -> ApiError:
    """A 400; as Telegram does, the message begins in lower case unless its first word is in capitals."""
    if len(message) > 1 and message[0].isupper() and not message[1].isupper():
        message = message[0].lower() + message[1:]
    return ApiError(400, f"Bad Request: {message}")


def forbidden(message: str) -> ApiError:
    """A 403."""
    return ApiError(403, f"Forbidden: {message}")


def conflict(message: str) -> ApiError:
    """A 409."""
    return ApiError(409, f"Conflict: {message}")


def too_many_requests(retry_after: int) -> ApiError:
    """A 429 that names the seconds to wait."""
    return ApiError(429, f"Too Many Requests: retry after {retry_after}", retry_after)
