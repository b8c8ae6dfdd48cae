"""Log lines: no secret in any of them, and each JSON line parses."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.settings import LogFormat, Settings
from observability import logs
from observability.logs import QUIET, REPEATED, redact, set_up_logs

TOKEN = "123456789:AAEhBP0av28fLnOjXsYPmYVEFXQyT5Zabc"
PASSWORD = "hunter2-and-more"
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
SECRETS = {
    "token": (TOKEN, "bot token {} is set"),
    "token at the end": (TOKEN, "token={}"),
    "token in an address": (TOKEN, "POST https://api.telegram.org/bot{}/sendMessage 200"),
    "token in a file's address": (TOKEN, "GET http://127.0.0.1:8081/file/bot{}/documents/1"),
    "token in JSON": (TOKEN, '{{"token":"{}"}}'),
    "password": (PASSWORD, "cannot reach postgresql://quiz:{}@db.example.org:5432/quiz"),
    "password without a user": (PASSWORD, "redis://:{}@127.0.0.1:6379/0"),
    "password with signs": ("p%40ss:w/ord?#", "postgresql://quiz:{}@db/quiz"),
    "password with an at sign": ("p@ss-word", "postgresql://quiz:{}@db/quiz"),
    "password of SQLAlchemy": (PASSWORD, "postgresql+asyncpg://prefect:{}@db/prefect"),
    "password of several": (PASSWORD, "rediss+sentinel://quiz:{}@one:26379,two:26379/quiz/0"),
    "password of sentinels": (PASSWORD, "redis+sentinel://one,two/quiz?sentinel_password={}&socket_timeout=1"),
    "password as a parameter": (PASSWORD, "postgresql://db/quiz?user=quiz&password={}&sslmode=require"),
    "key": (KEY, "Incorrect API key provided: {}."),
    "key in a header": (KEY, "Authorization: Bearer {}"),
}


@contextmanager
def logging_to(
    log_format: LogFormat, level: str = "INFO", secrets: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """Set the logs up, yield a logger and what is written to standard error, and put everything back."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("root", *QUIET, *REPEATED)}
    root.handlers[:] = []  # else setting up would close those of pytest
    written = io.StringIO()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", written)
            settings = Settings.model_validate({"log_format": log_format, "log_level": level, **secrets})
            set_up_logs(settings, "worker")
        yield logging.getLogger("quiz.test"), written
    finally:
        root.handlers[:] = handlers
        for name, number in levels.items():
            logging.getLogger(name).setLevel(number)


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_a_secret_is_cut_out(kind: str) -> None:
    secret, line = SECRETS[kind]
    redacted = redact(line.format(secret))
    assert secret not in redacted
    assert secret[-8:] not in redacted


@pytest.mark.parametrize("kind", sorted(SECRETS))
@pytest.mark.parametrize("log_format", list(LogFormat))
def test_no_secret_reaches_the_log_in_message_argument_or_traceback(kind: str, log_format: LogFormat) -> None:
    secret, line = SECRETS[kind]
    text = line.format(secret)
    with logging_to(log_format) as (logger, written):
        logger.warning(text)
        logger.warning("an argument: %s", text)
        try:
            try:
                raise ValueError(text)  # noqa: TRY301
            except ValueError as error:
                raise RuntimeError(f"outer {text}") from error
        except RuntimeError:
            logger.exception("it failed")
    assert "Traceback" in written.getvalue()
    assert "ValueError" in written.getvalue()
    assert secret not in written.getvalue()


OWN = {
    "telegram_bot_token": "987654:another-token-of-a-bot-of-no-other-form",
    "telegram_bot_tokens": "987655:one-more-token-of-a-bot-of-no-other-form",
    "telegram_webhook_secret": "no_form_at_all",
    "openai_api_key": "a key of no known form",
    "database_url": "postgresql://quiz:p%40ssword-of-db@db/quiz",
    "redis_url": "redis://:p@ssword-of-redis@127.0.0.1:6379/0",
}
"""Settings with secrets, and with what must not be read of them."""
PARTS = [
    "987654:another-token-of-a-bot-of-no-other-form",
    "987655:one-more-token-of-a-bot-of-no-other-form",
    "no_form_at_all",
    "a key of no known form",
    "p%40ssword-of-db",
    "p@ssword-of-db",
]


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_the_secrets_of_the_settings_are_cut_out_whatever_their_form(
    log_format: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_hidden", [])
    with logging_to(log_format, secrets=OWN) as (logger, written):
        for part in PARTS:
            logger.warning("it is %s, is it not?", part)
            logger.warning("%s", {"key": part})
    assert written.getvalue().count("it is <") == len(PARTS)
    assert not [part for part in PARTS if part in written.getvalue()]


@pytest.mark.parametrize("secret", ["", "short", "postgresql://quiz:quiz@db/quiz", "http://[", "postgresql://db/quiz"])
def test_short_secrets_and_addresses_without_any_hide_nothing(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", [])
    logs.hide(secret)
    assert redact("a quiz of short words") == "a quiz of short words"
    assert logs._hidden == []  # noqa: SLF001 - nothing else shows it


def test_a_secret_that_is_a_part_of_another_leaves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", [])
    for secret in ("a-long-secret", "a-long-secret-and-more", "a-long-secret"):
        logs.hide(secret)
    assert redact("x a-long-secret-and-more y a-long-secret z") == "x <secret> y <secret> z"


@pytest.mark.parametrize(
    "line",
    [
        "at 10:30:15 the worker took 12345: all is well",
        "http://127.0.0.1:8080/ready answers",
        "see https://www.postgresql.org/docs/18/sql.html",
        "mail to operator@example.org",
        "12345:short",
        "the risk-free sk-1",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert redact(line) == line


@given(st.text(max_size=80))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


# ---------------------------------------------------------------- JSON lines


pieces = st.sampled_from(
    ["http://", "a:b@", ":", "@", '"', "\\", "\n", "{", "}", " ", "%", TOKEN, KEY, "é", "\x00", "\u2028"]
)
messages = st.lists(pieces | st.text(max_size=4), max_size=15).map("".join)


@given(messages)
@example('redis://:a"b@c')
@example("redis://:\\")
def test_each_json_line_parses_whatever_is_logged(message: str) -> None:
    with logging_to(LogFormat.JSON) as (logger, written):
        logger.info("%s", message)
    assert written.getvalue().count("\n") == 1
    logged = json.loads(written.getvalue())["message"]
    assert TOKEN not in logged
    if not set(message) & set(":@") and "sk-" not in message:
        assert logged == message


def test_a_json_line_says_when_who_where_and_what() -> None:
    with logging_to(LogFormat.JSON) as (logger, written):
        logger.warning("%d quizzes sent", 7, extra={"batch": 3})
    record = json.loads(written.getvalue())
    assert set(record) == {"time", "level", "logger", "message", "role", "batch"}
    assert (record["level"], record["logger"], record["message"]) == ("WARNING", "quiz.test", "7 quizzes sent")
    assert (record["role"], record["batch"]) == ("worker", 3)


def test_a_traceback_stays_within_its_json_line() -> None:
    with logging_to(LogFormat.JSON) as (logger, written):
        try:
            raise ValueError("first line\nsecond line")  # noqa: TRY301
        except ValueError:
            logger.exception("it failed")
    (line,) = written.getvalue().splitlines()
    assert "second line" in json.loads(line)["exc_info"]


# ---------------------------------------------------------------- levels


def test_text_lines_are_for_people() -> None:
    with logging_to(LogFormat.TEXT) as (logger, written):
        logger.warning("it rains")
    assert written.getvalue().endswith("worker   WARNING it rains\n")


@pytest.mark.parametrize(("level", "shown"), [("DEBUG", 3), ("INFO", 2), ("ERROR", 0)])
def test_the_level_decides_what_is_shown(level: str, shown: int) -> None:
    with logging_to(LogFormat.TEXT, level) as (logger, written):
        logger.debug("a")
        logger.info("b")
        logger.warning("c")
    assert len(written.getvalue().splitlines()) == shown


@pytest.mark.parametrize("name", QUIET)
def test_libraries_that_would_show_the_token_stay_quiet(name: str) -> None:
    with logging_to(LogFormat.TEXT, "DEBUG") as (_, written), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            logging.getLogger(name), "propagate", True
        )  # Prefect, once imported, takes uvicorn's lines itself
        logging.getLogger(name).info("HTTP Request: POST https://api.telegram.org/bot%s/getMe", TOKEN)
        assert written.getvalue() == ""
        logging.getLogger(name).error("it failed")
    assert "it failed" in written.getvalue()


def test_what_the_service_tells_in_a_line_of_its_own_is_not_told_by_a_library_as_well() -> None:
    with logging_to(LogFormat.TEXT) as (_, written):
        for name in REPEATED:
            logging.getLogger(name).error("Can not load invalid JSON data")
    assert not written.getvalue()
