"""What is wrong with the service, and the words by which `make run` knows what it need not, or must not, wait for."""

from __future__ import annotations

from dataclasses import dataclass

NO_UPDATES = "gets no updates"
"""Telegram is out of reach or has a webhook: this may pass."""

OVERDUE = "is overdue"
"""A daily quiz is due for long, as after a time without the service: the next distribution sends it."""

BOT_REFUSED = "Telegram refuses bot"
"""Its token is invalid, or it is frozen: an operator has to act."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an operator should know, in one line."""

    what: str
    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"
