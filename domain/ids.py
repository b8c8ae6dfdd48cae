"""Ids as types of their own, so that a quiz's id cannot be passed where a learner's is meant."""

from __future__ import annotations

from typing import NewType

LearnerId = NewType("LearnerId", int)
"""A Telegram user id: the only personal datum that is stored."""

QuestionId = NewType("QuestionId", int)
QuizId = NewType("QuizId", int)
GenerationId = NewType("GenerationId", int)
BotId = NewType("BotId", int)
UpdateRow = NewType("UpdateRow", int)
"""The row of a received update, not Telegram's own update id."""
