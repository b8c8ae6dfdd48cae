"""What of the updates is stored, what acknowledges a tap at once, and where a flood ends."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest

from bot.texts import CALLBACK_ANSWERS, TOO_QUICK
from domain.callbacks import AnswerTap, Callback, ToggleTopic
from domain.catalog import Topic
from domain.errors import StorageUnavailableError
from domain.ids import LearnerId
from domain.updates import Incoming, IntakeResult, TapVerdict, UpdateKind
from roles.flood import BURST, MAX_WAITING, FloodLimiter
from roles.intake import accept_update, callback_answer, store_update
from storage.redis_client import open_redis
from tests.support.classroom import Classroom
from tests.support.factories import BOT_ID, some_id
from tests.support.strategies import MAX_ID, MAX_LEARNER_ID
from tests.support.waiting import WAIT_SECONDS
from tests.unit.test_flood import command, tap
from tests.unit.test_intake import USER, message, parse
from tests.unit.test_intake import tap as tap_of


async def test_the_largest_update_can_be_stored(classroom: Classroom) -> None:
    largest = parse(
        update_id=MAX_ID - some_id(),
        callback_query=tap_of(
            "\x00" + "é" * 255,
            sender=USER | {"id": MAX_LEARNER_ID - some_id()},
            message=message(message_id=MAX_ID),
        ),
    )
    assert largest is not None
    assert (await store_update(classroom.repository, BOT_ID, largest)).is_new


@pytest.mark.parametrize(("data", "button"), [("a:7:2", AnswerTap(7, 2)), ("old:7", None), ("", None)])
async def test_a_claimed_tap_means_what_its_stored_data_says_whichever_version_stored_it(
    classroom: Classroom, data: str, button: Callback | None
) -> None:
    update = Incoming(some_id(), LearnerId(some_id()), UpdateKind.TAP, data, 8, "1")
    await classroom.repository.store_update(BOT_ID, update)
    claimed = [one for one in await classroom.repository.claim_updates(1000) if one.learner_id == update.learner_id]
    assert [(one.content, one.callback) for one in claimed] == [(data, button)]
    assert [one.answer is not None for one in claimed] == [button is not None]


async def test_an_album_is_stored_and_so_answered_once(classroom: Classroom) -> None:
    limiter = FloodLimiter(classroom.repository.count_waiting_of_learner)
    learner = await classroom.join()

    async def accept(**fields: object) -> IntakeResult:
        update = parse(update_id=some_id(), message=message(None, USER | {"id": learner.id}, photo=[], **fields))
        assert update is not None
        return (await accept_update(classroom.repository, BOT_ID, update, limiter)).result

    ten = await asyncio.gather(*(accept(media_group_id="one") for _ in range(10)))
    assert sorted(ten) == [IntakeResult.COALESCED] * 9 + [IntakeResult.STORED]
    assert await accept(media_group_id="two") is IntakeResult.STORED
    assert await accept() is IntakeResult.STORED


async def test_an_album_is_answered_once_though_its_pictures_reach_several_processes(
    classroom: Classroom, valkey_url: str
) -> None:
    redis = open_redis(valkey_url)
    limiters = [FloodLimiter(classroom.repository.count_waiting_of_learner, redis=redis) for _ in range(3)]
    sender, album = USER | {"id": some_id()}, str(some_id())
    pictures = [
        parse(update_id=some_id(), message=message(None, sender, photo=[], media_group_id=album)) for _ in range(9)
    ]

    async def accept(update: Incoming | None, limiter: FloodLimiter) -> IntakeResult:
        assert update is not None
        return (await accept_update(classroom.repository, BOT_ID, update, limiter)).result

    results = await asyncio.gather(*(accept(one, limiters[at % 3]) for at, one in enumerate(pictures)))
    assert sorted(results) == [IntakeResult.COALESCED] * 8 + [IntakeResult.STORED]
    again = pictures[results.index(IntakeResult.STORED)]
    assert [await accept(again, limiter) for limiter in limiters].count(
        IntakeResult.DUPLICATE
    ) >= 1  # it might not have been stored
    await redis.aclose()


async def test_an_album_that_could_not_be_stored_begins_anew(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = FloodLimiter(classroom.repository.count_waiting_of_learner)
    update = parse(update_id=some_id(), message=message(None, photo=[], media_group_id="one"))
    assert update is not None
    with monkeypatch.context() as broken:
        broken.setattr(classroom.repository, "store_update", AsyncMock(side_effect=StorageUnavailableError))
        with pytest.raises(StorageUnavailableError):
            await accept_update(classroom.repository, BOT_ID, update, limiter)
    assert (await accept_update(classroom.repository, BOT_ID, update, limiter)).is_new


async def test_a_tap_is_told_at_once_what_it_amounts_to(classroom: Classroom) -> None:
    learner, other = await classroom.join(), await classroom.join()
    quiz = await classroom.ask(learner)

    async def toast(learner_id: int, data: str) -> str | None:
        update = parse(update_id=some_id(), callback_query=tap_of(data, sender=USER | {"id": learner_id}))
        assert update is not None
        return callback_answer(await store_update(classroom.repository, BOT_ID, update))

    assert await toast(learner.id, f"a:{quiz.id}:0") == CALLBACK_ANSWERS[TapVerdict.FRESH]
    assert await toast(other.id, f"a:{quiz.id}:0") == CALLBACK_ANSWERS[TapVerdict.FOREIGN]
    assert await toast(learner.id, f"a:{10**15}:0") == CALLBACK_ANSWERS[TapVerdict.UNKNOWN]
    assert await toast(learner.id, "n") is None
    for forged in ("nonsense", "", f"a:{quiz.id}:9", f"a:{quiz.id}:0:0", "z:../../etc", "o:99999", "rq:0:wrong"):
        assert await toast(learner.id, forged) == CALLBACK_ANSWERS[TapVerdict.UNKNOWN], forged
    assert await toast(learner.id, f"a:{quiz.id}:1") is None  # a quick second tap, while the first one waits
    assert await classroom.tap(quiz, right=True)
    pool = classroom.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    await pool.execute("UPDATE updates SET state = 'done' WHERE learner_id = $1", learner.id)
    assert await toast(learner.id, f"a:{quiz.id}:2") is None
    await pool.execute("UPDATE updates SET state = 'done' WHERE learner_id = $1", learner.id)
    await pool.execute("UPDATE quizzes SET answered_at = now() - interval '1 minute' WHERE id = $1", quiz.id)
    assert await toast(learner.id, f"a:{quiz.id}:1") == CALLBACK_ANSWERS[TapVerdict.ANSWERED]


async def test_a_redelivered_tap_is_acknowledged_as_the_first_time(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    update = parse(update_id=some_id(), callback_query=tap_of(f"a:{quiz.id}:0", sender=USER | {"id": learner.id}))
    assert update is not None
    first = await store_update(classroom.repository, BOT_ID, update)
    await classroom.tap(quiz, right=True)
    again = await store_update(classroom.repository, BOT_ID, update)
    assert (first.is_new, again.is_new) == (True, False)
    assert callback_answer(first) == callback_answer(again) == CALLBACK_ANSWERS[TapVerdict.FRESH]


async def test_a_tap_on_a_quiz_that_failed_is_not_promised_an_answer(classroom: Classroom) -> None:
    """Sending was given up, but a copy may have arrived: the tap will never be graded, so it must not look taken."""
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    await classroom.repository.begin_sending([quiz.id], again=True)
    await classroom.repository.mark_send_failed(quiz.id, "no answer", for_good=True)
    update = parse(update_id=some_id(), callback_query=tap_of(f"a:{quiz.id}:0", sender=USER | {"id": learner.id}))
    assert update is not None
    toast = callback_answer(await store_update(classroom.repository, BOT_ID, update))
    counts = await classroom.tap(quiz, right=True)
    assert (toast == CALLBACK_ANSWERS[TapVerdict.FRESH]) == counts


def limiter_of(classroom: Classroom) -> FloodLimiter:
    """Return a limiter that knows nobody yet, before a real database."""
    return FloodLimiter(classroom.repository.count_waiting_of_learner)


async def accept(classroom: Classroom, limiter: FloodLimiter, *updates: Incoming) -> list[IntakeResult]:
    """Return what becomes of updates."""
    return [(await accept_update(classroom.repository, BOT_ID, update, limiter)).result for update in updates]


async def test_many_texts_at_once_get_few_answers(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    texts = [Incoming(some_id(), learner_id, UpdateKind.TEXT, "", number) for number in range(200)]
    results = await accept(classroom, limiter_of(classroom), *texts)
    assert results == [IntakeResult.STORED] * BURST + [IntakeResult.COALESCED] * (200 - BURST)


async def test_past_a_number_that_wait_the_rest_is_turned_away(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    commands = [command(name, learner_id) for _ in range(60) for name in ("stop", "resume")]
    limiter = limiter_of(classroom)
    results = await accept(classroom, limiter, *commands)
    assert results == [IntakeResult.STORED] * MAX_WAITING + [IntakeResult.DROPPED] * (120 - MAX_WAITING)
    other = await accept(classroom, limiter, command("stop", LearnerId(some_id())))
    assert other == [IntakeResult.STORED]


async def test_once_they_are_handled_there_is_room_again(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    limiter = limiter_of(classroom)
    commands = [command(name, learner_id) for _ in range(30) for name in ("stop", "resume")]
    assert (await accept(classroom, limiter, *commands))[-1] is IntakeResult.DROPPED
    for _ in range(MAX_WAITING):
        mine = [one for one in await classroom.repository.claim_updates(50) if one.learner_id == learner_id]
        await classroom.repository.finish_updates([one.row for one in mine])
    async with asyncio.timeout(WAIT_SECONDS):  # what was believed grows old
        while await accept(classroom, limiter, command("stop", learner_id)) == [IntakeResult.DROPPED]:
            await asyncio.sleep(0.05)


async def test_the_news_that_somebody_blocked_the_bot_has_room_of_its_own(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    limiter = limiter_of(classroom)
    await accept(classroom, limiter, *(command(name, learner_id) for _ in range(30) for name in ("stop", "resume")))
    news = [Incoming(some_id(), learner_id, kind) for kind in (UpdateKind.BLOCKED, UpdateKind.UNBLOCKED)]
    assert await accept(classroom, limiter, *news) == [IntakeResult.STORED, IntakeResult.STORED]
    assert await accept(classroom, limiter, command("stop", learner_id)) == [IntakeResult.DROPPED]
    more = [Incoming(some_id(), learner_id, UpdateKind.BLOCKED) for _ in range(80)]
    assert (await accept(classroom, limiter, *more))[-1] is IntakeResult.DROPPED


async def test_a_tap_that_is_turned_away_is_told_so_and_a_repeated_answer_nothing(
    classroom: Classroom,
) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    limiter = limiter_of(classroom)
    await accept(classroom, limiter, *(command("stop", learner.id) for _ in range(BURST)))
    updates = [tap(AnswerTap(quiz.id, 1).pack(), learner.id) for _ in range(3)]
    accepted = [await accept_update(classroom.repository, BOT_ID, update, limiter) for update in updates]
    assert [one.result for one in accepted] == [IntakeResult.STORED, IntakeResult.COALESCED, IntakeResult.COALESCED]
    assert [callback_answer(one) for one in accepted] == [CALLBACK_ANSWERS[TapVerdict.FRESH], None, None]
    toggles = [tap(ToggleTopic(Topic.STREAMING).pack(), learner.id) for _ in range(MAX_WAITING + 5)]
    last = [await accept_update(classroom.repository, BOT_ID, update, limiter) for update in toggles][-1]
    assert (last.result, callback_answer(last)) == (IntakeResult.DROPPED, TOO_QUICK)
    assert len(TOO_QUICK) <= 200


async def test_a_redelivery_during_a_flood_is_known_and_counts_once(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    limiter = limiter_of(classroom)
    await accept(classroom, limiter, *(command("resume", learner_id) for _ in range(BURST)))
    update = command("stop", learner_id)
    assert await accept(classroom, limiter, update, update) == [IntakeResult.STORED, IntakeResult.DUPLICATE]


async def test_what_is_delivered_again_is_no_flood_of_whoever_sent_it_once(classroom: Classroom) -> None:
    limiter, first, next_one = limiter_of(classroom), command("quiz"), command("quiz")
    assert await accept(classroom, limiter, first, *[first] * 100) == [
        IntakeResult.STORED,
        *[IntakeResult.DUPLICATE] * 100,
    ]
    assert await accept(classroom, limiter, next_one) == [IntakeResult.STORED]


async def test_without_a_gate_everything_is_stored(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    for number in range(2 * BURST):
        update = Incoming(some_id(), learner_id, UpdateKind.TEXT, "", number)
        assert (await store_update(classroom.repository, BOT_ID, update)).is_new
