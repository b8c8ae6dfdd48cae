"""Pictures on their way to a learner: through the local Telegram, remembered in a real Valkey, and without either."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from bot import picture_cache
from bot.answers import Meaning, meaning_of
from bot.breaker import BotBreaker
from bot.charts import picture
from bot.client import TelegramGateway
from bot.keyboards import next_keyboard
from bot.picture_cache import KEPT_SECONDS, PictureCache, picture_version
from bot.progress_picture import draw, send_progress
from bot.rate_limiter import RateLimiter
from domain.errors import FileGoneError, LearnerUnreachableError, PictureError, TelegramError
from domain.history import ProgressHistory
from domain.ids import BotId, LearnerId
from local import servers
from storage.redis_client import open_redis
from tests.conftest import ROOT
from tests.integration.simulator.support import ALICE, BOB, UNLIMITED, World, world_of
from tests.integration.simulator.test_refusals import png_of
from tests.support.factories import make_learner, some_id
from tests.support.histories import TODAY, history_of, student

LEARNER = LearnerId(ALICE)
CAPTION = "<b>Your progress</b>\n5 &lt; 6"
AIM = 0.775
VERSION = picture_version(3, TODAY, AIM)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A local Telegram without rate limits."""
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    async with world_of(UNLIMITED) as one:
        yield one


@pytest.fixture
def gateway(world: World) -> TelegramGateway:
    """What sends to it."""
    return TelegramGateway(world.bot, RateLimiter(None, world.bot.id, 10_000), BotBreaker(BotId(world.bot.id)))


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    """A client as the service makes it."""
    client = open_redis(valkey_url)
    yield client
    await client.aclose()


@pytest.fixture
async def no_redis() -> AsyncIterator[Redis]:
    """A client of a server that is not there."""
    client = open_redis(f"redis://127.0.0.1:{servers.free_port()}/0")
    yield client
    await client.aclose()


@pytest.fixture
def pictures(redis: Redis) -> PictureCache:
    """A cache that no other test knows."""
    return PictureCache(redis, BotId(some_id()))


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[ProgressHistory]:
    """What was drawn, in order."""
    drawn: list[ProgressHistory] = []
    original = picture.draw_progress

    def note(history: ProgressHistory, aim: float) -> bytes:
        drawn.append(history)
        return original(history, aim)

    monkeypatch.setattr(picture, "draw_progress", note)
    return drawn


def photos(world: World) -> list[dict[str, object]]:
    """Return the messages with a picture in the first learner's chat."""
    return [one.payload for one in world.here.chats[ALICE].messages.values() if "photo" in one.payload]


# ---------------------------------------------------------------- sending a picture


async def test_a_picture_arrives_with_its_caption_and_buttons(world: World, gateway: TelegramGateway) -> None:
    await gateway.send_photo(LEARNER, png_of(1080, 1440), CAPTION, next_keyboard())
    (message,) = photos(world)
    assert message["caption"] == "Your progress\n5 < 6"
    assert message["caption_entities"] == [{"offset": 0, "length": 13, "type": "bold"}]
    assert message["reply_markup"] == next_keyboard().to_dict()


async def test_a_picture_is_sent_again_by_the_id_of_its_largest_size(world: World, gateway: TelegramGateway) -> None:
    file_id = await gateway.send_photo(LEARNER, png_of(1080, 1440), CAPTION)
    assert await gateway.send_photo(LEARNER, file_id, "again") == file_id
    first, second = photos(world)
    assert second["photo"] == first["photo"]
    assert isinstance(first["photo"], list)
    assert max(first["photo"], key=lambda size: size["height"])["file_id"] == file_id


async def test_an_id_that_telegram_does_not_know_is_told_apart(gateway: TelegramGateway) -> None:
    with pytest.raises(FileGoneError):
        await gateway.send_photo(LEARNER, "AgACAgIAAxkBAAIforgotten", CAPTION)


async def test_other_refusals_are_told_as_ever(world: World, gateway: TelegramGateway) -> None:
    with pytest.raises(TelegramError) as refused:
        await gateway.send_photo(LEARNER, b"no picture", CAPTION)
    assert not isinstance(refused.value, FileGoneError)
    world.open_chat(BOB)
    await world.control("POST", f"learners/{BOB}/block")
    with pytest.raises(LearnerUnreachableError):
        await gateway.send_photo(LearnerId(BOB), png_of(9, 9), CAPTION)


@pytest.mark.parametrize(
    "words",
    [
        "Wrong file identifier/HTTP URL specified",
        "Wrong file identifier/http url specified",
        "Wrong remote file identifier specified: can't unserialize it. Wrong last symbol",
        "Invalid remote file identifier",
        "Wrong file_id or the file is temporarily unavailable",
        "FILE_REFERENCE_EXPIRED",
    ],
)
def test_all_of_telegrams_words_for_a_file_that_is_gone_are_known(words: str) -> None:
    assert meaning_of(400, f"Bad Request: {words}") is Meaning.FILE_GONE


# ---------------------------------------------------------------- remembering it


async def test_a_picture_is_found_by_its_version_alone(pictures: PictureCache) -> None:
    await pictures.keep(LEARNER, VERSION, "file")
    assert await pictures.find(LEARNER, VERSION) == "file"
    assert await pictures.find(LEARNER, picture_version(4, TODAY, AIM)) is None
    assert await pictures.find(LEARNER, picture_version(3, TODAY, 0.6)) is None
    assert await pictures.find(LEARNER, picture_version(3, TODAY + timedelta(days=1), AIM)) is None
    assert await pictures.find(LearnerId(BOB), VERSION) is None


async def test_a_newer_picture_takes_the_place_of_the_older(pictures: PictureCache) -> None:
    await pictures.keep(LEARNER, VERSION, "old")
    await pictures.keep(LEARNER, picture_version(4, TODAY, AIM), "new")
    assert await pictures.find(LEARNER, VERSION) is None
    assert await pictures.find(LEARNER, picture_version(4, TODAY, AIM)) == "new"


async def test_two_bots_never_share_a_picture(redis: Redis) -> None:
    one, other = PictureCache(redis, BotId(some_id())), PictureCache(redis, BotId(some_id()))
    await one.keep(LEARNER, VERSION, "file")
    assert await other.find(LEARNER, VERSION) is None


async def test_an_erased_learner_is_forgotten(pictures: PictureCache) -> None:
    await pictures.keep(LEARNER, VERSION, "file")
    await pictures.keep(LearnerId(BOB), VERSION, "another")
    await pictures.forget(LEARNER)
    assert await pictures.find(LEARNER, VERSION) is None
    assert await pictures.find(LearnerId(BOB), VERSION) == "another"


async def test_a_picture_is_remembered_for_a_day(redis: Redis) -> None:
    bot_id = some_id()
    await PictureCache(redis, BotId(bot_id)).keep(LEARNER, VERSION, "file")
    (key,) = [key async for key in redis.scan_iter(f"*{bot_id}*")]
    assert KEPT_SECONDS - 60 < await redis.ttl(key) <= KEPT_SECONDS == 86_400


async def test_a_client_that_decodes_is_as_good(valkey_url: str) -> None:
    client = Redis.from_url(valkey_url, decode_responses=True)
    pictures = PictureCache(client, BotId(some_id()))
    await pictures.keep(LEARNER, VERSION, "file")
    assert await pictures.find(LEARNER, VERSION) == "file"
    await client.aclose()


async def test_without_redis_nothing_is_remembered_and_nothing_fails(no_redis: Redis) -> None:
    def failed_requests() -> float:
        return REGISTRY.get_sample_value("quiz_redis_errors_total") or 0.0

    before, pictures = failed_requests(), PictureCache(no_redis, BotId(1))
    await pictures.keep(LEARNER, VERSION, "file")
    assert await pictures.find(LEARNER, VERSION) is None
    await pictures.forget(LEARNER)
    assert failed_requests() == before + 3


def test_a_version_changes_with_the_code_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    picture_cache.design.cache_clear()
    monkeypatch.setattr(picture_cache, "installed_version", lambda _: "999")
    try:
        assert picture_version(3, TODAY, AIM) != VERSION
    finally:
        picture_cache.design.cache_clear()


# ---------------------------------------------------------------- drawing it, or not


async def send(gateway: TelegramGateway, pictures: PictureCache, history: ProgressHistory) -> None:
    """Send a learner's picture as /stats does."""
    await send_progress(gateway, pictures, make_learner(id=LEARNER, version=3), history, CAPTION, AIM, next_keyboard())


async def test_a_picture_is_drawn_once_and_sent_twice(
    world: World, gateway: TelegramGateway, pictures: PictureCache, drawings: list[ProgressHistory]
) -> None:
    history = student(5, 2)
    await send(gateway, pictures, history)
    await send(gateway, pictures, history)
    first, second = photos(world)
    assert drawings == [history]
    assert second["photo"] == first["photo"]
    assert second["caption"] == first["caption"] == "Your progress\n5 < 6"
    assert second["reply_markup"] == first["reply_markup"]


async def test_a_picture_that_telegram_forgot_is_drawn_anew(
    world: World, gateway: TelegramGateway, pictures: PictureCache, drawings: list[ProgressHistory]
) -> None:
    await pictures.keep(LEARNER, VERSION, "AgACAgIAAxkBAAIforgotten")
    await send(gateway, pictures, student(5, 2))
    await send(gateway, pictures, student(5, 2))
    assert len(photos(world)) == 2
    assert len(drawings) == 1


async def test_without_redis_each_picture_is_drawn(
    world: World, gateway: TelegramGateway, no_redis: Redis, drawings: list[ProgressHistory]
) -> None:
    for _ in range(2):
        await send(gateway, PictureCache(no_redis, BotId(1)), student(5, 2))
    assert len(photos(world)) == len(drawings) == 2


async def test_whoever_answered_nothing_gets_the_words_alone(
    world: World, gateway: TelegramGateway, pictures: PictureCache, drawings: list[ProgressHistory]
) -> None:
    await send(gateway, pictures, history_of([]))
    (message,) = world.here.chats[ALICE].messages.values()
    assert message.payload["text"] == "Your progress\n5 < 6"
    assert message.payload["reply_markup"] == next_keyboard().to_dict()
    assert drawings == []


async def test_when_drawing_fails_the_words_are_sent_alone(
    world: World,
    gateway: TelegramGateway,
    pictures: PictureCache,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: ProgressHistory, __: float) -> bytes:
        raise MemoryError

    monkeypatch.setattr(picture, "draw_progress", fail)
    with caplog.at_level(logging.ERROR):
        await send(gateway, pictures, student(5, 2))
    (message,) = world.here.chats[ALICE].messages.values()
    assert message.payload["text"] == "Your progress\n5 < 6"
    assert "sent without its picture" in caplog.text
    assert await pictures.find(LEARNER, VERSION) is None


async def test_pictures_are_drawn_one_at_a_time_and_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, most, threads = 0, 0, set()
    pause = threading.Event()

    def slow(_: ProgressHistory, __: float) -> bytes:
        nonlocal drawing, most
        drawing += 1
        most = max(most, drawing)
        threads.add(threading.get_ident())
        pause.wait(0.02)
        drawing -= 1
        return b"picture"

    monkeypatch.setattr(picture, "draw_progress", slow)
    assert await asyncio.gather(*(draw(student(1, 1), AIM) for _ in range(5))) == [b"picture"] * 5
    assert most == 1
    assert threading.get_ident() not in threads


async def test_a_failure_to_draw_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PictureError, match="could not be drawn: ValueError"):
        await draw(history_of([]), AIM)


async def test_what_is_sent_is_the_picture(world: World, gateway: TelegramGateway, pictures: PictureCache) -> None:
    history = student(5, 2)
    await send(gateway, pictures, history)
    (file,) = world.simulator.files.values()
    assert file.content == await draw(history, AIM)
    assert file.width == 1080


def test_whoever_never_draws_does_not_load_the_drawing_library() -> None:
    code = "import sys, bot.picture_cache, bot.progress; print([name for name in sys.modules if 'matplotlib' in name])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
