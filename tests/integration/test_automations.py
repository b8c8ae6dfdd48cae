"""Prefect's automations, on a real server: a distribution that fails notifies, and what operators decide stays."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from prefect import get_client
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import WorkPoolStatus
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.states import Scheduled

from domain.errors import StorageUnavailableError
from domain.settings import Settings
from flows.automations import FAILED, LATE, NO_WORKER, register_automations
from flows.context import use_context
from flows.events import BEGUN, ENDED
from local import servers
from prefect_flows import distribute_daily_quizzes
from tests.support.factories import some_id
from tests.support.roles import ROOT
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS, until
from wiring import open_runtime

pytestmark = pytest.mark.prefect

NAMES = [FAILED, LATE, NO_WORKER]


async def read(name: str) -> list[Automation]:
    async with get_client() as client:
        return await client.read_automations_by_name(name)


@pytest.fixture(autouse=True)
async def _no_automations(prefect_url: str) -> AsyncIterator[None]:
    """Leave none behind."""
    yield
    async with get_client() as client:
        for name in NAMES:
            for one in await client.read_automations_by_name(name):
                await client.delete_automation(one.id)


@pytest.fixture
def settings(settings: Settings, prefect_url: str) -> Settings:
    return settings.model_copy(update={"prefect_api_url": prefect_url, "prefect_work_pool": f"pool-{some_id()}"})


@pytest.fixture
async def received() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the address of a receiver of notifications, and what it received."""
    app, notes = FastAPI(), list[dict[str, Any]]()

    @app.post("/")
    async def note(request: Request) -> None:
        notes.append(await request.json())

    async with serving(app, servers.free_port()) as url:
        yield url, notes


async def make_block(url: str) -> str:
    """Make a notification block, and return what the setting names it by."""
    name = f"oncall-{some_id()}"
    block = CustomWebhookNotificationBlock(
        name=name, url=url, json_data={"subject": "{{subject}}", "body": "{{body}}"}, allow_private_urls=True
    )
    await block.save(name)
    return f"{block.get_block_type_slug()}/{name}"


async def events_of(api: str, event: str, since: datetime) -> list[dict[str, Any]]:
    """Return events of a name."""
    wanted = {"filter": {"event": {"name": [event]}, "occurred": {"since": since.isoformat()}}, "limit": 50}
    async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        return list((await client.post(f"{api}/events/filter", json=wanted)).raise_for_status().json()["events"])


async def fail_a_distribution(settings: Settings) -> None:
    """Run a distribution that loses its database."""
    async with open_runtime(settings) as runtime:
        await runtime.repository.close()
        with use_context(runtime.context), pytest.raises(StorageUnavailableError):
            await distribute_daily_quizzes.with_options(retries=0)()


# ---------------------------------------------------------------- what they do


async def test_a_failed_distribution_notifies_through_the_block(
    settings: Settings, received: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, notes = received
    await register_automations(settings.model_copy(update={"prefect_notification_block": await make_block(url)}))
    monkeypatch.setattr("prefect_flows.find_due.retries", 0)
    await fail_a_distribution(settings)
    note = await until(lambda: next((one for one in notes if one["subject"] == FAILED), None))
    assert "A run of the daily distribution failed or crashed." in note["body"]
    assert "ended as Failed: " in note["body"]


async def test_without_a_block_a_failed_distribution_leaves_an_event(
    settings: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = datetime.now(UTC)
    await register_automations(settings)
    monkeypatch.setattr("prefect_flows.find_due.retries", 0)
    await fail_a_distribution(settings)
    await fired(FAILED, prefect_url, since)


async def fired(name: str, api: str, since: datetime) -> None:
    """Return when an automation has acted."""
    [automation] = await read(name)

    async def has_acted() -> bool:
        found = await events_of(api, "prefect.automation.action.executed", since)
        return any(one["resource"]["prefect.resource.id"].endswith(str(automation.id)) for one in found)

    await until(has_acted)


async def test_a_distribution_that_nobody_begins_is_late(settings: Settings, prefect_url: str) -> None:
    since = datetime.now(UTC)
    await register_automations(settings.model_copy(update={"daily_overdue_minutes": 0.2}))
    async with get_client() as client:
        run = await client.create_flow_run(distribute_daily_quizzes, state=Scheduled(scheduled_time=since))
        await fired(LATE, prefect_url, since)
        await client.delete_flow_run(run.id)


async def test_a_work_pool_without_a_worker_is_told_of(settings: Settings, prefect_url: str) -> None:
    since, pool = datetime.now(UTC), settings.prefect_work_pool
    await register_automations(settings)
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        await client.send_worker_heartbeat(pool, "the-only-one", heartbeat_interval_seconds=30)
        assert (await client.read_work_pool(pool)).status is WorkPoolStatus.READY
        async with httpx.AsyncClient(base_url=prefect_url, timeout=WAIT_SECONDS) as server:
            (await server.delete(f"/work_pools/{pool}/workers/the-only-one")).raise_for_status()
        await fired(NO_WORKER, prefect_url, since)
        await client.delete_work_pool(pool)


# ---------------------------------------------------------------- registration


async def test_automations_are_made_once_however_often_and_by_however_many(settings: Settings) -> None:
    await asyncio.gather(*(register_automations(settings) for _ in range(3)))
    await register_automations(settings)
    made = {name: await read(name) for name in NAMES}
    assert {name: len(found) for name, found in made.items()} == dict.fromkeys(NAMES, 1)
    await register_automations(settings)
    assert {name: await read(name) for name in NAMES} == made


async def test_a_disabled_automation_stays_disabled_and_up_to_date(settings: Settings) -> None:
    await register_automations(settings)
    [late] = await read(LATE)
    async with get_client() as client:
        await client.pause_automation(late.id)
    await register_automations(settings.model_copy(update={"daily_overdue_minutes": 90}))
    [found] = await read(LATE)
    assert (found.id, found.enabled) == (late.id, False)
    assert found.trigger.within.total_seconds() == 5400  # type: ignore[union-attr]


async def test_an_automation_that_an_operator_edited_is_left_alone(settings: Settings) -> None:
    await register_automations(settings)
    [failed] = await read(FAILED)
    trigger = failed.trigger.model_copy(update={"threshold": 3, "within": timedelta(minutes=30)})
    edited = AutomationCore(**failed.model_dump(exclude={"id", "owner_resource"}) | {"trigger": trigger})
    async with get_client() as client:
        await client.update_automation(failed.id, edited)
    block = await make_block("http://127.0.0.1:9")
    await register_automations(settings.model_copy(update={"prefect_notification_block": block}))
    [found] = await read(FAILED)
    assert found.trigger.threshold == 3  # type: ignore[union-attr]
    assert [action.type for action in found.actions] == ["do-nothing"]
    assert [action.type for action in (await read(LATE))[0].actions] == ["send-notification"]  # nobody edited this one


async def test_a_block_that_does_not_exist_is_told_of(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await register_automations(
            settings.model_copy(update={"prefect_notification_block": "slack-webhook/nobody-made-it"})
        )
    assert "Prefect has no block slack-webhook/nobody-made-it" in caplog.text
    assert len(await read(FAILED)) == 1


# ---------------------------------------------------------------- events


async def test_a_distribution_tells_of_its_beginning_and_its_end(settings: Settings, prefect_url: str) -> None:
    since = datetime.now(UTC)
    async with open_runtime(settings) as runtime:
        with use_context(runtime.context):
            await distribute_daily_quizzes()
    for event, payload in (
        (BEGUN, {"due": 0}),
        (ENDED, {"due": 0, "sent": 0, "skipped": 0, "failed": 0, "error": ""}),
    ):

        async def found(event: str = event) -> list[dict[str, Any]]:
            return await events_of(prefect_url, event, since)

        [one] = await until(found)
        assert one["payload"] == payload


BEGIN_AND_END = """
from flows.events import announced_distribution
with announced_distribution(1, []):
    print("served")
"""


async def test_a_server_that_is_away_keeps_no_run_from_its_end() -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT__RUNTIME__FLOW_RUN__ID": "0197f8a2-0000-7000-8000-000000000001",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BEGIN_AND_END, env=environment, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(WAIT_SECONDS):
        output, errors = await process.communicate()
    assert (process.returncode, output) == (0, b"served\n")
    assert b"Unable to connect" in errors  # it was tried
