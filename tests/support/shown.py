"""What a learner's Telegram shows of the bot's messages, and the real bank's questions to show."""

from __future__ import annotations

import re
from functools import cache

from domain.models import StoredOption, StoredQuestion
from question_bank.loader import Located, load_bank
from simulator.formatting import TEXT_LIMIT, Formatted, read_formatted
from simulator.params import Params
from tests.support.factories import make_question
from tests.support.markup import assert_tags_balance

SOURCE_LIMIT = 2**15
MAX_ENTITIES = 100
"""Telegram drops what is marked beyond these."""


def as_shown(html: str) -> Formatted:
    """Return what a learner's Telegram shows, after checking the markup by a count of our own."""
    assert_tags_balance(html)
    assert len(html.encode()) < SOURCE_LIMIT
    shown = read_formatted(Params({"text": html, "parse_mode": "HTML"}), "text", "entities", may_be_empty=False)
    assert shown.length <= TEXT_LIMIT
    assert len(shown.entities) < MAX_ENTITIES
    return shown


def plain(text: str) -> str:
    """Return a text of the bank as a reader sees it."""
    return re.sub(r"`([^`\n]+)`", r"\1", " ".join(text.split()))


@cache
def bank() -> tuple[Located, ...]:
    """Return the real bank."""
    return tuple(load_bank().questions)


def stored(located: Located) -> StoredQuestion:
    """Return a question of the bank as the storage would."""
    question = located.question
    return make_question(
        key=question.id,
        topic=located.topic,
        level=question.level,
        prompt=question.prompt,
        code=question.code,
        language=question.language,
        options=tuple(StoredOption(option.text, option.why) for option in question.options),
        correct_index=question.correct_index,
        explanation=question.explanation,
        reference_title=question.reference.title,
        reference_url=question.reference.url,
    )
