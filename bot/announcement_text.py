"""A file's text as an announcement: plain text, or the part of Telegram's HTML that the bot itself uses."""

from __future__ import annotations

import re
from html import escape, unescape

from domain.errors import AnnouncementError

MAX_LENGTH = 4096
"""Telegram's, in UTF-16 units of what is shown."""

MAX_TAGS = 100
"""Telegram shows no more formatting than that."""

_ATTRIBUTES = {
    **dict.fromkeys(("b", "i", "u", "s", "pre"), ""),
    "a": r' href="https?://[^"<>\s]+"',
    "code": r'(?: class="language-[a-z0-9+-]+")?',
    "blockquote": r"(?: expandable)?",
}
_TAG = re.compile("|".join(f"<({name}){attributes}>" for name, attributes in _ATTRIBUTES.items()) + "|<(/)([a-z]+)>")
_CHARACTER = re.compile(r"&(?:lt|gt|amp|quot|#[0-9]{1,6}|#x[0-9a-fA-F]{1,5});")


def read_announcement(text: str, *, is_html: bool) -> str:
    """Return the text in Telegram's HTML.

    Raises:
        AnnouncementError: Telegram would not take it, or would show it otherwise; with the line of a tag that is wrong.
    """
    html = text.strip() if is_html else escape(text.strip(), quote=False)
    if is_html:
        _check_tags(html)
    shown = _CHARACTER.sub(lambda found: unescape(found[0]), _TAG.sub("", html))
    length = len(shown.encode("utf-16-le", "surrogatepass")) // 2
    if "\0" in html:
        raise AnnouncementError("it has a NUL character, so it is no text")
    if not any(letter.isprintable() and not letter.isspace() for letter in shown):
        raise AnnouncementError("it is empty")
    if length > MAX_LENGTH:
        raise AnnouncementError(f"it has {length} characters, of which Telegram takes {MAX_LENGTH}")
    return html


def _check_tags(html: str) -> None:
    def wrong(at: int, what: str) -> AnnouncementError:
        return AnnouncementError(f"line {html.count(chr(10), 0, at) + 1}: {what}")

    open_tags: list[tuple[str, int]] = []
    tags = list(_TAG.finditer(html))
    if len(tags) > 2 * MAX_TAGS:
        raise AnnouncementError(f"more than {MAX_TAGS} tags")
    if (stray := _TAG.sub(lambda tag: " " * len(tag[0]), html).find("<")) >= 0:
        known = ", ".join(f"<{name}>" for name in _ATTRIBUTES)
        raise wrong(stray, f"{html[stray : stray + 20]!r} is none of the tags {known}; write &lt; for a < in the text")
    for tag in tags:
        name = tag[tag.lastindex or 0]
        if not tag[0].startswith("</"):
            open_tags.append((name, tag.start()))
        elif not open_tags or open_tags.pop()[0] != name:
            raise wrong(tag.start(), f"{tag[0]} closes nothing that is open")
    if open_tags:
        name, at = open_tags[-1]
        raise wrong(at, f"<{name}> is not closed")
