"""Prefect's states, redacted where they are made, before Prefect sends them to its server in whichever way."""

from __future__ import annotations

from prefect.client.schemas.objects import State
from pydantic import AfterValidator

from observability.logs import redact


def _redact(message: str | None) -> str | None:
    return redact(message) if message else message


def redact_states() -> None:
    """Redact the message of every state that this process makes from now on.

    It is where Prefect puts an exception: that of a flow, of a task, of its engine, and what its worker tells of a
    process that ended. Prefect has no place for this, so the field of its model gets a validator.
    """
    field = State.model_fields["message"]
    if not any(isinstance(extra, AfterValidator) and extra.func is _redact for extra in field.metadata):
        field.metadata.append(AfterValidator(_redact))
        State.model_rebuild(force=True)
