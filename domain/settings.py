"""The service's settings: from the environment, else from `.env`, else defaults that need nothing installed."""

from __future__ import annotations

import re
from datetime import time
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.catalog import Level, Topic
from domain.errors import StartupError
from domain.ids import BotId
from domain.redis_address import read_redis_address

TELEGRAM_API = "https://api.telegram.org"

FREE_RATE = 30.0
"""Messages a second that Telegram lets a bot send."""

PAID_RATE = 1000.0
"""The same with paid broadcasts."""

_TOKEN = re.compile(r"[1-9][0-9]{0,17}:[^\s:]+")


class TelegramMode(StrEnum):
    """How updates come in."""

    WEBHOOK = "webhook"
    POLLING = "polling"


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    TEXT = "text"


class Settings(BaseSettings):
    """Every setting; the environment variable is the field's name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    # --- Telegram
    telegram_bot_token: SecretStr | None = None
    """From @BotFather; absent: the local simulator serves instead."""
    telegram_bot_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Tokens of further bots that the same service speaks through, separated by commas."""
    telegram_api_base_url: str = TELEGRAM_API
    telegram_mode: TelegramMode | None = None
    """Absent: webhook when there is a public address or the simulator, else polling."""
    webhook_url: str | None = None
    """The public base address, such as https://quiz.example.org; the path is added."""
    webhook_host: str = "127.0.0.1"
    webhook_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    telegram_webhook_secret: SecretStr | None = None
    """1-256 characters of A-Z, a-z, 0-9, _ and -; absent: derived from the token."""
    telegram_rate_per_second: Annotated[float, Field(gt=0, le=PAID_RATE)] | None = None
    """Messages a second of all processes of a bot; absent: what Telegram allows."""
    telegram_paid_broadcast: bool = False
    """Pays Stars for messages beyond the free rate, which the bot must be entitled to."""
    telegram_timeout_seconds: Annotated[float, Field(ge=1, le=60)] = 10

    # --- Where state lives
    database_url: SecretStr | None = None
    database_replica_url: SecretStr | None = None
    """Statistics read here when present."""
    database_pooler: bool = False
    """True behind a transaction pooler: no prepared statements, no LISTEN."""
    database_pool_size: Annotated[int, Field(ge=2, le=100)] = 10
    redis_url: SecretStr | None = None
    data_dir: Path = Path(".data")
    """The embedded servers' data."""

    # --- Prefect
    prefect_api_url: str | None = None
    prefect_port: Annotated[int, Field(ge=1, le=65535)] = 4200
    prefect_work_pool: str = "quiz"
    max_flow_runs_per_distribution: Annotated[int, Field(ge=1, le=500)] = 50
    """A distribution's learners are dealt into at most so many runs, so that the UI stays readable."""
    prefect_workers: Annotated[int, Field(ge=1, le=50)] = 1
    """Prefect workers that share a distribution; one alone serves every cohort in the distribution's own process."""
    min_cohort_size: Annotated[int, Field(ge=1, le=10_000)] = 300
    """Fewer learners are not worth a run on another worker: it starts while one process sends to so many."""
    distribution_interval_minutes: Annotated[int, Field(ge=1, le=60)] = 15

    # --- Generated questions
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    openai_model: str = "gpt-5-mini"
    """Writes questions."""
    openai_review_model: str | None = None
    """Answers them blind; absent: the one that writes."""
    openai_blind_answers: Annotated[int, Field(ge=1, le=9)] = 3
    """Blind answers that must all agree with a question's key."""
    openai_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60
    """For one request; nobody in the chat waits for it."""
    openai_live_seconds: Annotated[float, Field(ge=0, le=10)] = 1
    """Longest that a learner waits for a question in the making before another source serves."""
    openai_daily_budget_usd: Annotated[Decimal, Field(ge=0, le=100_000)] = Decimal(1)
    """A day in UTC; a question is begun only if its highest cost still fits."""
    openai_input_usd_per_million: Annotated[Decimal, Field(ge=0, le=10_000)] = Decimal("0.25")
    openai_output_usd_per_million: Annotated[Decimal, Field(ge=0, le=10_000)] = Decimal("2.00")
    """The price list of the default model; set both to your provider's."""
    llm_stock_per_cell: Annotated[int, Field(ge=0, le=100)] = 3
    """Fresh questions of the model that the refill keeps for each topic and level."""

    # --- Quizzes
    quiz_schedule_time: time = time(10)
    """A new learner's daily hour."""
    quiz_timezone: str = "UTC"
    default_difficulty: Level = Level.INTERMEDIATE
    correct_threshold_for_promotion: Annotated[int, Field(ge=2, le=20)] = 6
    """Points that raise a level; as many below zero lower it. A right answer is one point."""
    points_per_miss: Annotated[int, Field(ge=1, le=10)] = 3
    """Points that a wrong answer takes: 3 settles where three in four are right."""
    target_success: Annotated[float, Field(ge=0.5, le=0.95)] = 0.775
    """Share of right answers that questions are chosen for."""
    gate_confidence: Annotated[float, Field(ge=0, le=3)] = 1.65
    """How sure the ratings must be before a level changes, in standard deviations: 1.65 is nineteen in twenty."""
    placement_answers: Annotated[int, Field(ge=0, le=20)] = 6
    """First answers that place a new learner on a level."""
    placement_confidence: Annotated[float, Field(ge=0, le=3)] = 0.5
    """How sure the ratings must be to place a learner elsewhere than where they began, in standard deviations."""
    streak_freeze_days: Annotated[int, Field(ge=1, le=60)] = 7
    """Days of a streak that earn a freeze, which saves a missed day."""
    streak_freezes_kept: Annotated[int, Field(ge=0, le=10)] = 2
    choose_among: Annotated[int, Field(ge=1, le=50)] = 5
    """Best questions of which a learner gets one at random."""
    most_exposure: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a level's learners that a question is shown to, as long as there are others."""
    review_every: Annotated[int, Field(ge=2, le=20)] = 4
    """At most one quiz in so many brings back a question that was missed."""
    preferred_topics: Annotated[tuple[Topic, ...], NoDecode] = ()
    """Topics of a new learner, separated by commas; empty means all."""
    quiz_expires_after_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 48
    reports_to_quarantine: Annotated[int, Field(ge=1, le=1000)] = 3
    """Learners who must doubt a question before it is asked no more."""
    updates_kept_days: Annotated[int, Field(ge=2, le=90)] = 7
    """Longer than the 24 h for which Telegram delivers an update again."""

    # --- The rest
    question_bank_dir: Path = Path(__file__).parent.parent / "question_bank" / "questions"
    """The folder of YAML files that the bank is loaded from."""
    simulator_port: Annotated[int, Field(ge=1, le=65535)] = 8081
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9108
    """0 switches the worker's own metrics page off."""
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    log_format: LogFormat = LogFormat.TEXT

    @field_validator("quiz_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones() - {"localtime", "Factory", "posixrules"}:  # which Postgres does not know
            msg = f"no such time zone: {value!r} (use a name such as Europe/Berlin)"
            raise ValueError(msg)
        return value

    @field_validator("redis_url")
    @classmethod
    def _address_of_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            read_redis_address(value.get_secret_value())
        return value

    @field_validator("telegram_webhook_secret")
    @classmethod
    def _secret_that_telegram_takes(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", value.get_secret_value()):
            msg = "1-256 characters of A-Z, a-z, 0-9, _ and -"
            raise ValueError(msg)
        return value

    @field_validator("telegram_bot_token", "telegram_bot_tokens")
    @classmethod
    def _bot_tokens(cls, value: SecretStr | tuple[SecretStr, ...] | None) -> SecretStr | tuple[SecretStr, ...] | None:
        tokens = (value,) if isinstance(value, SecretStr) else value or ()
        if not all(_TOKEN.fullmatch(token.get_secret_value()) for token in tokens):
            msg = "that is not a bot token; @BotFather shows it as 123456:ABC..."
            raise ValueError(msg)
        return value

    @field_validator("preferred_topics", "telegram_bot_tokens", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _one_token_a_bot(self) -> Settings:
        given = {token.get_secret_value() for token in (self.telegram_bot_token, *self.telegram_bot_tokens) if token}
        if len(given) > len(self.bots):
            msg = "TELEGRAM_BOT_TOKENS: two different tokens of the same bot"
            raise ValueError(msg)
        return self

    @field_validator("telegram_api_base_url", "webhook_url", "prefect_api_url")
    @classmethod
    def _no_trailing_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else value

    @property
    def bots(self) -> dict[BotId, SecretStr]:
        """Return the token of each bot, the first one named first; a bot's id is the first part of its token."""
        tokens = (self.telegram_bot_token, *self.telegram_bot_tokens)
        return {BotId(int(token.get_secret_value().partition(":")[0])): token for token in tokens if token}

    @property
    def messages_per_second(self) -> float:
        """Return the rate of all processes of a bot together."""
        return self.telegram_rate_per_second or (PAID_RATE if self.telegram_paid_broadcast else FREE_RATE)

    @property
    def mode(self) -> TelegramMode:
        """Return how updates come in, chosen by what is configured when the setting is absent."""
        if self.telegram_mode:
            return self.telegram_mode
        reachable = self.webhook_url or self.telegram_api_base_url != TELEGRAM_API
        return TelegramMode.WEBHOOK if reachable else TelegramMode.POLLING


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - any field of Settings
    """Read the settings.

    Args:
        overrides: fields that beat the environment.

    Raises:
        StartupError: a value is wrong; the message names each variable and what is wrong with it.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        wrong = "; ".join(
            ": ".join([*map(str.upper, map(str, detail["loc"][:1])), detail["msg"].removeprefix("Value error, ")])
            for detail in error.errors(include_input=False)
        )
        raise StartupError(wrong) from None
    except UnicodeDecodeError:
        raise StartupError(".env is not UTF-8 text") from None
