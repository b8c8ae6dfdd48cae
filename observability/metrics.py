"""Every metric of the service, each with its description and unit."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

UPDATES_RECEIVED = Counter("quiz_updates_received_total", "Updates accepted from Telegram", ["kind"])
UPDATES_REDELIVERED = Counter("quiz_updates_redelivered_total", "Updates that were stored already")
UPDATES_REFUSED = Counter("quiz_updates_refused_total", "Requests to the webhook that were refused", ["reason"])
UPDATES_SHED = Counter(
    "quiz_updates_shed_total", "Updates of learners who flood the bot that were not stored: repeated, waiting", ["why"]
)
UPDATES_HANDLED = Counter("quiz_updates_handled_total", "Updates handled by the worker", ["kind", "outcome"])
UPDATES_WAITING = Gauge("quiz_updates_waiting", "Updates that nobody has handled yet")
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
    "quiz_grading_batch_answers", "Answers graded in one run", buckets=(1, 2, 5, 10, 20, 50, 100, 200)
)

TELEGRAM_REQUESTS = Counter("quiz_telegram_requests_total", "Requests to Telegram", ["method", "outcome"])
TELEGRAM_RATE_LIMITED = Counter("quiz_telegram_rate_limited_total", "Times that Telegram asked to slow down (429)")
REDIS_ERRORS = Counter("quiz_redis_errors_total", "Requests to Redis that failed")
REDIS_AWAY = Gauge("quiz_redis_away", "1 while Redis is away and this process sends at its share of Telegram's rate")

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
LLM_CLOSED = Gauge("quiz_llm_closed", "1 while the language model is not asked: it failed, or asked to slow down")
LLM_QUESTIONS_TODAY = Gauge(
    "quiz_llm_questions_today", "Questions of the language model since midnight UTC, by all processes", ["outcome"]
)
LLM_TOKENS_TODAY = Gauge("quiz_llm_tokens_today", "Tokens used since midnight UTC, by all processes", ["kind"])
LLM_COST_TODAY = Gauge("quiz_llm_cost_today_usd", "Money spent or reserved since midnight UTC, in US dollars")
LLM_BUDGET = Gauge("quiz_llm_budget_usd", "Money that may be spent in a day, in US dollars")
LLM_STOCK = Gauge("quiz_llm_stock", "Fresh questions of the language model", ["topic", "level"])

QUESTIONS_REPORTED = Counter("quiz_questions_reported_total", "Reports of learners about questions", ["reason"])
QUESTIONS_QUARANTINED = Gauge("quiz_questions_quarantined", "Questions that are in doubt and not asked")

PREFECT_AWAY = Gauge("quiz_prefect_away", "1 while the Prefect server does not answer and work runs without it")
