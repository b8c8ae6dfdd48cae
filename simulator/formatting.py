"""From the text a bot sends to the text and entities a learner receives."""

from dataclasses import dataclass
from typing import Any, Final

from simulator.entities import Entity, merge_found, normalise, utf16_length
from simulator.errors import bad_request
from simulator.html_parser import HtmlError, parse_html
from simulator.links import checked_link, find_entities
from simulator.params import Params

TEXT_LIMIT: Final = 4096
CAPTION_LIMIT: Final = 1024
_SOURCE_LIMIT: Final = 1 << 15
_MAX_ENTITIES: Final = 100
_FARTHEST: Final = 1_000_000
_GIVEN: Final = frozenset({
    "bold", "italic", "underline", "strikethrough", "spoiler", "code", "pre", "text_link", "text_mention",
    "custom_emoji", "blockquote", "expandable_blockquote",
})  # fmt: skip
_FOUND_BY_TELEGRAM: Final = frozenset({
    "mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bank_card_number",
})  # fmt: skip
_CONTROL: Final = {code: " " for code in range(32) if code != ord("\n")} | {ord("\r"): None}


@dataclass(frozen=True, slots=True)
class Formatted:
    """A text and what is marked in it."""

    text: str
    entities: list[dict[str, Any]]
    length: int
    """UTF-16 units of the text."""


def read_formatted(params: Params, text_name: str, entities_name: str, *, may_be_empty: bool) -> Formatted:
    """Read a text with its parse mode or entities, and tidy it as Telegram does.

    Args:
        text_name: Parameter with the text, `text` or `caption`.
        may_be_empty: True for a caption.

    Raises:
        ApiError: 400 for an empty text, a text too long to parse, or formatting that cannot be parsed.
    """
    source = params.text(text_name)
    if not source:
        if may_be_empty:
            return Formatted("", [], 0)
        raise bad_request("message text is empty")
    if len(source.encode("utf-8", "replace")) > _SOURCE_LIMIT:
        raise bad_request("text is too long")
    text, entities = _parse(source, params, entities_name)
    text, entities = _tidy(text, entities)
    if not text and not may_be_empty:
        raise bad_request("text must be non-empty")
    entities = merge_found(entities, find_entities(text))[:_MAX_ENTITIES]
    return Formatted(text, [one.as_json() for one in entities], utf16_length(text))


def _parse(source: str, params: Params, entities_name: str) -> tuple[str, list[Entity]]:
    mode = params.text("parse_mode").lower()
    if mode in {"", "none"}:
        return source, normalise(_given(source, params, entities_name))
    if mode in {"markdown", "markdownv2"}:
        raise bad_request("can't parse entities: this simulator reads parse_mode HTML only")
    if mode != "html":
        raise bad_request("unsupported parse_mode")
    try:
        text, entities = parse_html(source)
    except HtmlError as error:
        raise bad_request(f"can't parse entities: {error}") from None
    return text, normalise(entities)


def _given(text: str, params: Params, name: str) -> list[Entity]:
    value = params.json(name, f"can't parse {name} JSON object")
    if not isinstance(value, list):
        return []
    length = utf16_length(text)
    entities = [entity for item in value if (entity := _read_entity(item)) is not None]
    for entity in entities:
        if entity.offset > length:
            raise bad_request(f"entity begins after the end of the text at UTF-16 offset {entity.offset}")
        if entity.end > length:
            raise bad_request(
                f"entity beginning at UTF-16 offset {entity.offset} ends after the end of the text at UTF-16 "
                f"offset {entity.end}"
            )
    return entities


def _read_entity(item: Any) -> Entity | None:  # noqa: ANN401 - any JSON value
    if not isinstance(item, dict):
        raise bad_request("can't parse MessageEntity: expected an Object")
    for field in ("offset", "length"):
        if not isinstance(item.get(field), int):
            raise bad_request(f'can\'t parse MessageEntity: Field "{field}" must be of type Number')
        if not 0 <= item[field] <= _FARTHEST:
            raise bad_request(f"receive an entity with incorrect {field} {item[field]}")
    kind = item.get("type")
    if kind in _FOUND_BY_TELEGRAM:
        return None
    if kind not in _GIVEN:
        raise bad_request("can't parse MessageEntity: Unsupported type specified")
    argument = {"text_link": "url", "pre": "language", "custom_emoji": "custom_emoji_id"}.get(kind, "")
    entity = Entity(kind, item["offset"], item["length"], str(item.get(argument) or ""))
    if kind == "text_link":
        entity.argument = checked_link(entity.argument)
        return entity if entity.argument else None
    return None if kind == "text_mention" else entity


def _tidy(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Replace control characters and trim, moving the entities along."""
    if not text.isprintable():
        if not entities or "\r" not in text:
            text = text.translate(_CONTROL)
        else:
            text = text.replace("\r", " ").translate(_CONTROL)
    text = text.rstrip(" \n")
    end = utf16_length(text)
    kept = []
    for entity in entities:
        entity.length = min(entity.length, end - entity.offset)
        if entity.length > 0:
            kept.append(entity)
    first = kept[0].offset if kept else end
    stripped = text.lstrip(" \n")
    # Leading space inside an entity stays, as with TDLib.
    cut = min(len(text) - len(stripped), first)
    for entity in kept:
        entity.offset -= cut
    return text[cut:], sorted(kept, key=Entity.order)
