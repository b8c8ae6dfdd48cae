"""Which stored question a learner gets, on a real Postgres: what was seen, how hard it proved, how many had it."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from datetime import timedelta

import pytest

from adaptation.ratings import LEVEL_DIFFICULTY
from adaptation.selection import SelectionRules
from domain.catalog import Level, QuestionSource, QuizKind, Topic
from domain.ids import LearnerId, QuestionId
from domain.learning import Candidate, Rating
from domain.models import Learner, NewQuiz
from domain.settings import Settings
from question_sources.picker import QuestionPicker
from repository import Repository
from tests.support.factories import BOT_ID, QUESTIONS_PER_CELL, some_id

STATIC = {QuestionSource.STATIC}
ORDER = (0, 1, 2, 3)


async def join(repository: Repository, ability: float = 0.0, **choices: object) -> Learner:
    """Register a learner who is placed already."""
    settings = Settings(_env_file=None).model_copy(update={"placement_answers": 0} | choices)
    learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, settings, Rating(ability, 0.1))
    return learner


async def show(repository: Repository, learner: Learner, question_id: QuestionId) -> None:
    """Put a question to a learner, who does not answer."""
    quizzes = await repository.create_quizzes(
        QuizKind.ON_DEMAND, [NewQuiz(learner.id, question_id, ORDER)], timedelta(hours=1)
    )
    await repository.begin_sending([quizzes[learner.id]])
    await repository.mark_send_failed(quizzes[learner.id], "test", for_good=True)


async def set_difficulty(repository: Repository, key: str, difficulty: float) -> None:
    """Let a question have proved to be so hard."""
    await repository.database._pool.execute(  # noqa: SLF001 - a thousand answers in one statement
        "INSERT INTO item_ratings VALUES ($1, $2, 0.05, 1000) ON CONFLICT (item) DO UPDATE SET difficulty = $2",
        key,
        difficulty,
    )


def picker(repository: Repository, seed: int = 1) -> QuestionPicker:
    """Return a picker whose chance is set."""
    return QuestionPicker(repository, STATIC, rng=random.Random(seed))


async def test_what_proved_hard_is_asked_of_the_able_whatever_its_author_thought(repository: Repository) -> None:
    topic = Topic.STREAMING
    cell = [f"streaming-2-{number}" for number in range(QUESTIONS_PER_CELL)]
    await set_difficulty(repository, cell[0], 5.0)
    await set_difficulty(repository, cell[1], -5.0)
    chosen = {}
    for ability in (6.0, -4.0):
        learner = await join(repository, ability, preferred_topics=(topic,))
        the_best = QuestionPicker(repository, STATIC, SelectionRules(choose_among=1))
        chosen[ability] = (await the_best.pick([learner]))[learner.id].key
    assert chosen == {6.0: cell[0], -4.0: cell[1]}


async def test_a_question_that_half_of_a_level_has_seen_rests_while_there_are_others(repository: Repository) -> None:
    learners = [await join(repository, preferred_topics=(Topic.ORCHESTRATION,)) for _ in range(4)]
    question = await repository.get_question("orchestration-2-0")
    assert question
    other = await repository.get_question("orchestration-2-1")
    assert other
    for learner, shown in zip(learners, [question, question, other, other], strict=True):
        await show(repository, learner, shown.id)
    assert (await repository.count_learners_asked())[Level.INTERMEDIATE] == 4
    newcomer = await join(repository, preferred_topics=(Topic.ORCHESTRATION,))
    for seed in range(30):
        drawn = await picker(repository, seed).pick([newcomer])
        assert drawn[newcomer.id].id not in {question.id, other.id}


async def test_showing_a_question_counts_a_learner_once(repository: Repository) -> None:
    learner = await join(repository)
    question = await repository.get_question("orchestration-2-0")
    assert question
    for _ in range(3):
        await show(repository, learner, question.id)
    [candidate] = [one for one in await repository.list_candidates(STATIC, LEVEL_DIFFICULTY) if one.id == question.id]
    assert candidate.shown == {Level.INTERMEDIATE: 1}
    assert (await repository.count_learners_asked())[Level.INTERMEDIATE] == 1


async def test_a_level_counts_a_learner_again_only_once_they_have_moved_there(repository: Repository) -> None:
    learner = await join(repository)
    for number in range(2):
        question = await repository.get_question(f"orchestration-2-{number}")
        assert question
        await show(repository, learner, question.id)
    await repository.set_experience(learner.id, Level.ADVANCED, Rating(1.0, 0.5))
    for number in range(2):
        question = await repository.get_question(f"orchestration-3-{number}")
        assert question
        await show(repository, learner, question.id)
    asked = await repository.count_learners_asked()
    assert (asked[Level.INTERMEDIATE], asked[Level.ADVANCED], asked[Level.EXPERT]) == (1, 1, 0)


async def test_a_whole_cohort_is_served_from_one_look_at_the_bank(repository: Repository) -> None:
    learners = [await join(repository, ability=number / 10 - 5) for number in range(100)]
    drawn = await picker(repository).pick(learners)
    assert set(drawn) == {learner.id for learner in learners}
    assert len({question.topic for question in drawn.values()}) > len(Topic) / 2


async def test_the_difficulty_of_a_level_is_the_mean_of_what_its_questions_proved(repository: Repository) -> None:
    before = await repository.get_level_difficulties(LEVEL_DIFFICULTY)
    assert before == pytest.approx(LEVEL_DIFFICULTY)
    count = len(Topic) * QUESTIONS_PER_CELL
    await set_difficulty(repository, "streaming-2-0", LEVEL_DIFFICULTY[Level.INTERMEDIATE] + count)
    after = await repository.get_level_difficulties(LEVEL_DIFFICULTY)
    assert round(after[Level.INTERMEDIATE] - before[Level.INTERMEDIATE], 9) == 1.0
    assert after[Level.ADVANCED] == before[Level.ADVANCED]


async def test_a_look_at_the_bank_that_is_kept_asks_nothing_that_was_quarantined_since(repository: Repository) -> None:
    learners = [await join(repository, preferred_topics=(Topic.STREAMING,)) for _ in range(30)]
    keeping = QuestionPicker(repository, STATIC, keep_seconds=3600)
    first = await keeping.pick(learners)
    doubted = {question.key for question in first.values()}
    for key in doubted:
        await repository.quarantine_question(key, "doubted")
    second = await keeping.pick(learners)
    assert set(second) == {learner.id for learner in learners}
    assert doubted.isdisjoint(question.key for question in second.values())


async def test_who_has_seen_everything_costs_no_second_look_at_the_bank(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = await join(repository, preferred_topics=(Topic.STREAMING,))
    for candidate in await repository.list_candidates(STATIC, LEVEL_DIFFICULTY):
        if candidate.topic is Topic.STREAMING:
            await show(repository, learner, candidate.id)
    looks, look = [], repository.list_candidates

    async def counted(sources: Collection[QuestionSource], priors: Mapping[Level, float]) -> list[Candidate]:
        looks.append(sources)
        return await look(sources, priors)

    monkeypatch.setattr(repository, "list_candidates", counted)
    keeping = QuestionPicker(repository, STATIC, keep_seconds=3600)
    assert [await keeping.pick([learner]) for _ in range(3)] == [{}, {}, {}]
    assert len(looks) == 1


async def test_topics_that_nobody_chose_mean_all(repository: Repository) -> None:
    learners = [await join(repository) for _ in range(60)]  # on a bank that no answer has rated: all suit alike
    picked = await QuestionPicker(repository, STATIC).pick(learners)
    assert len({question.topic for question in picked.values()}) > len(Topic) / 2
