"""In a group the bot says once that it works in private, and is silent from then on."""

from __future__ import annotations

import httpx

from bot.updates import GroupUpdate
from domain.settings import Settings
from roles.groups import greet_group
from tests.integration.test_polling import polling_bot
from tests.support.factories import some_id
from tests.support.service import Learner, Service, connected
from tests.support.waiting import until
from wiring import open_connections


async def open_group(telegram: httpx.AsyncClient, title: str = "Data team") -> Learner:
    """Return a new group that the bot was just added to."""
    reply = await telegram.post("/api/learners", json={"group": title, "id": -some_id()})
    assert reply.status_code == 201, reply.text
    return Learner(telegram, reply.json()["id"])


async def said(group: Learner) -> list[str]:
    """Return what the bot has said in a group."""
    return [message["text"] for message in await group.messages() if not message["out"]]


async def test_a_bot_that_is_added_says_once_where_it_works_with_a_link(service: Service) -> None:
    group = await open_group(service.telegram)
    message = await group.wait_for(lambda message: "in private" in message["text"])
    name = await service.runtime.accounts.first.gateway.name()
    assert name is not None
    (link,) = [one["url"] for one in message["entities"] if one["type"] == "text_link"]
    assert link == f"https://t.me/{name[1:]}?start=group"
    for text in ("/quiz", f"/start{name}", "hello", "/nonsense"):
        await group.say(text)
    await service.settled()
    assert len(await said(group)) == 1


async def test_another_process_does_not_say_it_again(service: Service) -> None:
    group = await open_group(service.telegram)
    await group.wait_for(lambda message: "in private" in message["text"])
    async with open_connections(service.runtime.settings) as restarted:
        await greet_group(restarted.redis, restarted.accounts.first, GroupUpdate(group.id))
    assert len(await said(group)) == 1


async def test_a_command_in_a_topic_is_answered_there(service: Service) -> None:
    group = await open_group(service.telegram)
    await group.wait_for(lambda message: "in private" in message["text"])
    other = group.id - 1000
    chat = {"id": other, "type": "supergroup", "title": "A forum", "is_forum": True}
    sender = {"id": 1001, "is_bot": False, "first_name": "Learner 1"}
    topic = {"message_thread_id": 77, "is_topic_message": True}
    message = {"message_id": 5, "date": 1, "chat": chat, "from": sender, "text": "/quiz", **topic}
    (await service.telegram.post("/api/updates", json={"message": message})).raise_for_status()

    async def sent_there() -> list[str]:
        values = [one["values"] for one in await service.requests("sendMessage")]
        return [str(one["message_thread_id"]) for one in values if str(one["chat_id"]) == str(other)]

    assert await until(sent_there) == ["77"]


async def test_a_command_for_another_bot_and_a_chat_of_people_get_nothing(service: Service) -> None:
    group = await open_group(service.telegram)
    await group.wait_for(lambda message: "in private" in message["text"])
    chat = {"id": group.id - 2000, "type": "group", "title": "Others"}
    sender = {"id": 1001, "is_bot": False, "first_name": "Learner 1"}
    for text in ("/quiz@another_bot", "hello", "see /quiz"):
        message = {"message_id": 5, "date": 1, "chat": chat, "from": sender, "text": text}
        (await service.telegram.post("/api/updates", json={"message": message})).raise_for_status()
    await service.settled()
    assert len(await service.requests("sendMessage")) == 1


async def test_a_bot_that_polls_says_it_too(settings: Settings) -> None:
    async with polling_bot(settings) as bot:
        await connected(bot.telegram, "polling")
        group = await open_group(bot.telegram)
        await group.wait_for(lambda message: "in private" in message["text"])
        await group.say("/quiz")
        await (await bot.new_learner()).ask("/start", "Welcome")  # which comes after it
        assert len(await said(group)) == 1
