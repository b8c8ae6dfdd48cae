"""From Telegram's JSON to what is kept of it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.texts import CALLBACK_ANSWERS
from bot.updates import ALLOWED_UPDATES, KNOWN, GroupUpdate, find_group, parse_update
from domain.callbacks import AnswerTap, Callback
from domain.errors import NotAnUpdateError
from domain.updates import Incoming, TapVerdict, UpdateKind
from tests.support.strategies import MAX_ID, MAX_LEARNER_ID, callbacks, hostile_bodies

LEARNER = 700_000_001
USER = {
    "id": LEARNER,
    "is_bot": False,
    "first_name": "Zzfirst",
    "last_name": "Zzlast",
    "username": "zzuser",
    "language_code": "zz",
    "is_premium": True,
}
CHAT = {"id": LEARNER, "type": "private", "first_name": "Zzfirst", "last_name": "Zzlast", "username": "zzuser"}
BOT = {"id": 424242, "is_bot": True, "first_name": "Quiz", "username": "quiz_bot"}
GROUP = {"id": -1001234567890, "type": "supergroup", "title": "Zztitle"}
DATE = 1_795_300_000


def message(text: str | None = "hello", sender: object = USER, **fields: object) -> dict[str, object]:
    """Return a message in a private chat."""
    return {"message_id": 7, "date": DATE, "from": sender, "chat": CHAT, "text": text} | fields


def tap(data: str | None = "a:1:2", sender: object = USER, **fields: object) -> dict[str, object]:
    """Return a tap on a button of the bot's message."""
    shown = message("Zztext of the question", BOT, message_id=8)
    return {"id": "4382bfdwdsb323b2d9", "from": sender, "chat_instance": "1", "message": shown, "data": data} | fields


def member(status: str, **fields: object) -> dict[str, object]:
    """Return a change of whether the bot may write."""
    new = {"user": BOT, "status": status, "until_date": 0}
    return {"chat": CHAT, "from": USER, "date": DATE, "old_chat_member": new, "new_chat_member": new} | fields


def parse(**update: object) -> Incoming | None:
    """Parse an update with these parts."""
    return parse_update(json.dumps({"update_id": 10_000} | update))


# ---------------------------------------------------------------- what is understood


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/start", "start"),
        ("/start deep-link", "start"),
        ("/QUIZ", "quiz"),
        ("/quiz@Some_Bot", "quiz"),
        ("/quiz@Some_Bot now", "quiz"),
        ("/quiz\nnow", "quiz"),
        ("/help.", "help"),
        ("/Help, please", "help"),
        ("/quiz!", "quiz"),
        ("/quiz?!…", "quiz"),
        ("/quiz@Some_Bot.", "quiz"),
        ("/stats。", "stats"),
        ("/help🙏", "help"),
        ("/no_such_command", ""),
    ],
)
def test_a_command_is_kept_by_its_name_alone(text: str, name: str) -> None:
    assert parse(message=message(text)) == Incoming(10_000, LEARNER, UpdateKind.COMMAND, name, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["hello", "", " /quiz", "/", "//quiz", "/" + "q" * 33, "quiz", "/квиз", "/quiz.txt", "/quiz/now", "/quizß", "/."],
)
def test_everything_else_that_is_written_is_only_counted(text: str) -> None:
    assert parse(message=message(text)) == Incoming(10_000, LEARNER, UpdateKind.TEXT, "", 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "extra", [{"photo": [{"file_id": "x"}], "caption": "Zzcaption"}, {"sticker": {}}, {"location": {"latitude": 1.5}}]
)
def test_pictures_and_places_are_only_counted(extra: dict[str, object]) -> None:
    fields = {name: value for name, value in message().items() if name != "text"} | extra
    assert parse(message=fields) == Incoming(10_000, LEARNER, UpdateKind.TEXT, "", 7)  # type: ignore[arg-type]


SERVICE = {
    "pinned_message": {"message_id": 3, "date": DATE, "chat": CHAT, "text": "Zzpinned"},
    "message_auto_delete_timer_changed": {"message_auto_delete_time": 86400},
    "new_chat_photo": [{"file_id": "x"}],
    "delete_chat_photo": True,
    "new_chat_title": "Zztitle",
    "gift": {"gift": {}},
    "unique_gift": {},
    "boost_added": {"boost_count": 1},
    "giveaway": {"winner_count": 1},
    "giveaway_created": {},
    "giveaway_winners": {},
    "giveaway_completed": {},
    "write_access_allowed": {"from_request": True},
    "users_shared": {"request_id": 1, "users": []},
    "chat_shared": {"request_id": 1, "chat_id": 1},
    "web_app_data": {"data": "Zzdata", "button_text": "x"},
    "forum_topic_created": {"name": "Zztopic"},
    "video_chat_started": {},
    "connected_website": "example.org",
    "proximity_alert_triggered": {},
    "chat_background_set": {},
    "successful_payment": {},
    "refunded_payment": {},
    "passport_data": {},
    "paid_message_price_changed": {},
    "checklist_tasks_done": {},
    "suggested_post_paid": {},
    "of_next_year": {},
}
"""What Telegram itself says in a chat, in the name of whoever did it."""


@pytest.mark.parametrize("kind", SERVICE)
def test_what_telegram_says_itself_is_no_message_of_the_learner(kind: str) -> None:
    fields = {name: value for name, value in message().items() if name != "text"}
    assert parse(message=fields | {kind: SERVICE[kind]}) is None


@pytest.mark.parametrize(
    "kind",
    [
        "animation", "audio", "checklist", "contact", "dice", "document", "game", "location", "paid_media", "photo",
        "poll", "sticker", "story", "venue", "video", "video_note", "voice",
    ],
)  # fmt: skip
def test_whatever_a_learner_sends_is_theirs(kind: str) -> None:
    fields = {name: value for name, value in message().items() if name != "text"}
    assert parse(message=fields | {kind: {}}) == Incoming(10_000, LEARNER, UpdateKind.TEXT, "", 7)  # type: ignore[arg-type]


def test_the_pictures_of_an_album_are_known_to_belong_together() -> None:
    one, other, another = (
        parse(message=message(None, photo=[], media_group_id=name)) for name in ("Zz1", "Zz1", "Zz2")
    )
    assert one is not None
    assert other is not None
    assert another is not None
    assert one.album == other.album != another.album
    assert "Zz" not in str(one)


@pytest.mark.parametrize("name", [1, None, ["x"], {}])
def test_an_album_of_another_form_is_none(name: object) -> None:
    odd = parse(message=message("hello", media_group_id=name))
    assert odd is not None
    assert odd.album is None


def test_a_tap_keeps_its_data_its_message_and_what_acknowledges_it() -> None:
    expected = Incoming(10_000, LEARNER, UpdateKind.TAP, "a:1:2", 8, "4382bfdwdsb323b2d9", AnswerTap(1, 2))  # type: ignore[arg-type]
    assert parse(callback_query=tap()) == expected


def test_a_tap_on_a_message_too_old_to_be_shown_still_counts() -> None:
    old = parse(callback_query=tap(message={"chat": CHAT, "message_id": 8, "date": 0}))
    gone = parse(callback_query=tap(message=None))
    assert old is not None
    assert gone is not None
    assert (old.message_id, gone.message_id) == (8, None)


def test_a_tap_from_an_inline_message_or_a_game_is_ignored() -> None:
    assert parse(callback_query=tap(None, game_short_name="chess")) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [("kicked", UpdateKind.BLOCKED), ("left", UpdateKind.BLOCKED), ("member", UpdateKind.UNBLOCKED)],
)
def test_blocking_and_unblocking_are_understood(status: str, kind: UpdateKind) -> None:
    assert parse(my_chat_member=member(status)) == Incoming(10_000, LEARNER, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "update",
    [
        {"message": message("/quiz", chat=GROUP)},
        {"message": message("/quiz", chat=GROUP | {"type": "group"})},
        {"message": message("/quiz", chat=GROUP | {"type": "channel"})},
        {"callback_query": tap(message=message(chat=GROUP))},
        {"my_chat_member": member("kicked", chat=GROUP)},
        {"message": {name: value for name, value in message("/quiz").items() if name != "from"}},
        {"message": message("/quiz", sender=BOT)},
    ],
)
def test_groups_channels_and_bots_are_ignored(update: dict[str, object]) -> None:
    assert parse(**update) is None


def group_of(**update: object) -> GroupUpdate | None:
    return find_group(json.dumps({"update_id": 10_000} | update))


@pytest.mark.parametrize("kind", ["group", "supergroup"])
def test_a_command_in_a_group_and_joining_one_are_understood(kind: str) -> None:
    chat, number = GROUP | {"type": kind}, -1001234567890
    assert group_of(message=message("/quiz", chat=chat)) == GroupUpdate(number)
    assert group_of(message=message("/Quiz@Quiz_Bot now", chat=chat)) == GroupUpdate(number, addressee="@quiz_bot")
    assert group_of(my_chat_member=member("member", chat=chat)) == GroupUpdate(number)
    assert group_of(my_chat_member=member("administrator", chat=chat)) == GroupUpdate(number)


def test_a_topic_is_one_only_if_telegram_says_so() -> None:
    thread = message("/quiz", chat=GROUP, message_thread_id=5)
    assert group_of(message=thread) == GroupUpdate(-1001234567890)  # a thread of replies has a number as well
    assert group_of(message=thread | {"is_topic_message": True}) == GroupUpdate(-1001234567890, 5)


@pytest.mark.parametrize(
    "update",
    [
        {"message": message("hello", chat=GROUP)},
        {"message": message(None, chat=GROUP)},
        {"message": message("/quiz", chat=GROUP | {"type": "channel"})},
        {"message": message("/quiz")},
        {"message": message("/quiz", chat=GROUP, sender=BOT)},
        {"callback_query": tap(message=message(chat=GROUP))},
        {"my_chat_member": member("kicked", chat=GROUP)},
        {"my_chat_member": member("left", chat=GROUP)},
        {"my_chat_member": member("member")},
        {"my_chat_member": member("administrator", chat=GROUP | {"type": "channel"})},
        {"poll": {"id": "1"}},
    ],
)
def test_nothing_else_in_a_group_is_answered(update: dict[str, object]) -> None:
    assert group_of(**update) is None


@pytest.mark.parametrize(
    "kind",
    [
        "edited_message", "channel_post", "edited_channel_post", "business_message", "message_reaction", "inline_query",
        "chosen_inline_result", "shipping_query", "pre_checkout_query", "poll", "poll_answer", "chat_member",
        "chat_join_request", "chat_boost", "something_of_next_year",
    ],
)  # fmt: skip
def test_updates_of_other_kinds_are_ignored(kind: str) -> None:
    assert kind not in ALLOWED_UPDATES
    assert parse(**{kind: message("/quiz")}) is None


# ---------------------------------------------------------------- what is kept


@pytest.mark.parametrize(
    "update",
    [
        {"message": message("/start Zzpayload")},
        {"message": message("Zzsecret")},
        {"callback_query": tap()},
        {"my_chat_member": member("kicked")},
    ],
)
def test_nothing_personal_is_left_but_the_user_id(update: dict[str, object]) -> None:
    incoming = parse(**update)
    assert incoming is not None
    assert "zz" not in json.dumps(asdict(incoming)).lower()
    assert str(LEARNER) in json.dumps(asdict(incoming))


def test_incoming_has_no_room_for_more() -> None:
    assert [field.name for field in fields(Incoming)] == [
        "update_id", "learner_id", "kind", "content", "message_id", "callback_id", "callback", "album",
    ]  # fmt: skip
    assert not hasattr(parse(message=message()), "__dict__")


@given(st.text(max_size=40))
def test_what_a_learner_writes_is_never_kept(text: str) -> None:
    incoming = parse(message=message(f"x{text}"))
    assert incoming is not None
    assert incoming.content == ""


@given(callbacks)
def test_a_buttons_data_is_kept(button: Callback) -> None:
    incoming = parse(callback_query=tap(button.pack()))
    assert incoming is not None
    assert (incoming.content, incoming.callback) == (button.pack(), button)


@given(st.text(max_size=64) | callbacks.map(lambda button: f"{button.pack()}\x00"))
@example("a:1:5")
@example("my name is Zz")
def test_what_no_button_carries_is_not_kept(data: str) -> None:
    incoming = parse(callback_query=tap(data))
    assert incoming is not None
    assert incoming.content == (data if incoming.callback else "")
    assert incoming.callback is None or incoming.callback.pack() == data


# ---------------------------------------------------------------- what is refused


@given(hostile_bodies)
def test_hostile_bodies_raise_nothing_but_our_own_error(body: bytes) -> None:
    try:
        incoming = parse_update(body)
    except NotAnUpdateError:
        return
    if incoming is not None:
        assert 1 <= incoming.learner_id <= MAX_LEARNER_ID
        assert 0 <= incoming.update_id <= MAX_ID
        assert incoming.message_id is None or 0 <= incoming.message_id <= MAX_ID
        buttons = {incoming.callback.pack()} if incoming.callback else set()
        assert incoming.content in {"", *KNOWN, *buttons}


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[]", b"null", b"1", b'"update"', b"{}", b"\xff\xfe", b"[" * 100_000,
        b'{"update_id": ' + b"9" * 5000 + b"}", b'{"update_id": NaN}', b'{"update_id": "1"}', b'{"update_id": 1.5}',
        b'{"update_id": true}', b'{"update_id": null}', b'{"update_id": 1, "message": []}',
        b'{"update_id": 1, "message": {"text": "\\ud800"}}',
    ],
)  # fmt: skip
def test_what_is_no_update_is_refused(body: bytes) -> None:
    with pytest.raises(NotAnUpdateError, match="not a Telegram update") as caught:
        parse_update(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [0, -1, MAX_LEARNER_ID + 1, 2**64, 1.0, "700000001", True, None, [1]])
def test_a_user_id_out_of_range_is_refused(number: object) -> None:
    for update in (
        {"message": message(sender=USER | {"id": number})},
        {"callback_query": tap(sender=USER | {"id": number})},
    ):
        with pytest.raises(NotAnUpdateError):
            parse(**update)


@pytest.mark.parametrize("number", [-1, MAX_ID + 1, "7", 1.5, None])
def test_other_numbers_out_of_range_are_refused(number: object) -> None:
    with pytest.raises(NotAnUpdateError):
        parse(update_id=number)
    with pytest.raises(NotAnUpdateError):
        parse(message=message(message_id=number))


def test_the_largest_ids_are_taken() -> None:
    largest = parse(update_id=MAX_ID, message=message(sender=USER | {"id": MAX_LEARNER_ID}, message_id=MAX_ID))
    assert largest is not None
    assert (largest.update_id, largest.learner_id, largest.message_id) == (MAX_ID, MAX_LEARNER_ID, MAX_ID)


def test_data_longer_than_a_button_can_hold_is_refused() -> None:
    with pytest.raises(NotAnUpdateError, match="data"):
        parse(callback_query=tap("x" * 257))


def test_an_error_names_the_field_and_repeats_nothing_personal() -> None:
    with pytest.raises(NotAnUpdateError) as caught:
        parse(message=message("Zzsecret", sender=USER | {"id": "Zzid"}))
    assert "message.from.id" in str(caught.value)
    assert "Zz" not in str(caught.value)


# ---------------------------------------------------------------- what acknowledges a tap


def test_every_verdict_has_its_toast_within_telegrams_limit() -> None:
    assert set(CALLBACK_ANSWERS) == set(TapVerdict)
    assert all(len(toast) <= 200 for toast in CALLBACK_ANSWERS.values() if toast)
