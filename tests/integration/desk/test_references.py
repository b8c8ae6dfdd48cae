"""The command that asks whether the bank's references are still there, against pages of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from local import servers
from question_bank.format import Reference
from roles.questions import references
from roles.questions.references import section_words
from tests.integration.desk.support import Desk, write
from tests.support.factories import make_bank_question
from tests.support.serving import serving_as
from tests.support.transports import Certificate, make_certificate

PAGE = """<html><head><title>Manual</title><style>.watermarks {}</style></head><body>
<h2 id="late-rows">Late rows</h2><a name="old"></a><h3 id="user-content-heading">Joins</h3>
<script>var text = "checkpoints";</script></body></html>"""

ANSWERS = {
    "manual": HTMLResponse(PAGE),
    "plain": PlainTextResponse("2. Late rows"),
    "picture": Response(b"\xff\xd8", media_type="image/jpeg"),
    "odd": Response(b"00", media_type="text/html; charset=hex"),
    "large": HTMLResponse("x" * 1001),
    "moved": RedirectResponse("/manual"),
    "round": RedirectResponse("/round"),
    "elsewhere": RedirectResponse("ftp://127.0.0.1/manual"),
    **{f"status/{status}": Response(status_code=status) for status in (403, 404, 410, 500)},
}

certificate = pytest.fixture(scope="module")(make_certificate)


@pytest.fixture
async def site(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Serve some pages over TLS, since references may have no other scheme, and yield the address."""
    app = FastAPI()
    stopped = asyncio.Event()

    @app.get("/{path:path}")
    async def answer(path: str) -> Response:
        if path == "silent":
            await stopped.wait()
            return Response()
        return ANSWERS[path.rstrip("/")]

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=servers.free_port(),
        log_config=None,
        ssl_certfile=certificate.file,
        ssl_keyfile=certificate.file.with_name("key.pem"),
    )
    async with serving_as(config):
        yield f"https://127.0.0.1:{config.port}"
        stopped.set()


@pytest.fixture
def ask(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return what runs the command on questions with the references given, each with its title and its address."""

    async def run(*given: tuple[str, str], options: tuple[object, ...] = ()) -> tuple[int, str, str]:
        questions = [
            make_bank_question(id=f"q{place}", reference=Reference(title=title, url=url))
            for place, (title, url) in enumerate(given)
        ]
        write(tmp_path / "bank.yaml", *questions)
        monkeypatch.setenv("QUESTION_BANK_DIR", str(tmp_path))
        return await desk("references", *options)

    return run


async def test_references_that_lead_where_they_say_are_in_order(ask: Desk, site: str) -> None:
    status, output, _ = await ask(
        ("Manual, Late rows", f"{site}/manual"),
        ("Manual, Late rows", f"{site}/manual/#late%2Drows"),
        ("Manual, 3.1 Late rows", f"{site}/manual#old"),
        ("Manual, section Joins", f"{site}/manual#heading"),
        ("RFC: Late rows", f"{site}/plain"),
        ("Atlas, the picture of seas", f"{site}/picture"),
    )
    assert status == 0
    assert output == "6 references: 0 gone, 0 no answer, 0 moved, 0 anchor missing, 0 section missing\n"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("status/404", "gone: {url}: status 404"),
        ("status/410", "gone: {url}: status 410"),
        ("status/403", "no answer: {url}: status 403"),
        ("status/500", "no answer: {url}: status 500"),
        ("round", "no answer: {url}: TooManyRedirects: more than 5"),
        ("elsewhere", "no answer: {url}: UnsupportedProtocol: it redirects to ftp://127.0.0.1/manual"),
        ("moved", "moved: {url}: {site}/manual"),
        ("manual#gone", "anchor missing: {url}: #gone"),
        ("manual#text", "anchor missing: {url}: #text"),
    ],
)
async def test_what_is_wrong_with_a_reference_is_said_with_the_question(
    ask: Desk, site: str, path: str, said: str
) -> None:
    url = f"{site}/{path}"
    status, output, _ = await ask(("Manual, Late rows", f"{site}/manual"), ("Manual, Late rows", url))
    assert output.splitlines()[:-1] == [f"{said.format(url=url, site=site)} (q1)"]
    assert status == (1 if said.startswith("gone") else 0)


async def test_a_section_must_be_among_what_the_page_shows(ask: Desk, site: str) -> None:
    status, output, _ = await ask(("Manual, Watermarks and late checkpoints", f"{site}/manual"))
    url = f"{site}/manual"
    assert output.splitlines()[0] == (
        f"section missing: {url}: no watermarks, checkpoints of 'Manual, Watermarks and late checkpoints' (q0)"
    )
    assert status == 0


@pytest.mark.parametrize("path", ["large", "odd"])
async def test_a_page_that_cannot_be_read_is_not_judged(
    ask: Desk, site: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "MAX_BYTES", 1000)
    status, output, _ = await ask(("Manual, Watermarks", f"{site}/{path}#any"))
    assert (status, output.splitlines()[0][:12]) == (0, "1 references")


async def test_a_page_that_never_answers_is_given_up(ask: Desk, site: str) -> None:
    status, output, errors = await ask(("Manual, Late rows", f"{site}/silent"), options=("--timeout", 1))
    assert (status, output) == (1, "")
    assert errors.splitlines()[-1] == (
        f"quiz: No page answers; this command needs a network: {site}/silent: not within 1 s"
    )


async def test_a_host_that_cannot_be_reached_is_asked_once(
    ask: Desk, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    fetch = references._fetch  # noqa: SLF001

    async def count(*arguments: Any) -> references.Page:
        asked.append(arguments[1])
        return await fetch(*arguments)

    monkeypatch.setattr(references, "_fetch", count)
    away = f"https://127.0.0.1:{servers.free_port()}"
    manual = f"{site}/manual"
    _, output, _ = await ask(
        *(("Manual, Late rows", url) for url in (f"{away}/a", f"{away}/b", manual, f"{manual}#old", f"{manual}#gone"))
    )
    assert sorted(asked) == sorted([f"{away}/a", manual])
    assert [line.partition(": ")[0] for line in output.splitlines()[:-1]] == [
        "no answer",
        "no answer",
        "anchor missing",
    ]


async def test_a_host_that_takes_a_connection_and_says_nothing_is_asked_once(ask: Desk, site: str) -> None:
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    writers: list[asyncio.StreamWriter] = []
    away = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    urls = (f"{away}/a", f"{away}/b", f"{site}/manual")
    _, output, _ = await ask(*(("Manual, Late rows", url) for url in urls), options=("--timeout", 2))
    assert output.count("no answer") == 2 + 1  # and in the sum
    assert len(writers) == 1
    for writer in writers:
        writer.close()
    server.close()


async def test_findings_for_programs_name_reference_and_questions(ask: Desk, site: str) -> None:
    url = f"{site}/status/404"
    status, output, errors = await ask(*(("Manual, Late rows", url) for _ in range(2)), options=("--json",))
    assert json.loads(output) == [
        {
            "trouble": "gone",
            "detail": "status 404",
            "title": "Manual, Late rows",
            "url": url,
            "questions": ["q0", "q1"],
        }
    ]
    assert status == 1
    assert errors == "pages: 1 of 1, done\n"


async def test_a_file_that_cannot_be_read_is_named(ask: Desk, site: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("topic: streaming\nquestions: 1\n")
    _, output, errors = await ask(("Manual, Late rows", f"{site}/manual"))
    assert errors.startswith("quiz: left out: broken.yaml:1: ")
    assert output.startswith("1 references: 0 gone")


def test_the_words_of_a_section_leave_out_the_document_numbers_and_what_headings_lack() -> None:
    assert section_words("PostgreSQL 18 documentation, 7.2.1.1 Joined Tables, section on USING") == [
        "joined",
        "tables",
        "using",
    ]
    assert section_words("RFC 4180: Common Format, section 2") == ["common", "format"]
    assert section_words("Manual") == []
