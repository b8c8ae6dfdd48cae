"""What libraries read from the environment behind the settings' back, put right before any of them does."""

from __future__ import annotations

import os

from pydantic import SecretStr
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from domain.addresses import LOOPBACK_HOSTS, as_pasted, is_loopback
from domain.errors import StartupError
from domain.secret_sources import find_folder
from domain.settings import Settings

_READ_BY_LIBRARIES = ("OPENAI_", "PREFECT_", "PG")
"""Beginnings of variables that openai, Prefect and asyncpg read themselves, an empty one as if it said something."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def drop_empty_variables() -> None:
    """Let an empty variable count as absent for libraries and for child processes as well, as it does for settings."""
    for name, value in list(os.environ.items()):
        if not value.strip() and name.startswith(_READ_BY_LIBRARIES):
            del os.environ[name]


def export_secret_files(beginning: str) -> None:
    """Put files of SECRETS_DIR into the environment, for a library that knows that and `.env` only; both beat a file.

    Args:
        beginning: of the names of the files that are meant.

    Raises:
        StartupError: the folder is named and not there, a file or `.env` cannot be read or is not UTF-8 text.
    """
    given = _read_variables()
    folder = find_folder(given.get("secrets_dir"))
    try:
        for path in folder.iterdir() if folder else ():
            name = path.name.upper()  # small letters serve for settings, too
            if name.startswith(beginning) and path.is_file() and not given.get(name.lower()):
                os.environ[name] = as_pasted(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartupError(f"{error.filename} cannot be read: {error.strerror}") from None
    except ValueError:  # of which not being UTF-8 is one, and a NUL another
        raise StartupError(f"{path.name}: its file in {folder} is not UTF-8 text") from None


def _read_variables() -> dict[str, str | None]:
    """Return what `.env` and, above it, the environment say, by names in small letters."""
    try:
        return {**DotEnvSettingsSource(Settings).env_vars, **EnvSettingsSource(Settings).env_vars}
    except UnicodeDecodeError:
        raise StartupError(".env is not UTF-8 text") from None


def hand_over_settings(settings: Settings) -> None:
    """Put what was read from AWS into the environment, so that child processes need neither boto3 nor rights there."""
    os.environ["AWS_SECRET_ID"] = ""  # and not absent: child processes read `.env` again, which may name the secret
    for name in settings.model_fields_set - {"aws_secret_id"}:
        if (value := getattr(settings, name)) is not None:
            os.environ[name.upper()] = _as_text(value)


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_as_text, value))
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def bypass_proxy_for_loopback() -> None:
    """Keep requests to this machine's own servers away from a proxy, here and in child processes."""
    if not any(name.lower() in _PROXIES for name in os.environ):
        return
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    spared = [host for host in given.replace(" ", "").split(",") if host]
    if "*" not in spared:
        spared += [host for host in LOOPBACK_HOSTS if host not in spared]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(spared)  # some read one, some the other


def settle_proxies(settings: Settings) -> list[str]:
    """Take proxies of a kind that the HTTP clients do not speak out of the environment, if nothing needs a proxy.

    Returns:
        The variables that were taken out.

    Raises:
        StartupError: a server is elsewhere, and going there without the proxy is not what was asked for.
    """
    unusable = [name for name, value in os.environ.items() if name.lower() in _PROXIES and not _is_http(value)]
    if unusable and _is_anything_elsewhere(settings):
        raise StartupError(
            f"{', '.join(unusable)}: only HTTP proxies serve, such as http://proxy:3128; set one or unset it"
        )
    for name in unusable:
        del os.environ[name]
    return unusable


def _is_http(proxy: str) -> bool:
    scheme, separator, _ = proxy.strip().partition("://")
    return not separator or scheme.lower() in {"http", "https"}


def _is_anything_elsewhere(settings: Settings) -> bool:
    addresses = [settings.prefect_api_url, settings.otel_exporter_otlp_endpoint]
    if settings.bots:
        addresses.append(settings.telegram_api_base_url)
    if settings.openai_api_key:
        addresses.append(settings.openai_base_url)
    return not all(is_loopback(address) for address in addresses if address)
