"""The command line: roles that run alone, and one clear line when they cannot."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from domain.settings import Settings
from tests.support.factories import TOKEN
from tests.support.pooler import environment_of
from tests.support.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[2]


async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run `python main.py` with nothing of this machine's settings, and return status, output and errors."""
    ours = {name.upper() for name in Settings.model_fields}
    clean = {name: value for name, value in os.environ.items() if name not in ours and "PREFECT" not in name}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "main.py"),
        *arguments,
        env=clean | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_SECONDS):
        output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def test_the_webhook_is_set_shown_and_deleted(telegram_url: str) -> None:
    known = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_BASE_URL": telegram_url,
        "WEBHOOK_URL": "https://quiz.example.org",
    }
    status, output, _ = await run("webhook", "set", **known)
    assert (status, output.splitlines()[0]) == (
        0,
        "webhook: https://quiz.example.org/telegram/webhook; updates that wait: 0",
    )
    assert "https://quiz.example.org/telegram/webhook" in (await run("webhook", "info", **known))[1]
    assert "webhook: none" in (await run("webhook", "delete", **known))[1]


async def test_init_makes_the_schema_and_loads_the_bank(database_url: str, bank_folder: Path) -> None:
    known = {"TELEGRAM_BOT_TOKEN": TOKEN, "QUESTION_BANK_DIR": str(bank_folder)}
    status, output, _ = await run("init", **environment_of(database_url), **known)
    assert (status, output) == (0, "applied: nothing, all there; 144 questions loaded\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["bot"], {}, "set DATABASE_URL, TELEGRAM_BOT_TOKEN, REDIS_URL, or run `python main.py`"),
        (["webhook", "set"], {"TELEGRAM_BOT_TOKEN": TOKEN}, "WEBHOOK_URL is not set"),
        (["webhook", "info"], {"TELEGRAM_BOT_TOKEN": "nonsense"}, "is not a bot token"),
        ([], {"QUIZ_TIMEZONE": "Mars/Olympus"}, "QUIZ_TIMEZONE: no such time zone: 'Mars/Olympus'"),
        (["flow"], {}, "start runs in the Prefect UI"),
        (["init"], {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "TELEGRAM_BOT_TOKEN": TOKEN}, "cannot be reached"),
    ],
)
async def test_what_is_wrong_is_one_line_and_no_traceback(
    arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    status, output, errors = await run(*arguments, **environment)
    assert (status, output) == (1, "")
    [line] = errors.splitlines()
    assert line.startswith("quiz: ")
    assert expected in line
    assert TOKEN not in line
