"""Settings from files and from AWS Secrets Manager: which one counts, and one line for what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from domain.environment import export_secret_files, hand_over_settings
from domain.errors import StartupError
from domain.processes import service_environment
from domain.settings import Settings, load_settings
from tests.conftest import ROOT
from tests.support.factories import TOKEN

NAME = "quiz/production"
WRONG = "a variable of boto3's is wrong, such as AWS_REGION or AWS_ENDPOINT_URL"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have no setting in the environment but a folder for secrets, and return that."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    monkeypatch.setenv("SECRETS_DIR", str(secrets))
    return secrets


def token_of(settings: Settings) -> str | None:
    return settings.telegram_bot_token.get_secret_value() if settings.telegram_bot_token else None


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["TELEGRAM_BOT_TOKEN", "telegram_bot_token"])
@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", f"  '{TOKEN}' \r\n"])
def test_a_file_is_named_like_its_setting(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / "something-else").write_text("of somebody else", encoding="utf-8")
    assert token_of(load_settings()) == TOKEN


def test_a_file_of_kubernetes_is_a_link_to_a_folder_that_is_exchanged(folder: Path) -> None:
    (folder / "..2026_11_30").mkdir()
    (folder / "..2026_11_30" / "TELEGRAM_BOT_TOKEN").write_text(TOKEN, encoding="utf-8")
    (folder / "..data").symlink_to("..2026_11_30")
    (folder / "TELEGRAM_BOT_TOKEN").symlink_to("..data/TELEGRAM_BOT_TOKEN")
    assert token_of(load_settings()) == TOKEN


def test_environment_and_env_file_beat_a_file_which_beats_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WEBHOOK_PORT": "1", "PREFECT_PORT": "1", "SIMULATOR_PORT": "3"}.items():
        (folder / name).write_text(value, encoding="utf-8")
    (folder.parent / ".env").write_text("PREFECT_PORT=2\nSIMULATOR_PORT=\n", encoding="utf-8")
    monkeypatch.setenv("WEBHOOK_PORT", "2")
    settings = load_settings()
    assert (settings.webhook_port, settings.prefect_port, settings.simulator_port) == (2, 2, 3)


def test_several_values_in_a_file_are_separated_by_commas(folder: Path) -> None:
    (folder / "PREFERRED_TOPICS").write_text("streaming, data_quality\n", encoding="utf-8")
    assert [topic.value for topic in load_settings().preferred_topics] == ["streaming", "data_quality"]


def test_without_the_usual_folder_nothing_is_said(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("domain.secret_sources.SECRETS_DIR", folder / "gone")
    monkeypatch.delenv("SECRETS_DIR")
    assert token_of(load_settings()) is None


def test_a_folder_that_is_named_and_not_there_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(folder / "gone"))
    with pytest.raises(StartupError, match=f"SECRETS_DIR: there is no folder {folder}/gone$"):
        load_settings()


def test_a_bad_value_in_a_file_is_told_without_it(folder: Path) -> None:
    (folder / "TELEGRAM_BOT_TOKEN").write_text("hidden-token", encoding="utf-8")
    with pytest.raises(StartupError, match="TELEGRAM_BOT_TOKEN: that is not a bot token") as caught:
        load_settings()
    assert "hidden" not in str(caught.value)


def test_a_file_that_is_no_text_is_told_by_its_setting(folder: Path) -> None:
    (folder / "OPENAI_API_KEY").write_bytes(b"sk-\xe9")
    with pytest.raises(StartupError, match=r"OPENAI_API_KEY: its file in .* is not UTF-8 text"):
        load_settings()


def test_a_file_that_the_role_may_not_read_is_told() -> None:
    code = """
import os, sys
from domain.settings import load_settings
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
load_settings()
"""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to that user
        Path(name).chmod(0o755)
        secret = Path(name) / "OPENAI_API_KEY"
        secret.touch(mode=0)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"SECRETS_DIR": name},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr.splitlines()[-1].endswith(f"OPENAI_API_KEY: {secret} cannot be read: Permission denied")


# ---------------------------------------------------------------- AWS Secrets Manager


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Imitate AWS, name the secret, and return what puts settings into it."""
    monkeypatch.setenv("AWS_SECRET_ID", NAME)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "standard")  # which reading sets, and which must not outlive the test
    with mock_aws():
        client = boto3.client("secretsmanager")
        yield lambda text: client.create_secret(Name=NAME, SecretString=text)


def test_a_secret_holds_settings_by_name(store: Callable[..., None]) -> None:
    store(json.dumps({"TELEGRAM_BOT_TOKEN": TOKEN, "database_pool_size": 7, "OPENAI_API_KEY": "", "OTHER": "thing"}))
    settings = load_settings()
    assert (token_of(settings), settings.database_pool_size, settings.openai_api_key) == (TOKEN, 7, None)


def test_whatever_else_says_something_beats_the_secret(
    store: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(json.dumps(dict.fromkeys(("WEBHOOK_PORT", "PREFECT_PORT", "SIMULATOR_PORT"), "9")))
    (folder / "PREFECT_PORT").write_text("2", encoding="utf-8")
    monkeypatch.setenv("WEBHOOK_PORT", "1")
    settings = load_settings()
    assert (settings.webhook_port, settings.prefect_port, settings.simulator_port) == (1, 2, 9)


@pytest.mark.parametrize("text", ["hidden", '["hidden"]', '"hidden"'])
def test_a_secret_of_another_form_is_told_without_it(store: Callable[..., None], text: str) -> None:
    store(text)
    with pytest.raises(StartupError, match=rf"AWS_SECRET_ID: {NAME} is not a JSON object$"):
        load_settings()


@pytest.mark.usefixtures("store")
def test_a_secret_that_aws_does_not_give_is_told_by_its_word() -> None:
    with pytest.raises(StartupError, match=f"AWS_SECRET_ID: {NAME} cannot be read: ResourceNotFoundException$"):
        load_settings()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "EndpointConnectionError"),
        ({}, "NoRegionError"),
        ({"AWS_REGION": "eu central 1"}, f"{WRONG} (InvalidRegionError)"),
        ({"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": "nowhere"}, f"{WRONG} (ValueError)"),
    ],
)
def test_a_role_that_cannot_ask_aws_ends_with_one_line(environment: dict[str, str], reason: str) -> None:
    known = {"AWS_SECRET_ID": NAME, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hidden"}
    command = [sys.executable, "main.py", "bot"]
    done = subprocess.run(command, cwd=ROOT, env=known | environment, capture_output=True, text=True, check=False)
    line = f"quiz: The service cannot start: AWS_SECRET_ID: {NAME} cannot be read: {reason}\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_without_boto3_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ID", NAME)
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "standard")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StartupError, match=r"install requirements-aws\.txt$"):
        load_settings()


def test_boto3_is_imported_by_those_only_who_name_a_secret() -> None:
    code = "import sys; from domain.settings import load_settings; load_settings(); print('boto3' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env={}, text=True) == "False\n"


def test_a_child_process_needs_neither_boto3_nor_rights_in_aws(
    store: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "TELEGRAM_BOT_TOKENS": f"{TOKEN},777:{'s' * 35}",
        "QUIZ_SCHEDULE_TIME": "07:30",
        "DEFAULT_DIFFICULTY": "4",
        "OPENAI_DAILY_BUDGET_USD": "2.50",
        "TELEGRAM_MODE": "polling",
        "DATABASE_POOLER": "true",
        "PREFERRED_TOPICS": "streaming,data_quality",
        "DATA_DIR": "elsewhere",
        "DATABASE_URL": "postgresql://quiz:p%23w@host/quiz",
    }
    store(json.dumps(given))
    settings = load_settings()
    assert settings.openai_daily_budget_usd == Decimal("2.50")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    hand_over_settings(settings)
    handed = service_environment()
    assert {name: value for name, value in handed.items() if name.startswith("AWS_")} == {"AWS_SECRET_ID": ""}
    child = load_settings(**{name: handed[name.upper()] for name in Settings.model_fields if name.upper() in handed})
    assert child.model_dump(exclude={"aws_secret_id"}) == settings.model_dump(exclude={"aws_secret_id"})


def test_a_child_process_asks_no_aws_even_if_env_file_names_the_secret(
    store: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ID")
    (folder.parent / ".env").write_text(f"AWS_SECRET_ID={NAME}\n", encoding="utf-8")
    store(json.dumps({"TELEGRAM_BOT_TOKEN": TOKEN}))
    settings = load_settings()
    assert token_of(settings) == TOKEN
    monkeypatch.setattr(os, "environ", dict(os.environ))
    hand_over_settings(settings)
    code = "from domain.settings import load_settings; print(load_settings().telegram_bot_token.get_secret_value())"
    child = service_environment() | {"PYTHONPATH": str(ROOT)}  # with neither a region nor credentials
    assert subprocess.check_output([sys.executable, "-c", code], env=child, text=True) == f"{TOKEN}\n"


# ---------------------------------------------------------------- files for Prefect, which knows none


LOGIN, OTHER_LOGIN = "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"


@pytest.fixture
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Name the folder in `.env` alone, and return an environment that is put back."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SECRETS_"))}
    monkeypatch.setattr(os, "environ", environment)
    (folder.parent / ".env").write_text(f"SECRETS_DIR={folder}\n", encoding="utf-8")
    return environment


@pytest.mark.parametrize("name", [LOGIN, LOGIN.lower()])
def test_prefect_gets_the_files_of_a_folder_that_env_file_names(
    name: str, folder: Path, environment: dict[str, str]
) -> None:
    (folder / name).write_text(" quiz:one \n", encoding="utf-8")
    os.mkfifo(folder / "PREFECT_PIPE")  # which nobody writes to
    (folder / "OPENAI_API_KEY").write_text("sk-test", encoding="utf-8")
    export_secret_files("PREFECT_")
    assert environment[LOGIN] == "quiz:one"
    assert "OPENAI_API_KEY" not in environment


def test_environment_and_env_file_beat_a_file_for_prefect_too(folder: Path, environment: dict[str, str]) -> None:
    for name in (LOGIN, OTHER_LOGIN):
        (folder / name).write_text("quiz:file", encoding="utf-8")
    with (folder.parent / ".env").open("a", encoding="utf-8") as file:
        file.write(f"{LOGIN}=quiz:other\n")  # which Prefect reads by itself
    environment[OTHER_LOGIN] = "quiz:environment"
    export_secret_files("PREFECT_")
    assert LOGIN not in environment
    assert environment[OTHER_LOGIN] == "quiz:environment"


def test_prefects_server_ends_with_one_line_for_a_file_that_is_no_text(
    folder: Path, environment: dict[str, str]
) -> None:
    (folder / LOGIN).write_bytes(b"quiz:\xe9")
    done = subprocess.run(
        [sys.executable, "-m", "local.prefect_server"],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    line = f"prefect-server: The service cannot start: {LOGIN}: its file in {folder} is not UTF-8 text\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


@pytest.mark.usefixtures("environment")
def test_prefects_server_wants_a_folder_that_is_named(folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(StartupError, match=f"SECRETS_DIR: there is no folder {folder}$"):
        export_secret_files("PREFECT_")
