"""`python main.py pause`, `resume` and `learner`, as operators run them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest

import main
from domain.errors import StartupError
from domain.ids import LearnerId
from domain.settings import Settings
from roles.control import commands
from tests.conftest import run_psql
from tests.integration.test_cli import run
from tests.support.factories import BOT_ID, TOKEN, some_id
from tests.support.pooler import environment_of
from tests.support.roles import environment_of as all_settings
from tests.support.service import Service


async def test_a_pause_is_begun_shown_and_ended(database_url: str, valkey_url: str) -> None:
    known = {**environment_of(database_url), "TELEGRAM_BOT_TOKEN": TOKEN, "REDIS_URL": valkey_url}
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="minutes")
    status, output, errors = await run("pause", "--reason", "a\nrelease", "--until", until, **known)
    assert (status, errors) == (0, "")
    assert output.startswith("all bots are paused since ")
    assert output.endswith(" UTC: a release\n")
    assert (await run("pause", "--bot", str(BOT_ID), **known))[1].count("\n") == 2
    document = json.loads((await run("status", "--json", **known))[1])
    assert [pause["bot_id"] for pause in document["rows"]["state"]["pauses"]] == [0, BOT_ID]
    assert "all bots are paused" in (await run("status", **known))[1]
    status, output, _ = await run("resume", **known)
    assert output.splitlines()[0] == "all bots are no longer paused"
    assert output.splitlines()[1].startswith(f"bot {BOT_ID} is paused since")
    assert (await run("resume", "--bot", str(BOT_ID), **known))[1] == f"bot {BOT_ID} is no longer paused\n"
    assert (await run("resume", **known))[1] == "all bots are not paused; nothing is changed\n"


async def test_a_bot_that_the_service_has_not_is_refused(database_url: str) -> None:
    known = {**environment_of(database_url), "TELEGRAM_BOT_TOKEN": TOKEN}
    status, _, errors = await run("pause", "--bot", "99", **known)
    assert (status, errors) == (1, f"quiz: The service cannot start: the service has no bot 99; it has {BOT_ID}\n")


async def test_a_database_that_an_upgrade_awaits_is_told_as_that(
    copy_template: Callable[[str], Awaitable[str]],
) -> None:
    url = await copy_template(f"not_upgraded_{some_id()}")
    run_psql(
        url,
        "INSERT INTO learners (id, bot_id, level, timezone, daily_at, next_daily_at) "
        "VALUES (7, 424242, 2, 'UTC', '09:00', now())",
        "DROP TABLE pauses CASCADE",
        "ALTER TABLE quizzes DROP COLUMN traceparent",
    )
    for command in ("pause", "resume", "learner show 7"):
        status, output, errors = await run(*command.split(), **environment_of(url))
        assert (status, output) == (1, "")
        [line] = errors.splitlines()
        assert "which `python main.py init` brings up to date" in line


@pytest.mark.parametrize(
    "arguments",
    [
        "pause --until 2020-01-01",
        "pause --until soon",
        "pause --until 9999-12-31T23:59-14:00",
        "learner show me",
        "pause --bot x",
        "pause --bot 9223372036854775808",
    ],
)
def test_what_makes_no_sense_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main._parse(arguments.split())  # noqa: SLF001 - the command line
    assert "error: argument" in capsys.readouterr().err


async def test_a_learner_is_shown_paused_and_erased(service: Service, settings: Settings) -> None:
    learner, known = await service.new_learner(), all_settings(settings)
    await learner.answer(await learner.get_question(), 0)
    await service.settled()
    repository = service.runtime.repository
    right = (await repository.get_activity(LearnerId(learner.id))).correct
    status, output, errors = await run("learner", "show", str(learner.id), **known)
    assert (status, errors) == (0, "")
    shown = {line[:14].strip(): line[14:].strip() for line in output.splitlines()}
    assert shown.pop("last activity").startswith(f"{datetime.now(UTC):%Y-}")
    assert shown == {
        "learner": str(learner.id),
        "bot": str(BOT_ID),
        "level": "Intermediate",
        "answers": f"1, {right} right",
        "streak": "1 day",
        "open quiz": "none",
        "paused": "no",
        "blocked": "no",
    }
    assert (await run("learner", "pause", str(learner.id), **known))[0] == 0
    assert "paused         yes, by /stop" in (await run("learner", "show", str(learner.id), **known))[1]

    status, _, errors = await run("learner", "erase", str(learner.id), **known)
    assert (status, errors) == (1, "quiz: The service cannot start: add --yes to erase without being asked\n")
    assert (await run("learner", "erase", str(learner.id), "--yes", **known))[1] == f"learner {learner.id} is erased\n"
    assert await repository.get_user_state(LearnerId(learner.id)) is None
    status, _, errors = await run("learner", "show", str(learner.id), **known)
    assert (status, errors) == (1, f"quiz: There is no such learner: {learner.id}\n")


@pytest.mark.parametrize(("word", "expected"), [("y", True), ("yes", True), ("", False), ("n", False)])
def test_at_a_terminal_erasing_asks_first(word: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: word)
    assert commands._confirm(LearnerId(7)) is expected  # noqa: SLF001 - a terminal cannot be had here
    monkeypatch.setattr("builtins.input", Mock(side_effect=EOFError))
    assert not commands._confirm(LearnerId(7))  # noqa: SLF001 - as above
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(StartupError):
        commands._confirm(LearnerId(7))  # noqa: SLF001 - as above
