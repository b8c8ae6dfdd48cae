"""Builds what tests need: keyword factories, random unless told."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time
from pathlib import Path

import yaml

from adaptation.ratings import LEVEL_DIFFICULTY
from difficulty_adapter import LEVEL_RULES
from domain.catalog import Level, QuestionSource, QuizKind, QuizState, Topic
from domain.ids import BotId, LearnerId, QuestionId, QuizId
from domain.models import Grade, Learner, Progress, Quiz, StoredOption, StoredQuestion, Streak
from question_bank.format import BankQuestion, Option, Reference

TOKEN = "424242:" + "T" * 35
BOT_ID = BotId(424242)
QUESTIONS_PER_CELL = 3
"""Questions of the small bank for each topic and level."""


_given: set[int] = set()


def some_id() -> int:
    """Return a number that nobody in this process was given before."""
    while (number := random.randrange(10**6, 10**9)) in _given:
        pass
    _given.add(number)
    return number


def make_bank_question(**fields: object) -> BankQuestion:
    """Return a question of the bank."""
    marker = some_id()
    values: dict[str, object] = {
        "id": f"test-{marker}",
        "level": Level.INTERMEDIATE,
        "form": "practical",
        "prompt": f"Which number is {marker}?",
        "options": [
            Option(text=f"{marker + step}", why=f"It is {marker} plus {step}.", correct=step == 0) for step in range(4)
        ],
        "explanation": f"{marker} is itself.",
        "reference": Reference(title="Arithmetic, first chapter", url="https://example.org/numbers"),
        "tags": ["numbers"],
    }
    return BankQuestion.model_validate(values | fields)


def write_small_bank(folder: Path) -> None:
    """Write a few questions for each topic and level as the bank's files."""
    for topic in Topic:
        questions = [
            make_bank_question(id=f"{topic.replace('_', '-')}-{level}-{number}", level=level).model_dump(mode="json")
            for level in Level
            for number in range(QUESTIONS_PER_CELL)
        ]
        place = folder / topic
        place.mkdir(parents=True)
        (place / "all.yaml").write_text(yaml.safe_dump({"topic": topic.value, "questions": questions}))


def make_question(**fields: object) -> StoredQuestion:
    """Return a stored question."""
    marker = some_id()
    values: dict[str, object] = {
        "id": QuestionId(marker),
        "key": f"question-{marker}",
        "topic": random.choice(list(Topic)),
        "level": random.choice(list(Level)),
        "source": QuestionSource.STATIC,
        "prompt": f"Prompt {marker}",
        "code": None,
        "language": "",
        "options": tuple(StoredOption(f"option {place}", f"because {place}") for place in range(4)),
        "correct_index": random.randrange(4),
        "explanation": f"Explanation {marker}",
        "reference_title": "A document, a section",
        "reference_url": "https://example.org/section",
    }
    return StoredQuestion(**(values | fields))  # type: ignore[arg-type]


def make_quiz(**fields: object) -> Quiz:
    """Return a quiz that is in a learner's chat."""
    values: dict[str, object] = {
        "id": QuizId(some_id()),
        "learner_id": LearnerId(some_id()),
        "kind": QuizKind.ON_DEMAND,
        "is_review": False,
        "state": QuizState.SENT,
        "local_day": date(2026, 11, 22),
        "option_order": tuple(random.sample(range(4), 4)),
        "message_id": some_id(),
        "bot_id": BOT_ID,
        "message_bot_id": BOT_ID,
        "chosen": None,
        "sent_at": datetime(2026, 11, 22, 10, tzinfo=UTC),
        "answered_at": None,
        "attempts": 1,
        "question": make_question(),
    }
    return Quiz(**(values | fields))  # type: ignore[arg-type]


def make_learner(**fields: object) -> Learner:
    """Return a learner."""
    values: dict[str, object] = {
        "id": LearnerId(some_id()),
        "bot_id": BOT_ID,
        "level": Level.INTERMEDIATE,
        "level_progress": 0,
        "run": 0,
        "placement_left": 0,
        "ability": 0.0,
        "ability_variance": 1.0,
        "streak_days": 0,
        "freezes": 0,
        "last_answer_day": None,
        "last_answer_at": None,
        "daily_at": time(10),
        "timezone": "UTC",
        "topics": (),
        "daily_enabled": True,
        "blocked": False,
        "version": 0,
    }
    return Learner(**(values | fields))  # type: ignore[arg-type]


def make_grade(**fields: object) -> Grade:
    """Return what a right answer changed."""
    values: dict[str, object] = {
        "quiz_id": QuizId(some_id()),
        "learner_id": LearnerId(some_id()),
        "correct": True,
        "before": Progress(Level.INTERMEDIATE),
        "after": Progress(Level.INTERMEDIATE, points=50, run=1, streak=Streak(1)),
        "local_day": date(2026, 11, 22),
        "level_rules": LEVEL_RULES,
        "ability": 0.5,
        "difficulties": LEVEL_DIFFICULTY,
    }
    return Grade(**(values | fields))  # type: ignore[arg-type]
