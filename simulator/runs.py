"""Starting runs of Prefect deployments from the page's menu, as an operator does in Prefect's UI."""

from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from simulator.params import Json

_SECONDS: Final = 10


class RunRefusedError(Exception):
    """Prefect did not start the run."""


@dataclass(frozen=True, slots=True)
class RunOffer:
    """An entry of the menu that starts a run."""

    label: str
    deployment: str
    """As Prefect names it: the flow's name, a slash, the deployment's."""
    parameters: Json


async def start_run(http: aiohttp.ClientSession, ui_url: str, offer: RunOffer) -> str:
    """Start a run and return its name.

    Raises:
        RunRefusedError: Prefect is unavailable, or does not know the deployment (yet).
    """
    api = f"{ui_url}/api/deployments"
    found = await _ask(http, "GET", f"{api}/name/{offer.deployment}", None)
    run = await _ask(http, "POST", f"{api}/{found['id']}/create_flow_run", {"parameters": offer.parameters})
    return str(run["name"])


async def _ask(http: aiohttp.ClientSession, method: str, url: str, body: Json | None) -> Any:  # noqa: ANN401 - JSON
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with http.request(method, url, json=body, timeout=timeout) as answer:
            if answer.ok:
                return await answer.json()
            raise RunRefusedError(f"Prefect answers {answer.status} {answer.reason} to {method} {url}")
    except (aiohttp.ClientError, OSError) as error:
        raise RunRefusedError(f"Prefect does not answer at {url} ({type(error).__name__})") from None
