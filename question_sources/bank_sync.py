"""Brings the stored questions in line with the bank's files."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from domain.catalog import QuestionSource, Topic
from question_bank.loader import Bank, load_bank
from question_bank.rows import question_columns
from repository import Repository

logger = logging.getLogger(__name__)


async def sync_bank(repository: Repository, folder: Path) -> Bank:
    """Load the bank's files into the database; files that are wrong are named in the log and left out.

    Returns:
        What was read.
    """
    bank = await asyncio.to_thread(load_bank, folder)
    for problem in bank.problems:
        logger.error("question bank: %s", problem)
    columns = {
        located.question.id: question_columns(located.question, located.topic, QuestionSource.STATIC)
        for located in bank.questions
    }
    changed, retired = await repository.sync_static_questions(columns, _topics_with_problems(bank))
    if changed or retired:
        logger.info("question bank: %d questions, %d new or changed, %d retired", len(columns), changed, retired)
    return bank


def _topics_with_problems(bank: Bank) -> set[Topic]:
    """Return the topics of refused files, whose stored questions must not be retired for it."""
    names = {problem.path.parent.name for problem in bank.problems}
    return {Topic(name) for name in names if name in set(Topic)}
