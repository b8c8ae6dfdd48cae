"""A second start finds everything again."""

from pathlib import Path

from telegram import BotCommand

from simulator.options import Options
from tests.integration.simulator.support import ALICE, BOB, Webhook, World, world_of
from tests.integration.simulator.test_refusals import PNG, keys

BOT = 900_001


def options(folder: Path) -> Options:
    return Options(data=folder, fast_retries=True, bot_rate=0, chat_rate=0)


async def history(world: World) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = (await world.control("GET", f"learners/{ALICE}/messages"))["messages"]
    return messages


async def test_chats_and_edits_are_found_again(tmp_path: Path) -> None:
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        world.say("question")
        message = await world.bot.send_message(ALICE, "draft", reply_markup=keys(["a"]))
        await message.edit_text("final")
        before = await history(world)
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        assert await history(world) == before
        assert before[-1]["text"] == "final"


async def test_numbers_go_on_where_they_ended(tmp_path: Path) -> None:
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        last_message = world.say("one")
        (last_update,) = await world.bot.get_updates()
        await world.bot.get_updates(offset=last_update.update_id + 1)
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        assert world.say("two") == last_message + 1
        (update,) = await world.bot.get_updates()
        assert update.update_id == last_update.update_id + 1


async def test_webhook_and_commands_are_found_again(tmp_path: Path, webhook: Webhook) -> None:
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        await world.bot.set_webhook(webhook.url, secret_token="abc", max_connections=7, allowed_updates=["message"])
        await world.bot.set_my_commands([BotCommand("quiz", "Now")])
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        info = await world.bot.get_webhook_info()
        assert (info.url, info.max_connections, info.allowed_updates) == (webhook.url, 7, ("message",))
        assert [one.command for one in await world.bot.get_my_commands()] == ["quiz"]


async def test_undelivered_updates_are_delivered_after_the_restart(tmp_path: Path, webhook: Webhook) -> None:
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        world.say("before")
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        await world.bot.set_webhook(webhook.url)
        (update,) = await webhook.got(1)
        assert update["message"]["text"] == "before"


async def test_learners_and_blocks_are_found_again(tmp_path: Path) -> None:
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        await world.control("POST", "learners", first_name="Ada", language_code="de")
        world.open_chat(BOB)
        await world.control("POST", f"learners/{BOB}/block")
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        learners = await world.control("GET", "learners")
        assert [one["first_name"] for one in learners][-1] == "Ada"
        assert await world.refused(world.bot.send_message(BOB, "x")) == "Forbidden: bot was blocked by the user"


async def test_uploaded_files_are_found_again(tmp_path: Path) -> None:
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        sent = (await world.bot.send_photo(ALICE, PNG)).photo
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        assert (await world.http.get(f"/api/files/{sent[-1].file_id}")).content == PNG
        assert (await world.bot.send_photo(ALICE, sent[-1].file_id)).photo == sent


async def test_a_reset_forgets_chats_and_keeps_the_webhook(tmp_path: Path, webhook: Webhook) -> None:
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        await world.bot.set_webhook(webhook.url)
        await world.bot.send_message(ALICE, "x")
        await world.control("POST", "reset")
    async with world_of(options(tmp_path), bot_id=BOT) as world:
        assert await history(world) == []
        assert (await world.bot.get_webhook_info()).url == webhook.url


async def test_without_a_folder_nothing_is_remembered() -> None:
    async with world_of(Options(), bot_id=BOT) as world:
        world.say("one")
    async with world_of(Options(), bot_id=BOT) as world:
        assert await history(world) == []
