"""Ids as types of their own, so that a quiz's id cannot be passed where a learner's is meant."""

from __future__ import annotations

from typing import NewType

MAX_ID = 2**63 - 1
"""The largest that Postgres stores; Telegram's own are smaller."""

MAX_LEARNER_ID = 2**52 - 1
"""Telegram's user ids have at most 52 significant bits."""

LearnerId = NewType("LearnerId", int)
"""A Telegram user id: the only personal datum that is stored."""

QuestionId = NewType("QuestionId", int)
QuizId = NewType("QuizId", int)
GenerationId = NewType("GenerationId", int)
BotId = NewType("BotId", int)
DistributionId = NewType("DistributionId", int)
BackupId = NewType("BackupId", int)
AnnouncementId = NewType("AnnouncementId", int)
UpdateRow = NewType("UpdateRow", int)
"""The row of a received update, not Telegram's own update id."""
