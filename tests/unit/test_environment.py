"""What libraries read from the environment themselves: nothing empty, and no proxy that leads nowhere."""

from __future__ import annotations

import os
import urllib.request

import httpx
import pytest
from pydantic import SecretStr

from domain.environment import bypass_proxy_for_loopback, drop_empty_variables, settle_proxies
from domain.errors import StartupError
from domain.settings import OPENAI_API, Settings
from question_sources.llm.client import LlmClient
from tests.support.factories import TOKEN

LOCAL = Settings(_env_file=None)
PROXY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing of this machine's proxies, and put everything back at the end."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_an_empty_variable_of_a_library_is_absent() -> None:
    empty = {"OPENAI_BASE_URL": "", "OPENAI_ORG_ID": " ", "PREFECT_API_URL": "", "PGSSLMODE": "", "PGPORT": "\t"}
    os.environ.update(empty | {"OPENAI_PROJECT_ID": "mine", "EDITOR": ""})
    drop_empty_variables()
    assert not os.environ.keys() & empty.keys()
    assert (os.environ["OPENAI_PROJECT_ID"], os.environ["EDITOR"]) == ("mine", "")


async def test_an_empty_address_in_the_environment_leads_to_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    client = LlmClient.connect(Settings(_env_file=None))
    assert str(client._client.base_url) == f"{OPENAI_API}/"  # noqa: SLF001 - asking it would cost money
    await client.close()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    "spared", [{}, {"NO_PROXY": "example.org"}, {"no_proxy": "example.org, ::1"}, {"NO_PROXY": ""}]
)
def test_requests_to_this_machine_pass_by_a_proxy(name: str, spared: dict[str, str]) -> None:
    os.environ.update(spared | {name: PROXY})
    bypass_proxy_for_loopback()
    assert all(urllib.request.proxy_bypass(host) for host in ("127.0.0.1", "localhost", "127.0.0.1:4200"))
    assert not urllib.request.proxy_bypass("api.telegram.org")
    assert bool(urllib.request.proxy_bypass("example.org")) is bool(any(spared.values()))
    transports = httpx.Client()._mounts  # noqa: SLF001 - what it would go through
    patterns = {pattern.pattern: transport for pattern, transport in transports.items()}
    assert patterns["all://127.0.0.1"] is patterns["all://localhost"] is patterns["all://[::1]"] is None
    assert any(transports.values())


def test_without_a_proxy_nothing_is_added() -> None:
    bypass_proxy_for_loopback()
    assert not [name for name in os.environ if name.lower() == "no_proxy"]


def test_whoever_wants_no_proxy_at_all_has_none() -> None:
    os.environ.update({"HTTP_PROXY": PROXY, "NO_PROXY": "*"})
    bypass_proxy_for_loopback()
    assert urllib.request.proxy_bypass("api.telegram.org")


SOCKS = {"ALL_PROXY": "socks5://127.0.0.1:9", "https_proxy": "socks://127.0.0.1:9/"}


def test_a_proxy_that_is_not_spoken_is_no_matter_where_everything_is_on_this_machine() -> None:
    os.environ.update(SOCKS | {"HTTP_PROXY": PROXY})
    assert sorted(settle_proxies(LOCAL)) == sorted(SOCKS)
    assert not os.environ.keys() & SOCKS.keys()
    httpx.Client().close()  # which would raise
    assert os.environ["HTTP_PROXY"] == PROXY


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"telegram_bot_token": SecretStr(TOKEN)},
        {"openai_api_key": SecretStr("sk-test")},
        {"prefect_api_url": "https://prefect.example.org/api"},
    ],
)
def test_else_it_is_told_since_nobody_wants_to_be_led_past_it(elsewhere: dict[str, object]) -> None:
    os.environ.update(SOCKS)
    with pytest.raises(StartupError, match="ALL_PROXY, https_proxy: only HTTP proxies serve"):
        settle_proxies(LOCAL.model_copy(update=elsewhere))
    near = {
        "telegram_api_base_url": "http://127.0.0.1:8081",
        "openai_base_url": "http://localhost:11434/v1",
        "prefect_api_url": "http://127.0.0.1:4200/api",
    }
    assert sorted(settle_proxies(LOCAL.model_copy(update=elsewhere | near))) == sorted(SOCKS)
