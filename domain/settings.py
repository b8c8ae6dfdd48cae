"""The service's settings, and where they come from.

From the environment, else `.env`, else a file in SECRETS_DIR, else a secret in AWS, else defaults that need nothing
installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import time
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from domain.addresses import (
    as_pasted,
    is_foreign_port,
    is_loopback,
    read_database_address,
    read_model_address,
    read_prefect_address,
    read_telegram_address,
    read_web_address,
)
from domain.catalog import Level, Topic
from domain.errors import StartupError
from domain.ids import BotId
from domain.redis_address import read_redis_address
from domain.secret_sources import SECRETS_DIR, AwsSecret, SecretFiles

TELEGRAM_API = "https://api.telegram.org"
OPENAI_API = "https://api.openai.com/v1"

FREE_RATE = 30.0
"""Messages a second that Telegram lets a bot send."""

PAID_RATE = 1000.0
"""The same with paid broadcasts."""

_LOGIN = re.compile(r"[!-9;-~]+:[!-~]+")
_TOKEN = re.compile(r"[1-9][0-9]{0,17}:[A-Za-z0-9_-]{30,}")
"""Telegram's have 35 characters after the colon today, and it promises no length."""

_PORTS = ("webhook_port", "prefect_port", "simulator_port", "worker_metrics_port")

_READERS: dict[str, Callable[[str], str]] = {
    "telegram_api_base_url": read_telegram_address,
    "webhook_url": read_web_address,
    "prefect_api_url": read_prefect_address,
    "openai_base_url": read_model_address,
    "otel_exporter_otlp_endpoint": read_web_address,
}


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

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",  # editors of Windows begin a file with a mark
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    # --- Telegram
    telegram_bot_token: SecretStr | None = None
    """From @BotFather; absent: the local simulator serves instead."""
    telegram_bot_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Tokens of further bots that the same service speaks through, separated by commas."""
    telegram_api_base_url: str = TELEGRAM_API
    telegram_mode: TelegramMode | None = None
    """Absent: webhook when WEBHOOK_URL is set, else polling."""
    webhook_url: str | None = None
    """The public base address, such as https://quiz.example.org; the path is added."""
    webhook_host: str = "127.0.0.1"
    webhook_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    webhook_keep_alive_seconds: Annotated[int, Field(ge=5, le=3600)] = 150
    """For which an idle connection is kept: longer than the proxy before it keeps its own, which are 60 to 130 s."""
    telegram_webhook_secret: SecretStr | None = None
    """16-256 characters of A-Z, a-z, 0-9, _ and -; absent: derived from the token."""
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
    prefect_api_auth_string: SecretStr | None = None
    """The Prefect server's login, user:password. Prefect's own client reads it as well, from the same variable."""
    prefect_port: Annotated[int, Field(ge=1, le=65535)] = 4200
    prefect_work_pool: str = "quiz"
    max_flow_runs_per_distribution: Annotated[int, Field(ge=1, le=500)] = 50
    """A distribution's learners are dealt into at most so many cohorts, so that the UI stays readable."""
    prefect_cohort_pool: str | None = None
    """A work pool whose own workers take cohorts, as for Kubernetes jobs; absent: `prefect_work_pool` is theirs too."""
    prefect_workers: Annotated[int, Field(ge=1, le=50)] = 1
    """Prefect workers that share a distribution; one alone serves every cohort in the distribution's own process."""
    min_cohort_size: Annotated[int, Field(ge=1, le=10_000)] = 300
    """Fewer learners are not worth a run on another worker: it starts while one process sends to so many."""
    distribution_interval_minutes: Annotated[int, Field(ge=1, le=60)] = 15
    max_failed_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of a run's quizzes that may fail before the run itself has failed; who blocked the bot does not count."""
    daily_overdue_minutes: Annotated[int, Field(ge=2, le=1440)] = 60
    """For which a daily quiz may be due and unsent before `/ready`, an alert and `status` say so."""

    prefect_notification_block: Annotated[str, Field(pattern="^[a-z0-9-]+/[a-z0-9-]+$")] | None = None
    """Block of Prefect that its automations notify, as type/name, such as slack-webhook/oncall."""

    # --- Backups
    backup_dir: Path | None = None
    """The folder of the backups; absent: none is scheduled."""
    backup_database_url: SecretStr | None = None
    """Where the dump is read: the database without the pooler before it, or a replica; absent: DATABASE_URL."""
    backup_interval_hours: Annotated[int, Field(ge=1, le=24)] = 24
    backups_kept: Annotated[int, Field(ge=1, le=1000)] = 7
    """Verified backups that are kept, the newest."""

    # --- Generated questions
    openai_api_key: SecretStr | None = None
    openai_base_url: str = OPENAI_API
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
    target_success: Annotated[float, Field(ge=0.5, le=0.95)] = 0.775
    """Share of right answers that questions are chosen for."""
    gate_confidence: Annotated[float, Field(ge=0, le=3)] = 1.6
    """How sure the ratings must be before a level falls, in standard deviations: 1.6 is seventeen in eighteen."""
    placement_answers: Annotated[int, Field(ge=0, le=20)] = 6
    """First answers that place a new learner on a level."""
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
    """From when it is sent; one that cannot be sent is closed seven days after it was made."""
    reports_to_quarantine: Annotated[int, Field(ge=1, le=1000)] = 3
    """Learners who must doubt a question before it is asked no more."""
    updates_kept_days: Annotated[int, Field(ge=2, le=90)] = 7
    """Longer than the 24 h for which Telegram delivers an update again."""

    # --- Where secrets are
    secrets_dir: Path = SECRETS_DIR
    """A folder of files, each of which is named like a setting and holds its value."""
    aws_secret_id: str | None = None
    """Name or ARN of a secret in AWS Secrets Manager: a JSON object with settings' names as keys."""

    # --- The rest
    question_bank_dir: Path = Path(__file__).parent.parent / "question_bank" / "questions"
    """The folder of YAML files that the bank is loaded from."""
    simulator_port: Annotated[int, Field(ge=1, le=65535)] = 8081
    clock_file: Path | None = None
    """What says how far the local clock is ahead; `make run` sets it, and with a Telegram elsewhere it is refused."""
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9108
    """Of the worker's own pages; 0 switches them off."""
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    log_format: LogFormat = LogFormat.TEXT
    otel_exporter_otlp_endpoint: str | None = None
    """Where traces go: a collector's base address for OTLP over HTTP; absent: there are none."""
    otel_exporter_otlp_headers: SecretStr | None = None
    """What it is shown with each request: name=value pairs, percent-encoded, separated by commas."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - `SecretFiles` in its place
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the strongest first."""
        return init_settings, env_settings, dotenv_settings, SecretFiles(settings_cls), AwsSecret(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _as_pasted(cls, values: Mapping[str, object]) -> dict[str, object]:
        """Strip what copying leaves around a value; what is empty then, or a port of Kubernetes, counts as absent."""
        cleaned = {name: as_pasted(value) if isinstance(value, str) else value for name, value in values.items()}
        return {name: value for name, value in cleaned.items() if value != "" and not _is_foreign(name, value)}

    @field_validator("quiz_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones() - {"localtime", "Factory", "posixrules"}:  # which Postgres does not know
            msg = f"no such time zone: {value!r} (use a name such as Europe/Berlin)"
            raise ValueError(msg)
        return value

    @field_validator("database_url", "database_replica_url", "backup_database_url")
    @classmethod
    def _address_of_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            read_database_address(value.get_secret_value())
        return value

    @field_validator("redis_url")
    @classmethod
    def _address_of_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            read_redis_address(value.get_secret_value())
        return value

    @field_validator("prefect_api_auth_string")
    @classmethod
    def _login_that_prefect_takes(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _LOGIN.fullmatch(value.get_secret_value()):
            msg = "user:password, in letters, digits and signs without spaces"
            raise ValueError(msg)
        return value

    @field_validator("telegram_webhook_secret")
    @classmethod
    def _secret_that_telegram_takes(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"[A-Za-z0-9_-]{16,256}", value.get_secret_value()):
            msg = "16-256 characters of A-Z, a-z, 0-9, _ and -"
            raise ValueError(msg)
        return value

    @field_validator("telegram_bot_token", "telegram_bot_tokens")
    @classmethod
    def _bot_tokens(cls, value: SecretStr | tuple[SecretStr, ...] | None) -> SecretStr | tuple[SecretStr, ...] | None:
        tokens = (value,) if isinstance(value, SecretStr) else value or ()
        if not all(_TOKEN.fullmatch(token.get_secret_value()) for token in tokens):
            msg = "that is not a bot token; copy the whole of it from @BotFather, such as 123456789:AAH..."
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

    @model_validator(mode="after")
    def _real_time_in_telegram(self) -> Settings:
        if self.clock_file and not is_loopback(self.telegram_api_base_url):
            msg = "CLOCK_FILE: the time can be moved only while TELEGRAM_API_BASE_URL is on this machine; unset it"
            raise ValueError(msg)
        return self

    @field_validator(*_READERS)
    @classmethod
    def _address_of_the_web(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _READERS[str(info.field_name)](value) if value else value

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
        return TelegramMode.WEBHOOK if self.webhook_url else TelegramMode.POLLING


def _is_foreign(name: str, value: object) -> bool:
    return name in _PORTS and isinstance(value, str) and is_foreign_port(value)


def find_foreign_ports() -> list[str]:
    """Return the variables that are ports of this service by name, and were set by Kubernetes for a Service of its own.

    They count as absent.
    """
    return [name for name, value in os.environ.items() if _is_foreign(name.lower(), as_pasted(value))]


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - any field of Settings
    """Read the settings.

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
