"""Every metric of the service, each with its description and unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from domain.catalog import QuestionSource, QuizKind, ReportReason
from domain.errors import TelegramError
from domain.updates import UpdateKind
from domain.version import VERSION

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

BUILD_INFO = Gauge("quiz_build_info", "Always 1; its label says which version this process runs", ["version"])
BUILD_INFO.labels(VERSION).set(1)

UPDATES_RECEIVED = Counter("quiz_updates_received_total", "Updates accepted from Telegram", ["kind"])
UPDATES_REDELIVERED = Counter("quiz_updates_redelivered_total", "Updates that were stored already")
UPDATES_REFUSED = Counter("quiz_updates_refused_total", "Requests to the webhook that were refused", ["reason"])
UPDATES_SHED = Counter(
    "quiz_updates_shed_total", "Updates of learners who flood the bot that were not stored: repeated, waiting", ["why"]
)
POLLING_FAILS = Gauge("quiz_polling_fails", "1 while Telegram gives a bot that polls no updates", ["bot"])
UPDATES_HANDLED = Counter("quiz_updates_handled_total", "Updates handled by the worker", ["kind", "outcome"])
UPDATE_AGE_SECONDS = Histogram(
    "quiz_update_handled_seconds", "From an update's arrival to the end of its handling, in seconds", buckets=SECONDS
)

QUIZZES_SENT = Counter("quiz_quizzes_sent_total", "Questions sent to learners", ["kind"])
QUIZZES_FAILED = Counter("quiz_quizzes_failed_total", "Questions that could not be sent", ["reason"])
ANSWERS_GRADED = Counter("quiz_answers_graded_total", "Answers graded", ["correct"])
LEVEL_CHANGES = Counter("quiz_level_changes_total", "Levels that learners rose or fell", ["direction"])
FEEDBACK_SECONDS = Histogram(
    "quiz_tap_to_feedback_seconds", "From a tap's arrival to the feedback in the chat, in seconds", buckets=SECONDS
)
GRADING_BATCH = Histogram(
    "quiz_grading_batch_answers", "Answers graded in one batch", buckets=(1, 2, 5, 10, 20, 50, 100, 200)
)

TELEGRAM_REQUESTS = Counter("quiz_telegram_requests_total", "Requests to Telegram", ["method", "outcome"])
TELEGRAM_RATE_LIMITED = Counter("quiz_telegram_rate_limited_total", "Times that Telegram asked to slow down (429)")
BOT_REFUSED = Gauge(
    "quiz_bot_refused",
    "1 while Telegram refuses a bot as a whole (token revoked or wrong, frozen): nothing is sent",
    ["bot"],
)
REDIS_ERRORS = Counter("quiz_redis_errors_total", "Requests to Redis that failed")
REDIS_UNAVAILABLE = Gauge(
    "quiz_redis_away", "1 while Redis is unavailable and this process sends at its share of Telegram's rate"
)

QUESTIONS_GENERATED = Counter("quiz_questions_generated_total", "Questions drawn, by where they came from", ["source"])
GENERATION_FAILED = Counter(
    "quiz_generation_failed_total", "Questions that a source could not make", ["source", "reason"]
)

LLM_CALLS = Counter("quiz_llm_calls_total", "Requests to the language model by this process", ["purpose", "outcome"])
LLM_CALL_SECONDS = Histogram(
    "quiz_llm_call_seconds", "Duration of requests to the language model, in seconds", ["purpose"], buckets=SECONDS
)
LLM_LIVE = Counter(
    "quiz_llm_live_total", "Learners who waited for a question of the model: served, too_late, unavailable", ["outcome"]
)
LLM_SHARED = Counter(
    "quiz_llm_shared_total", "Learners who waited for a question that was in the making for somebody else already"
)
LLM_CLOSED = Gauge(
    "quiz_llm_closed", "1 while the language model is not asked: it failed, or asked to slow down", registry=None
)
LLM_QUESTIONS_TODAY = Gauge(
    "quiz_llm_questions_today",
    "Questions of the language model since midnight UTC, by all processes",
    ["outcome"],
    registry=None,
)
LLM_TOKENS_TODAY = Gauge(
    "quiz_llm_tokens_today", "Tokens used since midnight UTC, by all processes", ["kind"], registry=None
)
LLM_COST_TODAY = Gauge(
    "quiz_llm_cost_today_usd", "Money spent or reserved since midnight UTC, in US dollars", registry=None
)
LLM_BUDGET = Gauge("quiz_llm_budget_usd", "Money that may be spent in a day, in US dollars", registry=None)
LLM_STOCK = Gauge("quiz_llm_stock", "Fresh questions of the language model", ["topic", "level"], registry=None)

QUESTIONS_REPORTED = Counter("quiz_questions_reported_total", "Reports of learners about questions", ["reason"])
QUESTIONS_QUARANTINED = Gauge("quiz_questions_quarantined", "Questions that are in doubt and not asked", registry=None)

PREFECT_UNAVAILABLE = Gauge(
    "quiz_prefect_away", "1 while the Prefect server does not answer and work runs without it", registry=None
)
UNRECORDED_BATCHES = Counter(
    "quiz_unrecorded_batches_total", "Batches of answers and of questions asked for that no flow run shows", ["kind"]
)

BACKGROUND_ERRORS = Counter(
    "quiz_background_errors_total", "Errors that a background task outlived, by the name of the task", ["task"]
)


_known: set[Gauge] = set()


@contextmanager
def known(*gauges: Gauge) -> Iterator[None]:
    """Expose gauges that are made without a registry once their source has answered within; if it raises, they go.

    A gauge shows 0 before it is set, and its last value for ever after, and both look like health.
    """
    try:
        yield
    except BaseException:
        for gauge in _known.intersection(gauges):
            REGISTRY.unregister(gauge)
        _known.difference_update(gauges)
        raise
    for gauge in set(gauges) - _known:
        REGISTRY.register(gauge)
    _known.update(gauges)


def _kinds_of(error: type[Exception]) -> Iterable[str]:
    """Yield the names of an error's class and of all that derive from it."""
    yield error.__name__
    for kind in error.__subclasses__():
        yield from _kinds_of(kind)


_LABELS: dict[Counter, tuple[Iterable[str], ...]] = {
    UPDATES_RECEIVED: (UpdateKind,),
    UPDATES_REFUSED: (("secret", "cut off", "size", "form", "storage", "too slow"),),
    UPDATES_SHED: (("repeated", "waiting"),),
    UPDATES_HANDLED: (UpdateKind, ("done", "later")),
    QUIZZES_SENT: (QuizKind,),
    QUIZZES_FAILED: (_kinds_of(TelegramError),),
    ANSWERS_GRADED: (("true", "false"),),
    LEVEL_CHANGES: (("up", "down"),),
    QUESTIONS_GENERATED: (QuestionSource,),
    LLM_LIVE: (("served", "too_late", "unavailable"),),
    QUESTIONS_REPORTED: (ReportReason,),
    UNRECORDED_BATCHES: (("answers", "requests"),),
}
"""Values that are known beforehand. A counter that began with its first event would hide that event from `increase`."""

for _counter, _values in _LABELS.items():
    for _labels in product(*_values):
        _counter.labels(*_labels)

for _purpose in ("write", "answer"):
    LLM_CALL_SECONDS.labels(_purpose)
