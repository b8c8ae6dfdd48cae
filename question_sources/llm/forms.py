"""The forms in which a language model is to answer; structured outputs hold it to them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel

from domain.catalog import Level, QuestionForm, Topic
from question_bank.format import BankQuestion

_UNKEEPABLE = re.compile("[\\x00\\ud800-\\udfff]")
"""Characters that JSON can carry, but neither Postgres nor a command line."""


class WrittenOption(BaseModel):
    """One of the four answers, as a model writes it."""

    text: str
    why: str
    correct: bool
    value: str | None


class WrittenQuestion(BaseModel):
    """A question, as a model writes it."""

    prompt: str
    code: str | None
    language: str
    options: list[WrittenOption]
    explanation: str
    reference_title: str
    reference_url: str
    tags: list[str]
    engine: Literal["duckdb", "python"] | None
    setup: str | None

    def to_bank(self, topic: Topic, level: Level) -> BankQuestion:
        """Return it as a question of the bank, whose rules it must pass.

        Raises:
            ValidationError: it breaks one of them.
            ValueError: it holds a character that cannot be stored.
        """
        content = self.model_dump()
        if any(_UNKEEPABLE.search(text) for text in _texts(content)):
            raise ValueError("a character that cannot be stored")
        # the same text for another topic or level is another question, which must not move the one that is stored
        standing = json.dumps([topic, level, content], sort_keys=True)
        digest = hashlib.sha256(standing.encode()).hexdigest()[:16]
        check = {"engine": self.engine, "setup": self.setup or ""} if self.engine and self.code else None
        return BankQuestion.model_validate(
            {
                "id": f"llm-{digest}",
                "level": level,
                "form": QuestionForm.PRACTICAL,
                "prompt": self.prompt,
                "code": self.code or None,
                "language": self.language if self.code else "",
                "options": content["options"],
                "explanation": self.explanation,
                "reference": {"title": self.reference_title, "url": self.reference_url},
                "tags": self.tags,
                "check": check,
            }
        )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


class BlindAnswer(BaseModel):
    """A model's answer to a question whose key it has not seen."""

    reasoning: str
    answer: Literal["A", "B", "C", "D"]
    flawed: bool
