"""Settings from outside of the environment: files, one for each setting, and a secret in AWS Secrets Manager."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import AWSSecretsManagerSettingsSource, PydanticBaseSettingsSource, SecretsSettingsSource
from pydantic_settings.exceptions import SettingsError

from domain.addresses import as_pasted
from domain.errors import StartupError

SECRETS_DIR = Path("/run/secrets")
"""Where containers have such files by convention."""


def find_folder(named: object) -> Path | None:
    """Return the folder of such files.

    Args:
        named: what SECRETS_DIR says, if it says anything.

    Returns:
        None if none is named and the usual one is not there.

    Raises:
        StartupError: another folder than the usual one is named and not there, or it cannot be looked at.
    """
    folder = Path(as_pasted(str(named or "")) or SECRETS_DIR)
    try:
        if folder.is_dir():
            return folder
    except OSError as error:
        raise StartupError(f"SECRETS_DIR: {folder} cannot be read: {error.strerror}") from None
    if folder != SECRETS_DIR:
        raise StartupError(f"SECRETS_DIR: there is no folder {folder}")
    return None


class SecretFiles(SecretsSettingsSource):
    """A folder of files that are named like settings, in small letters or capitals."""

    def __call__(self) -> dict[str, Any]:
        """Read the folder that the sources before this one name.

        Raises:
            StartupError: a folder is named and not there, or something cannot be read.
        """
        self.secrets_dir = find_folder(self.current_state.get("secrets_dir"))
        try:
            return super().__call__()
        except OSError as error:
            raise StartupError(f"SECRETS_DIR: {self.secrets_dir} cannot be read: {error.strerror}") from None
        except SettingsError as error:  # around what `get_field_value` raises
            raise (error.__cause__ if isinstance(error.__cause__, StartupError) else error) from None

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Read a setting's file.

        Raises:
            StartupError: it cannot be read.
        """
        try:
            return super().get_field_value(field, field_name)
        except OSError as error:
            raise StartupError(f"{field_name.upper()}: {error.filename} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise StartupError(f"{field_name.upper()}: its file in {self.secrets_dir} is not UTF-8 text") from None


class AwsSecret(PydanticBaseSettingsSource):
    """A secret in AWS Secrets Manager: a JSON object with names of settings as its keys."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Never called: the whole secret is read at once."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        """Read the secret that the sources before this one name, if any does and the environment does not say: none.

        Raises:
            StartupError: boto3 is not installed, or the secret cannot be read; no value of it is told.
        """
        name = as_pasted(str(self.current_state.get("aws_secret_id") or ""))
        if not name or os.environ.get("AWS_SECRET_ID") == "":  # which a role says to its child processes
            return {}
        os.environ.setdefault("AWS_DEFAULTS_MODE", "standard")  # or an attempt to connect would take a minute, of five
        region = os.environ.get("AWS_REGION")  # which AWS sets in its containers; boto3 itself reads another variable
        try:
            return AWSSecretsManagerSettingsSource(self.settings_cls, name, region, case_sensitive=False)()
        except ImportError:
            raise StartupError("AWS_SECRET_ID: boto3 is missing; install requirements-aws.txt") from None
        except (json.JSONDecodeError, KeyError, AttributeError):
            raise StartupError(f"AWS_SECRET_ID: {name} is not a JSON object") from None
        except ValueError as error:  # which boto3 raises for what it is told itself, before it asks anybody
            wrong = f"a variable of boto3's is wrong, such as AWS_REGION or AWS_ENDPOINT_URL ({type(error).__name__})"
            raise StartupError(f"AWS_SECRET_ID: {name} cannot be read: {wrong}") from None
        except Exception as error:  # noqa: BLE001 - boto3 is not always there to name its errors
            raise StartupError(f"AWS_SECRET_ID: {name} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return what AWS or boto3 calls an error; its message may quote more than a log should have."""
    answer = getattr(error, "response", None)  # only what AWS answered has one
    return answer["Error"]["Code"] if isinstance(answer, dict) else type(error).__name__
