"""The data behind buttons: typed values that pack into Telegram's 64 bytes and unpack strictly.

A client can send any data, so unpacking accepts exactly what packing makes and nothing else. Who may use
a button is checked where it acts: a quiz belongs to its learner, and everything else acts on the learner who tapped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from domain.catalog import UNKNOWN_CHOICE, Experience, ReportReason, Topic
from domain.errors import ForgedCallbackError
from domain.ids import QuizId
from domain.time_zones import ZONES

MAX_BYTES = 64
"""Telegram's limit."""

FARTHEST_WEST, FARTHEST_EAST = -12 * 60, 14 * 60
"""Minutes from UTC between which all the world's clocks are."""

_SEPARATOR = ":"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class Callback:
    """A button's meaning. Subclasses are plain data; their fields are int, str or bool."""

    prefix: ClassVar[str]

    def pack(self) -> str:
        """Return the data for Telegram, at most 64 bytes."""
        parts = [self.prefix, *(_pack_value(getattr(self, field.name)) for field in fields(self))]
        data = _SEPARATOR.join(parts)
        if len(data.encode()) > MAX_BYTES:
            msg = f"callback data has {len(data.encode())} bytes, at most {MAX_BYTES} fit: {data}"
            raise ValueError(msg)
        return data

    @classmethod
    def from_parts(cls, parts: list[str]) -> Self:
        """Build from the packed fields.

        Raises:
            ForgedCallbackError: they are not what `pack` makes.
        """
        names = [field.name for field in fields(cls)]
        types = [str(field.type) for field in fields(cls)]
        if len(parts) != len(names):
            raise ForgedCallbackError
        values = {name: _unpack_value(kind, part) for name, kind, part in zip(names, types, parts, strict=True)}
        return cls(**values)


def _pack_value(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _unpack_value(kind: str, part: str) -> Any:  # noqa: ANN401 - one of the field types
    if kind == "str":
        return part
    if not _INTEGER.fullmatch(part):
        raise ForgedCallbackError
    number = int(part)
    if kind == "bool":
        if number not in {0, 1}:
            raise ForgedCallbackError
        return bool(number)
    return number


@dataclass(frozen=True, slots=True)
class AnswerTap(Callback):
    """One of the buttons under a question: an option's, or the one that says "I don't know"."""

    prefix: ClassVar[str] = "a"
    quiz_id: int
    place: int

    def __post_init__(self) -> None:
        if self.quiz_id < 1 or not 0 <= self.place <= UNKNOWN_CHOICE:
            raise ForgedCallbackError


@dataclass(frozen=True, slots=True)
class NextQuestion(Callback):
    """Asks for a question."""

    prefix: ClassVar[str] = "n"


@dataclass(frozen=True, slots=True)
class NextReview(Callback):
    """Asks for a question that was missed."""

    prefix: ClassVar[str] = "nr"


@dataclass(frozen=True, slots=True)
class ChooseExperience(Callback):
    """Says how experienced a new learner is."""

    prefix: ClassVar[str] = "e"
    experience: str

    def __post_init__(self) -> None:
        if self.experience not in set(Experience):
            raise ForgedCallbackError


@dataclass(frozen=True, slots=True)
class OpenSettings(Callback):
    """Shows a page of the settings: ``main``, ``hour``, ``zone`` or ``topics``."""

    prefix: ClassVar[str] = "s"
    page: str

    def __post_init__(self) -> None:
        if self.page not in {"main", "hour", "zone", "topics", "done"}:
            raise ForgedCallbackError


@dataclass(frozen=True, slots=True)
class ChooseHour(Callback):
    """Sets the hour of the daily quiz."""

    prefix: ClassVar[str] = "h"
    hour: int

    def __post_init__(self) -> None:
        if not 0 <= self.hour <= 23:  # noqa: PLR2004 - hours of a day
            raise ForgedCallbackError


@dataclass(frozen=True, slots=True)
class ChooseOffset(Callback):
    """Shows the cities whose clocks are so many minutes ahead of UTC."""

    prefix: ClassVar[str] = "o"
    minutes: int

    def __post_init__(self) -> None:
        if not FARTHEST_WEST <= self.minutes <= FARTHEST_EAST:
            raise ForgedCallbackError


@dataclass(frozen=True, slots=True)
class ChooseZone(Callback):
    """Sets the time zone, by its IANA name."""

    prefix: ClassVar[str] = "z"
    zone: str

    def __post_init__(self) -> None:
        if self.zone not in ZONES:
            raise ForgedCallbackError


@dataclass(frozen=True, slots=True)
class ToggleTopic(Callback):
    """Adds a topic to the learner's choice, or takes it out."""

    prefix: ClassVar[str] = "t"
    topic: str

    def __post_init__(self) -> None:
        if self.topic not in set(Topic):
            raise ForgedCallbackError


@dataclass(frozen=True, slots=True)
class AllTopics(Callback):
    """Chooses every topic."""

    prefix: ClassVar[str] = "ta"


@dataclass(frozen=True, slots=True)
class SwitchDaily(Callback):
    """Switches daily quizzes on or off."""

    prefix: ClassVar[str] = "d"
    enabled: bool


@dataclass(frozen=True, slots=True)
class SwitchAnnouncements(Callback):
    """Switches announcements on or off, under one of them."""

    prefix: ClassVar[str] = "an"
    enabled: bool


@dataclass(frozen=True, slots=True)
class MoveHere(Callback):
    """Lets the learner's questions come through the bot under whose message it stands."""

    prefix: ClassVar[str] = "m"


@dataclass(frozen=True, slots=True)
class ConfirmErase(Callback):
    """Answers the question whether everything is to be erased."""

    prefix: ClassVar[str] = "x"
    confirmed: bool


@dataclass(frozen=True, slots=True)
class ReportButton(Callback):
    """One of the buttons by which a learner doubts a question that they answered.

    The data carries what they said before, so that no button needs the storage to know how it is labelled.
    """

    quiz_id: int
    reason: str
    """Of `ReportReason`; empty as long as there is none."""

    def __post_init__(self) -> None:
        if self.quiz_id < 1 or self.reason not in {"", *ReportReason}:
            raise ForgedCallbackError


@dataclass(frozen=True, slots=True)
class OpenReport(ReportButton):
    """Shows the reasons, with the one that was given before."""

    prefix: ClassVar[str] = "r"


@dataclass(frozen=True, slots=True)
class CloseReport(ReportButton):
    """Leaves the reasons without choosing one."""

    prefix: ClassVar[str] = "rb"


@dataclass(frozen=True, slots=True)
class ReportQuestion(ReportButton):
    """Reports the quiz's question, for a reason."""

    prefix: ClassVar[str] = "rq"

    def __post_init__(self) -> None:
        ReportButton.__post_init__(self)  # super() does not find its way in a slotted dataclass
        if not self.reason:
            raise ForgedCallbackError


_KINDS: tuple[type[Callback], ...] = (
    AnswerTap,
    NextQuestion,
    NextReview,
    ChooseExperience,
    OpenSettings,
    ChooseHour,
    ChooseOffset,
    ChooseZone,
    ToggleTopic,
    AllTopics,
    SwitchDaily,
    SwitchAnnouncements,
    MoveHere,
    ConfirmErase,
    OpenReport,
    CloseReport,
    ReportQuestion,
)
_BY_PREFIX = {kind.prefix: kind for kind in _KINDS}


def unpack(data: str) -> Callback:
    """Return what a button's data means.

    Raises:
        ForgedCallbackError: no button of the bot carries it.
    """
    prefix, *parts = data.split(_SEPARATOR)
    kind = _BY_PREFIX.get(prefix)
    if kind is None or len(data.encode(errors="surrogatepass")) > MAX_BYTES:
        raise ForgedCallbackError
    return kind.from_parts(parts)


def read_callback(data: str) -> Callback | None:
    """Return what a button's data means, or None if no button of the bot carries it.

    Args:
        data: as Telegram delivered it, or as it was stored by this version or an earlier one.
    """
    try:
        return unpack(data)
    except ForgedCallbackError:
        return None


def quiz_of(callback: Callback | None) -> QuizId | None:
    """Return the quiz that a button answers or reports, or None if it is about none."""
    return QuizId(callback.quiz_id) if isinstance(callback, AnswerTap | ReportButton) else None
