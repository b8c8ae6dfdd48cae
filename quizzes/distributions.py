"""The row that a distribution leaves: begun, ended, and what became of its learners."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from domain.errors import BotRefusedError, LearnerUnreachableError, StorageUnavailableError
from domain.models import Delivery, Outcome
from domain.service_state import DistributionCounts, DistributionState
from observability.background import run_forever
from observability.logs import one_line
from quizzes.context import QuizContext

logger = logging.getLogger(__name__)

UNREACHABLE = str(LearnerUnreachableError())
REFUSED = str(BotRefusedError(0, "")).partition(":")[0]
"""What the reasons of such deliveries begin with."""

MAX_FAILED_SHARE = 0.05
TOUCH_SECONDS = 10.0


@dataclass(slots=True)
class Ending:
    """What a distribution came to, to be filled in before its end."""

    deliveries: list[Delivery] = field(default_factory=list)
    was_cancelled: bool = False


@asynccontextmanager
async def noted_distribution(context: QuizContext, due: int) -> AsyncIterator[Ending]:
    """Note that a distribution begins and, whatever becomes of it but a lost process, how it ended.

    It has failed if it raises, or if more than `MAX_FAILED_SHARE` of those whom it tried to serve got no quiz; who
    blocked the bot does not count. A note that cannot be made holds up nobody's quiz: it is logged, and a later
    distribution notes this one as crashed.

    Args:
        due: how many learners it is to serve.
    """
    ending, number = Ending(), None
    with _logged("the beginning"):
        number = await context.repository.begin_distribution(due)
    if number is None:
        yield ending
        return
    touching = asyncio.create_task(
        run_forever("touching", lambda: context.repository.touch_distribution(number), pause=TOUCH_SECONDS)
    )
    error: BaseException | None = None
    try:
        yield ending
    except BaseException as raised:
        error = raised
        raise
    finally:
        touching.cancel()
        counts = count_deliveries(ending.deliveries)
        state, reason = _judge(ending, counts, error)
        with _logged("the end"):
            await context.repository.end_distribution(number, state, counts, reason and one_line(reason))


def _judge(
    ending: Ending, counts: DistributionCounts, error: BaseException | None
) -> tuple[DistributionState, str | None]:
    """Return how a distribution ended, and why if it failed."""
    if isinstance(error, Exception):
        return DistributionState.FAILED, f"{type(error).__name__}: {error}"
    if error or ending.was_cancelled:
        return DistributionState.CANCELLED, None
    failed = counts.failed + counts.refused
    tried = counts.sent + failed
    if failed > MAX_FAILED_SHARE * tried:
        reasons = Counter(one.reason for one in ending.deliveries if _outcome_of(one) in {"failed", "refused"})
        [(commonest, _)] = reasons.most_common(1)
        return DistributionState.FAILED, f"{failed} of {tried} failed, most of them with: {commonest}"
    return DistributionState.COMPLETED, None


@contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except StorageUnavailableError as error:
        logger.warning("%s of a distribution could not be noted: %s", what, error)


def count_deliveries(deliveries: Sequence[Delivery]) -> DistributionCounts:
    """Return what became of learners, those apart whom no fault of the service kept from their quiz."""
    counts = Counter(_outcome_of(delivery) for delivery in deliveries)
    return DistributionCounts(**counts)


def _outcome_of(delivery: Delivery) -> str:
    if delivery.outcome is Outcome.FAILED:
        if delivery.reason.startswith(UNREACHABLE):
            return "unreachable"
        if delivery.reason.startswith(REFUSED):
            return "refused"
    return delivery.outcome.value
