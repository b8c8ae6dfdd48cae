"""A request to the webhook, what may become of it, and what makes one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from dev.fuzz import updates
from dev.fuzz.oracle import Row
from dev.fuzz.updates import MARK, Crowd, Json, Person

MAX_BYTES = 1_000_000
"""The webhook's limit."""

SECRET = b"fuzz-Secret_0123456789"

TAKEN, REFUSED, TOO_LARGE, WRONG_SECRET = 200, 400, 413, 401
EITHER = frozenset({TAKEN, REFUSED})
NO_ANSWER = 0
"""Stands for no answer at all."""


@dataclass(frozen=True, slots=True)
class Input:
    """A request to the webhook, and what may become of it."""

    kind: str
    number: int
    body: bytes
    statuses: frozenset[int] = EITHER
    """Answers that are right."""
    must: Row | None = None
    """The row that has to be there afterwards, with the body's update id."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Beside the secret."""
    secret: bytes | None = SECRET
    below: str = ""
    """What follows the webhook's path, where the bot's id may stand."""
    pieces: int = 1
    """In how many the body comes."""
    is_cut: bool = False
    """Whether the sender is gone before the last piece."""


@dataclass(slots=True)
class Maker:
    """Makes one input."""

    kind: str
    number: int
    rng: random.Random
    crowd: Crowd
    person: Person = field(init=False)

    def __post_init__(self) -> None:
        self.person = self.crowd.anybody(self.rng, self.number)

    def update(self, **content: Any) -> Json:  # noqa: ANN401
        """Return an update with an id of its own."""
        return {"update_id": 1_000_000 + self.number, **content}

    def valid(self) -> tuple[Json, Row]:
        """Return an update as Telegram sends it, and the row that it makes."""
        rng, person = self.rng, self.person
        match rng.randrange(5):
            case 0:
                name = rng.choice(updates.COMMANDS)
                content = updates.message(person, f"/{name}{rng.choice(['', ' ', f' {MARK}'])}", self.number)
                row = Row(person.id, "command", name.partition("@")[0].lower(), self.number)
                return self.update(message=content), row
            case 1:
                text = rng.choice([f"{MARK} words", f"{MARK}\x00", "/", f"/{MARK} x", f"what about /quiz {MARK}?"])
                kind = "command" if text.startswith(f"/{MARK}") else "text"
                return self.update(message=updates.message(person, text, self.number)), Row(
                    person.id, kind, "", self.number
                )
            case 2:
                status = rng.choice(["kicked", "left", "member"])
                row = Row(person.id, "unblocked" if status == "member" else "blocked", "", None)
                return self.update(my_chat_member=updates.membership(person, status)), row
            case _:
                data = rng.choice(BUTTONS).replace("QUIZ", str(person.quiz_id))
                content = updates.tap(person, data, self.number)
                return self.update(callback_query=content), Row(person.id, "tap", data, person.message_id)

    def make(self, body: bytes, **fields: Any) -> Input:  # noqa: ANN401
        """Return the input."""
        return Input(self.kind, self.number, body, **fields)


BUTTONS = (
    *(
        "a:QUIZ:0",
        "a:QUIZ:1",
        "a:QUIZ:2",
        "a:QUIZ:3",
        "a:QUIZ:4",
        "n",
        "nr",
        "e:new",
        "e:deep",
        "s:main",
        "s:hour",
        "s:zone",
    ),
    *("s:topics", "s:done", "h:0", "h:23", "o:-720", "o:330", "z:Asia/Kolkata", "z:UTC", "t:streaming", "ta", "d:0"),
    *("d:1", "x:0", "x:1", "r:QUIZ:", "rb:QUIZ:", "rq:QUIZ:wrong", "rq:QUIZ:unclear"),
)
"""Data of every button that the bot makes."""
