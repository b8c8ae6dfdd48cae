"""The text of an announcement: what Telegram would not take is refused before anybody gets it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.announcement_text import MAX_LENGTH, read_announcement
from domain.errors import AnnouncementError
from simulator.html_parser import HtmlError, parse_html

ALL_OF_IT = (
    '<b>New</b> <i>and</i> <u>old</u> <s>gone</s> <a href="https://example.org/x?a=1&amp;b=2">link</a>\n'
    '<blockquote expandable>why</blockquote><pre><code class="language-sql">SELECT 1 &lt; 2</code></pre>'
)


def test_plain_text_is_shown_as_it_is() -> None:
    text = read_announcement("\n a < b & <b>c</b>\n", is_html=False)
    assert parse_html(text) == ("a < b & <b>c</b>", [])


def test_the_bots_own_html_is_taken() -> None:
    assert read_announcement(ALL_OF_IT, is_html=True) == ALL_OF_IT
    shown, entities = parse_html(ALL_OF_IT)
    assert "SELECT 1 < 2" in shown
    assert len(entities) == 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("one\ntwo <font>x</font>", "line 2: '<font>x</font>' is none of the tags"),
        ("one\n<b>two", "line 2: <b> is not closed"),
        ("<b><i>x</b></i>", "line 1: </b> closes nothing that is open"),
        ("x</b>", "line 1: </b> closes nothing that is open"),
        ('<a href="javascript:x">x</a>', "is none of the tags"),
        ("1 < 2", "write &lt; for a < in the text"),
        ("<b>x</b>" * 101, "more than 100 tags"),
        ("<b> </b>", "it is empty"),
        ("<b>&#32;</b>&#xA;", "it is empty"),
        ("\u200b\ufeff", "it is empty"),
        ("hello\0world", "it has a NUL character"),
        ("&#128578;" * 2049, "it has 4098 characters"),
    ],
)
def test_other_html_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(AnnouncementError, match="(?s)" + complaint.replace("?", r"\?")):
        read_announcement(text, is_html=True)


@pytest.mark.parametrize("is_html", [False, True])
def test_the_length_is_that_of_what_is_shown_in_utf16(is_html: bool) -> None:  # noqa: FBT001
    longest = ("<b>&lt;</b>" if is_html else "<") + "🙂" * (MAX_LENGTH // 2 - 1) + "x"
    assert read_announcement(longest, is_html=is_html)
    with pytest.raises(AnnouncementError, match="4097 characters, of which Telegram takes 4096"):
        read_announcement(longest + "x", is_html=is_html)


pieces = st.sampled_from(
    ["<b>", "</b>", "<i>", "</i>", "<code>", "</code>", "<", "&", "&lt;", "&#0;", "x", " ", "<b", ">"]
)


@given(st.lists(pieces, max_size=12).map("".join))
def test_what_is_taken_telegram_takes_too(text: str) -> None:
    try:
        html = read_announcement(text, is_html=True)
    except AnnouncementError:
        return
    try:
        shown, _ = parse_html(html)
    except HtmlError as error:  # pragma: no cover - the failure
        pytest.fail(f"{html!r}: {error}")
    assert shown.strip()
