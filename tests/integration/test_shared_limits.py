"""What the processes of a bot share in Redis: the algorithm behind Telegram's rate, and that the bot is refused."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from bot.breaker import BotBreaker
from bot.rate_algorithm import CHAT_BURST, CHAT_WAITS, SCRIPT, LocalBucket, look_ahead
from domain.catalog import Priority
from domain.ids import BotId
from storage.redis_client import open_redis
from tests.support.factories import some_id
from tests.unit.test_buckets import chats

SLOW, SLOWER = 2**-13, 2**-15
"""A slot lasts hours, so that the seconds which a test takes change no answer; and it is a whole number of them."""

CHAT_SLOW, CHAT_SLOWER = 1 / 12_994, 1 / 32_086
"""No few slots of a chat end within four minutes of as many of the bot's: a tie would be decided by microseconds."""


@given(
    st.sampled_from([SLOW, SLOWER]),
    st.sampled_from([CHAT_SLOW, CHAT_SLOWER]),
    st.lists(st.tuples(st.sampled_from(list(Priority)), st.lists(chats, min_size=1, max_size=8)), max_size=20),
)
def test_the_script_answers_as_the_bucket_within_one_process(
    valkey_url: str, rate: float, chat_rate: float, given_asks: list[tuple[Priority, list[int | None]]]
) -> None:
    local, name_of_bot = LocalBucket(rate, chat_rate), uuid4()  # Hypothesis repeats what is random
    with Redis.from_url(valkey_url) as redis:
        script = redis.register_script(SCRIPT)
        for priority, chat_ids in given_asks:
            names = ["free", "pause", "processes", *(chat_id or "free" for chat_id in chat_ids)]
            limits = [1 / rate, look_ahead(priority, rate), 1 / chat_rate, CHAT_BURST]
            processes, now, *told = script([f"{{{name_of_bot}}}:{name}" for name in names], [*limits, "me", 60])
            decisions = local.take_all(priority, 10**9, chat_ids)
            assert processes == 1
            assert told[1::2] == [decision.verdict for decision in decisions]
            assert [(at - now) / 1e6 for at in told[::2]] == [
                pytest.approx(decision.at - 10**9, abs=600) for decision in decisions
            ]
        waits = redis.eval(CHAT_WAITS, 4, *(f"{{{name_of_bot}}}:{chat_id}" for chat_id in range(1, 5)))
        assert [wait / 1e6 for wait in waits] == [
            pytest.approx(local.chat_wait(chat_id, 10**9), abs=600) for chat_id in range(1, 5)
        ]


async def test_a_refusal_is_known_to_other_processes_until_one_finds_the_bot_let_in(valkey_url: str) -> None:
    bot_id = BotId(some_id())
    async with open_redis(valkey_url) as redis:
        sending, asked = BotBreaker(bot_id, redis), BotBreaker(bot_id, redis)
        assert await asked.find_refusal() is None
        await sending.trip("Unauthorized")
        assert await asked.find_refusal() == "Unauthorized"
        assert asked.refusal is None  # what another process met stops nobody here
        assert 0 < await redis.ttl(f"quiz:refused:{bot_id}") <= 30
        await sending.reset()
        assert await asked.find_refusal() is None
