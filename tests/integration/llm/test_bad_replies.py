"""Whatever a model or its server sends, the learner gets a quiz, the row says why, and no log shows the key."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from domain.catalog import QuestionSource, Topic
from domain.settings import Settings
from local import servers
from observability.logs import QUIET
from question_sources.llm.client import PROMPT_TOKENS
from quiz_generator import make_generator
from repository import Repository
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import KEY, LEVEL, Desk, content, executed_question, fresh_question
from tests.support.factories import make_learner
from tests.support.llm_server import Json, LlmServer, Reply, as_json, completion, failure, written_question
from tests.support.waiting import WAIT_SECONDS

SECONDS = 3.0


def options(*texts: str, right: int = 1, **changes: object) -> list[Json]:
    """Return options, of which the first so many are marked as right."""
    return [
        {"text": text, "why": "So.", "correct": place < right, "value": None} | changes
        for place, text in enumerate(texts)
    ]


def asked(**changes: object) -> Reply:
    """Return a completion with a question that breaks a rule."""
    return content(written_question(**changes))


def envelope(**changes: object) -> Reply:
    """Return a response that is not quite a completion."""
    return as_json({"id": "x", "object": "chat.completion", "created": 1, "model": "m"} | changes)


def used(usage: object) -> Reply:
    """Return a good question whose response says something odd about what it used."""
    reply = json.loads(content(fresh_question()).body)
    return as_json(reply | {"usage": usage})


BAD: dict[str, tuple[Reply, str]] = {
    "no JSON": (completion("Here is your question: what is a partition?"), "malformed"),
    "half of the JSON": (completion('{"prompt": "Which'), "malformed"),
    "cut off by the limit": (completion('{"prompt": "Which', finish="length"), "truncated"),
    "stopped by a filter": (completion(None, finish="content_filter"), "filtered"),
    "other JSON": (completion('{"question": "Which?"}'), "malformed"),
    "a list": (completion("[]"), "malformed"),
    "a number": (completion("7"), "malformed"),
    "nothing": (completion(""), "malformed"),
    "null": (completion(None), "malformed"),
    "a refusal": (completion(None, refusal="I cannot help with that."), "refused"),
    "two right options": (asked(options=options("a", "b", "c", "d", right=2)), "schema: options needs exactly one"),
    "no right option": (asked(options=options("a", "b", "c", "d", right=0)), "schema: options needs exactly one"),
    "three options": (asked(options=options("a", "b", "c")), "schema: options needs 4 options, has 3"),
    "no options": (asked(options=[]), "schema: options needs 4 options, has 0"),
    "options that say the same": (asked(options=options("a", "b", "B ", "c")), "schema: options two options say"),
    "an empty option": (asked(options=options("a", "b", " ", "c")), "schema: options.2.text"),
    "all of the above": (asked(options=options("a", "b", "c", "all of the above")), "schema: options options are"),
    "an option too long": (asked(options=options("a", "b", "c", "d" * 141)), "schema: options.3.text"),
    "two values alike": (
        content(executed_question("duckdb", "SELECT 1", ("1", "2", "2", "3"))),
        "schema:  two options stand for the same value",
    ),
    "no prompt": (asked(prompt=" "), "schema: prompt"),
    "a prompt too long": (asked(prompt="x" * 421), "schema: prompt"),
    "an explanation too long": (asked(explanation="x" * 421), "schema: explanation"),
    "code too wide": (asked(code="x" * 43, language="sql"), "schema: code code line 1 has 43 columns"),
    "code too long": (asked(code="x\n" * 21, language="sql"), "schema: code code has 21 lines"),
    "code of no language": (asked(code="x"), "schema:  code needs `language`"),
    "a reference without https": (asked(reference_url="http://example.org"), "schema: reference.url"),
    "tags in capitals": (asked(tags=["Kafka"]), "schema: tags.0"),
    "no tags": (asked(tags=[]), "schema: tags"),
    "an engine that we have not": (asked(engine="spark", code="x", language="sql"), "malformed"),
    "a character that Postgres cannot keep": (asked(prompt="a\x00b"), "schema: a character that cannot be stored"),
    "such a character in an option": (
        asked(options=options("a", "b", "c", "d", why="\x00")),
        "schema: a character that cannot be stored",
    ),
    "such a character in what is executed": (
        content(executed_question("python", "print(2)", ("2", "3", "1", "0"), setup="#\x00")),
        "schema: a character that cannot be stored",
    ),
    "half of a character": (completion(json.dumps(written_question(prompt="a\ud800b"))), "malformed"),
    "no choices": (envelope(choices=[]), "malformed"),
    "choices that are null": (envelope(choices=None), "malformed"),
    "a choice without a message": (envelope(choices=[{}]), "malformed"),
    "a choice that is text": (envelope(choices=["yes"]), "malformed"),
    "another object": (as_json({"hello": "world"}), "malformed"),
    "a list of objects": (as_json([]), "malformed"),
    "a body that is no JSON": (Reply(b"{", 200), "malformed"),
    "a body that never closes its brackets": (Reply(b"[" * 200_000, 200), "malformed"),
    "a page instead": (Reply(b"<html>Please sign in</html>", 200, "text/html"), "malformed"),
    "an empty body": (Reply(b"", 200), "malformed"),
    "half of a body": (Reply(content(fresh_question()).body, cut=True), "unreachable"),
    "a key that is wrong": (failure(401, f"Incorrect API key provided: {KEY}"), "http_401"),
    "a form that is not supported": (failure(400, "response_format is not supported"), "http_400"),
    "a model that is unknown": (failure(404), "http_404"),
    "too many requests": (failure(429), "rate_limited"),
    "no money left": (failure(429, "You exceeded your current quota"), "rate_limited"),
    "a server that fails": (failure(500), "http_500"),
    "a gateway that fails": (Reply(b"Bad Gateway", 502, "text/plain"), "http_502"),
    "a server that hangs": (Reply(b"", delay=30), "timeout"),
    "a server that drips": (replace(content(fresh_question()), drip=0.05), "timeout"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
async def test_a_bad_reply_costs_no_learner_their_quiz(
    kind: str, new_desk: NewDesk, caplog: pytest.LogCaptureFixture
) -> None:
    reply, reason = BAD[kind]
    seconds = SECONDS if reason == "timeout" else WAIT_SECONDS
    desk = new_desk(openai_timeout_seconds=seconds, openai_live_seconds=WAIT_SECONDS)
    desk.llm.answer(reply)
    generator = make_generator(desk.repository, desk.settings, desk.redis)
    learner = make_learner(level=LEVEL, topics=(Topic.STREAMING,), version=1)  # whose turn it is for the model
    with caplog.at_level(logging.DEBUG):
        drawn = await generator.generate([learner], live=True)
    await generator.close()
    assert drawn[learner.id].source is QuestionSource.STATIC
    (row,) = await desk.rows()
    assert row["outcome"] == "failed"
    assert row["reason"].startswith(reason), row["reason"]
    assert row["key"] is None
    assert await desk.reaches_nobody()
    assert set(desk.llm.authorizations) == {f"Bearer {KEY}"}
    logged = [record for record in caplog.records if record.name.split(".")[0] not in QUIET or record.levelno > 20]
    assert KEY not in "".join(f"{record.getMessage()} {record.exc_info}" for record in logged)
    assert KEY not in row["reason"]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None},
        {"prompt_tokens": "many", "completion_tokens": "few", "total_tokens": "all"},
        {"prompt_tokens": -1, "completion_tokens": -1, "total_tokens": -2},
        {"prompt_tokens": 10**30, "completion_tokens": 1, "total_tokens": 10**30},
        "plenty",
    ],
)
async def test_whoever_does_not_say_what_was_used_is_taken_to_have_used_all_that_was_reserved(
    desk: Desk, usage: object
) -> None:
    reply = used(usage)
    question = json.loads(json.loads(reply.body)["choices"][0]["message"]["content"])
    desk.llm.answer(replace(reply, right_option=question["options"][1]["text"]))
    made = await desk.make()
    (row,) = await desk.rows()
    assert (row["outcome"], row["calls"]) == ("accepted", 4)
    assert row["completion_tokens"] == 8000 + 3 * 400
    assert row["prompt_tokens"] == PROMPT_TOKENS + 3 * 300
    assert row["cost"] == made.spending.cost <= desk.source._client.highest_cost  # noqa: SLF001 - what was reserved


async def test_the_bank_serves_when_nobody_listens(repository: Repository, redis: Redis, settings: Settings) -> None:
    address = f"http://127.0.0.1:{servers.free_port()}/v1"
    generator = make_generator(repository, settings.model_copy(update={"openai_base_url": address}), redis)
    learner = make_learner(version=1)
    drawn = await generator.generate([learner], live=True)
    await generator.close()
    assert drawn[learner.id].source is QuestionSource.STATIC
    (row,) = await repository.database._pool.fetch("SELECT * FROM generations")  # noqa: SLF001 - a look
    assert (row["outcome"], row["reason"], row["cost"]) == ("failed", "unreachable", 0)


async def test_without_a_key_no_model_is_asked(
    llm: LlmServer, repository: Repository, redis: Redis, settings: Settings
) -> None:
    for change in ({"openai_api_key": None}, {"openai_api_key": SecretStr("")}):
        generator = make_generator(repository, settings.model_copy(update=change), redis)
        assert generator.llm is None
        assert len(await generator.generate([make_learner(version=1)], live=True)) == 1
    assert make_generator(repository, settings).llm is None
    assert llm.requests == []


async def test_a_request_has_a_deadline_even_if_the_server_never_falls_silent(new_desk: NewDesk) -> None:
    desk = new_desk(openai_timeout_seconds=SECONDS)
    desk.llm.answer(BAD["a server that drips"][0])
    assert (await desk.make()).reason == "timeout"
