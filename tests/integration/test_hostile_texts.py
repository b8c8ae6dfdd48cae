"""HTML and SQL in every text that a learner or a bank's file can supply: all of it is shown as text, or not kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from pydantic import ValidationError

from dev.fuzz.kinds import NASTY_TEXTS
from dev.tools.seed_schema import literal
from domain.catalog import Topic
from domain.settings import Settings
from local import servers
from question_bank.format import MAX_CODE_COLUMNS, MAX_OPTION, BankQuestion, Option, Reference
from question_sources.bank_sync import sync_bank
from tests.support.factories import make_bank_question, some_id
from tests.support.service import Learner, Message, Service, running_service

OURS = {"bold", "strikethrough", "code", "pre", "blockquote", "expandable_blockquote", "text_link"}
"""Kinds of markup that the bot makes."""

TABLES = ("learners", "quizzes", "answers", "questions", "updates")


def hostile_question(nasty: str, number: int) -> BankQuestion | None:
    """Return a question that says something nasty wherever it may; None if the bank's own rules refuse it."""
    code = "\n".join(line[:MAX_CODE_COLUMNS] for line in nasty.splitlines()) or "x"
    try:
        return make_bank_question(
            id=f"nasty-{number}",
            prompt=f"Which {number}? {nasty}",
            code=f"-- {number}\n{code}",
            language="sql",
            options=[
                Option(text=f"{place} {nasty}"[:MAX_OPTION], why=f"{nasty} {place}", correct=place == 0)
                for place in range(4)
            ],
            explanation=f"{nasty}!",
            reference=Reference(title=f"Book {nasty}", url="https://example.org/?a=%22&b=<b>'\"--"),
        )
    except ValidationError:
        return None


QUESTIONS = [question for number, nasty in enumerate(NASTY_TEXTS) if (question := hostile_question(nasty, number))]


def test_most_of_what_is_nasty_is_allowed_in_a_bank() -> None:
    """Else the tests below would show nothing: only characters that steer something are refused."""
    refused = [nasty for number, nasty in enumerate(NASTY_TEXTS) if hostile_question(nasty, number) is None]
    assert len(QUESTIONS) >= len(NASTY_TEXTS) - 6
    assert {"\x1b[2J", "\u202e\u2066", "\u0000"} <= set(refused)


@pytest.fixture
def hostile_bank(tmp_path: Path) -> Path:
    """Return the folder of a bank in which every text is hostile."""
    topic = tmp_path / "bank" / Topic.STREAMING
    topic.mkdir(parents=True)
    document = {"topic": "streaming", "questions": [question.model_dump(mode="json") for question in QUESTIONS]}
    (topic / "all.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    return tmp_path / "bank"


async def named_learner(service: Service, name: str) -> Learner:
    """Return somebody with a name of their choice, who has pressed START."""
    reply = await service.telegram.post("/api/learners", json={"id": some_id(), "first_name": name})
    learner = Learner(service.telegram, reply.json()["id"])
    await learner.ask(f"/start {name}", "Welcome")
    return learner


def plain(text: str) -> str:
    """Return a text as a message shows it: blanks joined, and no backticks around words."""
    return " ".join(text.split()).replace("`", "")


def assert_shown(message: Message, *texts: str) -> None:
    """Check that a message shows texts as they are, and that none of them became markup."""
    shown = " ".join(message["text"].split()).replace("`", "")
    for text in texts:
        assert plain(text) in shown
    for entity in message.get("entities", []):
        assert entity["type"] in OURS
        if entity["type"] == "text_link":
            assert entity["url"].startswith("https://example.org/")


async def count_rows(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, int]:
    """Return how many rows each table has."""
    return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}  # noqa: S608


async def test_a_hostile_bank_is_asked_and_explained_word_by_word(
    settings: Settings, hostile_bank: Path, database_url: str
) -> None:
    settings = settings.model_copy(update={"question_bank_dir": hostile_bank})
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    async with running_service(settings, servers.free_port()) as service:
        await sync_bank(service.runtime.repository, hostile_bank)
        learner = await named_learner(service, "'; DROP TABLE learners; --<b>")
        met: set[str] = set()
        for _ in range(5 * len(QUESTIONS)):
            if len(met) == len(QUESTIONS):
                break
            asked = await learner.get_question()
            told = await learner.answer(asked, 1)
            for question in QUESTIONS:  # computed ones come in between
                if plain(question.prompt) in plain(asked["text"]):
                    assert_shown(asked, question.code or "", *(option.text for option in question.options))
                    assert_shown(told, question.explanation, question.reference.title)
                    assert_shown(told, *(option.why for option in question.options))
                    met.add(question.id)
        assert len(met) == len(QUESTIONS)
        export = await learner.ask("/export", "Everything that is stored")
        reply = await service.telegram.get(f"/api/files/{export['document']['file_id']}")
        assert len(json.loads(reply.content)["answers"]) >= len(QUESTIONS)
        await service.settled()
    rows = await count_rows(connection)
    assert rows["learners"] == 1
    assert rows["quizzes"] == rows["answers"] >= len(QUESTIONS)
    await connection.close()


async def test_nothing_that_a_learner_calls_themselves_or_writes_comes_back(
    service: Service, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    learners = []
    for number, nasty in enumerate(NASTY_TEXTS):
        learner = await named_learner(service, f"Zq{number}x{nasty}")
        await learner.ask(f"Zq{number}x {nasty}", "I only understand")
        await learner.ask(f"/help Zq{number}x {nasty}", "How it works")
        question = await learner.get_question()
        await learner.forge(question, f"Zq{number}x{nasty}"[:60])
        learners.append(learner)
    await service.settled()
    for number, learner in enumerate(learners):
        replies = [message for message in await learner.messages() if not message["out"]]
        assert f"Zq{number}x" not in json.dumps([message.get("text") for message in replies])
    dump = [await connection.fetch(f"SELECT t::text FROM {table} AS t") for table in TABLES]  # noqa: S608
    assert "Zq" not in str(dump)
    assert (await count_rows(connection))["learners"] == len(NASTY_TEXTS)
    await connection.close()


async def test_the_seed_quotes_whatever_stands_in_a_bank(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    awkward = ("\\", "\\'", "'", "''", "E'\\x'", "$q$", "/*", "--\n", ":x", "?", "NULL", "{}", "")
    texts = [text for text in (*NASTY_TEXTS, *awkward) if "\x00" not in text]
    row: Any = await connection.fetchrow(f"SELECT {literal(texts)} AS texts, {literal(texts[0])} AS one")
    assert (row["texts"], row["one"]) == (texts, texts[0])
    await connection.close()
