"""Hostile input for the webhook: a short run of what `make fuzz` does at length, and that its judge would notice."""

from __future__ import annotations

import io
import json
from collections import Counter

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from rich.console import Console

from bot.texts import COMMANDS
from dev.fuzz.__main__ import main, show
from dev.fuzz.client import BROKEN, ask
from dev.fuzz.inputs import SECRET, TAKEN, Input
from dev.fuzz.judge import Judge
from dev.fuzz.kinds import KINDS, make_input
from dev.fuzz.oracle import KNOWN_COMMANDS, Row, allowed_rows, is_button, may_be_kept
from dev.fuzz.run import Size, Talks, fuzz, served_app, shake
from dev.fuzz.updates import MARK, Crowd, Person, message, tap
from dev.fuzz.wire import TALKS, Talk, make_talk, talk
from domain.callbacks import Callback
from domain.settings import Settings
from roles.webhook import create_app, server_config
from roles.webhook_registration import PATH, SECRET_HEADER
from tests.support.factories import BOT_ID
from tests.support.serving import serving_as
from tests.support.strategies import callbacks

INPUTS = 2_500
TALKS_MADE = 250
PERSON = Person(4_711)


def silent(_: str) -> None:
    """Show no progress."""


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    """Return settings with the secret that inputs show."""
    secret = SecretStr(SECRET.decode())
    return settings.model_copy(update={"telegram_webhook_secret": secret, "telegram_rate_per_second": 1000.0})


# ---------------------------------------------------------------- the run


async def test_hostile_input_breaks_nothing_and_leaves_nothing_behind(guarded: Settings) -> None:
    judge = Judge()

    async def over_sockets() -> None:
        config = server_config(create_app(guarded), guarded)
        async with serving_as(config):
            await shake(config.port, Talks(TALKS_MADE), judge, silent)

    await fuzz(guarded, Size(INPUTS, learners=40), judge, silent, over_sockets)
    assert judge.findings == []
    assert judge.answers.total() == INPUTS + TALKS_MADE
    assert set(KINDS) < {kind for kind, _ in judge.answers}
    assert {status for _, status in judge.answers} >= {200, 400, 401, 413}
    assert judge.stored["sound"] == judge.answers["sound", TAKEN] > 0
    assert not any(judge.stored[kind] for kind in ("of no use", "truncated", "no JSON", "wrong secrets"))


def test_a_seed_and_a_number_name_an_input() -> None:
    one = [make_input(7, number, Crowd()) for number in range(200)]
    assert one == [make_input(7, number, Crowd()) for number in range(200)]
    assert one != [make_input(8, number, Crowd()) for number in range(200)]
    assert len({given.kind for given in one}) > len(KINDS) / 2
    assert make_talk(7, 3, "/", "S") == make_talk(7, 3, "/", "S")
    assert len({make_talk(7, number, "/", "S").kind for number in range(400)}) == len(TALKS)


def test_an_input_is_shown_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--show", "5"]) == 0
    assert f"kind={make_input(20261125, 5, Crowd()).kind!r}" in capsys.readouterr().out


# ---------------------------------------------------------------- what may be kept


@given(callbacks)
def test_every_button_may_be_kept(button: Callback) -> None:
    assert is_button(button.pack())


@pytest.mark.parametrize(
    "content",
    [
        "my name",
        MARK,
        "a:0:1",
        "a:1:5",
        "a:1:1 ",
        "z:Mars/Phobos",
        "o:-721",
        "h:24",
        "quiz ",
        "/quiz",
        "n\x00",
        "rq:1:",
    ],
)
def test_nothing_else_may_be_kept(content: str) -> None:
    assert not may_be_kept(content)


def test_commands_are_known_by_the_names_that_learners_see() -> None:
    assert {"start", *(name for name, _ in COMMANDS)} == KNOWN_COMMANDS


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_of_noise_nothing_may_be_kept(body: bytes) -> None:
    assert allowed_rows(body) == []


def test_of_a_text_no_word_may_be_kept() -> None:
    body = json.dumps({"update_id": 1, "message": message(PERSON, f"/help {MARK}", 2)}).encode()
    assert allowed_rows(body) == [(1, Row(PERSON.id, "command", "help", 2))]
    body = json.dumps({"update_id": 1, "callback_query": tap(PERSON, MARK, 2)}).encode()
    assert allowed_rows(body) == [(1, Row(PERSON.id, "tap", "", 1))]


# ---------------------------------------------------------------- the judge would notice


def sound(number: int) -> Input:
    """Return a sound command."""
    body = json.dumps({"update_id": number, "message": message(PERSON, "/help", 2)}).encode()
    return Input("sound", number, body, frozenset({TAKEN}), Row(PERSON.id, "command", "help", 2))


async def store(connection: asyncpg.Connection[asyncpg.Record], number: int, **fields: object) -> None:
    """Store what the service would, but for some fields."""
    row = {"learner_id": PERSON.id, "kind": "command", "content": "help", "message_id": 2, "state": "done"} | fields
    await connection.execute(
        "INSERT INTO updates (bot_id, update_id, learner_id, kind, content, message_id, state, error) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *(BOT_ID, number, row["learner_id"], row["kind"], row["content"], row["message_id"], row["state"]),
        row.get("error"),
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"content": "my street"}, "no command and no button's data"),
        ({"content": "stats"}, "where [Row("),
        ({"learner_id": 5}, "where [Row("),
        ({"kind": "text", "content": ""}, "instead of"),
        ({"content": f"<b>{MARK}"}, "keep somebody's name or words"),
        ({"state": "failed", "error": "x"}, "ended failed"),
        ({}, None),
    ],
)
async def test_what_must_not_be_stored_is_found(
    database_url: str, fields: dict[str, object], complaint: str | None
) -> None:
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    judge = Judge()
    judge.hear(sound(1), TAKEN, b"")
    await store(connection, 1, **fields)
    await judge.look_at_stored(connection)
    await judge.look_at_handled(connection)
    await connection.close()
    if complaint is None:
        assert judge.findings == []
    else:
        assert any(complaint in line for line in judge.findings), judge.findings


async def test_what_is_missing_is_found(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    judge = Judge()
    judge.hear(sound(1), TAKEN, b"")
    await judge.look_at_stored(connection)
    await connection.close()
    (line,) = judge.findings
    assert "is not stored" in line


@pytest.mark.parametrize(("status", "answer"), [(500, b""), (401, b""), (TAKEN, MARK.encode())])
def test_a_wrong_answer_is_found(status: int, answer: bytes) -> None:
    judge = Judge()
    judge.hear(sound(1), status, answer)
    assert len(judge.findings) == 1


async def test_an_exception_out_of_the_application_is_found(guarded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("roles.intake.accept_update", broken)
    async with served_app(guarded) as app:
        assert await ask(app, PATH, SECRET_HEADER, sound(1)) == (BROKEN, b"ZeroDivisionError: ")


async def test_a_head_that_never_ends_is_hung_up_on(guarded: Settings) -> None:
    config = server_config(create_app(guarded), guarded)
    endless = Talk("", (b"POST / HTTP/1.1\r\n", *[b"X: " + b"y" * 60_000 + b"\r\n"] * 40))
    async with serving_as(config):
        assert (await talk(config.port, endless)).hung_up
        short = Talk("", (b"POST / HTTP/1.1\r\n", b"X: y\r\n"))
        assert not (await talk(config.port, short)).hung_up


def test_the_table_counts_every_answer() -> None:
    judge = Judge(answers=Counter({("sound", TAKEN): 5, ("sound", 400): 2, ("sound", 503): 1}), stored=Counter(sound=4))
    console = Console(width=140, record=True, file=io.StringIO())
    show(console, judge)
    assert judge.row("sound") == judge.row(None) == [8, 4, 1, 2, 0, 0, 0, 0, 1]
    assert "sound" in console.export_text()
