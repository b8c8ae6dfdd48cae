"""Events of Prefect that tell when a distribution begins and ends, for automations and for its feed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from prefect import runtime
from prefect.events import emit_event
from prefect.events.worker import should_emit_events_to_running_server

from domain.models import Delivery
from flows.artifacts import count_outcomes

BEGUN = "quiz.distribution.begun"
ENDED = "quiz.distribution.ended"


@contextlib.contextmanager
def announced_distribution(due: int, deliveries: Sequence[Delivery]) -> Iterator[None]:
    """Emit an event now and at the end.

    Another thread sends them: a server that is away neither slows the run down nor breaks it.

    Args:
        due: how many learners it is to serve.
        deliveries: what became of them by the end.
    """
    _emit(BEGUN, {"due": due})
    error = ""
    try:
        yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        _emit(ENDED, {"due": due, **count_outcomes(deliveries), "error": error})


def _emit(event: str, payload: dict[str, int | str]) -> None:
    run_id = runtime.flow_run.id
    if run_id and should_emit_events_to_running_server():  # without an address the client would start a server
        emit_event(event, resource={"prefect.resource.id": f"quiz.distribution.{run_id}"}, payload=payload)
