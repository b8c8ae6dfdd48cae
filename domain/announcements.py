"""Announcements: a text from the operators to some learners or all, which each gets at most once."""

from __future__ import annotations

from dataclasses import dataclass

from domain.catalog import Level, Topic
from domain.ids import BotId, LearnerId


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is to get it, of those who want quizzes and announcements; what is empty leaves nobody out."""

    topics: tuple[Topic, ...] = ()
    """Learners who chose at least one of them, or all topics."""
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipient:
    """A learner whom a process has taken."""

    learner_id: LearnerId
    bot_id: BotId


@dataclass(frozen=True, slots=True)
class Announced:
    """How many learners an announcement ended in the same way for."""

    state: str
    """``sent``, ``failed``, or ``sending`` if it is not known whether it arrived."""
    failure: str
    """What Telegram said; empty if nothing is wrong."""
    learners: int
