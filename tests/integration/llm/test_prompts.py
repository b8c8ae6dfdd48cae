"""What the model is told: enough to write a good question, nothing about anybody, and never too much to pay for."""

from __future__ import annotations

import json
from itertools import product

import pytest

from domain.catalog import Level, Topic
from domain.models import StoredOption, StoredQuestion
from domain.settings import Settings
from question_bank.format import (
    MAX_CODE_COLUMNS,
    MAX_CODE_LINES,
    MAX_EXPLANATION,
    MAX_OPTION,
    MAX_PROMPT,
    MAX_WHY,
    Check,
    Option,
)
from question_bank.loader import load_bank
from question_bank.style import PROMPT_LENGTH, READING_LOAD
from question_sources.llm.prompts import (
    BLIND_INSTRUCTIONS,
    INSTRUCTIONS,
    MAX_PROMPT_CHARACTERS,
    PYTHON_MODULES,
    Brief,
    blind,
    request,
)
from sandbox.python import run_python
from sandbox.results import Printed, Unsupported
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import Desk, fresh_question
from tests.support.classroom import Classroom
from tests.support.factories import make_bank_question, make_question
from tests.support.llm_server import written

TAG = "x" * 64


def longest_question() -> StoredQuestion:
    """Return a stored question that uses every limit of the bank."""
    return make_question(
        prompt="p" * MAX_PROMPT,
        code="\n".join(["c" * MAX_CODE_COLUMNS] * MAX_CODE_LINES),
        language="sql",
        options=tuple(StoredOption(f"{place}" * MAX_OPTION, "w" * MAX_WHY) for place in range(4)),
        explanation="e" * (MAX_EXPLANATION - 1) + "!",
    )


def test_a_request_states_topic_level_misses_and_examples() -> None:
    example = make_question(code="SELECT 1", correct_index=2)
    text = request(Brief(Topic.DATA_QUALITY, Level.EXPERT, ["null-checks", "freshness"], [example]))
    assert "Topic: Data quality." in text
    assert "Level: Expert, for someone who knows internals and trade-offs that fewer than half" in text
    assert "got wrong: null-checks, freshness." in text
    for shown in (example.prompt, "SELECT 1", "- option 2 (correct)", "- option 1\n", example.explanation):
        assert shown in text


@pytest.mark.parametrize(("topic", "level"), list(product(Topic, Level)))
def test_each_topic_and_level_is_asked_for_in_words_of_its_own(topic: Topic, level: Level) -> None:
    text = request(Brief(topic, level))
    assert topic.label in text
    assert level.label in text
    assert f"`prompt` {PROMPT_LENGTH[level]}," in text
    assert f"at most {READING_LOAD[level]} together" in text
    assert "got wrong" not in text
    assert len({request(Brief(topic, other)) for other in Level}) == len(Level)


def test_the_style_and_every_limit_are_stated() -> None:
    limits = (MAX_OPTION, MAX_WHY, MAX_EXPLANATION, MAX_CODE_LINES, MAX_CODE_COLUMNS)
    assert all(str(limit) in INSTRUCTIONS for limit in limits)
    assert "practical before trivia" in INSTRUCTIONS
    assert "Learners never see `setup`" in INSTRUCTIONS


def test_the_longest_request_is_not_cut() -> None:
    examples = [longest_question(), longest_question()]
    text = request(Brief(Topic.DATA_WAREHOUSE_LAKEHOUSE, Level.INTERMEDIATE, [TAG] * 5, examples))
    assert len(INSTRUCTIONS) + len(text) < MAX_PROMPT_CHARACTERS
    assert text.endswith("e!")


def test_the_longest_questions_of_the_bank_fit() -> None:
    located = load_bank(Settings(_env_file=None).question_bank_dir).questions
    assert len(located) > 400
    sizes: dict[tuple[Topic, Level], list[int]] = {}
    for one in located:
        question = one.question
        stored = make_question(
            prompt=question.prompt,
            code=question.code,
            options=tuple(StoredOption(option.text, option.why) for option in question.options),
            explanation=question.explanation,
        )
        size = len(request(Brief(one.topic, question.level, [TAG] * 5, [stored, stored])))
        sizes.setdefault((one.topic, question.level), []).append(size)
    assert max(max(some) for some in sizes.values()) + len(INSTRUCTIONS) < MAX_PROMPT_CHARACTERS


def test_whoever_answers_blind_sees_what_a_learner_sees() -> None:
    question = make_bank_question(
        code="SELECT count(*) FROM hidden",
        language="sql",
        check=Check(engine="duckdb", setup="CREATE TABLE hidden (a INT)"),
        options=[Option(text=text, why="because", correct=text == "c", value=text * 2) for text in "abcd"],
        explanation="Therefore.",
    )
    text = blind(question, [2, 0, 3, 1])
    assert text.endswith("sql:\nSELECT count(*) FROM hidden\n\nA. c\nB. a\nC. d\nD. b")
    for hidden in ("CREATE TABLE", "because", "Therefore.", "cc", "correct", question.id):
        assert hidden not in text


def test_the_longest_blind_question_is_not_cut() -> None:
    options = [Option(text=f"{n}" * MAX_OPTION, why="w", correct=n == 0) for n in range(4)]
    lines = "\n".join(["c" * MAX_CODE_COLUMNS] * MAX_CODE_LINES)
    question = make_bank_question(prompt="p" * MAX_PROMPT, code=lines, language="sql", options=options)
    text = blind(question, [0, 1, 2, 3])
    assert len(text) + len(BLIND_INSTRUCTIONS) < MAX_PROMPT_CHARACTERS
    assert text.endswith("3" * MAX_OPTION)


# ---------------------------------------------------------------- what is really sent


async def miss(desk: Desk, classroom: Classroom, tags: list[str], times: int) -> None:
    """Let a newcomer in Kathmandu miss questions about streaming, the only ones that there are, with these tags."""
    pool = desk.repository.database._pool  # noqa: SLF001 - the small bank's questions all have the same tag
    await pool.execute("UPDATE questions SET tags = $1 WHERE topic = 'streaming'", tags)
    learner = await classroom.join(quiz_timezone="Asia/Kathmandu", preferred_topics=(Topic.STREAMING,))
    for _ in range(times):
        await classroom.answer(learner, right=False)
    await classroom.answer(learner, right=True)
    desk.llm.answer(written(fresh_question()))
    made = await desk.source.generate(Topic.STREAMING, Level.BEGINNER, learner.id)
    assert made.key
    sent = json.dumps(desk.llm.requests + desk.llm.blind_requests)
    assert str(learner.id) not in sent
    assert "Kathmandu" not in sent


async def test_recent_misses_are_told_by_tag_and_never_whose_they_are(desk: Desk) -> None:
    classroom = Classroom(desk.repository, Settings(_env_file=None))
    await miss(desk, classroom, ["watermarks", "late-events"], times=2)
    (sent,) = desk.llm.requests
    assert "Learners lately got wrong: late-events, watermarks." in sent["messages"][-1]["content"]


async def test_examples_come_from_the_bank_at_that_topic_and_level(desk: Desk) -> None:
    await desk.make(fresh_question(), topic=Topic.STREAMING, level=Level.EXPERT)
    text = desk.llm.requests[0]["messages"][-1]["content"]
    entries = await desk.repository.list_questions(topic=Topic.STREAMING)
    shown = [entry.question.level for entry in entries if entry.question.prompt in text]
    assert shown == [Level.EXPERT, Level.EXPERT]
    assert "got wrong" not in text


async def test_the_answer_is_held_to_a_strict_form(desk: Desk) -> None:
    await desk.make(fresh_question())
    (writing,) = desk.llm.requests
    for sent, form in ((writing, "WrittenQuestion"), (desk.llm.blind_requests[0], "BlindAnswer")):
        schema = sent["response_format"]["json_schema"]
        assert (sent["response_format"]["type"], schema["name"], schema["strict"]) == ("json_schema", form, True)
        assert schema["schema"]["additionalProperties"] is False
        assert sent["max_completion_tokens"] > 0
    assert writing["messages"][0] == {"role": "system", "content": INSTRUCTIONS}


async def test_another_model_may_answer_blind(desk: Desk, new_desk: NewDesk) -> None:
    await new_desk(openai_model="writer-1", openai_review_model="reader-2").make(fresh_question())
    assert [sent["model"] for sent in desk.llm.requests] == ["writer-1"]
    assert {sent["model"] for sent in desk.llm.blind_requests} == {"reader-2"}


def test_the_model_is_told_what_the_sandbox_has_and_lacks() -> None:
    assert f"of modules only {', '.join(PYTHON_MODULES)}." in INSTRUCTIONS
    assert run_python("\n".join(f"import {name}" for name in PYTHON_MODULES)) == Printed("")
    for lacking in (
        "class A(B): pass",
        "class A:\n    @property\n    def x(self): return 1",
        "def f():\n    yield 1",
        "x = 1\ndel x",
        "open('x')",
    ):
        assert isinstance(run_python(lacking), Unsupported)
