"""Telegram's HTML parse mode: from marked-up text to plain text and entities.

Follows TDLib's `parse_html`, with its tags, its four named characters, and its complaints, which count bytes.
"""

import re
from dataclasses import dataclass
from typing import Final

from simulator.entities import Entity, utf16_length
from simulator.links import checked_link

_SPACES: Final = " \t\r\n\0\v"
_SPECIAL: Final = re.compile("[<&]")
_NAME_TOKEN: Final = re.compile(r"[A-Za-z0-9.-]*")
_NUMERIC: Final = re.compile(r"&#(?:x([0-9A-Fa-f]*)|([0-9]*))")
_NAMED: Final = re.compile(r"&([A-Za-z]+)")
_NAMES: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_SIMPLE: Final = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "tg-spoiler": "spoiler",
    "span": "spoiler",
}  # fmt: skip
_TAGS: Final = frozenset(_SIMPLE) | {"a", "tg-emoji", "pre", "code", "blockquote"}
_MAX_NUMERIC: Final = 10
_LAST_CODE_POINT: Final = 0x10FFFF


class HtmlError(ValueError):
    """The text cannot be parsed; the message is Telegram's, without its prefix."""


@dataclass(slots=True)
class _Tag:
    name: str
    argument: str
    offset: int
    begin: int
    """Where its content begins in the list of pieces."""


def parse_html(source: str) -> tuple[str, list[Entity]]:
    """Parse Telegram's HTML.

    Returns:
        The plain text, and its entities in the order in which they were closed, offsets in UTF-16 units.

    Raises:
        HtmlError: A tag is unknown, unclosed or unbalanced.
    """
    if "<" not in source and "&" not in source:
        return source, []
    return _Parser(source).parse()


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._pieces: list[str] = []
        self._offset = 0
        self._tags: list[_Tag] = []
        self._entities: list[Entity] = []

    def parse(self) -> tuple[str, list[Entity]]:
        while found := _SPECIAL.search(self._source, self._at):
            self._emit(self._source[self._at : found.start()])
            self._at = found.start()
            if found[0] == "&":
                self._emit(self._character() or self._skip_one())
            elif self._peek(1) == "/":
                self._close()
            else:
                self._open()
        self._emit(self._source[self._at :])
        if self._tags:
            raise HtmlError(f'Can\'t find end tag corresponding to start tag "{self._tags[-1].name}"')
        for entity in self._entities:
            if entity.type == "code":
                entity.argument = ""
        text = "".join(self._pieces)
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise HtmlError(
                "Text contains invalid Unicode characters after decoding HTML entities, check for unmatched "
                "surrogate code units"
            )
        return text, self._entities

    def _emit(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self._offset += utf16_length(piece)

    def _peek(self, ahead: int = 0) -> str:
        """The character there; the end reads as a zero, as in TDLib."""
        position = self._at + ahead
        return self._source[position] if position < len(self._source) else "\0"

    def _skip_one(self) -> str:
        self._at += 1
        return self._source[self._at - 1]

    def _character(self) -> str:
        """Decode the character reference here, or leave it alone and return nothing."""
        if numeric := _NUMERIC.match(self._source, self._at):
            hexadecimal, decimal = numeric.groups()
            code = int(hexadecimal or "0", 16) if decimal is None else int(decimal or "0")
            if code == 0 or code >= _LAST_CODE_POINT or len(numeric[0]) >= _MAX_NUMERIC:
                return ""
            result, end = chr(code), numeric.end()
        else:
            named = _NAMED.match(self._source, self._at)
            if named is None or named[1] not in _NAMES:
                return ""
            result, end = _NAMES[named[1]], named.end()
        self._at = end + self._source.startswith(";", end)
        return result

    def _bytes_before(self, position: int) -> int:
        return len(self._source[:position].encode("utf-8", "surrogatepass"))

    def _word(self, stops: str) -> str:
        begin = self._at
        while (character := self._peek()) not in _SPACES and character not in stops:
            self._at += 1
        return self._source[begin : self._at]

    def _skip_spaces(self) -> None:
        while self._at < len(self._source) and self._peek() in _SPACES:
            self._at += 1

    def _ended(self) -> bool:
        return self._at >= len(self._source)

    def _open(self) -> None:
        begin = self._bytes_before(self._at)
        self._at += 1
        name = self._word(">").lower()
        if self._ended():
            raise HtmlError(f"Unclosed start tag at byte offset {begin}")
        if name not in _TAGS:
            raise HtmlError(f'Unsupported start tag "{name}" at byte offset {begin}')
        argument = ""
        while self._peek() != ">":
            self._skip_spaces()
            if self._peek() == ">":
                break
            attribute, value = self._attribute(name, begin)
            argument = _argument(name, attribute, value) or argument
        self._at += 1
        if name == "span" and argument != "spoiler":
            raise HtmlError(f'Tag "span" must have class "tg-spoiler" at byte offset {begin}')
        self._tags.append(_Tag(name, argument, self._offset, len(self._pieces)))

    def _attribute(self, tag: str, begin: int) -> tuple[str, str | None]:
        """Read one attribute; its value is None when it has none."""
        attribute = self._word("=>/\"'")
        if not attribute:
            raise HtmlError(f'Empty attribute name in the tag "{tag}" at byte offset {begin}')
        self._skip_spaces()
        if self._peek() != "=":
            if self._ended():
                raise HtmlError(f'Unclosed start tag "{tag}" at byte offset {begin}')
            return attribute, None
        self._at += 1
        self._skip_spaces()
        if self._ended():
            raise HtmlError(f'Unclosed start tag "{tag}" at byte offset {begin}')
        value = self._quoted() if self._peek() in "'\"" else self._token()
        if self._ended():
            raise HtmlError(f"Unclosed start tag at byte offset {begin}")
        return attribute, value

    def _token(self) -> str:
        begin = self._at
        found = _NAME_TOKEN.match(self._source, begin)
        self._at = found.end() if found else begin
        if self._peek() not in _SPACES and self._peek() != ">":
            raise HtmlError(f"Unexpected end of name token at byte offset {self._bytes_before(begin)}")
        return self._source[begin : self._at].lower()

    def _quoted(self) -> str:
        quote = self._skip_one()
        pieces: list[str] = []
        while not self._ended() and self._peek() != quote:
            decoded = self._character() if self._peek() == "&" else ""
            pieces.append(decoded or self._skip_one())
        if not self._ended():
            self._at += 1
        return "".join(pieces)

    def _close(self) -> None:
        begin = self._bytes_before(self._at)
        if not self._tags:
            raise HtmlError(f"Unexpected end tag at byte offset {begin}")
        self._at += 2
        name = self._word(">").lower()
        self._skip_spaces()
        if self._peek() != ">":
            raise HtmlError(f"Unclosed end tag at byte offset {begin}")
        self._at += 1
        tag = self._tags.pop()
        if name and name != tag.name:
            raise HtmlError(f'Unmatched end tag at byte offset {begin}, expected "</{tag.name}>", found "</{name}>"')
        if self._offset > tag.offset:
            self._add(tag)

    def _add(self, tag: _Tag) -> None:
        entity = Entity("", tag.offset, self._offset - tag.offset, tag.argument)
        last = self._entities[-1] if self._entities else None
        same = last is not None and (last.offset, last.length) == (entity.offset, entity.length)
        if tag.name in _SIMPLE:
            entity.type, entity.argument = _SIMPLE[tag.name], ""
        elif tag.name == "blockquote":
            entity.type, entity.argument = ("expandable_blockquote" if tag.argument else "blockquote"), ""
        elif tag.name == "a":
            entity.type = "text_link"
            entity.argument = checked_link(tag.argument or "".join(self._pieces[tag.begin :]))
        elif tag.name == "tg-emoji":
            entity.type = "custom_emoji"
            if not tag.argument.isdecimal() or not int(tag.argument):
                raise HtmlError("Invalid custom emoji identifier specified")
        elif tag.name == "pre" and last is not None and same and last.type == "code" and last.argument:
            last.type = "pre"
            return
        elif tag.name == "code" and last is not None and same and last.type == "pre" and tag.argument:
            last.argument = tag.argument
            return
        else:
            entity.type = tag.name
        if entity.type != "text_link" or entity.argument:
            self._entities.append(entity)


def _argument(tag: str, attribute: str, value: str | None) -> str:
    """What an attribute says about its tag; an attribute without meaning says nothing."""
    if (tag, attribute) == ("blockquote", "expandable"):
        return "1"
    if value is None:
        return ""
    if (tag, attribute) in {("a", "href"), ("tg-emoji", "emoji-id")}:
        return value
    if (tag, attribute) == ("code", "class") and value.startswith("language-"):
        return value.removeprefix("language-")
    if (tag, attribute) == ("span", "class") and value.startswith("tg-"):
        return value.removeprefix("tg-")
    return ""
