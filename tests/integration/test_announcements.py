"""Announcements: to whom they are for, at most once each, behind quizzes, and to nobody who wants none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State
from prefect.client.schemas.sorting import ArtifactSort

from bot.texts import privacy_text
from domain.announcements import Announced, Audience
from domain.catalog import Level, Topic
from domain.errors import (
    LearnerUnreachableError,
    RateLimitedError,
    StorageUnavailableError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import AnnouncementId, BotId, LearnerId
from domain.service_state import ALL_BOTS
from domain.settings import Settings
from flows import announce as announce_flow
from flows.announce import announce
from flows.work_pool import register_deployments
from quizzes.announcements import AT_ONCE, count_left, send_announcement
from repository import Repository
from tests.integration.test_cli import run
from tests.support.classroom import Classroom
from tests.support.factories import BOT_ID, TOKEN, some_id
from tests.support.roles import ROOT, environment_of, running_role
from tests.support.service import Learner, Service, rows

EVERYBODY = Audience()
TEXT = "We move to a new server on <b>Sunday</b>."


@pytest.fixture
def room(repository: Repository) -> Classroom:
    """Return the use cases on a database of their own."""
    return Classroom(repository, Settings(_env_file=None, telegram_bot_token=TOKEN))


async def send(room: Classroom, audience: Audience = EVERYBODY, text: str = TEXT) -> AnnouncementId:
    """Send an announcement to whoever is left of an audience."""
    number = await room.repository.add_announcement(text)
    await send_announcement(room.context, number, text, audience, lambda: None, lambda: False)
    return number


def got(room: Classroom) -> list[LearnerId]:
    return sorted(learner_id for learner_id, _ in room.messenger.announcements)


# ---------------------------------------------------------------- to whom


async def test_only_those_get_it_whom_it_is_for(room: Classroom) -> None:
    choices: tuple[tuple[Topic, ...], ...] = ((), (Topic.STREAMING,), (Topic.DATA_MODELING,))
    everything, streaming, modeling = [await room.join(preferred_topics=topics) for topics in choices]
    expert = await room.join(default_difficulty=Level.EXPERT)
    stopped, blocked, opted_out, elsewhere = [await room.join() for _ in range(4)]
    await room.repository.set_daily_enabled(stopped.id, enabled=False)
    await room.repository.set_blocked(blocked.id, BOT_ID, blocked=True)
    await room.repository.set_announcements(opted_out.id, enabled=False)
    await room.repository.move_learner(elsewhere.id, BotId(99))  # whose token the service has no more
    number = await room.repository.add_announcement(TEXT)
    audience = Audience((Topic.STREAMING,), (Level.INTERMEDIATE,))
    assert await count_left(room.context, number, audience) == 2
    await send(room, audience)
    assert got(room) == sorted([everything.id, streaming.id])
    await send(room)
    assert got(room) == sorted([everything.id, streaming.id, modeling.id, expert.id])
    assert await count_left(room.context, number, EVERYBODY) == 0


# ---------------------------------------------------------------- at most once


async def test_nobody_gets_it_twice_however_often_it_is_run(room: Classroom) -> None:
    learners = [await room.join() for _ in range(AT_ONCE + 3)]
    first = await send(room)
    assert await send(room) == first
    assert got(room) == sorted(learner.id for learner in learners)
    assert await send(room, text="Another one") != first
    assert len(got(room)) == 2 * len(learners)


class KilledError(BaseException):
    """Stands for the end of the process."""


async def test_after_a_kill_in_the_middle_those_who_are_left_get_it(
    room: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = sorted([(await room.join()).id for _ in range(3 * AT_ONCE)])
    kept = room.repository.end_announcing

    async def die(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr(room.repository, "end_announcing", die)
    with pytest.raises(KilledError):
        await send(room)
    in_doubt = got(room)
    assert in_doubt == learners[:AT_ONCE]
    monkeypatch.setattr(room.repository, "end_announcing", kept)
    number = await send(room)
    assert got(room) == learners
    assert await room.repository.count_announced(number) == [
        Announced("sending", "", AT_ONCE),
        Announced("sent", "", 2 * AT_ONCE),
    ]


async def test_what_certainly_did_not_go_out_is_sent_by_the_next_run_and_nothing_else(room: Classroom) -> None:
    busy, unknown, refused, gone, fine = [await room.join() for _ in range(5)]
    errors = {
        busy: RateLimitedError(60),
        unknown: TelegramUnavailableError("Bad Gateway"),
        refused: TelegramError("Bad Request: odd"),
        gone: LearnerUnreachableError("bot was blocked"),
    }
    for learner, error in errors.items():
        room.messenger.failures[learner.id].append(error)
    number = await send(room)
    assert got(room) == [fine.id]
    assert (await room.state_of(gone)).blocked
    await send(room)
    assert got(room) == sorted([fine.id, busy.id])
    told = {
        (one.state, one.failure.partition(":")[0], one.learners)
        for one in await room.repository.count_announced(number)
    }
    assert told == {
        ("sent", "", 2),
        ("sending", "Telegram did not answer, so whether it acted is not known", 1),
        ("failed", "Telegram refused a request", 1),
        ("failed", "The learner blocked the bot or is gone", 1),
    }


async def test_a_block_that_cannot_be_noted_leaves_nobody_else_in_doubt(
    room: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, gone, fine = [await room.join() for _ in range(3)]
    room.messenger.failures[busy.id].append(RateLimitedError(60))
    room.messenger.failures[gone.id].append(LearnerUnreachableError("bot was blocked"))

    async def be_away(*_: object, **__: object) -> None:
        raise StorageUnavailableError("shut down")

    monkeypatch.setattr(room.repository, "set_blocked", be_away)
    number = await send(room)
    assert got(room) == [fine.id]
    assert {one.state for one in await room.repository.count_announced(number)} == {"sent", "failed"}
    assert await count_left(room.context, number, EVERYBODY) == 1  # who is busy waits


async def test_it_stops_when_telegram_answers_nobody(room: Classroom) -> None:
    learners = sorted([(await room.join()).id for _ in range(2 * AT_ONCE)])
    for learner_id in learners:
        room.messenger.failures[learner_id].append(TelegramUnavailableError("Bad Gateway"))
    with pytest.raises(TelegramUnavailableError):
        await send(room)
    number = await room.repository.add_announcement(TEXT)
    assert await count_left(room.context, number, EVERYBODY) == AT_ONCE


async def test_learners_of_a_refused_or_paused_bot_are_left_for_later(room: Classroom) -> None:
    learner = await room.join()
    room.messenger.refusals[BOT_ID] = "Unauthorized"
    number = await send(room)
    room.messenger.refusals.clear()
    await room.repository.pause(BOT_ID, None, None)
    await send(room)
    assert (got(room), await count_left(room.context, number, EVERYBODY)) == ([], 1)
    await room.repository.resume(BOT_ID)
    await send(room)
    assert got(room) == [learner.id]


# ---------------------------------------------------------------- what is kept


async def test_it_is_exported_erased_and_forgotten_after_90_days(room: Classroom) -> None:
    one, other = await room.join(), await room.join()
    number = await send(room)
    [exported] = json.loads(await room.repository.export_learner(one.id) or "")["announcements"]
    assert (exported["text"], exported["state"]) == (TEXT, "sent")
    await room.repository.erase_learner(one.id)
    assert await room.repository.count_announced(number) == [Announced("sent", "", 1)]
    assert await room.repository.delete_old_announcements() == 0
    pool = room.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    await pool.execute("UPDATE announcements SET begun_at = now() - interval '91 days'")
    assert await room.repository.delete_old_announcements() == 1
    assert json.loads(await room.repository.export_learner(other.id) or "")["announcements"] == []
    assert "for 90 days" in privacy_text(7)


# ---------------------------------------------------------------- in the chat and in Prefect


def is_announcement(message: dict[str, object]) -> bool:
    return "new server" in str(message.get("text"))


async def run_flow(service: Service, text: str = TEXT) -> State[Any]:
    number = await service.runtime.repository.add_announcement(text)
    state: State[Any] = await announce(int(number), return_state=True)
    return state


@pytest.mark.prefect
async def test_a_learner_switches_announcements_off_under_one_of_them(service_with_prefect: Service) -> None:
    learner = await service_with_prefect.new_learner()
    state = await run_flow(service_with_prefect)
    assert (state.name, state.message) == ("Completed", "1 sent")
    message = await learner.wait_for(is_announcement)
    await learner.press_labelled(message, "No more announcements")
    await learner.wait_for(lambda one: is_announcement(one) and "switch on" in str(rows(one)))
    assert (await run_flow(service_with_prefect, "A second new server")).message == "0 sent"
    await learner.press_labelled(await learner.wait_for(is_announcement), "switch on")
    await learner.wait_for(lambda one: is_announcement(one) and "No more" in str(rows(one)))
    assert (await run_flow(service_with_prefect, "A third new server")).message == "1 sent"
    async with get_client() as client:
        [artifact, *_] = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["announcement"])), sort=ArtifactSort.CREATED_DESC
        )
    assert artifact.description == "1 sent"
    assert str(learner.id) not in str(artifact.data)


@pytest.mark.prefect
async def test_a_run_waits_for_the_end_of_a_pause(
    service_with_prefect: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = service_with_prefect.runtime.repository
    learner = await service_with_prefect.new_learner()
    await repository.pause(ALL_BOTS, None, None)
    names: list[str] = []

    async def look_and_resume(name: str) -> None:
        names.append(name)
        if "wait" in name:
            assert not any(map(is_announcement, await learner.messages()))
            await repository.resume(ALL_BOTS)

    monkeypatch.setattr(announce_flow, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(announce_flow, "rename_run", look_and_resume)
    assert (await run_flow(service_with_prefect)).message == "1 sent"
    waited, ended = names
    assert "· 1 wait: all bots are paused since" in waited
    assert ended.endswith("· 1 sent")


@pytest.mark.prefect
async def test_one_that_is_not_there_fails_with_a_line(service_with_prefect: Service) -> None:
    state = await announce(4711, return_state=True)
    assert (state.name, state.message) == ("Failed", "There is no announcement 4711.")
    assert service_with_prefect


# ---------------------------------------------------------------- the command


@pytest.mark.prefect
async def test_the_command_sends_follows_and_sends_nobody_twice(
    service: Service, settings: Settings, prefect_url: str, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"prefect_api_url": prefect_url, "prefect_work_pool": f"pool-{some_id()}"})
    learners: list[Learner] = [await service.new_learner() for _ in range(3)]
    file = tmp_path / "news.html"
    file.write_text(TEXT, encoding="utf-8")
    environment = environment_of(settings)
    status, output, errors = await run("announce", str(file), "--dry-run", **environment)
    assert (status, output, errors) == (0, "to 3 learners who have not had it\n", "")
    await register_deployments(settings)
    with running_role(settings, tmp_path, [str(ROOT / "main.py"), "prefect"]) as role:
        status, output, errors = await run("announce", str(file), **environment)
        assert (status, errors) == (0, ""), output + role.output
        assert output.startswith("to 3 learners who have not had it\n")
        assert output.endswith("3 sent\n")
        for learner in learners:
            await learner.wait_for(is_announcement)
        late = await service.new_learner()
        status, output, _ = await run("announce", str(file), **environment)
        assert output.startswith("sent before; to 1 learner who have not had it\n")
        assert (status, output.splitlines()[-1]) == (0, "4 sent")
    for learner in [*learners, late]:
        assert sum(map(is_announcement, await learner.messages())) == 1


async def test_without_prefect_or_with_a_wrong_text_one_line_says_so(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "news.html"
    file.write_text("<b>open", encoding="utf-8")
    environment = environment_of(settings)
    lines = {
        "Telegram would not take the announcement: line 1: <b> is not closed": str(file),
        f"Telegram would not take the announcement: {tmp_path}/none: No such file or directory": f"{tmp_path}/none",
    }
    for line, name in lines.items():
        assert await run("announce", name, **environment) == (1, "", f"quiz: {line}\n")
    file.write_text(f"fine{' ' * 100_000}and the rest", encoding="utf-8")
    line = f"Telegram would not take the announcement: {file}: more than 100000 characters"
    assert await run("announce", str(file), **environment) == (1, "", f"quiz: {line}\n")
    file.write_text("fine", encoding="utf-8")
    status, output, errors = await run("announce", str(file), **environment)
    assert (status, output) == (1, "")
    assert errors == "quiz: The service cannot start: an announcement is sent by Prefect: PREFECT_API_URL is not set\n"
