"""A look at Telegram's markup that is not the simulator's own."""

from __future__ import annotations

import re

_TAG = re.compile(r"<(/?)([a-z-]+)[^<>]*>")


def assert_tags_balance(html: str) -> None:
    """Check that every tag that is opened is closed, the last one first.

    Args:
        html: a message as the bot sends it.
    """
    open_tags: list[str] = []
    for closing, name in _TAG.findall(html):
        if closing:
            assert open_tags.pop() == name
        else:
            open_tags.append(name)
    assert open_tags == []
