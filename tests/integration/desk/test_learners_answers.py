"""Operators read what learners' answers say against questions, in `stats`, `relevel --dry-run` and a weekly table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

import prefect_flows
from domain.catalog import Level, QuestionSource, QuizKind, Topic
from domain.learning import UNKNOWN_ABILITY, Rating
from domain.models import NewQuiz
from domain.settings import Settings
from domain.updates import Tap
from flows.context import use_context
from question_bank.loader import load_bank
from question_bank.rows import question_columns
from question_bank.templates import TEMPLATES
from repository import Repository
from tests.conftest import ROOT
from tests.integration.desk.support import KEY, Desk, run_sql
from tests.support.classroom import Classroom
from tests.support.factories import make_bank_question

ABLE, WEAK = Rating(1.5, 0.3), Rating(-1.5, 0.3)
RIGHT = 0
"""The place of the right option in the questions of the small bank."""


async def let_answer(repository: Repository, keys: Sequence[str], answers: Iterable[tuple[Rating, int]]) -> None:
    """Let new learners of these abilities answer questions in turn by an option's place, each one question."""
    classroom = Classroom(repository, Settings(_env_file=None))
    for (ability, option), key in zip(answers, cycle(keys), strict=False):
        question = await repository.get_question(key)
        assert question
        learner = await classroom.join(ability)
        new = NewQuiz(learner.id, question.id, (0, 1, 2, 3))
        made = await repository.create_quizzes(QuizKind.ON_DEMAND, [new], timedelta(days=1))
        quiz = await classroom.quiz(made[learner.id])
        tap = Tap(quiz.id, learner.id, option, datetime.now(UTC), None, quiz.bot_id)
        assert await repository.record_taps([tap]) == [quiz.id]
        await classroom.grade(quiz)


async def rate(url: str, item: str, difficulty: float) -> None:
    """Let an item's difficulty be known for sure."""
    await run_sql(url, f"UPDATE item_ratings SET difficulty = {difficulty}, variance = 0.01 WHERE item = '{item}'")  # noqa: S608


async def test_answers_say_which_level_is_wrong_and_which_option_nobody_takes(
    desk: Desk, repository: Repository, database_url: str, bank_folder: Path
) -> None:
    await let_answer(repository, [KEY], [(UNKNOWN_ABILITY, 1)] * 100)
    await rate(database_url, KEY, 6.0)
    status, output, errors = await desk("relevel", "--dry-run")
    [proposal, summary] = output.splitlines()
    assert (status, errors) == (0, "")
    [located] = [one for one in load_bank(bank_folder).questions if one.question.id == KEY]
    assert proposal == f"{located.path}:{located.line}: {KEY}: level 1, as hard as level 4 (100 answers)"
    assert summary == "1 of 1 questions and templates with 100 answers or more are off their level; nothing is changed"
    document = json.loads((await desk("stats", "--json"))[1])
    assert document["findings"] == [
        {"item": KEY, "level": 1, "observed_level": 4, "answers": 100, "untaken": [2, 3], "misleads_able": False}
    ]
    _, page, _ = await desk("stats")
    assert "To look at by learners' answers (1 of 1)" in page
    assert "level 1, as hard as level 4; 0 took C; 0 took D" in " ".join(page.split())
    assert max(map(len, page.splitlines())) <= 100


async def test_answers_say_what_misleads_the_able(desk: Desk, repository: Repository, database_url: str) -> None:
    answers = [(WEAK, RIGHT), (ABLE, 1), (WEAK, RIGHT), (ABLE, 2), (WEAK, 3)] * 20
    await let_answer(repository, [KEY], answers)
    [finding] = json.loads((await desk("stats", "--json"))[1])["findings"]
    assert (finding["misleads_able"], finding["untaken"]) == (True, [])


async def test_of_a_question_that_changed_only_later_answers_speak(
    desk: Desk, repository: Repository, database_url: str
) -> None:
    await let_answer(repository, [KEY], [(UNKNOWN_ABILITY, 1)] * 100)
    await rate(database_url, KEY, 6.0)
    await repository.quarantine_question(KEY, "unclear")
    await repository.restore_question(KEY)
    _, output, _ = await desk("relevel", "--dry-run")
    assert output == "0 of 0 questions and templates with 100 answers or more are off their level; nothing is changed\n"
    assert json.loads((await desk("stats", "--json"))[1])["findings"] == []


async def test_a_templates_draws_are_one_item_with_its_file_and_an_import_has_none(
    desk: Desk, repository: Repository, database_url: str
) -> None:
    name, template = next(iter(TEMPLATES.items()))
    draws = [make_bank_question(id=template.key(seed), level=Level.BEGINNER) for seed in range(2)]
    for seed, draw in enumerate(draws):
        columns = question_columns(draw, Topic.STREAMING, QuestionSource.COMPUTED, template=name, seed=seed)
        await repository.store_question(columns)
    imported = make_bank_question(id="imported", level=Level.EXPERT)
    await repository.store_question(question_columns(imported, Topic.STREAMING, QuestionSource.IMPORTED))
    await let_answer(repository, [draw.id for draw in draws], [(UNKNOWN_ABILITY, 1)] * 100)
    await let_answer(repository, [imported.id], [(UNKNOWN_ABILITY, 0)] * 100)
    await rate(database_url, name, 6.0)
    await rate(database_url, imported.id, -6.0)
    _, output, _ = await desk("relevel", "--dry-run")
    easy, hard, _ = sorted(output.splitlines(), key=lambda line: not line.startswith("imported"))
    assert easy == "imported, in no file of the bank: imported: level 4, as hard as level 1 (100 answers)"
    assert hard.startswith(str(ROOT / "question_bank" / "templates"))
    assert hard.endswith(f".py: {name}: level 1, as hard as level 4 (100 answers)")


async def newest_table() -> tuple[list[dict[str, Any]], str]:
    """Return the rows of the latest table, and what is said of it."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["question-analysis"]))
    async with get_client() as client:
        [found] = await client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    return json.loads(str(found.data)), found.description or ""


@pytest.mark.prefect
async def test_each_week_operators_get_a_table(repository: Repository, database_url: str, prefect_url: str) -> None:
    with use_context(Classroom(repository, Settings(_env_file=None)).context):
        await prefect_flows.analyze_questions()
        assert (await newest_table())[0] == [{"question": "nothing stands out"}]
        await let_answer(repository, [KEY], [(UNKNOWN_ABILITY, 1)] * 100)
        await rate(database_url, KEY, 6.0)
        await prefect_flows.analyze_questions()
    table, about = await newest_table()
    assert table == [
        {
            "question": KEY,
            "topic": Topic.STREAMING.label,
            "level": Level.BEGINNER.label,
            "source": "static",
            "answers": 100,
            "what stands out": "level 1, as hard as level 4; 0 took C; 0 took D",
        }
    ]
    assert "python main.py questions relevel --dry-run" in about


async def test_without_a_dry_run_nothing_is_proposed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        await desk("relevel")
    assert "--dry-run" in capsys.readouterr().err
