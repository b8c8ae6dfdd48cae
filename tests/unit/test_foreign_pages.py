"""Which requests a server without a login answers: programs' and its own pages'."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from local.cross_site import keep_pages_at_home, refuse_foreign_pages

HOST = "127.0.0.1:4200"
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}

WELCOME = {
    "a program": {},
    "an address typed in": {"sec-fetch-site": "none", **LINK},
    "its own page": {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"},
    "its own page that reads": {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
    "its own page by another name": {"origin": "http://localhost:4200", "sec-fetch-site": "cross-site"},
    "its own page at version 6": {"host": "[::1]:4200", "origin": "http://[::1]:4200"},
    "port 80": {"host": "localhost", "origin": "http://localhost"},
    "a link on another port": {"sec-fetch-site": "same-site", **LINK},
    "a link on another site": {"sec-fetch-site": "cross-site", **LINK},
}

REFUSED = {
    "another site": {"origin": "https://example.org"},
    "another port": {"origin": "http://127.0.0.1:4201"},
    "no port": {"origin": "http://127.0.0.1"},
    "another scheme": {"origin": "https://127.0.0.1:4200"},
    "a longer port": {"origin": f"http://{HOST}0"},
    "a longer name": {"origin": "http://127.0.0.1.example.org:4200"},
    "a sandboxed frame": {"origin": "null"},
    "a port that is none": {"origin": "http://127.0.0.1:four"},
    "an image": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "a script on another port": {
        "sec-fetch-site": "same-site",
        "sec-fetch-mode": "no-cors",
        "sec-fetch-dest": "script",
    },
    "a frame": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    "a site of a kind to come": {"sec-fetch-site": "elsewhere"},
}

STRANGE_HOSTS = [
    "example.org",
    "example.org:4200",
    "127.0.0.1.example.org",
    "127.0.0.2:4200",
    "",
    "localhost@example.org",
    "0.0.0.0",  # noqa: S104 - as a name
]


async def server(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer everything."""
    if scope["type"] == "websocket":
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.close()
    else:
        await PlainTextResponse("hello")(scope, receive, send)


def client_of(*hosts: str) -> TestClient:
    guarded = refuse_foreign_pages(server, hosts) if hosts else refuse_foreign_pages(server)
    return TestClient(guarded, base_url=f"http://{HOST}")


@pytest.mark.parametrize("headers", WELCOME.values(), ids=WELCOME)
def test_what_the_server_itself_or_a_program_sends_is_answered(headers: dict[str, str]) -> None:
    assert client_of().get("/runs", headers=headers).text == "hello"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_what_another_page_sends_is_refused(headers: dict[str, str], method: str) -> None:
    for path in ("/", "/api/flows/"):
        assert client_of().request(method, path, headers=headers).status_code == 403


def test_a_link_leads_to_pages_and_to_nothing_else() -> None:
    link = {"sec-fetch-site": "cross-site", **LINK}
    assert client_of().get("/api/flows", headers=link).status_code == 403
    assert client_of().post("/runs", headers=link).status_code == 403


@pytest.mark.parametrize("host", STRANGE_HOSTS)
def test_a_name_that_is_not_this_machines_is_refused(host: str) -> None:
    for origin in ({}, {"origin": f"http://{host}"}):
        assert client_of().post("/api/flows/", headers={"host": host, **origin}).status_code == 400


@pytest.mark.parametrize(
    "headers", [*REFUSED.values(), {"host": "example.org"}, {"sec-fetch-site": "cross-site", **LINK}]
)
def test_another_page_opens_no_websocket(headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDenialResponse), client_of().websocket_connect("/api/events/in", headers=headers):
        pass


@pytest.mark.parametrize("kind", ["a program", "its own page", "its own page by another name"])
def test_its_own_page_opens_a_websocket(kind: str) -> None:
    with client_of().websocket_connect("/api/events/in", headers={"host": HOST, **WELCOME[kind]}):
        pass


def test_a_server_for_others_is_called_by_any_name_and_refuses_foreign_pages_all_the_same() -> None:
    client = client_of("*")
    for headers in ({}, {"origin": "http://quiz.test:8081"}, {"sec-fetch-site": "same-origin"}):
        assert client.post("/api/reset", headers={"host": "quiz.test:8081", **headers}).text == "hello"
    for headers in ({"origin": "http://example.org"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/api/reset", headers={"host": "quiz.test:8081", **headers}).status_code == 403


def policy_of(api_url: str) -> dict[str, list[str]]:
    """Return what a server's pages may do, as browsers read it."""
    header = TestClient(keep_pages_at_home(server, api_url)).get("/runs").headers["content-security-policy"]
    return {words[0]: words[1:] for words in map(str.split, header.split(";"))}


def test_pages_ask_their_server_and_the_api_at_the_name_that_they_were_told() -> None:
    own = "https://prefect.example.org"
    assert policy_of(f"{own}/api")["connect-src"] == ["'self'", own, "wss://prefect.example.org"]
    assert policy_of("http://127.0.0.1:4200/api")["connect-src"][1:] == ["http://127.0.0.1:4200", "ws://127.0.0.1:4200"]
    assert policy_of("/api")["connect-src"] == ["'self'"]


def test_pages_take_nothing_from_another_server_and_are_shown_in_no_frame() -> None:
    policy = policy_of("/api")
    assert policy["frame-ancestors"] == ["'none'"]
    sources = {source for name in policy for source in policy[name]}
    assert sources == {"'self'", "'none'", "'unsafe-eval'", "'unsafe-inline'", "data:", "blob:"}
    assert policy["script-src"] == ["'self'", "'unsafe-eval'"]


def test_a_websocket_is_left_as_it_is() -> None:
    with TestClient(keep_pages_at_home(server, "/api")).websocket_connect("/api/events/in"):
        pass
