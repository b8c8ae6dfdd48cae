"""Prefect's automations: they notify operators when a distribution fails or is late, or no Prefect worker is left.

An automation is kept up to date as long as nobody edits it: its description ends with a fingerprint of what the service
wrote, so what an operator changed differs from it and is left alone. Whether it is enabled, operators decide.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
from datetime import timedelta
from typing import Any

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from domain.settings import Settings

logger = logging.getLogger(__name__)

_FLOW = "distribute_daily_quizzes"
_OF_FLOW = {"prefect.resource.role": "flow", "prefect.resource.name": _FLOW}
_ANY_RUN = {"prefect.resource.id": "prefect.flow-run.*"}

_FINGERPRINT = re.compile(r"\[service ([0-9a-f]{12})\]$")

_OF_OPERATORS = ("enabled", "tags", "actions_on_trigger", "actions_on_resolve")

FAILED = "quiz: distribution failed"
LATE = "quiz: distribution late"
NO_WORKER = "quiz: no Prefect worker"


def wanted_automations(settings: Settings, block_id: Any = None) -> list[AutomationCore]:  # noqa: ANN401 - a UUID
    """Return the automations as the service wants them.

    Args:
        block_id: the notification block; None leaves an event in Prefect's feed and nothing else.
    """
    late_after = timedelta(minutes=settings.daily_overdue_minutes)
    failed = EventTrigger(
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"},
        match=ResourceSpecification(_ANY_RUN),
        match_related=ResourceSpecification(_OF_FLOW),
    )
    late = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.Late"},
        expect={"prefect.flow-run.Running"},
        match=ResourceSpecification(_ANY_RUN),
        match_related=ResourceSpecification(_OF_FLOW),
        within=late_after,
    )
    no_worker = EventTrigger(
        expect={"prefect.work-pool.not-ready"},
        match=ResourceSpecification(
            {"prefect.resource.id": "prefect.work-pool.*", "prefect.resource.name": settings.prefect_work_pool}
        ),
    )
    return [
        _automation(
            FAILED,
            "A run of the daily distribution failed or crashed.",
            failed,
            "{{ flow_run.name }} ended as {{ flow_run.state.name }}: {{ flow_run.state.message }}",
            block_id,
        ),
        _automation(
            LATE,
            f"A distribution was late, and none has begun for {settings.daily_overdue_minutes} minutes.",
            late,
            "No daily quiz goes out. `python main.py status` says what is missing.",
            block_id,
        ),
        _automation(
            NO_WORKER,
            f"No worker takes runs from the work pool {settings.prefect_work_pool}.",
            no_worker,
            "Nothing that is scheduled runs. Start `python main.py prefect`, and look at its log.",
            block_id,
        ),
    ]


def _automation(name: str, about: str, trigger: EventTrigger, text: str, block_id: Any) -> AutomationCore:  # noqa: ANN401
    action = SendNotification(block_document_id=block_id, subject=name, body=f"{about}\n{text}") if block_id else None
    automation = AutomationCore(name=name, description=about, trigger=trigger, actions=[action or DoNothing()])
    return automation.model_copy(update={"description": f"{about} [service {fingerprint(automation)}]"})


def fingerprint(automation: AutomationCore) -> str:
    """Return what differs as soon as trigger or actions do."""
    parts = automation.model_dump(mode="json", include={"trigger", "actions"})
    return hashlib.sha256(json.dumps(_sorted(parts), sort_keys=True).encode()).hexdigest()[:12]


def _sorted(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value whose lists of names, which are sets, have one order."""
    match value:
        case dict():
            return {name: _sorted(one) for name, one in value.items()}
        case list() if all(isinstance(one, str) for one in value):
            return sorted(value)
        case list():
            return [_sorted(one) for one in value]
    return value


async def register_automations(settings: Settings) -> None:
    """Make the automations that are missing, and bring up to date those that nobody has edited.

    Raises:
        httpx.TransportError: the Prefect server does not answer.
    """
    async with get_client() as client:
        try:
            block_id = await _find_block(client, settings.prefect_notification_block)
            for wanted in wanted_automations(settings, block_id):
                await _register(client, wanted)
        except PrefectHTTPStatusError as error:  # they are a convenience: runs need none of them
            logger.warning("Prefect takes no automations: it answers %d", error.response.status_code)


async def _find_block(client: PrefectClient, name: str | None) -> Any:  # noqa: ANN401
    if name is None:
        return None
    kind, _, block = name.partition("/")
    try:
        return (await client.read_block_document_by_name(block, kind)).id
    except ObjectNotFound:
        logger.warning(
            "Prefect has no block %s (PREFECT_NOTIFICATION_BLOCK), so its automations notify nobody; "
            "make it in the UI, then restart the role prefect",
            name,
        )
        return None


async def _register(client: PrefectClient, wanted: AutomationCore) -> None:
    if not await client.read_automations_by_name(wanted.name):
        await client.create_automation(wanted)
    first, *others = sorted(await client.read_automations_by_name(wanted.name), key=lambda one: str(one.id))
    for duplicate in others:  # of another Prefect worker that started at the same moment
        if _is_untouched(duplicate):
            with contextlib.suppress(ObjectNotFound):
                await client.delete_automation(duplicate.id)
    if _is_untouched(first) and first.description != wanted.description:
        theirs = {name: getattr(first, name) for name in _OF_OPERATORS}
        await client.update_automation(first.id, wanted.model_copy(update=theirs))


def _is_untouched(automation: Automation) -> bool:
    """Return whether trigger and actions are as the service wrote them."""
    written = _FINGERPRINT.search(automation.description)
    return bool(written and written[1] == fingerprint(automation))
