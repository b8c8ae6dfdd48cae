"""The row that a distribution leaves: begun, ended, and what became of its learners."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from domain.errors import StorageUnavailableError
from domain.models import Delivery, FailureKind, Outcome
from domain.service_state import DistributionCounts, DistributionState
from observability.background import run_forever
from observability.logs import one_line
from quizzes.context import QuizContext

logger = logging.getLogger(__name__)

TOUCH_SECONDS = 10.0


@dataclass(slots=True)
class Ending:
    """How a distribution ended."""

    deliveries: list[Delivery] = field(default_factory=list)
    """To be filled in before the end, like what follows."""
    was_cancelled: bool = False
    state: DistributionState = DistributionState.RUNNING
    """Known after the end."""
    reason: str | None = None
    """Why it failed, in one line."""


@asynccontextmanager
async def noted_distribution(context: QuizContext, due: int) -> AsyncIterator[Ending]:
    """Note that a distribution begins and, whatever becomes of it but a lost process, how it ended.

    It has failed if it raises, or by `find_failure`. A note that cannot be made holds up nobody's quiz: it is logged,
    and a later distribution notes this one as crashed.

    Args:
        due: how many learners it is to serve.
    """
    ending, number = Ending(), None
    with _logged("the beginning"):
        number = await context.repository.begin_distribution(due)
    touching = number and asyncio.create_task(
        run_forever("touching", lambda: context.repository.touch_distribution(number), pause=TOUCH_SECONDS)
    )
    error: BaseException | None = None
    try:
        yield ending
    except BaseException as raised:
        error = raised
        raise
    finally:
        ending.state, ending.reason = _judge(ending, error, context.settings.max_failed_share)
        if number and touching:
            touching.cancel()
            with _logged("the end"):
                counts = count_deliveries(ending.deliveries)
                await context.repository.end_distribution(number, ending.state, counts, ending.reason)


def _judge(
    ending: Ending, error: BaseException | None, max_failed_share: float
) -> tuple[DistributionState, str | None]:
    """Return how a distribution ended, and why if it failed."""
    if isinstance(error, Exception):
        return DistributionState.FAILED, one_line(f"{type(error).__name__}: {error}")
    if error or ending.was_cancelled:
        return DistributionState.CANCELLED, None
    if reason := find_failure(ending.deliveries, max_failed_share):
        return DistributionState.FAILED, reason
    return DistributionState.COMPLETED, None


def find_failure(deliveries: Sequence[Delivery], max_failed_share: float) -> str | None:
    """Return why a run as a whole has failed, in one line, or None if it has not.

    Either a bot is refused, or more than a share of those whom it tried to serve got no quiz; who blocked the bot does
    not count.
    """
    kinds = {kind: [one.reason for one in deliveries if _outcome_of(one) == kind] for kind in FailureKind}
    refused, failed = kinds[FailureKind.REFUSED], kinds[FailureKind.FAILED]
    tried = count_deliveries(deliveries).sent + len(refused) + len(failed)
    if not refused and len(failed) <= max_failed_share * tried:
        return None
    [(commonest, _)] = Counter(refused or failed).most_common(1)
    return one_line(f"{len(refused) + len(failed)} of {tried} failed, most of them with: {commonest}")


@contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except StorageUnavailableError as error:
        logger.warning("%s of a distribution could not be noted: %s", what, error)


def count_deliveries(deliveries: Sequence[Delivery]) -> DistributionCounts:
    """Return what became of learners, those apart whom no fault of the service kept from their quiz."""
    return DistributionCounts(**Counter(_outcome_of(delivery) for delivery in deliveries))


def _outcome_of(delivery: Delivery) -> str:
    return delivery.failure.value if delivery.outcome is Outcome.FAILED else delivery.outcome.value
