"""The page's clock: messages show its time, rates and lifetimes the real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.integration.simulator.support import ALICE, UNLIMITED, World, world_of

HOUR = 3600


async def date_of_message(world: World) -> float:
    return (await world.bot.send_message(ALICE, "hello")).date.timestamp()


async def test_messages_show_the_time_of_the_page_after_a_restart_too(tmp_path: Path) -> None:
    options = replace(UNLIMITED, clock=tmp_path / "clock", data=tmp_path / "data")
    async with world_of(options, bot_id=7001) as world:
        before = await date_of_message(world)
        assert (await world.control("GET", "state"))["ahead"] == 0
        assert await world.control("POST", "clock", hours=24) == {"ahead": 24 * HOUR}
        assert await world.control("POST", "clock", hours=1) == {"ahead": 25 * HOUR}
        assert await date_of_message(world) >= before + 25 * HOUR
    async with world_of(options, bot_id=7001) as world:
        assert await date_of_message(world) >= before + 25 * HOUR
        assert await world.control("DELETE", "clock") == {"ahead": 0}
        assert await date_of_message(world) < before + HOUR


async def test_an_update_that_waits_outlives_a_jump_of_the_clock(tmp_path: Path) -> None:
    async with world_of(replace(UNLIMITED, clock=tmp_path / "clock")) as world:
        world.say("hello")
        await world.control("POST", "clock", hours=48)
        assert len(await world.bot.get_updates()) == 1


async def test_the_clock_goes_back_to_the_real_time_only(tmp_path: Path) -> None:
    async with world_of(replace(UNLIMITED, clock=tmp_path / "clock")) as world:
        await world.control("POST", "clock", 409, hours=-1)


async def test_without_a_file_there_is_no_clock_to_move(world: World) -> None:
    assert (await world.control("GET", "state"))["ahead"] is None
    assert "no clock" in (await world.control("POST", "clock", 409, hours=1))["error"]
