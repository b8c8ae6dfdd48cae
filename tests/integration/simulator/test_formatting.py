"""Telegram's HTML: text and entities out of markup."""

import html
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.entities import SPLITTABLE, Entity, normalise, utf16_length
from simulator.formatting import read_formatted
from simulator.html_parser import HtmlError, parse_html
from simulator.params import Params

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
TAGS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "tg-spoiler": "spoiler",
    "code": "code", "pre": "pre", "blockquote": "blockquote",
}  # fmt: skip


def entities(source: str) -> list[dict[str, Any]]:
    formatted = read_formatted(Params({"text": source, "parse_mode": "HTML"}), "text", "entities", may_be_empty=True)
    return formatted.entities


def marked(draw_text: str, tag: str) -> str:
    return f"<{tag}>{html.escape(draw_text, quote=False)}</{tag}>"


@pytest.mark.parametrize(("tag", "kind"), TAGS.items())
def test_each_tag_is_an_entity(tag: str, kind: str) -> None:
    assert entities(f"a <{tag}>b</{tag}>") == [{"offset": 2, "length": 1, "type": kind}]


def test_a_span_can_be_a_spoiler() -> None:
    assert entities('<span class="tg-spoiler">x</span>') == [{"offset": 0, "length": 1, "type": "spoiler"}]


def test_a_link_keeps_its_address() -> None:
    assert entities('<a href="https://example.org/?a=1&amp;b=2">x</a>') == [
        {"offset": 0, "length": 1, "type": "text_link", "url": "https://example.org/?a=1&b=2"}
    ]


def test_code_in_pre_names_its_language() -> None:
    assert entities('<pre><code class="language-sql">SELECT</code></pre>') == [
        {"offset": 0, "length": 6, "type": "pre", "language": "sql"}
    ]


def test_a_quote_can_be_expandable() -> None:
    assert entities("<blockquote expandable>x</blockquote>")[0]["type"] == "expandable_blockquote"


def test_offsets_count_utf16_units() -> None:
    assert entities("😀😀<b>x</b>") == [{"offset": 4, "length": 1, "type": "bold"}]


def test_nested_entities_are_cut_as_telegram_does() -> None:
    assert entities("<b>a<i>b</i></b>") == [
        {"offset": 0, "length": 1, "type": "bold"},
        {"offset": 1, "length": 1, "type": "bold"},
        {"offset": 1, "length": 1, "type": "italic"},
    ]


def test_neighbours_of_one_type_become_one() -> None:
    assert entities("<b>a</b><b>b</b>") == [{"offset": 0, "length": 2, "type": "bold"}]


def test_code_holds_nothing_else() -> None:
    assert entities("<code>a<b>b</b></code>") == [{"offset": 0, "length": 2, "type": "code"}]


def test_space_around_the_text_is_trimmed_and_entities_move() -> None:
    assert entities("  \n a<b>b </b> ") == [{"offset": 1, "length": 1, "type": "bold"}]


def test_tags_and_named_characters_are_decoded_once() -> None:
    assert parse_html("&lt;b&gt; &amp;amp; &quot;&#65;&#x42; &nbsp;")[0] == '<b> &amp; "AB &nbsp;'


def test_commands_in_code_are_not_found() -> None:
    assert [one["type"] for one in entities("<code>/quiz</code> /quiz")] == ["code", "bot_command"]


@given(TEXT)
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    assert parse_html(html.escape(text)) == (text, [])


@given(TEXT, TEXT.filter(bool), TEXT, st.sampled_from(sorted(set(TAGS))))
def test_a_marked_stretch_lies_where_it_was_marked(before: str, inside: str, after: str, tag: str) -> None:
    source = html.escape(before, quote=False) + marked(inside, tag) + html.escape(after, quote=False)
    text, found = parse_html(source)
    assert text == before + inside + after
    (entity,) = found
    raw = text.encode("utf-16-le")
    assert raw[2 * entity.offset : 2 * entity.end].decode("utf-16-le") == inside


@given(st.text(st.sampled_from("<>/b iup=\"'&;ltg#x1 é😀"), max_size=40))
def test_any_markup_is_parsed_or_refused_and_nothing_else(source: str) -> None:
    try:
        text, found = parse_html(source)
    except HtmlError:
        return
    assert all(0 <= one.offset < one.end <= utf16_length(text) for one in found)


ENTITY = st.builds(
    Entity,
    st.sampled_from([*SPLITTABLE, "code", "pre", "blockquote", "text_link"]),
    st.integers(0, 12),
    st.integers(1, 8),
    st.just("x"),
)


@given(st.lists(ENTITY, max_size=8))
def test_normal_entities_are_in_order_and_properly_nested(given_entities: list[Entity]) -> None:
    found = normalise(given_entities)
    assert [one.order() for one in found] == sorted(one.order() for one in found)
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            assert other.offset >= one.end or other.end <= one.end


@given(st.lists(ENTITY, max_size=8))
def test_normalising_twice_changes_nothing(given_entities: list[Entity]) -> None:
    once = normalise(given_entities)
    copies = [Entity(one.type, one.offset, one.length, one.argument) for one in once]
    assert normalise(copies) == once


@given(st.lists(ENTITY, max_size=8))
def test_no_formatting_remains_inside_code(given_entities: list[Entity]) -> None:
    found = normalise(given_entities)
    code = [one for one in found if one.type in {"code", "pre"}]
    loose = [one for one in found if one.type in SPLITTABLE]
    assert all(one.end <= block.offset or block.end <= one.offset for block in code for one in loose)
