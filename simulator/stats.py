"""Counts and latencies: what a load test asks afterwards."""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from simulator.params import Json

_PERCENTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
_MAX_SECONDS: Final = 3_600


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a bot, as tests ask for it; the token is not kept."""

    at: float
    bot_id: int
    method: str
    values: Json
    status: int
    description: str


class Statistics:
    """Everything that is counted, for all bots together."""

    def __init__(self, record_limit: int) -> None:
        """Begin at zero; at most `record_limit` requests and latencies are kept."""
        self._record_limit = record_limit
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.requests: deque[Request] = deque(maxlen=self._record_limit)
        self.methods: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()
        self.sent_per_second: Counter[int] = Counter()
        self.most_in_any_second = 0
        self.edit_latencies: deque[float] = deque(maxlen=self._record_limit)
        self.answer_latencies: deque[float] = deque(maxlen=self._record_limit)
        self.reply_latencies: deque[float] = deque(maxlen=self._record_limit)
        self.webhook_latencies: deque[float] = deque(maxlen=self._record_limit)
        self._tapped: dict[tuple[int, int], float] = {}
        self._written: dict[tuple[int, int], float] = {}
        self._let_through: dict[int, deque[float]] = {}

    def count_sent(self, now: float) -> None:
        """A bot sent a message at `now`, seconds since the epoch."""
        self.counts["messages_sent"] += 1
        self.sent_per_second[int(now)] += 1
        if len(self.sent_per_second) > _MAX_SECONDS:
            del self.sent_per_second[min(self.sent_per_second)]

    def count_let_through(self, bot_id: int, now: float) -> None:
        """A message or an edit was within a bot's rate, in monotonic time."""
        recent = self._let_through.setdefault(bot_id, deque())
        recent.append(now)
        while recent[0] <= now - 1:
            recent.popleft()
        self.most_in_any_second = max(self.most_in_any_second, len(recent))

    def count_text(self, bot_id: int, learner_id: int, now: float) -> None:
        """A learner wrote to a bot, in monotonic time; the first text without a reply starts the clock."""
        self._written.setdefault((bot_id, learner_id), now)

    def count_reply(self, bot_id: int, learner_id: int, now: float) -> None:
        """A bot sent a learner a message, in monotonic time."""
        written = self._written.pop((bot_id, learner_id), None)
        if written is not None:
            self.reply_latencies.append(now - written)

    def count_tap(self, bot_id: int, message_id: int, now: float) -> None:
        """A learner tapped a button of a message, in monotonic time; the first tap starts the clock."""
        self.counts["taps"] += 1
        self._tapped.setdefault((bot_id, message_id), now)

    def count_edit(self, bot_id: int, message_id: int, now: float) -> None:
        """A bot edited a message, in monotonic time."""
        self.counts["edits"] += 1
        tapped = self._tapped.pop((bot_id, message_id), None)
        if tapped is not None:
            self.edit_latencies.append(now - tapped)

    def count_request(self, request: Request) -> None:
        """A call was answered."""
        self.requests.append(request)
        self.methods[request.method] += 1
        self.statuses[request.status] += 1

    def summary(self) -> Json:
        """All counts, the per-second histogram, and percentiles of the latencies in seconds."""
        names = ("messages_sent", "edits", "taps", "callback_answers", "updates", "deliveries", "failed_deliveries")
        return {
            **{name: self.counts[name] for name in names},
            "too_many_requests": self.statuses[429],
            "too_many_requests_to_a_chat": self.counts["too_many_requests_to_a_chat"],
            "requests": sum(self.methods.values()),
            "methods": dict(self.methods),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "sent_per_second": {str(second): count for second, count in sorted(self.sent_per_second.items())},
            "most_in_any_second": self.most_in_any_second,
            "tap_to_edit_seconds": _percentiles(self.edit_latencies),
            "tap_to_answer_seconds": _percentiles(self.answer_latencies),
            "text_to_message_seconds": _percentiles(self.reply_latencies),
            "webhook_seconds": _percentiles(self.webhook_latencies),
            "taps_without_edit": len(self._tapped),
        }


def _percentiles(latencies: deque[float]) -> Json:
    if not latencies:
        return {"count": 0}
    ordered = sorted(latencies)
    last = len(ordered) - 1
    return {
        "count": len(ordered),
        **{name: round(ordered[round(share * last)], 4) for name, share in _PERCENTILES.items()},
        "max": round(ordered[last], 4),
    }
