"""A foreign page in the browser of whoever runs `make run`: it makes nothing, reads nothing and shows nothing."""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import ConsoleMessage, Page, Response, expect

from tests.support.waiting import WAIT_SECONDS, wait_for
from tests.system.stack.conftest import RunningStack
from tests.system.stack.test_browser import FOREIGN_NAME, browser, page

pytestmark = [pytest.mark.browser, pytest.mark.stack]

__all__ = ["browser", "page"]

KINDS = ("work_pools", "deployments", "variables", "block_documents", "automations")
"""What Prefect keeps and nobody changes while these tests run."""

FETCHES = {
    "JSON": "{mode: 'cors', headers: {'Content-Type': 'application/json'}, body: TEXT}",
    "without a content type": "{mode: 'cors', body: new Blob([TEXT])}",
    "without a content type, no answer asked for": "{mode: 'no-cors', body: new Blob([TEXT])}",
    "plain text": "{mode: 'no-cors', body: TEXT}",
    "a form": "{mode: 'no-cors', body: new URLSearchParams(JSON.parse(TEXT))}",
    "kept alive": "{mode: 'no-cors', keepalive: true, body: new Blob([TEXT])}",
}

UIS = {"v2": "v2/", "v1": ""}
"""Prefect's two interfaces, which a cookie chooses between, and where their pages are."""

NOTHING = "nothing to read"

FETCH = """async ([url, TEXT, options]) => {
    try {
        const reply = await fetch(url, {method: 'POST', ...eval(`(${options})`)});
        return reply.type === 'opaque' ? 'nothing to read' : `${reply.status} ${await reply.text()}`;
    } catch {
        return 'nothing to read';
    }
}"""

FORM_POST = """([url, text, encoding]) => {
    const form = Object.assign(document.createElement('form'), {method: 'POST', action: url, enctype: encoding});
    const field = document.createElement('input');
    // As plain text a form sends `name=value`, which is JSON when that is cut in the middle of a string.
    field.name = encoding === 'text/plain' ? text.replace(/}$/, ', "description": "') : 'name';
    field.value = encoding === 'text/plain' ? '"}' : JSON.parse(text).name;
    form.append(field);
    document.body.append(form);
    form.submit();
}"""

SOCKET = """([url, first]) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    let heard = 'refused';
    socket.onopen = () => { heard = 'open'; socket.send(first); setTimeout(() => socket.close(), 1000); };
    socket.onmessage = (message) => { heard = message.data; };
    socket.onclose = () => resolve(heard);
})"""

LOAD = """([kind, url]) => new Promise((resolve) => {
    const element = document.createElement(kind);
    element.onload = element.onerror = resolve;
    element.src = url;
    document.body.append(element);
})"""


class EmptyPage(http.server.BaseHTTPRequestHandler):
    """Somebody else's server."""

    def do_GET(self) -> None:
        """Answer with a page for scripts to run on."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a page of somebody else</title><body></body>")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(params=["127.0.0.1", FOREIGN_NAME], ids=["same-site", "cross-site"])
def foreign(request: pytest.FixtureRequest, page: Page, foreign_port: int) -> Page:
    """Return a page of another origin, which for browsers is of the same site as the Prefect UI or of another one."""
    page.goto(f"http://{request.param}:{foreign_port}/")
    return page


def contents(stack: RunningStack) -> dict[str, list[str]]:
    """Return the names of what Prefect keeps, asked for as programs ask."""
    with httpx.Client(base_url=f"{stack.prefect}/api", timeout=WAIT_SECONDS) as client:
        replies = {kind: client.post(f"/{kind}/filter", json={}) for kind in KINDS}
    return {
        kind: sorted(str(one.get("name")) for one in reply.raise_for_status().json()) for kind, reply in replies.items()
    }


@pytest.fixture
def unchanged(stack: RunningStack) -> Iterator[None]:
    """Make sure that a test leaves Prefect as it was."""
    wait_for(lambda: "refill" in contents(stack)["deployments"], stack.describe)
    before = contents(stack)
    yield
    assert contents(stack) == before


def a_pool() -> str:
    """Return what makes a work pool."""
    return json.dumps({"name": f"foreign-{uuid.uuid4()}", "type": "process"})


@contextmanager
def statuses(page: Page, url: str) -> Iterator[list[int]]:
    """Yield a list that gets the status of each answer from an address."""
    seen: list[int] = []

    def note(reply: Response) -> None:
        if reply.url == url:
            seen.append(reply.status)

    page.on("response", note)
    yield seen
    page.remove_listener("response", note)


# ---------------------------------------------------------------- Prefect


@pytest.mark.usefixtures("unchanged")
def test_a_foreign_page_posts_nothing_to_prefect(stack: RunningStack, foreign: Page) -> None:
    for way, options in FETCHES.items():
        assert foreign.evaluate(FETCH, [f"{stack.prefect}/api/work_pools/", a_pool(), options]) == NOTHING, way


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("encoding", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
def test_a_form_of_a_foreign_page_is_refused_by_prefect(stack: RunningStack, foreign: Page, encoding: str) -> None:
    url = f"{stack.prefect}/api/work_pools/"
    with foreign.expect_response(url) as reply:
        foreign.evaluate(FORM_POST, [url, a_pool(), encoding])
    assert reply.value.status == 403


@pytest.mark.parametrize("path", ["/api/admin/settings", "/api/work_pools/quiz", "/ui-settings", "/openapi.json"])
def test_a_foreign_page_reads_nothing_of_prefect(stack: RunningStack, foreign: Page, path: str) -> None:
    url = stack.prefect + path
    assert foreign.evaluate(FETCH, [url, "", "{method: 'GET', mode: 'cors'}"]) == NOTHING
    for kind in ("img", "script", "iframe"):
        with statuses(foreign, url) as seen:
            foreign.evaluate(LOAD, [kind, url])
        assert seen == [403], kind


def test_a_foreign_page_cannot_show_the_prefect_ui_within_itself(stack: RunningStack, foreign: Page) -> None:
    with foreign.expect_response(f"{stack.prefect}/") as reply:
        foreign.evaluate(LOAD, ["iframe", f"{stack.prefect}/"])
    assert reply.value.status == 403


def test_a_foreign_page_opens_no_websocket_to_prefect(stack: RunningStack, foreign: Page) -> None:
    name, every = f"foreign.{uuid.uuid4()}", '{"type": "filter", "filter": {}}'
    event: dict[str, Any] = {"id": str(uuid.uuid4()), "event": name, "occurred": "2026-01-01T00:00:00Z"}
    event |= {"resource": {"prefect.resource.id": "foreign"}}
    base = stack.prefect.replace("http", "ws")
    for path, first in (("/events/in", json.dumps(event)), ("/events/out", every), ("/logs/out", every)):
        assert foreign.evaluate(SOCKET, [f"{base}/api{path}", first]) == "refused", path


@pytest.mark.usefixtures("unchanged")
def test_a_name_that_leads_here_but_is_not_ours_gets_nothing_from_prefect(stack: RunningStack, page: Page) -> None:
    rebound = f"http://{FOREIGN_NAME}:{stack.prefect_port}"
    reply = page.goto(f"{rebound}/")
    assert reply
    assert reply.status == 400
    for options in ("{method: 'GET'}", FETCHES["JSON"], FETCHES["without a content type"]):
        told = page.evaluate(FETCH, [f"{rebound}/api/work_pools/", a_pool(), options])
        assert told.startswith("400"), told
    assert page.evaluate(SOCKET, [f"ws://{FOREIGN_NAME}:{stack.prefect_port}/api/events/in", "{}"]) == "refused"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_prefect_ui_itself_works_at_each_of_its_names(stack: RunningStack, page: Page, name: str) -> None:
    run_id = stack.start_run("upkeep/hourly", {})
    wait_for(lambda: stack.run(run_id)["state_type"] == "COMPLETED", lambda: str(stack.run(run_id)))
    own, messages, asked = f"http://{name}:{stack.prefect_port}/", list[ConsoleMessage](), set[tuple[str, int]]()
    sent = set[str]()
    page.on("console", lambda message: messages.append(message))  # noqa: PLW0108 - a plain method is not taken
    page.on("response", lambda reply: asked.add((reply.url, reply.status)))
    page.on("request", lambda request: sent.add(request.url))
    for ui, folder in UIS.items():
        page.context.add_cookies([{"name": "prefect_ui_version", "value": ui, "url": own}])
        page.goto(f"{own}{folder}runs/flow-run/{run_id}")
        expect(page.get_by_text("Completed").first).to_be_visible()
        expect(page.locator("canvas").first).to_be_visible()  # the graph of the run
        page.goto(own)
        expect(page.get_by_text("Work Pools").first).to_be_visible()
        page.wait_for_load_state("networkidle")
    own_hosts = {f"127.0.0.1:{stack.prefect_port}", f"{name}:{stack.prefect_port}"}
    assert {urlsplit(url.removeprefix("blob:")).netloc for url in sent} == own_hosts
    of_api = {(url, status) for url, status in asked if url.startswith(f"{stack.prefect}/api/")}
    assert of_api
    assert {(url, status) for url, status in of_api if status >= 400} == set()
    errors = [one for one in messages if one.type == "error" and one.location["url"].startswith(own)]
    expected = ("404", "amplitude.com")  # icons that it does not have, and the server that it may not ask
    assert [one.text for one in errors if not any(word in one.text for word in expected)] == []


# ---------------------------------------------------------------- the chat page


def test_the_chat_page_leads_to_the_prefect_ui(stack: RunningStack, page: Page) -> None:
    page.goto(stack.chat)
    with page.expect_popup() as opened:
        page.get_by_text("Prefect UI").click()
    expect(opened.value.get_by_role("link", name="Work Pools")).to_be_visible()
    opened.value.close()


def simulated(stack: RunningStack) -> Any:
    """Return who is in the simulator."""
    return httpx.get(f"{stack.chat}/api/learners", timeout=WAIT_SECONDS).json()


def test_a_foreign_page_changes_nothing_in_the_simulator(stack: RunningStack, foreign: Page) -> None:
    before = simulated(stack)
    learner = json.dumps({"first_name": "Foreign"})
    for way, options in FETCHES.items():
        assert foreign.evaluate(FETCH, [f"{stack.chat}/api/learners", learner, options]) == NOTHING, way
        assert foreign.evaluate(FETCH, [f"{stack.chat}/bot1:token/getMe", "{}", options]) == NOTHING, way
    assert simulated(stack) == before


def test_a_link_on_a_foreign_page_calls_no_method_of_the_simulated_telegram(stack: RunningStack, foreign: Page) -> None:
    """They can be called by GET, with all their arguments in the address."""
    url = f"{stack.chat}/bot1234567:{'a' * 35}/setWebhook?url=http://127.0.0.1:1/"
    with foreign.expect_response(url) as reply:
        foreign.evaluate("url => { location.href = url }", url)
    assert reply.value.status == 403
    assert len(httpx.get(f"{stack.chat}/api/state", timeout=WAIT_SECONDS).json()["bots"]) == 1


def test_a_name_that_leads_here_but_is_not_ours_gets_nothing_from_the_simulator(
    stack: RunningStack, page: Page
) -> None:
    rebound = f"http://{FOREIGN_NAME}:{stack.simulator_port}"
    before = simulated(stack)
    page.goto(rebound)
    for path, options in (("/api/state", "{method: 'GET'}"), ("/api/learners", FETCHES["JSON"])):
        assert page.evaluate(FETCH, [rebound + path, "{}", options]).startswith("400")
    assert simulated(stack) == before
