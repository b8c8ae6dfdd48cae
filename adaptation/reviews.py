"""When a missed question comes back: the FSRS scheduler behind the service's own types. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from fsrs import Card, Rating, Scheduler, State

from domain.learning import Memory

MAX_REVIEW_DAYS = 180
"""A question that is known by heart still comes back twice a year."""

_SCHEDULER = Scheduler(learning_steps=(), relearning_steps=(), maximum_interval=MAX_REVIEW_DAYS, enable_fuzzing=False)
_SAME_CARD = 1
"""A card without an id waits a millisecond to make one from the clock, and nothing here needs one."""


def remember(memory: Memory | None, at: datetime, *, correct: bool) -> Memory | None:
    """Return when a question comes back after an answer, or None if it does not: it was never missed.

    Args:
        memory: as it was after the answer before; None when there is none.
        at: the moment of this answer, aware; one before the latest review counts as that.
    """
    if memory is None and correct:
        return None
    moment = max(at, memory.reviewed_at) if memory else at
    rating = Rating.Good if correct else Rating.Again
    card, _ = _SCHEDULER.review_card(_card(memory), rating, moment.astimezone(UTC))
    if card.stability is None or card.difficulty is None:
        msg = "a reviewed card has both"
        raise AssertionError(msg)
    return Memory(card.stability, card.difficulty, moment, card.due)


def _card(memory: Memory | None) -> Card:
    if memory is None:
        return Card(card_id=_SAME_CARD)
    return Card(
        card_id=_SAME_CARD,
        state=State.Review,
        stability=memory.stability,
        difficulty=memory.difficulty,
        due=memory.due_at.astimezone(UTC),
        last_review=memory.reviewed_at.astimezone(UTC),
    )
