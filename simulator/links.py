"""What Telegram finds in plain text by itself: commands, links, mentions, hashtags and mail addresses."""

import re
from typing import Final

from simulator.entities import Entity, utf16_length

_SCHEME: Final = re.compile(r"^(https?|ftp|tg|ton|tonsite|mailto):", re.IGNORECASE)
_HOST: Final = re.compile(r"^[^\s/?#:@]+(:\d+)?([/?#]|$)")
_LOCAL: Final = re.compile(r"^(localhost|\d{1,3}(\.\d{1,3}){3})$", re.IGNORECASE)
# Telegram finds bare domains of known top-level names only; these are the ones a quiz may cite.
_TOP_LEVEL: Final = "com|org|net|io|dev|app|ai|edu|gov|info|me|co|uk|de|eu|cloud|tech|page"
_FOUND: Final = re.compile(
    r"(?P<email>(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b)"
    r"|(?P<url>(?<![\w@/.])(?:https?://[^\s<>\"'`]+"
    rf"|(?:[a-z0-9-]+\.)+(?:{_TOP_LEVEL})\b(?:/[^\s<>\"'`]*)?))"
    r"|(?P<bot_command>(?<![\w/<>@])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/]))"
    r"|(?P<mention>(?<![\w@/])@[A-Za-z]\w{2,31}\b)"
    r"|(?P<hashtag>(?<![\w#])#(?=\w*[^\W\d])\w{1,256})",
    re.IGNORECASE,
)
_CANDIDATE: Final = re.compile(r"[/@#]|\w\.\w")


def checked_link(url: str) -> str:
    """A link as Telegram stores it, with a scheme and a path; empty when it is not one."""
    url = url.strip()
    if not _SCHEME.match(url):
        if "://" in url:
            return ""
        url = f"http://{url}"
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    if scheme.lower() in {"tg", "ton", "tonsite"}:
        return url
    host = re.split(r"[/?#:]", rest.rpartition("@")[2] if "@" in rest.split("/")[0] else rest)[0]
    if not _HOST.match(rest) or ("." not in host and not _LOCAL.match(host)):
        return ""
    slash = "" if re.search(r"[/?#]", rest) else "/"
    return f"{scheme.lower()}://{rest}{slash}"


def find_entities(text: str) -> list[Entity]:
    """Entities that Telegram marks without being asked, in order and without overlap."""
    if not _CANDIDATE.search(text):
        return []
    found: list[Entity] = []
    for match in _FOUND.finditer(text):
        kind = match.lastgroup or ""
        piece = match[0].rstrip(".,:;!?)]'\"") if kind == "url" else match[0]
        found.append(Entity(kind, utf16_length(text[: match.start()]), utf16_length(piece)))
    return found
