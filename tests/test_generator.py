"""Where questions come from: who is asked first, who serves whenever another cannot, and what each source draws."""

from __future__ import annotations

import itertools
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from domain.catalog import CheckEngine, Level, QuestionSource, QuestionState, QuizKind, Topic
from domain.errors import GenerationError, StorageUnavailableError
from domain.ids import LearnerId
from domain.models import Learner, StoredQuestion
from domain.settings import Settings
from question_bank.format import Reference
from question_bank.loader import BANK_FOLDER, load_bank
from question_bank.rows import question_columns
from question_bank.templates.base import Draft, Misconception, Template
from question_sources.bank_sync import sync_bank
from question_sources.computed import ComputedSource
from question_sources.llm.source import LlmSource
from question_sources.picker import QuestionPicker
from question_sources.stored import BANK, SeenSource, StaticSource
from quiz_generator import TURNS, QuestionGenerator, QuestionSourceStrategy, make_generator, sources_for
from repository import Repository
from tests.support.classroom import Classroom
from tests.support.factories import QUESTIONS_PER_CELL, make_bank_question, make_learner, make_question, some_id
from tests.unit.test_question_format import GOOD, write

STATIC, COMPUTED, LLM = QuestionSource.STATIC, QuestionSource.COMPUTED, QuestionSource.LLM
THREE = (STATIC, COMPUTED, LLM)


class Source:
    """A source that draws for some learners, or fails."""

    def __init__(
        self, name: QuestionSource, learner_ids: set[LearnerId] | None = None, error: Exception | None = None
    ) -> None:
        """Take for whom it draws; for everybody when nobody is named."""
        self.name = name
        self.question = make_question(source=name)
        self.asked: list[list[LearnerId]] = []
        self.live: list[bool] = []
        self._learner_ids = learner_ids
        self._error = error

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, StoredQuestion]:
        """Draw the same question for all that it knows."""
        self.asked.append([learner.id for learner in learners])
        self.live.append(live)
        if self._error:
            raise self._error
        known = self._learner_ids
        return {learner.id: self.question for learner in learners if known is None or learner.id in known}


# ---------------------------------------------------------------- the policy


def test_each_turn_names_every_source_once() -> None:
    assert all(sorted(turn) == sorted(THREE) for turn in TURNS)
    assert {turn[0] for turn in TURNS} == set(THREE)


@pytest.mark.parametrize(("version", "first"), [(0, STATIC), (1, LLM), (2, COMPUTED), (3, STATIC), (31, LLM)])
async def test_sources_take_turns_as_a_learner_answers(version: int, first: QuestionSource) -> None:
    learner = make_learner(version=version)
    sources = [Source(name) for name in THREE]
    drawn = await QuestionGenerator(sources).generate([learner])
    assert drawn[learner.id].source is first
    assert [source.name for source in sources if source.asked] == [first]


@pytest.mark.parametrize(("version", "empty"), list(itertools.product(range(3), range(1, 4))))
async def test_when_one_has_nothing_the_next_of_the_turn_serves(version: int, empty: int) -> None:
    learner = make_learner(version=version)
    order = sources_for(learner)
    sources = {name: Source(name, set() if name in order[:empty] else None) for name in THREE}
    last = Source(STATIC)
    drawn = await QuestionGenerator(list(sources.values()), last).generate([learner])
    assert drawn[learner.id] == (sources[order[empty]] if empty < len(order) else last).question
    assert [bool(sources[name].asked) for name in order] == [place <= empty for place in range(len(order))]


async def test_a_source_is_asked_only_for_those_whom_no_earlier_one_served() -> None:
    learners = [make_learner(version=version) for version in (0, 0, 1, 2)]
    bank, computed, model = Source(STATIC, {learners[0].id}), Source(COMPUTED, {learners[3].id}), Source(LLM)
    drawn = await QuestionGenerator([bank, computed, model]).generate(learners)
    assert {learner.id: drawn[learner.id].source for learner in learners} == {
        learners[0].id: STATIC,
        learners[1].id: LLM,
        learners[2].id: LLM,
        learners[3].id: COMPUTED,
    }
    assert bank.asked == [[learners[0].id, learners[1].id]]
    assert computed.asked == [[learners[3].id]]
    assert model.asked == [[learners[2].id], [learners[1].id]]


async def test_a_source_that_is_not_there_is_passed_over() -> None:
    learner = make_learner(version=1)
    assert (await QuestionGenerator([Source(STATIC), Source(COMPUTED)]).generate([learner]))[
        learner.id
    ].source is STATIC


async def test_whoever_got_nothing_gets_it_from_the_last_source_and_nobody_else() -> None:
    one, two = make_learner(), make_learner()
    last = Source(STATIC)
    drawn = await QuestionGenerator([Source(STATIC, {one.id})], last).generate([one, two])
    assert set(drawn) == {one.id, two.id}
    assert last.asked == [[two.id]]


async def test_without_a_last_source_some_get_nothing() -> None:
    assert await QuestionGenerator([Source(STATIC, set())]).generate([make_learner()]) == {}


@pytest.mark.parametrize("failing", THREE)
async def test_a_source_that_fails_is_named_in_the_log_and_the_next_serves(
    failing: QuestionSource, caplog: pytest.LogCaptureFixture
) -> None:
    learners = [make_learner(version=version) for version in range(3)]
    sources = [Source(name, error=GenerationError("out of ideas") if name is failing else None) for name in THREE]
    with caplog.at_level(logging.WARNING):
        drawn = await QuestionGenerator(sources).generate(learners)
    assert set(drawn) == {learner.id for learner in learners}
    assert failing not in {question.source for question in drawn.values()}
    assert f"the source {failing} has no questions, the next one serves" in caplog.text
    assert "out of ideas" in caplog.text


async def test_a_database_that_is_away_is_no_reason_to_go_on() -> None:
    last = Source(STATIC)
    with pytest.raises(StorageUnavailableError):
        await QuestionGenerator([Source(STATIC, error=StorageUnavailableError())], last).generate([make_learner()])
    assert last.asked == []


async def test_nobody_asks_for_nothing() -> None:
    source = Source(STATIC)
    assert await QuestionGenerator([source], source).generate([]) == {}
    assert source.asked == []


@pytest.mark.parametrize("live", [True, False])
async def test_sources_are_told_whether_somebody_waits(live: bool) -> None:  # noqa: FBT001 - a parameter of the test
    sources = [Source(name, set()) for name in THREE]
    last = Source(STATIC)
    await QuestionGenerator(sources, last).generate([make_learner()], live=live)
    assert [source.live for source in [*sources, last]] == [[live]] * 4


@pytest.mark.parametrize(("kind", "live"), [(QuizKind.ON_DEMAND, True), (QuizKind.DAILY, False)])
async def test_only_who_asks_for_a_quiz_waits_for_it(classroom: Classroom, kind: QuizKind, live: bool) -> None:  # noqa: FBT001
    source = Source(STATIC, set())
    classroom.context = replace(classroom.context, generator=QuestionGenerator([source]))
    await classroom.serve(await classroom.join(), kind)
    assert source.live == [live]


async def test_the_settings_decide_who_takes_part(shared_repository: Repository) -> None:
    redis: Redis = Redis.from_url("redis://127.0.0.1:1")  # nobody connects to it
    plain, keyed = Settings(_env_file=None), Settings(_env_file=None, openai_api_key=SecretStr("sk-test"))
    assert make_generator(shared_repository, plain, redis).llm is None
    assert make_generator(shared_repository, keyed).llm is None
    generator = make_generator(shared_repository, keyed, redis)
    assert isinstance(generator.llm, LlmSource)
    await generator.close()
    await redis.aclose()


# ---------------------------------------------------------------- the bank


async def test_the_bank_serves_each_learner_their_topics_near_their_level(shared_repository: Repository) -> None:
    learners = [make_learner(level=level, topics=(Topic.STREAMING, Topic.DATA_QUALITY)) for level in Level]
    drawn = await StaticSource(QuestionPicker(shared_repository, BANK)).draw(learners, live=False)
    for learner in learners:
        assert abs(drawn[learner.id].level - learner.level) <= 1
        assert drawn[learner.id].topic in learner.topics


def only(*sources: QuestionSourceStrategy, classroom: Classroom) -> None:
    """Let a classroom draw from these sources alone."""
    by_name = QuestionGenerator(sources)
    classroom.context = replace(classroom.context, generator=by_name)


async def asked(classroom: Classroom, learner: Learner, times: int) -> list[StoredQuestion]:
    """Let a learner answer so many questions, never enough of them in a row to change level, and return them."""
    begun = len(classroom.messenger.questions)
    for turn in range(times):
        await classroom.answer(learner, right=turn % 4 != 3)
    return [quiz.question for quiz, _ in classroom.messenger.questions[begun:]]


async def test_the_bank_serves_what_is_unseen_and_then_nothing(classroom: Classroom) -> None:
    only(StaticSource(QuestionPicker(classroom.repository, BANK)), classroom=classroom)
    learner = await classroom.join(preferred_topics=(Topic.STREAMING,))
    questions = await asked(classroom, learner, len(Level) * QUESTIONS_PER_CELL)
    assert len({question.key for question in questions}) == len(questions)
    assert await StaticSource(QuestionPicker(classroom.repository, BANK)).draw([learner], live=True) == {}


async def test_the_last_resort_serves_again_what_was_seen_least_often(classroom: Classroom) -> None:
    last = SeenSource(classroom.repository)
    only(last, classroom=classroom)
    learner = await classroom.join(preferred_topics=(Topic.STREAMING,))
    questions = await asked(classroom, learner, 2 * QUESTIONS_PER_CELL)
    for round_ in (questions[:QUESTIONS_PER_CELL], questions[QUESTIONS_PER_CELL:]):
        assert len({question.key for question in round_}) == QUESTIONS_PER_CELL


async def test_imported_questions_are_the_banks_and_a_models_only_the_last_resorts(
    classroom: Classroom,
) -> None:
    learner = await classroom.join(preferred_topics=(Topic.GOVERNANCE_SECURITY,), default_difficulty=Level.EXPERT)
    only(StaticSource(QuestionPicker(classroom.repository, BANK)), classroom=classroom)
    for source in (QuestionSource.IMPORTED, QuestionSource.LLM):
        columns = question_columns(make_bank_question(level=Level.EXPERT), Topic.GOVERNANCE_SECURITY, source)
        await classroom.repository.store_question(columns)
    served = await asked(classroom, learner, len(Level) * QUESTIONS_PER_CELL + 1)
    assert {question.source for question in served} == {QuestionSource.STATIC, QuestionSource.IMPORTED}
    assert await StaticSource(QuestionPicker(classroom.repository, BANK)).draw([learner], live=True) == {}
    again = await SeenSource(classroom.repository).draw([learner], live=True)
    assert again[learner.id].source is QuestionSource.LLM


@pytest.mark.parametrize("again", [True, False])
async def test_a_doubted_question_is_not_served(classroom: Classroom, *, again: bool) -> None:
    question = make_bank_question(level=Level.BEGINNER)
    repository = classroom.repository
    await repository.store_question(question_columns(question, Topic.ETL_VS_ELT, QuestionSource.IMPORTED))
    await repository.quarantine_question(question.id, "doubted")
    learners = [make_learner(level=Level.BEGINNER, topics=(Topic.ETL_VS_ELT,)) for _ in range(200)]
    source = SeenSource(repository) if again else StaticSource(QuestionPicker(repository, BANK))
    drawn = await source.draw(learners, live=False)
    assert len(drawn) == 200
    assert question.id not in {one.key for one in drawn.values()}


# ---------------------------------------------------------------- templates


def make_template(
    level: Level = Level.INTERMEDIATE, topic: Topic = Topic.OBSERVABILITY, **fields: object
) -> dict[str, Template]:
    """Return a template of our own, by its name; its numbers differ from seed to seed."""
    name = f"sum-{some_id()}"

    def draft(rng: random.Random) -> Draft:
        number = rng.randrange(10**6)
        slips = [Misconception(f"off-by-{step}", "It is not.", run=f"SELECT {number} + {step}") for step in (1, 2, 3)]
        return Draft(f"What is {number} of {name}?", f"SELECT {number}", "It is.", slips, "A number is itself.")

    reference = Reference(title="Arithmetic, first chapter", url="https://example.org/numbers")
    template = Template(name, topic, level, CheckEngine.DUCKDB, ("numbers",), reference, draft)
    return {name: replace(template, **fields)}  # type: ignore[arg-type]


def broken(rng: random.Random) -> Draft:
    """Return nothing, whatever the seed."""
    raise ZeroDivisionError(rng.random())


async def test_templates_make_questions_without_end_and_take_turns(classroom: Classroom) -> None:
    templates = make_template() | make_template()
    only(ComputedSource(classroom.repository, templates), classroom=classroom)
    learner = await classroom.join()
    questions = await asked(classroom, learner, 8)
    assert {question.source for question in questions} == {QuestionSource.COMPUTED}
    assert {question.key for question in questions} == {
        template.key(seed) for template in templates.values() for seed in range(4)
    }
    names = [question.key.rsplit("-", 1)[0] for question in questions]
    assert all(len(set(pair)) == 2 for pair in zip(names[::2], names[1::2], strict=True))


async def test_learners_share_what_is_made(classroom: Classroom) -> None:
    templates = make_template()
    (template,) = templates.values()
    learners = [make_learner() for _ in range(300)]
    source = ComputedSource(classroom.repository, templates)
    drawn = await source.draw(learners, live=False)
    assert {question.key for question in drawn.values()} == {template.key(0)}
    assert len(drawn) == 300
    again = await source.draw(learners[:1], live=True)
    assert again[learners[0].id].id == drawn[learners[0].id].id


async def test_only_templates_near_the_learners_level_and_of_their_topics_are_drawn(classroom: Classroom) -> None:
    templates = make_template(Level.EXPERT, Topic.OBSERVABILITY) | make_template(Level.BEGINNER, Topic.STREAMING)
    expert, beginner = templates
    fitting = [make_learner(level=Level.EXPERT), make_learner(level=Level.BEGINNER, topics=(Topic.STREAMING,))]
    unfit = [
        make_learner(level=Level.ADVANCED, topics=(Topic.STREAMING,)),
        make_learner(level=Level.EXPERT, topics=(Topic.STREAMING,)),
    ]
    drawn = await ComputedSource(classroom.repository, templates).draw(fitting + unfit, live=False)
    assert {learner_id: question.key for learner_id, question in drawn.items()} == {
        fitting[0].id: f"computed-{expert}-0",
        fitting[1].id: f"computed-{beginner}-0",
    }


async def test_a_template_of_which_a_question_is_in_doubt_rests(classroom: Classroom) -> None:
    templates = make_template()
    (template,) = templates.values()
    source, learner = ComputedSource(classroom.repository, templates), make_learner()
    await source.draw([learner], live=True)
    await classroom.repository.quarantine_question(template.key(0), "doubted")
    assert await source.draw([learner], live=True) == {}
    (entry,) = await classroom.repository.list_questions(keys=[template.key(0)])
    assert entry.state is QuestionState.QUARANTINED
    await classroom.repository.restore_question(template.key(0))
    assert len(await source.draw([learner], live=True)) == 1


async def test_a_template_that_is_broken_costs_nobody_their_quiz(
    classroom: Classroom, caplog: pytest.LogCaptureFixture
) -> None:
    sound = make_template(level=Level.EXPERT)
    computed = ComputedSource(classroom.repository, make_template(draft=broken) | sound)
    learner = make_learner(version=2)  # whose turn it is for a template
    neighbour = make_learner(version=2, level=Level.EXPERT)
    with caplog.at_level(logging.ERROR):
        drawn = await QuestionGenerator([StaticSource(QuestionPicker(classroom.repository, BANK)), computed]).generate(
            [learner, neighbour]
        )
    assert drawn[learner.id].source is QuestionSource.STATIC
    assert drawn[neighbour.id].source is QuestionSource.COMPUTED
    assert "is broken for seed 0" in caplog.text
    assert "ZeroDivisionError" in caplog.text


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


async def test_loading_the_bank_twice_changes_nothing(repository: Repository) -> None:
    bank = load_bank()
    await sync_bank(repository, BANK_FOLDER)
    cells = Counter((located.topic, located.question.level) for located in bank.questions)
    assert await repository.count_questions() == cells
    columns = {
        located.question.id: question_columns(located.question, located.topic, QuestionSource.STATIC)
        for located in bank.questions
    }
    assert await repository.sync_static_questions(columns, ()) == (0, 0)


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
