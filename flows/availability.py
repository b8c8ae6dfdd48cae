"""Whether the Prefect server is available."""

from __future__ import annotations

import asyncio
import logging

import httpx
from pydantic import SecretStr

from domain.errors import (
    PrefectLoginError,
)
from observability import metrics
from observability.background import run_forever

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
UNAVAILABLE = "Prefect is unavailable"


def basic_auth(login: SecretStr | None) -> httpx.BasicAuth | None:
    """Return the server's login, which is written as user:password, as httpx takes it."""
    return httpx.BasicAuth(*login.get_secret_value().split(":", 1)) if login else None


class PrefectBreaker:
    """Trips while the Prefect server is unavailable: work then runs without it."""

    def __init__(self, api_url: str | None, login: SecretStr | None = None) -> None:
        """Take the API's address, which ends in ``/api``; None without a server."""
        self._probed = f"{api_url}/version" if api_url else None  # /health would answer without the login
        self._auth = basic_auth(login)
        self._problem: str | None = ""
        self._is_available = asyncio.Event()

    @property
    def available(self) -> bool:
        """Return whether work may run as flows."""
        return self._problem is None

    async def wait_until_available(self) -> None:
        """Return as soon as work may run as flows."""
        await self._is_available.wait()

    async def watch(self) -> None:
        """Probe until cancelled."""
        async with httpx.AsyncClient(timeout=2, auth=self._auth) as client:
            await run_forever("Prefect probe", lambda: self._probe(client), pause=PROBE_SECONDS)

    async def _probe(self, client: httpx.AsyncClient) -> None:
        self._note(await self._find_problem(client))

    async def _find_problem(self, client: httpx.AsyncClient) -> str | None:
        if self._probed is None:
            return UNAVAILABLE
        try:
            status = (await client.get(self._probed)).status_code
        except httpx.HTTPError:
            return UNAVAILABLE
        if status == httpx.codes.UNAUTHORIZED:
            return str(PrefectLoginError())
        return None if status == httpx.codes.OK else UNAVAILABLE

    def _note(self, problem: str | None) -> None:
        if problem is None and not self.available:
            logger.info("Prefect answers: work runs as flows")
        elif problem is not None and problem != self._problem:
            logger.warning("%s: work runs without it", problem)
        self._problem = problem
        if problem is None:
            self._is_available.set()
        else:
            self._is_available.clear()
        with metrics.known(metrics.PREFECT_UNAVAILABLE):
            metrics.PREFECT_UNAVAILABLE.set(0 if problem is None else 1)
