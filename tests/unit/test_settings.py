"""Settings: their defaults, where they come from, and one line for each thing that is wrong."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from domain.catalog import Level, Topic
from domain.errors import StartupError
from domain.settings import LogFormat, Settings, TelegramMode, find_foreign_ports, load_settings
from question_bank.loader import BANK_FOLDER
from tests.support.factories import TOKEN

DEFAULTS: dict[str, object] = {
    "telegram_bot_token": None,
    "telegram_bot_tokens": (),
    "telegram_api_base_url": "https://api.telegram.org",
    "telegram_mode": None,
    "webhook_url": None,
    "webhook_host": "127.0.0.1",
    "webhook_port": 8080,
    "webhook_keep_alive_seconds": 150,
    "telegram_webhook_secret": None,
    "telegram_rate_per_second": None,
    "telegram_paid_broadcast": False,
    "telegram_timeout_seconds": 10,
    "database_url": None,
    "database_replica_url": None,
    "database_pooler": False,
    "database_pool_size": 10,
    "redis_url": None,
    "data_dir": Path(".data"),
    "prefect_api_url": None,
    "prefect_api_auth_string": None,
    "prefect_port": 4200,
    "prefect_work_pool": "quiz",
    "max_flow_runs_per_distribution": 50,
    "prefect_cohort_pool": None,
    "prefect_workers": 1,
    "min_cohort_size": 300,
    "distribution_interval_minutes": 15,
    "daily_overdue_minutes": 60,
    "max_failed_share": 0.05,
    "prefect_notification_block": None,
    "backup_dir": None,
    "backup_database_url": None,
    "backup_interval_hours": 24,
    "backups_kept": 7,
    "openai_api_key": None,
    "openai_base_url": "https://api.openai.com/v1",
    "openai_model": "gpt-5-mini",
    "openai_review_model": None,
    "openai_blind_answers": 3,
    "openai_timeout_seconds": 60,
    "openai_live_seconds": 1,
    "openai_daily_budget_usd": Decimal(1),
    "openai_input_usd_per_million": Decimal("0.25"),
    "openai_output_usd_per_million": Decimal("2.00"),
    "llm_stock_per_cell": 3,
    "quiz_schedule_time": time(10),
    "quiz_timezone": "UTC",
    "default_difficulty": Level.INTERMEDIATE,
    "target_success": 0.775,
    "gate_confidence": 1.6,
    "placement_answers": 6,
    "streak_freeze_days": 7,
    "streak_freezes_kept": 2,
    "choose_among": 5,
    "most_exposure": 0.5,
    "review_every": 4,
    "preferred_topics": (),
    "quiz_expires_after_hours": 48,
    "reports_to_quarantine": 3,
    "updates_kept_days": 7,
    "secrets_dir": Path("/run/secrets"),
    "aws_secret_id": None,
    "question_bank_dir": BANK_FOLDER,
    "simulator_port": 8081,
    "clock_file": None,
    "worker_metrics_port": 9108,
    "log_level": "INFO",
    "log_format": LogFormat.TEXT,
    "otel_exporter_otlp_endpoint": None,
    "otel_exporter_otlp_headers": None,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder without a .env file, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def set_variables(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Set environment variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


# ---------------------------------------------------------------- defaults


def test_each_default_is_what_the_documents_say() -> None:
    settings = load_settings()
    assert {name: getattr(settings, name) for name in Settings.model_fields} == DEFAULTS


def test_a_variable_that_is_empty_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, **{name.upper(): "" for name in DEFAULTS})
    assert {name: getattr(load_settings(), name) for name in DEFAULTS} == DEFAULTS


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().webhook_port = 1  # type: ignore[misc]


# ---------------------------------------------------------------- where they come from


def test_environment_beats_the_file_and_the_file_beats_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("WEBHOOK_PORT=8001\nPREFECT_PORT=4201\n# a comment\nOTHER=thing\n", encoding="utf-8")
    set_variables(monkeypatch, WEBHOOK_PORT="8002")
    settings = load_settings()
    assert (settings.webhook_port, settings.prefect_port, settings.simulator_port) == (8002, 4201, 8081)


def test_an_override_beats_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, WEBHOOK_PORT="8002")
    assert load_settings(webhook_port=8003).webhook_port == 8003


def test_the_file_may_quote_and_leave_blank(folder: Path) -> None:
    text = "QUIZ_TIMEZONE='Europe/Berlin'\nQUIZ_SCHEDULE_TIME=\"07:30\"\nDATABASE_URL=\n\nexport LOG_FORMAT=json\n"
    (folder / ".env").write_text(text, encoding="utf-8")
    settings = load_settings()
    assert (settings.quiz_timezone, settings.quiz_schedule_time) == ("Europe/Berlin", time(7, 30))
    assert settings.database_url is None
    assert settings.log_format is LogFormat.JSON


def test_a_file_that_is_no_text_is_told_in_one_line(folder: Path) -> None:
    (folder / ".env").write_bytes(b"OPENAI_MODEL=caf\xe9\n")
    with pytest.raises(StartupError, match=r"\.env"):
        load_settings()


def test_names_may_be_written_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, webhook_port="8004")
    assert load_settings().webhook_port == 8004


# ---------------------------------------------------------------- what they take


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("streaming", (Topic.STREAMING,)),
        ("streaming,data_quality", (Topic.STREAMING, Topic.DATA_QUALITY)),
        (" streaming , data_quality ,", (Topic.STREAMING, Topic.DATA_QUALITY)),
        (",", ()),
        (",".join(Topic), tuple(Topic)),
    ],
)
def test_preferred_topics_are_separated_by_commas(
    text: str, topics: tuple[Topic, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, PREFERRED_TOPICS=text)
    assert load_settings().preferred_topics == topics


def test_every_kind_of_value_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(
        monkeypatch,
        QUIZ_SCHEDULE_TIME="08:15",
        QUIZ_TIMEZONE="Asia/Kathmandu",
        DEFAULT_DIFFICULTY="4",
        DATABASE_POOLER="true",
        TELEGRAM_RATE_PER_SECOND="0.5",
        TELEGRAM_MODE="polling",
        DATA_DIR="/tmp/elsewhere",  # noqa: S108 - only read
    )
    settings = load_settings()
    assert settings.quiz_schedule_time == time(8, 15)
    assert settings.quiz_timezone == "Asia/Kathmandu"
    assert settings.default_difficulty is Level.EXPERT
    assert settings.database_pooler is True
    assert settings.telegram_rate_per_second == 0.5
    assert settings.mode is TelegramMode.POLLING
    assert settings.data_dir == Path("/tmp/elsewhere")  # noqa: S108


@pytest.mark.parametrize("name", ["TELEGRAM_API_BASE_URL", "WEBHOOK_URL", "PREFECT_API_URL", "OPENAI_BASE_URL"])
def test_a_slash_at_the_end_of_an_address_does_no_harm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, **{name: "https://quiz.example.org/api/"})
    assert getattr(load_settings(), name.lower()) == "https://quiz.example.org/api"


@pytest.mark.parametrize("around", [("  ", "\t"), ('"', '"'), ("'", "'"), ("", "\r\n"), ('" ', ' "')])
def test_blanks_and_quotes_around_a_pasted_value_are_no_part_of_it(
    around: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pasted = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "DATABASE_URL": "postgresql://quiz:pw@host/quiz",
        "REDIS_URL": "redis://host",
        "OPENAI_API_KEY": "sk-test",
        "QUIZ_TIMEZONE": "Europe/Berlin",
        "WEBHOOK_PORT": "8001",
        "LOG_FORMAT": "json",
    }
    set_variables(monkeypatch, **{name: value.join(around) for name, value in pasted.items()})
    settings = load_settings()
    for name, value in pasted.items():
        read = getattr(settings, name.lower())
        assert str(read.get_secret_value() if isinstance(read, SecretStr) else read) == value


@pytest.mark.parametrize("empty", [" ", '""', "''", "\r"])
def test_a_value_that_is_empty_without_what_is_around_it_counts_as_absent(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, **{name.upper(): empty for name in DEFAULTS})
    assert {name: getattr(load_settings(), name) for name in DEFAULTS} == DEFAULTS


def test_a_file_of_windows_is_read(folder: Path) -> None:
    (folder / ".env").write_bytes(b"\xef\xbb\xbfWEBHOOK_PORT=8001\r\nLOG_LEVEL=DEBUG\r\n")
    settings = load_settings()
    assert (settings.webhook_port, settings.log_level) == (8001, "DEBUG")


@pytest.mark.parametrize("name", ["WEBHOOK_PORT", "PREFECT_PORT", "SIMULATOR_PORT", "WORKER_METRICS_PORT"])
@pytest.mark.parametrize("value", ["tcp://10.96.4.7:4200", "udp://10.96.4.7:53"])
def test_a_port_of_kubernetes_counts_as_absent(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, **{name: value, "POSTGRES_PORT": value})
    assert getattr(load_settings(), name.lower()) == DEFAULTS[name.lower()]
    assert find_foreign_ports() == [name]


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, TelegramMode.POLLING),
        ({"WEBHOOK_URL": "https://quiz.example.org"}, TelegramMode.WEBHOOK),
        ({"TELEGRAM_API_BASE_URL": "http://127.0.0.1:8081"}, TelegramMode.POLLING),
        ({"TELEGRAM_API_BASE_URL": "https://bot-api.example.org"}, TelegramMode.POLLING),
        ({"TELEGRAM_MODE": "polling", "WEBHOOK_URL": "https://quiz.example.org"}, TelegramMode.POLLING),
        ({"TELEGRAM_MODE": "webhook"}, TelegramMode.WEBHOOK),
    ],
)
def test_how_updates_come_in_follows_from_what_is_set(
    variables: dict[str, str], mode: TelegramMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, **variables)
    assert load_settings().mode is mode


@pytest.mark.parametrize(
    ("variables", "rate"),
    [
        ({}, 30),
        ({"TELEGRAM_PAID_BROADCAST": "true"}, 1000),
        ({"TELEGRAM_PAID_BROADCAST": "false"}, 30),
        ({"TELEGRAM_RATE_PER_SECOND": "12.5"}, 12.5),
        ({"TELEGRAM_RATE_PER_SECOND": "1000"}, 1000),
        ({"TELEGRAM_PAID_BROADCAST": "true", "TELEGRAM_RATE_PER_SECOND": "200"}, 200),
    ],
)
def test_the_rate_is_what_telegram_allows_unless_another_is_set(
    variables: dict[str, str], rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, **variables)
    assert load_settings().messages_per_second == rate


# ---------------------------------------------------------------- what is wrong

WRONG: dict[str, list[str]] = {
    "TELEGRAM_MODE": ["carrier pigeon", "WEBHOOK!"],
    "WEBHOOK_PORT": ["0", "65536", "-1", "http", "80.5"],
    "WEBHOOK_KEEP_ALIVE_SECONDS": ["4", "3601", "-1", "long"],
    "PREFECT_PORT": ["0", "x"],
    "SIMULATOR_PORT": ["0", "x"],
    "CLOCK_FILE": ["clock_offset"],
    "WORKER_METRICS_PORT": ["-1", "65536"],
    "TELEGRAM_RATE_PER_SECOND": ["0", "-1", "1001", "nan", "inf", "fast"],
    "TELEGRAM_PAID_BROADCAST": ["perhaps", "0.1"],
    "TELEGRAM_WEBHOOK_SECRET": ["two words", "geheimnisträger_3000", "x_-4" * 3 + "xyz", "x" * 257],
    "TELEGRAM_TIMEOUT_SECONDS": ["0", "61"],
    "DATABASE_POOLER": ["perhaps"],
    "TELEGRAM_BOT_TOKEN": ["123456:abc", "nonsense"],
    "TELEGRAM_API_BASE_URL": ["api.telegram.org", f"https://api.telegram.org/bot{TOKEN}"],
    "WEBHOOK_URL": ["quiz.example.org", "https://"],
    "PREFECT_API_URL": ["127.0.0.1:4200", "http://127.0.0.1:4200"],
    "OPENAI_BASE_URL": ["localhost:11434/v1"],
    "DATABASE_URL": ["localhost:5432", "mysql://localhost/quiz", "postgresql://quiz:p#w@host/quiz"],
    "DATABASE_REPLICA_URL": ["postgresql://quiz:p@w@host/quiz"],
    "REDIS_URL": ["localhost:6379", "http://localhost", "redis+cluster://a/1", "redis+sentinel://a,b"],
    "DATABASE_POOL_SIZE": ["1", "101"],
    "MAX_FLOW_RUNS_PER_DISTRIBUTION": ["0", "501"],
    "PREFECT_WORKERS": ["0", "51", "many"],
    "MIN_COHORT_SIZE": ["0", "10001"],
    "DISTRIBUTION_INTERVAL_MINUTES": ["0", "61"],
    "DAILY_OVERDUE_MINUTES": ["1", "1441"],
    "OPENAI_TIMEOUT_SECONDS": ["0", "601"],
    "OPENAI_BLIND_ANSWERS": ["0", "10"],
    "OPENAI_LIVE_SECONDS": ["-1", "11"],
    "OPENAI_DAILY_BUDGET_USD": ["-1", "much"],
    "OPENAI_INPUT_USD_PER_MILLION": ["-1"],
    "OPENAI_OUTPUT_USD_PER_MILLION": ["-1"],
    "LLM_STOCK_PER_CELL": ["-1", "101"],
    "QUIZ_SCHEDULE_TIME": ["10", "25:00", "ten", "10:60"],
    "QUIZ_TIMEZONE": [
        "Berlin",
        "Europe/Atlantis",
        "../etc/passwd",
        "/etc/localtime",
        "Europe",
        "UTC+1",
        "localtime",
        "right/UTC",
    ],
    "DEFAULT_DIFFICULTY": ["0", "5", "expert"],
    "TARGET_SUCCESS": ["0.49", "0.96", "nan"],
    "GATE_CONFIDENCE": ["-0.1", "3.1"],
    "PLACEMENT_ANSWERS": ["-1", "21"],
    "STREAK_FREEZE_DAYS": ["0", "61"],
    "STREAK_FREEZES_KEPT": ["-1", "11"],
    "CHOOSE_AMONG": ["0", "51"],
    "MOST_EXPOSURE": ["0", "1.1"],
    "REVIEW_EVERY": ["1", "21"],
    "PREFERRED_TOPICS": ["cooking", "streaming,cooking", "streaming;data_quality"],
    "QUIZ_EXPIRES_AFTER_HOURS": ["0", "721"],
    "REPORTS_TO_QUARANTINE": ["0", "1001"],
    "UPDATES_KEPT_DAYS": ["1", "91"],
    "LOG_LEVEL": ["LOUD", "info"],
    "LOG_FORMAT": ["xml"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_bad_value_gives_one_line_that_names_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, **{name: value})
    with pytest.raises(StartupError) as caught:
        load_settings()
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("The service cannot start: ")
    assert name in line


def test_all_bad_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, WEBHOOK_PORT="x", LOG_LEVEL="LOUD", QUIZ_TIMEZONE="Atlantis")
    with pytest.raises(StartupError) as caught:
        load_settings()
    assert all(name in str(caught.value) for name in ("WEBHOOK_PORT", "LOG_LEVEL", "QUIZ_TIMEZONE"))
    assert "use a name such as Europe/Berlin" in str(caught.value)


def test_a_bad_value_in_the_file_is_told_as_well(folder: Path) -> None:
    (folder / ".env").write_text("DEFAULT_DIFFICULTY=hard\n", encoding="utf-8")
    with pytest.raises(StartupError, match="DEFAULT_DIFFICULTY"):
        load_settings()


@pytest.mark.parametrize(
    ("address", "may_move"),
    [
        ("http://127.0.0.1:8081", True),
        ("http://localhost:8081", True),
        ("https://api.telegram.org", False),
        ("https://api.telegram.org:443", False),
        ("http://telegram:8081", False),
    ],
)
def test_the_time_is_moved_only_where_telegram_is_on_this_machine(
    address: str,
    may_move: bool,  # noqa: FBT001 - a row of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_variables(monkeypatch, CLOCK_FILE="clock_offset", TELEGRAM_API_BASE_URL=address)
    with nullcontext() if may_move else pytest.raises(StartupError, match="CLOCK_FILE"):
        load_settings()


def test_settings_of_earlier_releases_are_passed_over(folder: Path) -> None:
    gone = ("CORRECT_THRESHOLD_FOR_PROMOTION", "POINTS_PER_MISS", "PLACEMENT_CONFIDENCE")
    (folder / ".env").write_text("".join(f"{name}=none of these\n" for name in gone), encoding="utf-8")
    assert load_settings() == Settings(_env_file=None)


# ---------------------------------------------------------------- bots

ONE, TWO, THREE = (f"{number}:{letter * 35}" for number, letter in ((10001, "o"), (20002, "t"), (30003, "h")))


def test_several_bots_stand_in_the_order_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, TELEGRAM_BOT_TOKENS=f"{TWO}, {THREE},", TELEGRAM_BOT_TOKEN=ONE)
    assert {bot: token.get_secret_value() for bot, token in load_settings().bots.items()} == {
        10001: ONE,
        20002: TWO,
        30003: THREE,
    }
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN")
    assert list(load_settings().bots) == [20002, 30003]
    set_variables(monkeypatch, TELEGRAM_BOT_TOKEN=TWO)  # named twice is no harm
    assert list(load_settings().bots) == [20002, 30003]


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        (f"{TWO},20002:{'o' * 35}", "TELEGRAM_BOT_TOKENS: two different tokens of the same bot"),
        (f"{TWO},nonsense", "TELEGRAM_BOT_TOKENS: that is not a bot token"),
        (f"{TWO} {THREE}", "TELEGRAM_BOT_TOKENS: that is not a bot token"),
        (f"{TWO},123456:abc", "TELEGRAM_BOT_TOKENS: that is not a bot token"),
        (TWO[:-6], "TELEGRAM_BOT_TOKENS: that is not a bot token"),
        (f"bot{TWO}", "TELEGRAM_BOT_TOKENS: that is not a bot token"),
        (f"0:{'z' * 35}", "TELEGRAM_BOT_TOKENS: that is not a bot token"),
        (f"{10**18}:{'l' * 35}", "TELEGRAM_BOT_TOKENS: that is not a bot token"),
    ],
)
def test_tokens_that_are_none_are_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, tokens: str, problem: str
) -> None:
    set_variables(monkeypatch, TELEGRAM_BOT_TOKENS=tokens)
    with pytest.raises(StartupError) as caught:
        load_settings()
    assert problem in str(caught.value)
    assert "tttt" not in str(caught.value)


# ---------------------------------------------------------------- secrets


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    secret_names = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    assert len(secret_names) == 10
    shown = {
        name: f"{number}:hidden-{name}-{'x' * 20}" if "token" in name or "auth" in name else f"hidden-{name}"
        for number, name in enumerate(secret_names, 1)
    }
    shown["redis_url"] = "redis://hidden-host"
    databases = [name for name in secret_names if "database" in name]
    shown |= dict.fromkeys(databases, "postgresql://hidden-user:hidden-password@hidden-host/quiz")
    set_variables(monkeypatch, **{name.upper(): value for name, value in shown.items()})
    settings = load_settings()
    for name in secret_names:
        value = getattr(settings, name)
        [secret] = value if isinstance(value, tuple) else (value,)
        assert isinstance(secret, SecretStr)
        assert secret.get_secret_value() == shown[name]
    assert "hidden-" not in f"{settings!r} {settings} {settings.model_dump()}"


def test_no_test_of_this_file_reads_this_machines_settings() -> None:
    assert not {name for name in os.environ if name.lower() in Settings.model_fields}
