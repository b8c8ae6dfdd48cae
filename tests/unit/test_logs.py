"""Log lines: no secret in any of them, and each JSON line parses."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from domain.settings import LogFormat, Settings
from observability import logs
from observability.log_ids import log_ids
from observability.logs import MIN_HIDDEN_LENGTH, QUIET, REPEATED, redact, set_up_logs
from tests.conftest import ROOT

TOKEN = "123456789:AAEhBP0av28fLnOjXsYPmYVEFXQyT5Zabc"
PASSWORD = "hunter2-and-more"
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
SECRETS = {
    "token": (TOKEN, "bot token {} is set"),
    "token at the end": (TOKEN, "token={}"),
    "token in an address": (TOKEN, "POST https://api.telegram.org/bot{}/sendMessage 200"),
    "token in a file's address": (TOKEN, "GET http://127.0.0.1:8081/file/bot{}/documents/1"),
    "token in an encoded address": (TOKEN.partition(":")[2], "GET /proxy?to=bot123456789%3A{}%2FgetMe"),
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


def test_handlers_of_libraries_get_no_secret_either() -> None:
    stored = io.StringIO()
    handler = logging.StreamHandler(stored)  # as Prefect's, which stores lines in its database
    with logging_to(LogFormat.JSON) as (logger, _):
        logger.addHandler(handler)
        try:
            raise ValueError(f"postgresql://quiz:{PASSWORD}@db/quiz")  # noqa: TRY301
        except ValueError:
            logger.exception("bot %s failed", TOKEN)
        finally:
            logger.removeHandler(handler)
    assert "bot <token> failed" in stored.getvalue()
    assert "ValueError: postgresql://quiz:<password>@db/quiz" in stored.getvalue()


def lines_of(log_format: LogFormat, written: str) -> list[str]:
    """Return the lines without secrets, each of which parses if it is to."""
    assert TOKEN not in written
    assert TOKEN[-20:] not in written
    if log_format is LogFormat.JSON:
        assert all(json.loads(line) for line in written.splitlines())
    return written.splitlines()


@dataclass(frozen=True)
class Bot:
    """What shows a token when it is written as text."""

    token: str = TOKEN
    raw: bytes = TOKEN.encode()


def test_no_extra_value_of_a_json_line_holds_a_secret() -> None:
    ring: list[object] = [TOKEN]
    ring.append(ring)
    values: list[object] = [TOKEN.encode(), (TOKEN,), {TOKEN: {"a": [TOKEN]}}, {TOKEN}, ValueError(TOKEN), ring, Bot()]
    values += [{"a": {"b": {"c": {"d": {"e": {"f": {TOKEN: Bot()}}}}}}}, ExceptionGroup(TOKEN, [ValueError(TOKEN)])]
    with logging_to(LogFormat.JSON) as (logger, written):
        for value in values:
            logger.warning("it is", extra={"of": value})
        logger.warning({"message": "it is", "of": [TOKEN]})
        logger.warning("it is", extra={f"key of {TOKEN}": 1.5, "of": True, "none": None})
    lines = lines_of(LogFormat.JSON, written.getvalue())
    assert all("<token>" in line for line in lines)
    assert json.loads(lines[2])["of"] == {"<token>": {"a": ["<token>"]}}
    assert (json.loads(lines[-1])["key of <token>"], json.loads(lines[-1])["of"]) == (1.5, True)


OWN = {
    "telegram_bot_token": "987654:another-token-of-a-bot-of-no-other-form",
    "telegram_bot_tokens": "987655:one-more-token-of-a-bot-of-no-other-form",
    "telegram_webhook_secret": "no_form_at_all_here",
    "openai_api_key": "a key of no known form",
    "database_url": "postgresql://quiz:p%40ssword-of-db@db/quiz?sslpassword=password%40of-key",
    "redis_url": "redis://:p%40ssword-of-redis@127.0.0.1:6379/0",
    "prefect_api_auth_string": "quiz:login-of-prefect",
}
"""Settings with secrets, and with what must not be read of them."""
PARTS = [
    "another-token-of-a-bot-of-no-other-form",
    "one-more-token-of-a-bot-of-no-other-form",
    "987654:another-token-of-a-bot-of-no-other-form",
    "987655:one-more-token-of-a-bot-of-no-other-form",
    "no_form_at_all_here",
    "a key of no known form",
    "p%40ssword-of-db",
    "p@ssword-of-db",
    "password@of-key",
    "quiz:login-of-prefect",
    "login-of-prefect",
    "cXVpejpsb2dpbi1vZi1wcmVmZWN0",
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
    logs.register_secret(secret)
    assert redact("a quiz of short words") == "a quiz of short words"
    assert logs._hidden == []  # noqa: SLF001 - nothing else shows it


def in_bytes(text: str) -> str:
    """Return what `repr` makes of a text as bytes."""
    return repr(text.encode())


def in_lower_case(text: str) -> str:
    """Return a text percent-encoded as some libraries do it."""
    return re.sub("%..", lambda code: code[0].lower(), quote(text, safe=""))


QUOTINGS: tuple[Callable[[str], str], ...] = (
    repr,
    ascii,
    in_bytes,
    json.dumps,
    partial(json.dumps, ensure_ascii=False),
    partial(quote, safe=""),
    partial(quote, safe="/:@"),
    quote_plus,
    in_lower_case,
)
"""Ways in which a text comes to stand in another."""
QUOTES = r"(?:b?\\*['\"])*"
AWKWARD = 'double"quote \'and back\\slash\\\\\x1f\\" per%25cent+umläut-😀:\n\x00\x7f\u2028'


@given(st.text(min_size=MIN_HIDDEN_LENGTH, max_size=16), st.sampled_from(QUOTINGS), st.integers(0, 3))
@example("00000000000Ã", in_bytes, 1)
def test_a_secret_is_cut_out_however_it_is_quoted(secret: str, quoted: Callable[[str], str], times: int) -> None:
    assume("_" not in secret)
    assume("://" not in secret)
    check_quoted(secret, quoted, times)


@pytest.mark.parametrize("times", range(4))
@pytest.mark.parametrize("number", range(len(QUOTINGS)))
def test_a_secret_of_awkward_signs_is_cut_out_however_it_is_quoted(number: int, times: int) -> None:
    check_quoted(AWKWARD, QUOTINGS[number], times)


def check_quoted(secret: str, quoted: Callable[[str], str], times: int) -> None:
    """Check that a text that is quoted several times over shows all but the secret."""
    text = f"begin_{secret}_end"
    for _ in range(times):
        text = quoted(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_hidden", [])
        logs.register_secret(secret)
        assert re.fullmatch(f"{QUOTES}begin_<secret>_end{QUOTES}", redact(text)), redact(text)


HEADERS: tuple[Callable[[str], object], ...] = (
    lambda value: f"Authorization: {value}",
    lambda value: {"authorization": value},
    lambda value: [(b"Authorization", value.encode())],
    lambda value: json.dumps(json.dumps({"Proxy-Authorization": value})),
)


@pytest.mark.parametrize("scheme", ["Basic", "bearer"])
@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_what_a_header_authorizes_with_is_cut_out(number: int, scheme: str) -> None:
    text = redact(f"sent {HEADERS[number](f'{scheme} cXVpejpodW50ZXIy')}, got 401")
    assert "cXVp" not in text
    assert f"{scheme} <secret>" in text
    assert text.endswith(", got 401")


def test_the_password_of_an_encoded_address_is_cut_out() -> None:
    """As it stands in the address of another."""
    address = quote("postgresql+asyncpg://quiz:hunter2@db.example.org/quiz", safe="")
    assert redact(f"GET /check?url={address}&x=1") == f"GET /check?url={address}&x=1".replace("hunter2", "<password>")


@pytest.mark.parametrize(
    "url", ["http://me:{}@host/api", "http://[::{}@host", "redis://:{}@h/0?x=a@b", "redis://:{}@h?@"]
)
@pytest.mark.parametrize("password", ["MyPrefectPassw0rd\uff0f", "My/Prefect@Passw0rd", "MyPrefect#Passw0rd"])
def test_the_password_of_an_address_that_is_none_is_cut_out(
    url: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_hidden", [])
    logs.register_secret(url.format(password))
    logs.register_secret("http://[")
    assert "Passw0rd" not in redact(f"netloc {url.partition('://')[2].format(password)!r} is none")


@pytest.mark.parametrize("start", ["http://", ""])
def test_the_password_of_a_proxy_is_cut_out(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", [])
    monkeypatch.setenv("https_proxy", f"{start}me:MyProxyPassw0rd\uff0f@proxy:3128")
    with logging_to(LogFormat.TEXT) as (logger, written):
        logger.warning("netloc %r is none", "me:MyProxyPassw0rd\uff0f@proxy:3128")
    assert "netloc 'me:<secret>@proxy:3128' is none" in written.getvalue()


def test_a_secret_that_is_a_part_of_another_leaves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", [])
    for secret in ("a-long-secret", "a-long-secret-and-more", "a-long-secret"):
        logs.register_secret(secret)
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
        "authorization fails; basic auth is off",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert redact(line) == line


HOSTILE = (
    "1",
    "a",
    "é",
    "1:",
    "12345:",
    "12345%3A",
    "a://",
    "a://b:",
    "a:",
    "?token=",
    "sk-",
    "sk-1 ",
    "-",
    "@",
    "/",
    " a://b:c",
    "a%3A%2F%2F",
    "a%3A%2F%2Fb%3A",
    "%40",
    "%25",
    "Authorization: ",
    "authorization: basic ",
    "\\" * 10,
    '"',
    '\\"',
    "%22",
    "%5C",
)


REDACT_EACH = """
import resource, sys
from observability.logs import redact, register_secret
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))  # some ten times what all of them take
for secret in ('"%\\\\' * 5, '\\\\' * 12, '%25' * 12, 'a-' * 12):
    register_secret(secret)
for piece in sys.argv[1:]:
    print(ascii(piece), flush=True)
    assert len(redact(piece * 50_000)) > 1
"""


def test_redacting_a_long_text_takes_no_longer_than_its_length_asks() -> None:
    """A pattern that looks again from each letter would need minutes of the processor for any of them."""
    done = subprocess.run(
        [sys.executable, "-c", REDACT_EACH, *HOSTILE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout.splitlines()[-1:]  # the one that took too long


PLAIN = {
    r"[0-9]{5,}(:|%(?:25)*3[Aa])[A-Za-z0-9_-]{20,}": "<token>",
    r"(\w+(?:://[^:/@\s]*:|%3[Aa]%2[Ff]%2[Ff](?:(?!%3[Aa]|%2[Ff]|%40)[^:/@\s])*%3[Aa]))\S*(@|%40)": r"\1<password>\2",
    r"(?i)([?&](?:sentinel_)?(?:password|passwd|secret|token|api_?key)=)[^&\s]+": r"\1<secret>",
    r"(?i)(authorization\W{1,12}(?:b['\"])?(?:basic|bearer)\s{1,4})[^\s\"'\\,]+": r"\1<secret>",
    r"\b(sk-[A-Za-z0-9_-]{4})[A-Za-z0-9_-]+": r"\1<key>",
}
"""What is cut out, in patterns that are easier to read and take too long."""

words = st.lists(
    st.sampled_from([*HOSTILE, TOKEN, PASSWORD, KEY, "ab", ".", "://", "?password=", "&", "\n"]), max_size=12
)


@given(words.map("".join))
def test_redacting_cuts_out_what_the_plain_patterns_do(text: str) -> None:
    plain = text
    for pattern, instead in PLAIN.items():
        plain = re.sub(pattern, instead, plain)
    assert redact(text) == plain


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


def test_a_json_line_carries_the_ids_of_the_work_in_hand() -> None:
    with logging_to(LogFormat.JSON) as (logger, written):
        with log_ids(update=42, run=None), log_ids(quiz=7):
            logger.warning("not sent")
        logger.warning("idle")
    within, after = map(json.loads, written.getvalue().splitlines())
    assert set(within) - set(after) == {"update", "quiz"}
    assert (within["update"], within["quiz"]) == (42, 7)


def test_a_line_of_text_ends_with_the_ids_of_the_work_in_hand() -> None:
    with logging_to(LogFormat.TEXT) as (logger, written), log_ids(update=42, trace_id="4bf9", span_id="00f0"):
        logger.warning("not sent")
    assert written.getvalue().endswith(" not sent [update=42 trace_id=4bf9]\n")


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
