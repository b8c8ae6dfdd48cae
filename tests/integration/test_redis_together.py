"""A cluster and sentinels: what is shared through one Valkey is shared through several, and one of them may be lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bot import rate_limiter
from bot.picture_cache import PictureCache
from bot.rate_limiter import RateLimiter
from domain.catalog import Level, Priority, Topic
from domain.errors import ModelError, ModelUnavailableError
from domain.ids import BotId, LearnerId
from domain.settings import Settings
from local import servers
from question_sources.llm.breaker import FAILURES, LlmBreaker
from roles.readiness import find_problems
from roles.status.doctor import time_of
from roles.status.facts import find_redis_version
from storage import redis_client
from storage.redis_client import REDIS_UNAVAILABLE, open_redis
from storage.redis_cluster import LEARN_SECONDS
from tests.integration.test_limiter import times_of_two_processes
from tests.support.factories import some_id
from tests.support.redis_servers import Cluster, Node, Watched, make_node, running_cluster
from tests.support.service import running_service
from tests.support.waiting import WAIT_SECONDS, until, wait_for

INTERACTIVE = Priority.INTERACTIVE
LEARNER, CELL = LearnerId(7), (Topic.STREAMING, Level.ADVANCED)

Opener = Callable[[str], Redis]


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    """Yield what opens clients, each as a process of its own has it."""
    async with AsyncExitStack() as stack:

        def open_one(url: str) -> Redis:
            client = open_redis(url)
            stack.push_async_callback(client.aclose)
            return client

        yield open_one


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no client take a server for hung because the machine is busy."""
    patient = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), WAIT_SECONDS)
    monkeypatch.setattr(redis_client, "_SOCKET", redis_client._SOCKET | patient)  # noqa: SLF001 - what all clients have
    monkeypatch.setattr(redis_client, "_POOL", redis_client._POOL | patient | {"timeout": WAIT_SECONDS})  # noqa: SLF001
    monkeypatch.setattr(redis_client, "REQUEST_SECONDS", WAIT_SECONDS)


# ---------------------------------------------------------------- what is shared


def test_two_processes_share_one_rate(together_url: str) -> None:
    times = times_of_two_processes(together_url, some_id(), rate=40, each=20)
    assert len(times) == 40
    assert times[-1] - times[0] >= 0.7 * 39 / 40


async def test_a_pause_of_one_process_holds_the_other(together_url: str, opened: Opener) -> None:
    bot_id = some_id()
    one, other = (RateLimiter(opened(together_url), bot_id, 1000) for _ in range(2))
    began = time.monotonic()
    for chat_id in (1, 2):
        await one.pause_chat(chat_id, 0.5)
    await other.wait(INTERACTIVE, LEARNER)
    assert time.monotonic() - began >= 0.45
    assert not one._redis_unavailable  # noqa: SLF001 - else each kept to a pause of its own
    assert not other._redis_unavailable  # noqa: SLF001


async def test_a_picture_is_found_by_another_process(together_url: str, opened: Opener) -> None:
    bot_id = BotId(some_id())
    one, other = (PictureCache(opened(together_url), bot_id) for _ in range(2))
    learners = [LearnerId(number) for number in range(20)]  # so many that each node has some
    for learner in learners:
        await one.keep(learner, "1", f"file {learner}")
    assert [await other.find(learner, "1") for learner in learners] == [f"file {learner}" for learner in learners]
    await other.forget(learners[0])
    assert await one.find(learners[0], "1") is None


async def test_the_gate_to_the_model_closes_for_all_and_a_success_wipes_failures_out(
    together_url: str, opened: Opener
) -> None:
    one, other = (LlmBreaker(opened(together_url)) for _ in range(2))
    await one.note_success()
    for _ in range(FAILURES - 1):
        await one.note_failure(ModelError("http_500"))
    await other.note_success()
    await one.note_failure(ModelError("http_500"))
    await other.check()
    await one.note_failure(ModelError("http_429", retry_after=WAIT_SECONDS))
    with pytest.raises(ModelUnavailableError, match="the provider asks to wait"):
        await other.check()


async def test_one_process_at_a_time_makes_a_question(together_url: str, opened: Opener) -> None:
    one, other = (LlmBreaker(opened(together_url)) for _ in range(2))
    async with one.generation_lock(*CELL, 30) as ours, other.generation_lock(*CELL, 30) as theirs:
        assert (ours, theirs) == (True, False)
        assert await other.is_generating(*CELL)
        await one.remember(*CELL, "a question")
    assert not await other.is_generating(*CELL)
    assert await other.last_generated(*CELL) == "a question"
    async with other.generation_lock(*CELL, 30) as theirs:
        assert theirs


async def test_a_learner_is_served(together_url: str, settings: Settings) -> None:
    settings = settings.model_copy(update={"redis_url": SecretStr(together_url)})
    async with running_service(settings, servers.free_port()) as service:
        learner = await service.new_learner()
        feedback = await learner.answer(await learner.get_question(), 0)
        assert "Finding your level: 1 of 6" in feedback["text"]

        async def ready() -> bool:
            return await find_problems(service.runtime) == []

        assert await until(ready)
        assert await service.runtime.redis.exists(rate_key(service.runtime.accounts.first.id))


# ---------------------------------------------------------------- bounds


async def test_more_requests_at_once_than_connections_wait_for_one(
    together_url: str, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(redis_client._POOL, "max_connections", 3)  # noqa: SLF001 - instead of many requests
    redis = opened(together_url)
    assert await asyncio.gather(*(redis.set(f"many:{n}", n, ex=60) for n in range(200))) == [True] * 200


async def test_a_request_ends_although_every_node_hangs(
    redis_cluster: Cluster, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "REQUEST_SECONDS", 0.5)
    redis = opened(redis_cluster.url)
    await redis.get("anything")
    with hanging(redis_cluster.nodes):
        await fail_soon(redis)
        await fail_soon(redis)  # having to ask all nodes where the keys are now
    wait_for(redis_cluster.is_well)
    assert await redis.get("anything") is None


async def test_a_request_ends_although_every_sentinel_hangs(
    redis_watched: Watched, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "REQUEST_SECONDS", 0.5)
    redis = opened(redis_watched.url)
    with hanging(redis_watched.sentinels):
        await fail_soon(redis)
    wait_for(redis_watched.is_well)
    assert await redis.get("anything") is None


@contextmanager
def hanging(nodes: list[Node]) -> Iterator[None]:
    """Let servers hang for a while."""
    for node in nodes:
        node.hang()
    try:
        yield
    finally:
        for node in nodes:
            node.go_on()


async def fail_soon(redis: Redis) -> None:
    """Ask in vain, and for no longer than a server would hang."""
    async with asyncio.timeout(WAIT_SECONDS / 4):
        with pytest.raises(REDIS_UNAVAILABLE):
            await redis.get("anything")
    await asyncio.sleep(LEARN_SECONDS)


# ---------------------------------------------------------------- what is lost


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Node]:
    """Yield a Valkey that belongs to nothing."""
    node = make_node(tmp_path, "alone")
    node.start()
    yield node
    node.kill()


async def test_a_restart_fails_nobody_who_comes_after_it(alone: Node, opened: Opener) -> None:
    """Each idle connection was closed by it, and is made anew before it is used."""
    redis = opened(alone.url)
    await read_at_once(redis)
    alone.kill()
    alone.start()
    assert await read_at_once(redis) == [None] * 100


async def test_a_restart_of_a_node_fails_nobody_who_comes_after_it(redis_cluster: Cluster, opened: Opener) -> None:
    redis = opened(redis_cluster.url)
    await read_at_once(redis)
    redis_cluster.nodes[1].kill()
    redis_cluster.nodes[1].start()
    wait_for(redis_cluster.is_well)
    assert await read_at_once(redis) == [None] * 100


async def read_at_once(redis: Redis) -> list[object]:
    """Return what is read for many keys at once, over all connections that there may be."""
    await asyncio.sleep(0.05)  # the event loop hears of those that were closed
    return await asyncio.gather(*(redis.get(f"nothing {n}") for n in range(100)))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Let limiters look often whether Redis is back, and return what they log."""
    monkeypatch.setattr(rate_limiter, "RETRY_REDIS_SECONDS", 0.1)
    caplog.set_level(logging.WARNING, "bot.rate_limiter")
    return caplog


async def send_until(one: RateLimiter, logged: str, caplog: pytest.LogCaptureFixture) -> None:
    """Go on sending until something is logged."""
    async with asyncio.timeout(WAIT_SECONDS):
        while logged not in caplog.text:
            await one.wait(INTERACTIVE)


def rate_key(bot_id: int) -> str:
    """Return a key that is written whenever something is sent."""
    return f"quiz:rate:{{{bot_id}}}:free"


@pytest.mark.parametrize("lost", ["the node of the rate", "another"])
async def test_while_a_node_is_lost_each_process_sends_at_its_share(
    lost: str, redis_cluster: Cluster, opened: Opener, often: pytest.LogCaptureFixture
) -> None:
    bot_id, redis = some_id(), opened(redis_cluster.url)
    one, pictures, gate = RateLimiter(redis, bot_id, 100), PictureCache(redis, BotId(bot_id)), LlmBreaker(redis)
    await one.wait(INTERACTIVE)
    node = next(node for node in redis_cluster.nodes if (node is holder_of(redis_cluster, bot_id)) == ("rate" in lost))
    node.kill()
    try:
        await send_until(one, "Redis is unavailable", often)  # of another node's loss a cluster is down a moment later
        began = time.monotonic()
        for _ in range(30):
            await one.wait(INTERACTIVE)
        assert time.monotonic() - began >= 0.7 * 29 / 50
        assert "Redis is back" not in often.text
        for learner in range(20):
            assert await pictures.find(LearnerId(learner), "1") is None
        assert any([await knows_nothing_of(gate, topic) for topic in Topic])
    finally:
        node.start()
    await send_until(one, "Redis is back", often)
    wait_for(redis_cluster.is_well)
    assert await redis.exists(rate_key(bot_id))


async def knows_nothing_of(gate: LlmBreaker, topic: Topic) -> bool:
    """Say whether a process cannot know what others make, and is told so."""
    try:
        assert await gate.last_generated(topic, Level.EXPERT) is None
    except ModelUnavailableError as error:
        return "Redis is unavailable" in str(error)
    return False


def holder_of(cluster: Cluster, bot_id: int) -> Node:
    """Return the node that has a bot's rate."""
    return cluster.holder(rate_key(bot_id))


async def test_a_cluster_that_may_be_incomplete_serves_on_whatever_else_is_lost(
    redis_cluster: Cluster, opened: Opener, often: pytest.LogCaptureFixture
) -> None:
    bot_id = some_id()
    one, holder = RateLimiter(opened(redis_cluster.url), bot_id, 1000), holder_of(redis_cluster, bot_id)
    lost, third = (node for node in redis_cluster.nodes if node is not holder)
    await one.wait(INTERACTIVE)
    for node in redis_cluster.nodes:
        node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    lost.kill()
    try:
        wait_for(lambda: "master,fail " in str(holder.ask("CLUSTER", "NODES")))
        holder.ask("SCRIPT", "FLUSH")  # the script has to be sent again, and only to where it is run
        for _ in range(20):
            await one.wait(INTERACTIVE)
        assert "Redis is unavailable" not in often.text
        assert holder.ask("EXISTS", rate_key(bot_id))
    finally:
        for node in (holder, third):
            node.ask("CONFIG", "SET", "cluster-require-full-coverage", "yes")
        lost.start()
        wait_for(redis_cluster.is_well)


async def test_a_slot_that_moves_is_followed(
    redis_cluster: Cluster, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    bot_id = BotId(some_id())
    pictures = PictureCache(opened(redis_cluster.url), bot_id)
    key = f"quiz:picture:{bot_id}:{LEARNER}"
    source = redis_cluster.holder(key)
    target = next(node for node in redis_cluster.nodes if node is not source)
    slot = source.ask("CLUSTER", "KEYSLOT", key)
    ids = {node.port: node.ask("CLUSTER", "MYID") for node in redis_cluster.nodes}
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
    await pictures.keep(LEARNER, "1", "file")  # it is not there yet, and so goes where the slot goes
    assert target.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
    assert await pictures.find(LEARNER, "1") == "file"
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target.port])
    assert await pictures.find(LEARNER, "1") == "file"
    await pictures.forget(LEARNER)
    for node in (source, target):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[source.port])
    await pictures.keep(LEARNER, "2", "another")
    assert await pictures.find(LEARNER, "2") == "another"
    assert "Redis is unavailable" not in caplog.text
    wait_for(lambda: all(is_at_home(node, redis_cluster) for node in redis_cluster.nodes))


def is_at_home(node: Node, cluster: Cluster) -> bool:
    """Say whether a node sees every slot where this cluster has it from the beginning."""
    ranges = node.ask("CLUSTER", "SLOTS")
    return sorted(place[2][1] for place in ranges) == sorted(each.port for each in cluster.nodes)


async def test_a_cluster_that_has_moved_elsewhere_is_found_by_the_name_it_goes_by(
    tmp_path: Path, redis_cluster: Cluster, opened: Opener
) -> None:
    leads_to = redis_cluster.nodes[0].port

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on to wherever the name leads at the moment."""
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", leads_to)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(lead, "127.0.0.1", 0) as name:
        with running_cluster(tmp_path / "former", size=1) as former:
            leads_to = former.nodes[0].port
            redis = opened(former.url.replace(str(leads_to), str(name.sockets[0].getsockname()[1])))
            assert await redis.set("found", "formerly")
        leads_to = redis_cluster.nodes[0].port
        await asyncio.sleep(LEARN_SECONDS)
        with pytest.raises(REDIS_UNAVAILABLE):
            await redis.get("found")
        assert await redis.set("found", "elsewhere", ex=60)
    assert redis_cluster.holder("found").ask("GET", "found") == "elsewhere"


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes until there are no more."""
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_after_the_primary_died_the_rate_is_shared_through_its_replica(
    redis_watched: Watched, opened: Opener, often: pytest.LogCaptureFixture
) -> None:
    wait_for(redis_watched.is_well)
    bot_id, former = some_id(), redis_watched.leader()
    one = RateLimiter(opened(redis_watched.url), bot_id, 1000)
    await one.wait(INTERACTIVE)
    former.kill()
    try:
        await send_until(one, "Redis is unavailable", often)
        await send_until(one, "Redis is back", often)
        leader = redis_watched.leader()
        assert leader is not former
        assert leader.ask("EXISTS", rate_key(bot_id))
    finally:
        former.start()
        former.ask("REPLICAOF", "127.0.0.1", redis_watched.leader().port)
        wait_for(redis_watched.is_well)


async def test_each_sentinel_is_asked_however_many_asked_while_one_was_away(
    redis_watched: Watched, opened: Opener
) -> None:
    redis, (first, *others) = opened(redis_watched.url), redis_watched.sentinels
    first.kill()
    await asyncio.gather(*(redis.get(f"key {n}") for n in range(60)))
    first.start()
    try:
        wait_for(redis_watched.is_well)
        for sentinel in others:
            sentinel.kill()
        await redis.connection_pool.disconnect()
        assert await redis.get("nothing") is None
    finally:
        for sentinel in others:
            sentinel.start()
        wait_for(redis_watched.is_well)


async def test_a_primary_that_became_a_replica_is_left(redis_watched: Watched, opened: Opener) -> None:
    redis, former = opened(redis_watched.url), redis_watched.leader()
    await asyncio.gather(*(redis.set(f"key {n}", "1", ex=60) for n in range(20)))
    redis_watched.sentinels[0].ask("SENTINEL", "FAILOVER", "quiz")
    wait_for(lambda: redis_watched.leader() is not former)
    former.ask("REPLICAOF", "127.0.0.1", redis_watched.leader().port)  # sentinels would, some seconds later
    async with asyncio.timeout(WAIT_SECONDS):
        while await is_refused(redis):  # until the sentinels agree
            await asyncio.sleep(0.05)
    assert not any([await is_refused(redis) for _ in range(40)])


async def is_refused(redis: Redis) -> bool:
    """Say whether Redis does not take a write."""
    try:
        await redis.set("key", "2", ex=60)
    except REDIS_UNAVAILABLE:
        return True
    return False


async def test_version_and_clock_are_told(together_url: str) -> None:
    async with open_redis(together_url) as redis:
        assert (await find_redis_version(redis))[0].isdigit()
        assert abs((await time_of(redis)).timestamp() - time.time()) < WAIT_SECONDS
