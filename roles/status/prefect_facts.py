"""What the Prefect server says about itself and the daily distribution."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import httpx

from domain.errors import PrefectLoginError
from domain.settings import Settings
from flows.availability import basic_auth

SECONDS = 4.0
FLOW = "distribute_daily_quizzes"


@dataclass(frozen=True, slots=True)
class PrefectFacts:
    """A server that answers."""

    version: str
    next_distribution: datetime | None
    """None if none is scheduled."""


async def ask_prefect(settings: Settings) -> PrefectFacts | str:
    """Return what the server says, or in one line why it says nothing."""
    if settings.prefect_api_url is None:
        return "PREFECT_API_URL is not set"
    wanted = {
        "flows": {"name": {"any_": [FLOW]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 1,
    }
    try:
        async with httpx.AsyncClient(timeout=SECONDS, auth=basic_auth(settings.prefect_api_auth_string)) as client:
            version = (await client.get(f"{settings.prefect_api_url}/admin/version")).raise_for_status().json()
            found = await client.post(f"{settings.prefect_api_url}/flow_runs/filter", json=wanted)
            runs = found.raise_for_status().json()
        moment = datetime.fromisoformat(runs[0]["expected_start_time"]) if runs else None
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        return str(PrefectLoginError()) if code == httpx.codes.UNAUTHORIZED else f"it answers {code}"
    except httpx.HTTPError as error:
        return f"it does not answer ({type(error).__name__})"
    except (ValueError, LookupError, TypeError):
        return "what answers there is no Prefect server"
    return PrefectFacts(str(version), moment)
