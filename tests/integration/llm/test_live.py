"""Nobody waits for a model: stock first, a short wait for one learner at most, and one making for a whole class."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from domain.catalog import Level, QuestionSource, QuizKind, Topic
from domain.errors import GenerationError
from domain.ids import LearnerId
from domain.models import Learner, StoredQuestion
from domain.settings import Settings
from question_sources.llm.breaker import LlmBreaker
from question_sources.llm.source import LlmSource
from question_sources.picker import QuestionPicker
from question_sources.stored import BANK, SeenSource, StaticSource
from quiz_generator import QuestionGenerator, make_generator
from quizzes import delivery
from quizzes.context import QuizContext
from repository import Repository
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import LEVEL, TOPIC, Desk, fresh_question, keep_writing, metric
from tests.support.classroom import Classroom, RecordingMessenger
from tests.support.factories import BOT_ID, make_learner, some_id
from tests.support.llm_server import LlmServer, Reply, completion, failure, written
from tests.support.waiting import WAIT_SECONDS, until

HANGING = Reply(b"", delay=WAIT_SECONDS)


def pupil(**fields: object) -> Learner:
    """Return a learner whom only questions of one topic and level fit, and whose turn it is for the model."""
    return make_learner(**({"level": LEVEL, "topics": (TOPIC,), "version": 1} | fields))


async def draw(source: LlmSource, learner: Learner) -> StoredQuestion | None:
    """Return what the source gives a learner who waits."""
    return (await source.draw([learner], live=True)).get(learner.id)


async def in_stock(desk: Desk, count: int = 1) -> list[str]:
    """Return the stock once it holds so many."""
    async with asyncio.timeout(WAIT_SECONDS):
        while len(keys := await desk.stock()) < count:
            await asyncio.sleep(0.02)
    return keys


# ---------------------------------------------------------------- stock, then a short wait


async def test_the_stock_serves_first_and_nothing_is_asked(desk: Desk) -> None:
    made = await desk.make(fresh_question())
    asked = len(desk.llm.requests)
    question = await draw(desk.source, pupil())
    assert question
    assert question.key == made.key
    assert len(desk.llm.requests) == asked


async def test_with_nothing_in_stock_one_is_made_for_whoever_waits(desk: Desk) -> None:
    keep_writing(desk.llm)
    question = await draw(desk.source, pupil())
    assert question
    assert (question.source, question.topic, question.level) == (QuestionSource.LLM, TOPIC, LEVEL)
    assert await desk.stock() == [question.key]


@pytest.mark.parametrize("topics", [(TOPIC,), (Topic.GOVERNANCE_SECURITY,)])
async def test_whoever_waits_too_long_gets_another_question_in_time(new_desk: NewDesk, topics: tuple[Topic]) -> None:
    desk = new_desk(openai_live_seconds=0.2)
    desk.llm.answer(HANGING)
    generator = make_generator(desk.repository, desk.settings, desk.redis)
    learner = pupil(topics=topics)
    async with asyncio.timeout(WAIT_SECONDS / 4):
        drawn = await generator.generate([learner], live=True)
    assert drawn[learner.id].source in {QuestionSource.STATIC, QuestionSource.COMPUTED}
    await until(lambda: desk.llm.requests)
    await generator.close()


async def test_what_comes_too_late_serves_the_next(new_desk: NewDesk) -> None:
    desk = new_desk(openai_live_seconds=0.15)
    desk.llm.answer(written(fresh_question()))
    desk.llm.may_answer.clear()
    too_late = metric("quiz_llm_live_total", outcome="too_late")
    with pytest.raises(GenerationError, match="none was ready in time"):
        await draw(desk.source, pupil())
    assert metric("quiz_llm_live_total", outcome="too_late") == too_late + 1
    assert await desk.stock() == []
    desk.llm.may_answer.set()
    (key,) = await in_stock(desk)
    question = await draw(desk.source, pupil())
    assert question
    assert question.key == key
    assert len(desk.llm.requests) == 1


async def test_a_wait_of_nothing_asks_nobody(new_desk: NewDesk) -> None:
    desk = new_desk(openai_live_seconds=0)
    keep_writing(desk.llm)
    assert await draw(desk.source, pupil()) is None
    assert desk.llm.requests == []


async def test_a_topic_and_level_of_which_nothing_came_is_left_alone_for_a_while(desk: Desk) -> None:
    desk.llm.answer(completion("no JSON"))
    assert await draw(desk.source, pupil()) is None
    assert await draw(desk.source, pupil()) is None
    assert len(desk.llm.requests) == 1
    keep_writing(desk.llm)
    assert await draw(desk.source, pupil(level=Level.BEGINNER))
    assert len(desk.llm.requests) == 2
    await desk.redis.delete(f"quiz:llm:rest:{TOPIC}:{int(LEVEL)}")
    assert await draw(desk.source, pupil())


async def test_a_closed_gate_makes_nobody_wait(desk: Desk) -> None:
    keep_writing(desk.llm)
    await desk.redis.set("quiz:llm:closed", "it failed", ex=60)
    with pytest.raises(GenerationError, match="it failed, for another"):
        await draw(desk.source, pupil())
    assert desk.llm.requests == []


async def test_topics_take_turns(desk: Desk) -> None:
    keep_writing(desk.llm)
    topics = (Topic.STREAMING, Topic.DATA_QUALITY)
    drawn = [await draw(desk.source, pupil(topics=topics, version=version, id=some_id())) for version in (0, 1)]
    assert [question.topic for question in drawn if question] == [Topic.STREAMING, Topic.STREAMING]
    asked = [request["messages"][-1]["content"].split(".")[0] for request in desk.llm.requests]
    assert asked == ["Topic: Streaming"]  # the second learner finds what the first had made


async def test_whoever_has_seen_the_stock_gets_another_question(desk: Desk) -> None:
    keep_writing(desk.llm)
    classroom = Classroom(desk.repository, Settings(_env_file=None))
    classroom.context = replace(classroom.context, generator=QuestionGenerator([desk.source]))
    learner = await classroom.join(preferred_topics=(TOPIC,), default_difficulty=LEVEL)
    for _ in range(3):
        await classroom.answer(learner, right=True)
    keys = {quiz.question.key for quiz, _ in classroom.messenger.questions}
    assert len(keys) == len(desk.llm.requests) == 3


# ---------------------------------------------------------------- one making for all


@asynccontextmanager
async def silent_until_shared(llm: LlmServer, count: int) -> AsyncIterator[None]:
    """Let the model answer only when so many wait for what is already being made."""

    async def answer_then() -> None:
        await until(lambda: metric("quiz_llm_shared_total") - before >= count)
        llm.may_answer.set()

    before = metric("quiz_llm_shared_total")
    llm.may_answer.clear()
    answering = asyncio.create_task(answer_then())
    yield
    await answering
    assert metric("quiz_llm_shared_total") - before == count


async def test_a_hundred_learners_at_once_cost_one_making(desk: Desk) -> None:
    keep_writing(desk.llm)
    async with silent_until_shared(desk.llm, 99):
        drawn = await asyncio.gather(*(draw(desk.source, pupil()) for _ in range(100)))
    assert len({question.key for question in drawn if question}) == 1
    assert None not in drawn
    assert (len(desk.llm.requests), len(await desk.rows())) == (1, 1)


@pytest.mark.parametrize("redis_url", [None, "redis_cluster", "redis_watched"], indirect=True)
async def test_also_across_processes(new_desk: NewDesk) -> None:
    desks = [new_desk() for _ in range(3)]
    keep_writing(desks[0].llm)
    async with silent_until_shared(desks[0].llm, 98):
        drawn = await asyncio.gather(*(draw(desks[n % 3].source, pupil()) for n in range(99)))
    assert len({question.key for question in drawn if question}) == 1
    assert None not in drawn
    assert (len(desks[0].llm.requests), len(await desks[0].rows())) == (1, 1)


async def test_two_topics_are_two_makings(desk: Desk) -> None:
    keep_writing(desk.llm)
    topics = [Topic.STREAMING, Topic.DATA_QUALITY] * 10
    async with silent_until_shared(desk.llm, 18):
        drawn = await asyncio.gather(*(draw(desk.source, pupil(topics=(topic,))) for topic in topics))
    assert [question.topic for question in drawn if question] == topics
    assert len(desk.llm.requests) == 2


async def test_a_process_that_looks_just_as_another_ends_its_turn_makes_nothing(desk: Desk) -> None:
    made = await desk.make(fresh_question())
    looks = 0

    class LateBreaker(LlmBreaker):
        """A breaker at which the other process's turn ends right after the first look."""

        async def last_generated(self, topic: Topic, level: Level) -> str | None:
            nonlocal looks
            looks += 1
            if looks == 2:
                await self.remember(topic, level, made.key or "")
            return await super().last_generated(topic, level)

    desk.source.breaker = LateBreaker(desk.redis)
    await desk.repository.quarantine_question(made.key or "", "so that it is not in stock")
    question = await draw(desk.source, pupil())
    assert question
    assert question.key == made.key
    assert len(desk.llm.requests) == 1


async def follow(desk: Desk) -> asyncio.Task[StoredQuestion | None]:
    """Let somebody wait for the question that another process has its turn to make."""
    before = metric("quiz_llm_shared_total")
    await desk.redis.set(f"quiz:llm:making:{TOPIC}:{int(LEVEL)}", "another process", ex=int(WAIT_SECONDS))
    following = asyncio.create_task(draw(desk.source, pupil()))
    await until(lambda: metric("quiz_llm_shared_total") > before)
    return following


async def test_whoever_follows_a_process_that_died_is_let_go(desk: Desk) -> None:
    keep_writing(desk.llm)
    following = await follow(desk)
    await desk.redis.pexpire(f"quiz:llm:making:{TOPIC}:{int(LEVEL)}", 1)
    assert await following is None
    assert desk.llm.requests == []
    assert await draw(desk.source, pupil())  # the turn is free again


async def test_whoever_follows_a_process_that_failed_is_let_go(new_desk: NewDesk) -> None:
    desks = [new_desk(), new_desk()]
    desks[0].llm.answer(failure(500))
    async with silent_until_shared(desks[0].llm, 1):
        drawn = await asyncio.gather(*(draw(desk.source, pupil()) for desk in desks))
    assert drawn == [None, None]
    assert len(desks[0].llm.requests) == 1


async def test_whoever_follows_a_process_without_money_is_let_go(new_desk: NewDesk) -> None:
    desk, poor = new_desk(), new_desk(openai_daily_budget_usd=0)
    keep_writing(desk.llm)
    following = await follow(desk)
    await desk.redis.delete(f"quiz:llm:making:{TOPIC}:{int(LEVEL)}")  # what a process does that gave up
    assert await following is None
    with pytest.raises(GenerationError, match="the daily budget is 0"):
        await draw(poor.source, pupil())
    assert not await desk.redis.exists(f"quiz:llm:making:{TOPIC}:{int(LEVEL)}")


async def test_two_makings_of_the_same_question_leave_one(desk: Desk) -> None:
    question = fresh_question()
    desk.llm.answer(written(question, delay=0.1))
    made = await asyncio.gather(desk.make(), desk.make(), desk.source.generate(TOPIC, Level.BEGINNER))
    assert sorted(one.outcome for one in made) == ["accepted", "quarantined", "quarantined"]
    assert len(await desk.stock()) == 1


# ---------------------------------------------------------------- a daily distribution


async def enrol(repository: Repository, count: int) -> list[LearnerId]:
    """Register learners of every level and turn, due now."""
    statement = """
        INSERT INTO learners (id, bot_id, level, daily_at, timezone, next_daily_at, version)
        SELECT 700000000 + n, $1, 1 + n % 4, '10:00', 'UTC', now(), n % 7 FROM generate_series(1, $2::integer) AS n
        RETURNING id
    """
    rows = await repository.database._pool.fetch(statement, int(BOT_ID), count)  # noqa: SLF001 - joining takes long
    return [LearnerId(row["id"]) for row in rows]


async def test_a_daily_distribution_never_asks_the_model(new_desk: NewDesk) -> None:
    desk = new_desk()
    desk.llm.answer(HANGING)
    generator = QuestionGenerator(
        [StaticSource(QuestionPicker(desk.repository, BANK)), desk.source],
        last=SeenSource(desk.repository),
    )
    context = QuizContext(desk.settings, desk.repository, generator, RecordingMessenger())
    learner_ids = await enrol(desk.repository, 1000)
    prepared = await delivery.prepare_quizzes(context, learner_ids, QuizKind.DAILY)
    assert (len(prepared.quiz_ids), prepared.skipped) == (1000, [])
    assert desk.llm.requests == []
    assert await desk.rows() == []


async def test_a_daily_distribution_hands_out_the_stock(desk: Desk) -> None:
    made = await desk.make(fresh_question())
    learners = [pupil() for _ in range(50)]
    drawn = await desk.source.draw(learners, live=False)
    assert {question.key for question in drawn.values()} == {made.key}
    assert len(drawn) == 50
    assert len(desk.llm.requests) == 1
    assert await desk.source.draw([pupil(level=Level.BEGINNER)], live=False) == {}
    assert len(desk.llm.requests) == 1


async def test_several_learners_at_once_are_no_single_one_who_waits(desk: Desk) -> None:
    desk.llm.answer(HANGING)
    assert await desk.source.draw([pupil(), pupil()], live=True) == {}
    assert desk.llm.requests == []


# ---------------------------------------------------------------- the end


async def test_closing_in_the_middle_of_a_making_is_quick_and_leaves_nothing_pending(
    llm: LlmServer, new_desk: NewDesk
) -> None:
    desk = new_desk(openai_live_seconds=0.1)
    llm.answer(HANGING)
    with pytest.raises(GenerationError):
        await draw(desk.source, pupil())
    await until(lambda: llm.requests)
    before = asyncio.all_tasks()
    async with asyncio.timeout(WAIT_SECONDS / 4):  # the answer that it does not wait for takes all of them
        await desk.source.close()
    assert not any("_generate_or_follow" in repr(task) for task in before if not task.done())
    (row,) = await desk.rows()
    assert (row["outcome"], row["ended_at"]) == ("begun", None)
    assert not await desk.redis.exists(f"quiz:llm:making:{TOPIC}:{int(LEVEL)}")


async def test_closing_lets_go_whoever_waits(desk: Desk) -> None:
    desk.llm.answer(HANGING)
    waiting = asyncio.create_task(draw(desk.source, pupil()))
    while not desk.llm.requests:
        await asyncio.sleep(0.01)
    await desk.source.close()
    with pytest.raises(GenerationError, match="the source is closed"):
        await waiting
