"""Message entities: their order and nesting, as Telegram normalises them.

Offsets and lengths count UTF-16 code units. Three families follow different rules: bold, italic, underline,
strikethrough and spoiler are cut into pieces so that they never nest oddly; code, links and mentions are kept whole
and never overlap; quotes hold the others and never each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

SPLITTABLE: Final = ("bold", "italic", "underline", "strikethrough", "spoiler")
QUOTES: Final = frozenset({"blockquote", "expandable_blockquote"})
VERBATIM: Final = frozenset({"code", "pre"})
_PRIORITY: Final = {
    "blockquote": 0, "expandable_blockquote": 0, "pre": 11, "code": 20, "text_link": 49, "text_mention": 49,
    "bold": 90, "italic": 91, "underline": 92, "strikethrough": 93, "spoiler": 94, "custom_emoji": 99,
}  # fmt: skip
_FAR: Final = 1 << 31


@dataclass(slots=True)
class Entity:
    """One formatted stretch of a text."""

    type: str
    offset: int
    length: int
    argument: str = ""
    """The link of a text_link, the language of a pre, the id of a mention or emoji."""

    @property
    def end(self) -> int:
        """The first offset behind it."""
        return self.offset + self.length

    def order(self) -> tuple[int, int, int]:
        """Telegram's order: by start, the longer first, then by type."""
        return (self.offset, -self.length, _PRIORITY.get(self.type, 50))

    def as_json(self) -> dict[str, Any]:
        """The Bot API's MessageEntity."""
        result: dict[str, Any] = {"offset": self.offset, "length": self.length, "type": self.type}
        if self.type == "text_link":
            result["url"] = self.argument
        elif self.type == "pre" and self.argument:
            result["language"] = self.argument
        elif self.type == "custom_emoji":
            result["custom_emoji_id"] = self.argument
        return result


def utf16_length(text: str) -> int:
    """How many UTF-16 code units a text has."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def normalise(entities: list[Entity]) -> list[Entity]:
    """Order entities, merge and cut them as Telegram does before it stores a message."""
    entities = sorted((one for one in entities if one.length > 0), key=Entity.order)
    if _is_valid(entities):
        return entities
    splittable = [one for one in entities if one.type in SPLITTABLE]
    quotes = _without_overlaps(one for one in entities if one.type in QUOTES)
    whole = _without_overlaps(one for one in entities if one.type not in SPLITTABLE and one.type not in QUOTES)
    return _resplit(splittable, sorted([*_outside_quotes(whole, quotes), *quotes], key=Entity.order))


def merge_found(entities: list[Entity], found: list[Entity]) -> list[Entity]:
    """Add entities that were found in the text where they collide with none that the sender gave."""
    if not found:
        return entities
    splittable = [one for one in entities if one.type in SPLITTABLE]
    quotes = [one for one in entities if one.type in QUOTES]
    whole = [one for one in entities if one.type not in SPLITTABLE and one.type not in QUOTES]
    free = [
        one
        for one in _outside_quotes(found, quotes)
        if all(one.end <= other.offset or other.end <= one.offset for other in whole)
    ]
    return _resplit(splittable, sorted([*whole, *free, *quotes], key=Entity.order))


def _is_valid(entities: list[Entity]) -> bool:
    """Whether the entities, in order, are already as Telegram would leave them."""
    ends = dict.fromkeys(SPLITTABLE, -1)
    stack: list[Entity] = []
    for entity in entities:
        while stack and entity.offset >= stack[-1].end:
            stack.pop()
        if stack and not _may_nest(entity, stack):
            return False
        if entity.type in ends:
            if ends[entity.type] >= entity.offset:
                return False
            ends[entity.type] = entity.end
        stack.append(entity)
    return True


def _may_nest(entity: Entity, stack: list[Entity]) -> bool:
    outer = {one.type for one in stack}
    if entity.end > stack[-1].end or entity.type in outer or stack[-1].type in VERBATIM:
        return False
    if entity.type in VERBATIM and outer - QUOTES:
        return False
    if entity.type not in SPLITTABLE and outer - QUOTES - set(SPLITTABLE):
        return False
    # An outer entity that can be cut may have to be.
    return not (entity.type in QUOTES and outer & QUOTES) and not outer & set(SPLITTABLE)


def _without_overlaps(entities: Iterable[Entity]) -> list[Entity]:
    kept: list[Entity] = []
    for entity in entities:
        if not kept or entity.offset >= kept[-1].end:
            kept.append(entity)
    return kept


def _outside_quotes(entities: list[Entity], quotes: list[Entity]) -> list[Entity]:
    """Drop entities that cross the edge of a quote, or that hold one."""
    return [
        one
        for one in entities
        if all(
            one.end <= quote.offset or quote.end <= one.offset or (quote.offset <= one.offset and one.end <= quote.end)
            for quote in quotes
        )
    ]


def _resplit(splittable: list[Entity], others: list[Entity]) -> list[Entity]:
    if not splittable:
        return others
    return sorted([*_Splitter(splittable).split(others), *others], key=Entity.order)


class _Splitter:
    """Cuts splittable entities at the edges of all the others, and drops what lies in code."""

    def __init__(self, entities: list[Entity]) -> None:
        self._waiting = list(reversed(entities))
        self._open: dict[str, tuple[int, int]] = {}
        self._result: list[Entity] = []

    def split(self, others: list[Entity]) -> list[Entity]:
        stack: list[Entity] = []
        for other in [*others, Entity("end", _FAR, 0)]:
            while stack and other.offset >= stack[-1].end:
                inner = stack.pop()
                size = len(self._result)
                self._advance(inner.end)
                if inner.type in VERBATIM:
                    del self._result[size:]
            self._advance(other.offset)
            stack.append(other)
        return self._result

    def _advance(self, end: int) -> None:
        while self._waiting and self._waiting[-1].offset < end:
            entity = self._waiting.pop()
            if entity.type in self._open and entity.offset <= self._open[entity.type][1]:
                begin, previous = self._open[entity.type]
                self._open[entity.type] = (begin, max(previous, entity.end))
            else:
                self._flush(entity.offset)
                self._open[entity.type] = (entity.offset, entity.end)
        self._flush(end)

    def _flush(self, offset: int) -> None:
        for kind in SPLITTABLE:
            begin, end = self._open.get(kind, (offset, 0))
            if begin >= offset:
                continue
            self._result.append(Entity(kind, begin, min(end, offset) - begin))
            if end <= offset:
                del self._open[kind]
            else:
                self._open[kind] = (offset, end)
