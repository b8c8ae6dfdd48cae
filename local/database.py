"""The database that a command works on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydantic import SecretStr

from domain.settings import Settings


@contextlib.contextmanager
def database_settings(settings: Settings) -> Iterator[Settings]:
    """Yield settings that name a database: their own, else the embedded one of the data folder.

    Raises:
        StartupError: the server does not start.
    """
    if settings.database_url:
        yield settings
        return
    from local.servers import prepare_data_folder  # noqa: PLC0415 - a container has no server of its own
    from local.shared_postgres import shared_postgres  # noqa: PLC0415 - likewise

    with shared_postgres(prepare_data_folder(settings.data_dir) / "postgres", "quiz") as url:
        yield settings.model_copy(update={"database_url": SecretStr(url)})
