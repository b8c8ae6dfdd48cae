"""Questions of the bank as rows of the table ``questions``."""

from __future__ import annotations

import json

from domain.catalog import QuestionSource, Topic
from question_bank.format import BankQuestion


def question_columns(
    question: BankQuestion,
    topic: Topic,
    source: QuestionSource,
    *,
    template: str | None = None,
    seed: int | None = None,
    doubt: str | None = None,
) -> tuple[object, ...]:
    """Return the parameters of the query ``upsert_question``, in its order.

    Args:
        doubt: why it is quarantined from the start, if it is.
    """
    options = [
        {"text": option.text, "why": option.why} | ({"value": option.value} if option.value is not None else {})
        for option in question.options
    ]
    return (
        question.id,
        question.content_hash(topic),
        topic,
        question.level,
        source,
        question.prompt,
        question.code,
        question.language,
        json.dumps(options),
        question.correct_index,
        question.explanation,
        question.reference.title,
        question.reference.url,
        list(question.tags),
        question.form,
        question.check.model_dump_json() if question.check else None,
        template,
        seed,
        doubt,
    )
