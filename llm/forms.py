"""The forms in which a language model is to answer; structured outputs hold it to them."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel

from domain.catalog import Level, QuestionForm
from question_bank.format import Question

EXECUTABLE = {"sql", "python"}
"""Languages whose code must be executed before a learner sees it."""


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

    def to_bank(self, level: Level) -> Question:
        """Return it as a question of the bank, whose rules it must pass.

        Args:
            level: the level it was asked for.

        Raises:
            ValidationError: it breaks one of them.
        """
        content = self.model_dump()
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        check = {"engine": self.engine, "setup": self.setup or ""} if self.engine and self.code else None
        return Question.model_validate(
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


class BlindAnswer(BaseModel):
    """What somebody answers who has not seen the key."""

    reasoning: str
    answer: Literal["A", "B", "C", "D"]
    flawed: bool
