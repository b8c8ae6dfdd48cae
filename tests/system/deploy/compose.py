"""Reads docker-compose.yml as Docker does.

YAML, then ``${NAME:-default}``, ``${NAME:?message}`` and ``$$``; a variable without a value is as .env has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
COMPOSE_FILE = ROOT / "docker-compose.yml"
ROLES = ("init", "quiz-bot", "quiz-worker", "prefect-worker")
REQUIRED = {
    "TELEGRAM_BOT_TOKEN": "424242:" + "T" * 35,
    "POSTGRES_PASSWORD": "postgrespassword1",
    "POSTGRES_PREFECT_PASSWORD": "postgrespassword4",
    "REDIS_PASSWORD": "redispassword2",
    "PREFECT_API_AUTH_STRING": "quiz:prefectpassword3",
}
"""What an operator has to fill in."""

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<operator>[-?])(?P<rest>[^}]*))?\}")


class MissingVariableError(Exception):
    """A variable that has to be set is not."""


def variables() -> set[str]:
    """Return the names that the file takes from .env or the environment."""
    text = re.sub(r"(?m)^\s*#.*$", "", COMPOSE_FILE.read_text(encoding="utf-8"))
    return {match["name"] for match in _VARIABLE.finditer(text)}


def services(environment: Mapping[str, str] = REQUIRED) -> dict[str, dict[str, Any]]:
    """Return the services with their variables filled in.

    Args:
        environment: what .env and the environment hold.

    Raises:
        MissingVariableError: a required one is absent or empty; the message says which.
    """

    def fill(match: re.Match[str]) -> str:
        value = environment.get(match["name"], "")
        if value:
            return value
        if match["operator"] == "?":
            raise MissingVariableError(f"{match['name']}: {match['rest']}")
        return match["rest"] or ""

    document = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    filled = dict(_filled(document["services"], fill))
    for service in filled.values():
        given = service.get("environment", {})
        passed = {name: environment.get(name) if value is None else value for name, value in given.items()}
        service["environment"] = {name: value for name, value in passed.items() if value is not None}
    return filled


def passed_on() -> dict[str, set[str]]:
    """Return the names of the variables that each service gets, whether .env has them or not."""
    document = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    return {name: set(service.get("environment", {})) for name, service in document["services"].items()}


def _filled(node: Any, fill: Any) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, fill) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, fill) for value in node]
    return _VARIABLE.sub(fill, node).replace("$$", "$") if isinstance(node, str) else node


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    """Return a service's environment."""
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def checked_address(service: Mapping[str, Any]) -> str:
    """Return what a service's health check asks of deploy/healthcheck.py."""
    command = service["healthcheck"]["test"]
    assert command[:3] == ["CMD", "python", "deploy/healthcheck.py"]
    return str(command[3])
