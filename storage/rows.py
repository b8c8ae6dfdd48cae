"""Rows as the domain's values, and a grade as the columns that keep it.

A column whose name is a field's becomes that field, in the field's type; what has no column of its own is made here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import asyncpg
import orjson
from pydantic import TypeAdapter

from domain.bank import BankEntry, QuestionText
from domain.callbacks import read_callback
from domain.catalog import Level
from domain.learning import Candidate, DueReview, GradingFacts, Memory, Rating, RatingUpdate
from domain.models import Grade, Learner, Progress, Quiz, SentQuestion, StoredQuestion, Streak
from domain.updates import ClaimedUpdate, UpdateKind

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def read(kind: type[T], row: asyncpg.Record, /, **made: object) -> T:
    """Return a row as a dataclass.

    Args:
        kind: the dataclass; columns that it has no field for are left out.
        made: fields that are no columns.

    Raises:
        ValueError: the row is not such a thing.
    """
    value: T = _adapter(kind).validate_python({**row, **made})
    return value


def read_update(row: asyncpg.Record) -> ClaimedUpdate:
    """Return an update that a worker has claimed, whichever version of the service stored it."""
    is_tap = row["kind"] == UpdateKind.TAP
    return read(ClaimedUpdate, row, callback=read_callback(row["content"]) if is_tap else None)


def read_learner(row: asyncpg.Record) -> Learner:
    """Return a row of ``learners``."""
    return read(Learner, row, blocked=row["blocked_at"] is not None)


def read_question(row: asyncpg.Record) -> StoredQuestion:
    """Return a question, whose id is the column ``question_id``."""
    return read(StoredQuestion, row, id=row["question_id"], options=orjson.loads(row["options"]))


def read_quiz(row: asyncpg.Record) -> Quiz:
    """Return a quiz joined with its question."""
    return read(Quiz, row, id=row["quiz_id"], question=read_question(row))


def read_due_review(row: asyncpg.Record) -> DueReview:
    """Return a row of ``find_due_reviews``."""
    return read(DueReview, row, question=read_question(row))


def read_bank_entry(row: asyncpg.Record) -> BankEntry:
    """Return a row of ``list_questions``."""
    check = orjson.loads(row["check_spec"]) if row["check_spec"] else None
    return read(BankEntry, row, question=read_question(row), check=check)


def read_question_text(row: asyncpg.Record) -> QuestionText:
    """Return a row of ``list_question_texts``."""
    return read(QuestionText, row, options=[option["text"] for option in orjson.loads(row["options"])])


def read_candidate(row: asyncpg.Record) -> Candidate:
    """Return a row of ``list_candidates``, in which ``shown`` holds a number for each level, the lowest first."""
    return read(Candidate, row, shown={level: count for level, count in zip(Level, row["shown"], strict=True) if count})


def read_rating(row: asyncpg.Record, mean: str, variance: str) -> Rating | None:
    """Return a rating; None if there is none."""
    return None if row[mean] is None else Rating(row[mean], row[variance])


def read_grading_facts(row: asyncpg.Record) -> GradingFacts:
    """Return a row of ``get_grading_facts``."""
    memory = None if row["stability"] is None else read(Memory, row, difficulty=row["memory_difficulty"])
    return read(GradingFacts, row, rating=read_rating(row, "difficulty", "variance"), memory=memory)


def read_grade(row: asyncpg.Record) -> Grade:
    """Return a row of ``answers``."""
    left = row["placement_left"]
    left_before = left + 1 if left or row["was_placed"] else 0
    difficulties = row["level_difficulties"]
    return read(
        Grade,
        row,
        before=_read_progress(row, "before", left_before),
        after=_read_progress(row, "after", left),
        ability=row["ability_after"],
        difficulties=None if difficulties is None else dict(zip(Level, difficulties, strict=True)),
    )


def _read_progress(row: asyncpg.Record, side: str, placement_left: int) -> Progress:
    streak = Streak(row[f"streak_{side}"], freezes=row[f"freezes_{side}"])
    return Progress(Level(row[f"level_{side}"]), row[f"points_{side}"], row[f"run_{side}"], placement_left, streak)


def write_sent(sent: Sequence[SentQuestion]) -> str:
    """Return what the query ``mark_sent`` takes, as JSON."""
    return orjson.dumps(sent).decode()


def write_grade(grade: Grade, rating_update: RatingUpdate, difficulties: Mapping[Level, float], version: int) -> str:
    """Return what the query ``persist_answer`` takes, as JSON.

    Args:
        difficulties: mean difficulty of each level's questions that it went by, in logits.
    """
    update, memory = rating_update, rating_update.memory
    columns: dict[str, Any] = {
        "quiz_id": grade.quiz_id,
        "learner_id": grade.learner_id,
        "correct": grade.correct,
        "local_day": grade.local_day,
        "last_day": grade.after.streak.last_day,
        "placement_left": grade.after.placement_left,
        "was_placed": grade.was_placed,
        "level_rules": grade.level_rules,
        "rated": update.rated,
        "success": update.success,
        "ability_before": update.ability_before.mean,
        "ability_variance_before": update.ability_before.variance,
        "ability_after": update.ability_after.mean,
        "ability_variance_after": update.ability_after.variance,
        "difficulty": update.question_before.mean,
        "difficulty_variance": update.question_before.variance,
        "difficulty_after": update.question_after.mean,
        "difficulty_variance_after": update.question_after.variance,
        "level_difficulties": [difficulties[level] for level in Level],
        "version": version,
    }
    for side, progress in (("before", grade.before), ("after", grade.after)):
        columns |= {
            f"level_{side}": progress.level,
            f"points_{side}": progress.points,
            f"run_{side}": progress.run,
            f"streak_{side}": progress.streak.days,
            f"freezes_{side}": progress.streak.freezes,
        }
    if memory:
        columns |= {
            "stability": memory.stability,
            "memory_difficulty": memory.difficulty,
            "reviewed_at": memory.reviewed_at,
            "due_at": memory.due_at,
        }
    return json.dumps(columns, default=str)  # dates and moments as Postgres reads them
