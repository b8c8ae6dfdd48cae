"""What the service asks of its database most often, with so many learners and with ten times as many."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from dev.benchmarks.numbers import Figures, latency_figures
from dev.benchmarks.population import FIRST_LEARNER, populate
from dev.benchmarks.section import Section, Table, plain
from dev.stack import BOT_ID, Say, ServerStack, open_ground
from domain.catalog import QuizKind
from domain.ids import LearnerId
from domain.models import NewQuiz
from domain.updates import Incoming, Tap, UpdateKind
from question_sources.bank_sync import sync_bank
from question_sources.picker import KEEP_SECONDS, QuestionPicker
from question_sources.stored import BANK
from quizzes.context import QuizContext
from quizzes.grading import adapt_difficulty, persist_answers, validate_answers
from repository import Repository
from wiring import open_runtime

COHORT = 200
ANSWERS_EACH = 5


@dataclass(frozen=True, slots=True)
class Size:
    """How large the larger database is, and how often each operation is measured."""

    learners: int
    rounds: int


FULL = Size(learners=1_000_000, rounds=100)
QUICK = Size(learners=5_000, rounds=3)

Operation = Callable[[], Awaitable[object]]


async def measure(size: Size, say: Say) -> Figures:
    """Measure each operation on a database of a tenth of the size and on one of the whole."""
    with open_ground() as stack:
        stack.start_storage()
        stack.environment["TELEGRAM_API_BASE_URL"] = "http://127.0.0.1:9"  # nothing is sent
        figures: Figures = {"rounds": size.rounds, "cohort": COHORT, "answers_each": ANSWERS_EACH, "sizes": {}}
        for learners in (size.learners // 10, size.learners):
            figures["sizes"][str(learners)] = await _measure_at(stack, learners, size.rounds, say)
        return figures


async def _measure_at(stack: ServerStack, learners: int, rounds: int, say: Say) -> Figures:
    url = stack.database_url(f"size_{learners}")
    async with open_runtime(stack.settings(database_url=SecretStr(url))) as runtime:
        await runtime.repository.database.prepare_schema()
        await sync_bank(runtime.repository, runtime.settings.question_bank_dir)
        await populate(url, learners, ANSWERS_EACH, say)
        measured: Figures = {}
        for name, operation in operations(runtime.context, learners).items():
            say(f"{learners:,} learners: {name}")
            seconds = []
            for _ in range(rounds + 1):
                began = time.perf_counter()
                await operation()
                seconds.append(time.perf_counter() - began)
            measured[name] = latency_figures(seconds[1:])  # the first prepares the statements
        return measured


def operations(context: QuizContext, learners: int) -> dict[str, Operation]:
    """Return what is measured, by name: calls of the service's own code on learners drawn at random."""
    repository, rng = context.repository, random.Random(20261125)
    picker = QuestionPicker.of(repository, context.settings, BANK, KEEP_SECONDS)

    def now() -> datetime:
        return datetime.now(UTC)

    def some(count: int) -> list[LearnerId]:
        return [LearnerId(FIRST_LEARNER + rng.randrange(learners)) for _ in range(count)]

    async def pick(count: int) -> None:
        states = await repository.get_user_states(some(count))
        await picker.pick(list(states.values()))

    async def find_due() -> None:
        soon = now() + timedelta(minutes=rng.randrange(60))
        await repository.find_due_learners(soon, None, COHORT)

    async def show_stats() -> None:
        for state in (await repository.get_user_states(some(1))).values():
            await repository.get_progress(state, now())

    return {
        f"find {COHORT} due learners": find_due,
        f"pick a question for {COHORT} learners": lambda: pick(COHORT),
        "pick a question for one learner": lambda: pick(1),
        "find a learner's due review": lambda: repository.find_due_reviews(
            some(1), datetime.now(UTC), 4, asked_for=True
        ),
        "make a quiz, take its answer and grade it": lambda: _answer(context, some(1)[0]),
        "read what /stats shows of a learner": show_stats,
        "store an update": lambda: _store(repository, some(1)[0]),
        "claim the updates that wait": lambda: repository.claim_updates(COHORT),
        "look for what a crash left": lambda: _look_for_leftovers(repository),
    }


async def _answer(context: QuizContext, learner_id: LearnerId) -> None:
    repository = context.repository
    states = await repository.get_user_states([learner_id])
    question = (await repository.pick_questions(list(states.values()), BANK))[learner_id]
    new = NewQuiz(learner_id, question.id, (0, 1, 2, 3))
    made = await repository.create_quizzes(QuizKind.ON_DEMAND, [new], timedelta(hours=1))
    if learner_id not in made:  # one of those with an open quiz
        made = {i: quiz.id for i, quiz in (await repository.find_open_quizzes([learner_id])).items()}
    quiz_id = made[learner_id]
    await repository.record_taps([Tap(quiz_id, learner_id, 0, datetime.now(UTC), None, states[learner_id].bot_id)])
    answered = await validate_answers(context, [quiz_id])
    await persist_answers(context, await adapt_difficulty(context, answered))


async def _store(repository: Repository, learner_id: LearnerId) -> None:
    update = Incoming(random.randrange(10**15), learner_id, UpdateKind.COMMAND, "quiz")
    await repository.store_update(BOT_ID, update)  # type: ignore[arg-type]  # a plain number


async def _look_for_leftovers(repository: Repository) -> None:
    ago = timedelta(seconds=60)
    await asyncio.gather(
        repository.find_stalled_quizzes(ago, 500),
        repository.find_ungraded_quizzes(ago, 500),
        repository.find_missing_feedback(ago, 500),
    )


def present(figures: Figures) -> Section:
    """Return the benchmark's part of the report."""
    small, large = sorted(figures["sizes"], key=int)
    rows = []
    for name, there in figures["sizes"][large].items():
        here = figures["sizes"][small][name]
        ratio = there["p50_ms"] / here["p50_ms"]
        rows.append(
            [name, f"{here['p50_ms']:.2f}", f"{there['p50_ms']:.2f}", f"{there['p95_ms']:.2f}", f"**{ratio:.2f}**"]
        )
    few, many = plain(int(small)), plain(int(large))
    columns = ["operation", f"p50 ms, {few}", f"p50 ms, {many}", f"p95 ms, {many}", "larger / smaller"]
    return Section(
        title="Queries at size",
        about=(
            "What the service asks of PostgreSQL most often, called through its own code, on a database with "
            f"{few} learners and {plain(int(small) * figures['answers_each'])} answers, and on one with "
            f"ten times as many; {figures['rounds']} rounds each on learners drawn at random, everything else idle."
        ),
        tables=[Table("Milliseconds an operation", columns, rows)],
        notes=["A test reads the plans: no statement reads the learners, quizzes, answers or updates whole."],
        limits=["Both databases fit into the machine's memory; one that does not is as fast as its disk."],
    )
