"""Where questions come from: a model that answers well, and the bank whenever it does not."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from domain.catalog import Level, QuestionSource, Topic
from domain.errors import GenerationError, StorageUnavailableError
from domain.ids import LearnerId
from domain.models import Learner, Question
from domain.settings import Settings
from local import servers
from quiz_generator import QuestionGenerator, StaticSource, make_generator, question_columns, sync_bank
from repository import Repository
from tests.factories import make_bank_question, make_learner, make_question
from tests.llm_server import LlmServer, Reply, as_json, completion, failure, serve_llm, written_question
from tests.unit.test_question_format import GOOD, write

DEADLINE = 0.8
KEY = "sk-test-0123456789abcdef"


@pytest.fixture
async def llm() -> AsyncIterator[LlmServer]:
    """Yield a language model of our own."""
    async with serve_llm() as server:
        yield server


@pytest.fixture
def generator(llm: LlmServer, shared_repository: Repository) -> QuestionGenerator:
    """Return a generator that the settings make: the model first, then the bank."""
    settings = Settings(
        _env_file=None, openai_api_key=SecretStr(KEY), openai_base_url=llm.url, openai_timeout_seconds=DEADLINE
    )
    return make_generator(shared_repository, settings)


async def draw(generator: QuestionGenerator, learner: Learner | None = None) -> Question:
    """Return the question that one learner gets: a beginner, for whom no model has written, unless told otherwise."""
    learner = learner or make_learner(level=Level.BEGINNER)
    drawn = await generator.generate([learner])
    assert set(drawn) == {learner.id}
    return drawn[learner.id]


def unique_question(**changes: object) -> dict[str, object]:
    """Return a written question unlike any that was stored before."""
    return written_question(explanation=make_question().explanation, **changes)


# ---------------------------------------------------------------- the order of sources


class Source:
    """A source that draws for some learners, or fails."""

    name = QuestionSource.COMPUTED

    def __init__(self, learner_ids: set[LearnerId], error: Exception | None = None) -> None:
        """Take for whom it draws."""
        self.question = make_question()
        self.asked: list[list[LearnerId]] = []
        self._learner_ids = learner_ids
        self._error = error

    async def draw(self, learners: Sequence[Learner]) -> Mapping[LearnerId, Question]:
        """Draw the same question for all that it knows."""
        self.asked.append([learner.id for learner in learners])
        if self._error:
            raise self._error
        return {learner.id: self.question for learner in learners if learner.id in self._learner_ids}


async def test_a_source_is_asked_only_for_those_whom_no_earlier_one_served() -> None:
    one, two, three = (make_learner() for _ in range(3))
    first, second = Source({one.id}), Source({one.id, two.id})
    drawn = await QuestionGenerator([first, second]).generate([one, two, three])
    assert drawn == {one.id: first.question, two.id: second.question}
    assert (first.asked, second.asked) == ([[one.id, two.id, three.id]], [[two.id, three.id]])


async def test_a_later_source_is_not_asked_when_all_are_served() -> None:
    learner = make_learner()
    first, second = Source({learner.id}), Source({learner.id})
    await QuestionGenerator([first, second]).generate([learner])
    assert second.asked == []


async def test_a_source_that_fails_is_named_in_the_log_and_the_next_serves(caplog: pytest.LogCaptureFixture) -> None:
    learner = make_learner()
    last = Source({learner.id})
    with caplog.at_level(logging.WARNING):
        drawn = await QuestionGenerator([Source(set(), GenerationError("out of ideas")), last]).generate([learner])
    assert drawn == {learner.id: last.question}
    assert "computed questions are not to be had, the next source serves" in caplog.text
    assert "out of ideas" in caplog.text


async def test_a_database_that_is_away_is_no_reason_to_go_on() -> None:
    last = Source(set())
    with pytest.raises(StorageUnavailableError):
        await QuestionGenerator([Source(set(), StorageUnavailableError()), last]).generate([make_learner()])
    assert last.asked == []


async def test_nobody_asks_for_nothing() -> None:
    source = Source(set())
    assert await QuestionGenerator([source]).generate([]) == {}
    assert source.asked == []


# ---------------------------------------------------------------- the bank


async def test_the_bank_serves_each_learner_their_level_and_topics(shared_repository: Repository) -> None:
    learners = [make_learner(level=level, topics=(Topic.STREAMING, Topic.DATA_QUALITY)) for level in Level]
    drawn = await StaticSource(shared_repository).draw(learners)
    for learner in learners:
        assert drawn[learner.id].level is learner.level
        assert drawn[learner.id].topic in learner.topics


async def test_without_a_key_no_model_is_asked(llm: LlmServer, shared_repository: Repository) -> None:
    llm.answer(completion(json.dumps(written_question())))
    settings = Settings(_env_file=None, openai_base_url=llm.url)
    assert (await draw(make_generator(shared_repository, settings))).source is QuestionSource.STATIC
    assert llm.requests == []


# ---------------------------------------------------------------- a model that answers well


async def test_a_good_answer_is_stored_and_served(
    llm: LlmServer, generator: QuestionGenerator, shared_repository: Repository
) -> None:
    written = unique_question(code="SELECT 1;", language="sql")
    llm.answer(completion(json.dumps(written)))
    learner = make_learner(level=Level.EXPERT, topics=(Topic.STREAMING,))
    question = await draw(generator, learner)
    assert (question.source, question.level, question.topic) == (QuestionSource.LLM, Level.EXPERT, Topic.STREAMING)
    assert (question.prompt, question.code, question.explanation) == (
        written["prompt"],
        "SELECT 1;",
        written["explanation"],
    )
    assert [option.text for option in question.options] == [
        "3 partitions",
        "6 partitions",
        "9 partitions",
        "12 partitions",
    ]
    assert question.options[question.correct_index].text == "6 partitions"
    assert await shared_repository.get_question(question.key) == question


async def test_the_same_answer_twice_is_one_question(llm: LlmServer, generator: QuestionGenerator) -> None:
    llm.answer(completion(json.dumps(unique_question())))
    learner = make_learner()
    first, second = await draw(generator, learner), await draw(generator, learner)
    assert first == second
    assert first.source is QuestionSource.LLM


async def test_the_model_is_told_topic_level_and_form(llm: LlmServer, generator: QuestionGenerator) -> None:
    llm.answer(completion(json.dumps(unique_question())))
    await draw(generator, make_learner(level=Level.ADVANCED, topics=(Topic.DATA_QUALITY,)))
    (request,) = llm.requests
    assert request["model"] == "gpt-5-mini"
    assert request["response_format"]["type"] == "json_schema"
    assert request["response_format"]["json_schema"]["strict"] is True
    assert "Topic: Data quality. Level: Advanced" in request["messages"][-1]["content"]
    assert llm.authorizations == [f"Bearer {KEY}"]


async def test_nothing_about_the_learner_is_told_to_the_model(llm: LlmServer, generator: QuestionGenerator) -> None:
    llm.answer(completion(json.dumps(unique_question())))
    learner = make_learner(timezone="Asia/Kathmandu")
    await draw(generator, learner)
    assert str(learner.id) not in json.dumps(llm.requests)
    assert "Kathmandu" not in json.dumps(llm.requests)


async def test_topics_take_turns(llm: LlmServer, generator: QuestionGenerator) -> None:
    llm.answer(completion(json.dumps(unique_question())))
    topics = (Topic.STREAMING, Topic.DATA_QUALITY)
    for version in range(3):
        await draw(generator, make_learner(topics=topics, version=version))
    asked = [request["messages"][-1]["content"].split(".")[0] for request in llm.requests]
    assert asked == ["Topic: Streaming", "Topic: Data quality", "Topic: Streaming"]


async def test_a_crowd_is_served_from_the_bank(llm: LlmServer, generator: QuestionGenerator) -> None:
    llm.answer(completion(json.dumps(written_question())))
    drawn = await generator.generate([make_learner(level=Level.BEGINNER) for _ in range(2)])
    assert {question.source for question in drawn.values()} == {QuestionSource.STATIC}
    assert llm.requests == []


async def test_a_failure_that_passes_is_tried_once_more(llm: LlmServer, shared_repository: Repository) -> None:
    llm.answer(failure(500), completion(json.dumps(unique_question())))
    settings = Settings(_env_file=None, openai_api_key=SecretStr(KEY), openai_base_url=llm.url)
    generator = make_generator(shared_repository, settings)
    assert (await draw(generator, make_learner(level=Level.EXPERT))).source is QuestionSource.LLM
    assert len(llm.requests) == 2


# ---------------------------------------------------------------- a model that does not

TWO_RIGHT = [{"text": f"option {place}", "why": "So.", "correct": place < 2} for place in range(4)]
ALL_OF_THEM = [{"text": text, "why": "So.", "correct": text == "a"} for text in ("a", "b", "c", "all of the above")]

BAD: dict[str, Reply] = {
    "no JSON": completion("Here is your question: what is a partition?"),
    "half of the JSON": completion('{"prompt": "Which'),
    "cut off by the limit": completion('{"prompt": "Which', finish="length"),
    "stopped by a filter": completion(None, finish="content_filter"),
    "other JSON": completion('{"question": "Which?"}'),
    "a list": completion("[]"),
    "nothing": completion(""),
    "null": completion(None),
    "a refusal": completion(None, refusal="I cannot help with that."),
    "two right options": completion(json.dumps(written_question(options=TWO_RIGHT))),
    "three options": completion(json.dumps(written_question(options=TWO_RIGHT[1:]))),
    "all of the above": completion(json.dumps(written_question(options=ALL_OF_THEM))),
    "a prompt too long": completion(json.dumps(written_question(prompt="x" * 421))),
    "code too wide": completion(json.dumps(written_question(code="x" * 47, language="sql"))),
    "a reference without https": completion(json.dumps(written_question(reference_url="http://example.org"))),
    "a character that Postgres cannot keep": completion(json.dumps(written_question(prompt="a\x00b"))),
    "such a character in an option": completion(
        json.dumps(written_question(options=[option | {"why": "\x00"} for option in TWO_RIGHT[1:]] + [ALL_OF_THEM[1]]))
    ),
    "no choices": as_json({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}),
    "choices that are null": as_json(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": None}
    ),
    "a choice without a message": as_json(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{}]}
    ),
    "another object": as_json({"hello": "world"}),
    "a body that is no JSON": Reply(b"{", 200),
    "a page instead": Reply(b"<html>Please sign in</html>", 200, "text/html"),
    "an empty body": Reply(b"", 200),
    "a key that is wrong": failure(401, f"Incorrect API key provided: {KEY}"),
    "a model that is unknown": failure(404),
    "too many requests": failure(429),
    "no money left": failure(429, "You exceeded your current quota"),
    "a server that fails": failure(500),
    "a gateway that fails": Reply(b"Bad Gateway", 502, "text/plain"),
    "a server that hangs": Reply(b"", delay=30),
}


@pytest.mark.parametrize("kind", sorted(BAD))
async def test_the_bank_serves_when_the_model_does_not(
    kind: str, llm: LlmServer, generator: QuestionGenerator, caplog: pytest.LogCaptureFixture
) -> None:
    llm.answer(BAD[kind])
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        question = await draw(generator)
    assert question.source is QuestionSource.STATIC
    assert time.monotonic() - began < DEADLINE + 1.5
    assert "llm questions are not to be had" in caplog.text
    assert KEY not in caplog.text
    assert llm.requests


async def test_the_bank_serves_when_nobody_listens(shared_repository: Repository) -> None:
    address = f"http://127.0.0.1:{servers.free_port()}/v1"
    settings = Settings(
        _env_file=None, openai_api_key=SecretStr(KEY), openai_base_url=address, openai_timeout_seconds=DEADLINE
    )
    assert (await draw(make_generator(shared_repository, settings))).source is QuestionSource.STATIC


# ---------------------------------------------------------------- the bank's files and the database


async def test_a_question_that_left_the_files_is_asked_no_more_and_may_come_back(
    repository: Repository, tmp_path: Path
) -> None:
    two = GOOD + GOOD[GOOD.index("  - id") :].replace("stream-one", "stream-two")
    await repository.sync_static_questions({}, ())
    write(tmp_path, two)
    await sync_bank(repository, tmp_path)
    assert await repository.count_questions() == {(Topic.STREAMING, Level.INTERMEDIATE): 2}
    write(tmp_path, GOOD)
    await sync_bank(repository, tmp_path)
    assert await repository.count_questions() == {(Topic.STREAMING, Level.INTERMEDIATE): 1}
    assert await repository.get_question("stream-two") is not None
    write(tmp_path, two)
    await sync_bank(repository, tmp_path)
    assert await repository.count_questions() == {(Topic.STREAMING, Level.INTERMEDIATE): 2}


async def test_a_wrong_file_is_named_and_its_stored_questions_stay(
    repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, GOOD)
    await sync_bank(repository, tmp_path)
    write(tmp_path, GOOD.replace("level: 2", "level: 7"))
    bank = await sync_bank(repository, tmp_path)
    assert len(bank.problems) == 1
    assert "streaming/2-intermediate.yaml:4: stream-one: level" in caplog.text
    assert (await repository.count_questions())[Topic.STREAMING, Level.INTERMEDIATE] == 1


async def test_a_changed_question_keeps_its_id(shared_repository: Repository) -> None:
    question = make_bank_question()
    await shared_repository.store_question(question_columns(question, Topic.STREAMING, QuestionSource.COMPUTED))
    before = await shared_repository.get_question(question.id)
    changed = question.model_copy(update={"explanation": "Otherwise."})
    await shared_repository.store_question(question_columns(changed, Topic.STREAMING, QuestionSource.COMPUTED))
    after = await shared_repository.get_question(question.id)
    assert before
    assert after
    assert (after.id, after.explanation) == (before.id, "Otherwise.")


async def test_storing_the_same_question_again_is_told(shared_repository: Repository) -> None:
    columns = question_columns(make_bank_question(), Topic.STREAMING, QuestionSource.COMPUTED)
    assert await shared_repository.store_question(columns) is not None
    assert await shared_repository.store_question(columns) is None
