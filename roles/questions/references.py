"""Whether the references of questions still lead where they say: asks each page once, over the network."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urlsplit

import httpx

from domain.errors import NetworkError
from question_bank.format import Reference
from question_bank.loader import Located

MAX_CONCURRENT = 8
"""Hosts that are asked at a time; each gets one request after another."""
MAX_REDIRECTS = 5
MAX_BYTES = 2_000_000
"""Read of a page; what a larger one holds is not judged."""
USER_AGENT = "data-engineering-quiz (checks references)"

_GONE = {httpx.codes.NOT_FOUND, httpx.codes.GONE}
_WORD = re.compile(r"[^\W\d_]{4,}")
_END_OF_DOCUMENT = re.compile(r"[,:] ")
"""What follows it in a reference's title is the section."""
_NOT_IN_HEADINGS = frozenset({"chapter", "documentation", "page", "part", "section", "sections", "table"})


class Trouble(StrEnum):
    """What is wrong with a reference, the worst first."""

    GONE = "gone"
    UNANSWERED = "no answer"
    MOVED = "moved"
    NO_ANCHOR = "anchor missing"
    NO_SECTION = "section missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """A reference that is not what it says."""

    trouble: Trouble
    detail: str
    reference: Reference
    questions: list[str]
    """Ids of the questions that have it."""


def as_json(finding: Finding) -> dict[str, object]:
    """Return a finding for programs."""
    return {
        "trouble": finding.trouble,
        "detail": finding.detail,
        "title": finding.reference.title,
        "url": finding.reference.url,
        "questions": finding.questions,
    }


@dataclass(frozen=True, slots=True)
class Page:
    """What an address answers with."""

    address: str
    """Where redirects ended."""
    status: int
    text: str | None = None
    """In lower case; None if it is no text, too large, or cannot be read."""
    anchors: frozenset[str] = frozenset()


class _HtmlReader(HTMLParser):
    """Collects what readers see of a page, and where links into it can lead."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.anchors: set[str] = set()
        self._hidden: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.anchors.update(value for name, value in attrs if name in {"id", "name"} and value)
        if tag in {"script", "style"}:
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = None

    def handle_data(self, data: str) -> None:
        if self._hidden is None:
            self.shown.append(data)


def collect_references(questions: Iterable[Located]) -> dict[Reference, list[str]]:
    """Return the distinct references with the ids of the questions that have them."""
    found: dict[Reference, list[str]] = defaultdict(list)
    for located in questions:
        found[located.question.reference].append(located.question.id)
    return found


def addresses_of(references: Iterable[Reference]) -> set[str]:
    """Return the distinct pages, without fragments."""
    return {urldefrag(reference.url).url for reference in references}


async def check_references(
    references: Mapping[Reference, list[str]], seconds: float, tell: Callable[[int], None]
) -> list[Finding]:
    """Ask for every page once, and compare it with each reference to it.

    Args:
        seconds: for one page, redirects included.
        tell: told how many pages more are done.

    Returns:
        What is not as it should be, the worst first.

    Raises:
        NetworkError: no page at all answers.
    """
    pages = await _fetch_all(addresses_of(references), seconds, tell)
    if pages and not any(isinstance(page, Page) for page in pages.values()):
        address, reason = min(pages.items())
        raise NetworkError(f"{address}: {reason}")
    findings = [
        Finding(trouble, detail, reference, questions)
        for reference, questions in references.items()
        for trouble, detail in _troubles_of(reference, pages[urldefrag(reference.url).url])
    ]
    order = list(Trouble)
    return sorted(findings, key=lambda finding: (order.index(finding.trouble), finding.reference.url))


async def _fetch_all(addresses: set[str], seconds: float, tell: Callable[[int], None]) -> dict[str, Page | str]:
    """Return each address's page, or why there is none."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for address in sorted(addresses):
        hosts[urlsplit(address).netloc].append(address)
    pages: dict[str, Page | str] = {}
    slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def ask_host(client: httpx.AsyncClient, own: list[str]) -> None:
        unreachable = ""
        async with slots:
            for address in own:
                try:
                    pages[address] = unreachable or await _fetch(client, address, seconds)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    pages[address] = reason = _reason_of(error)
                    is_own = error.request.url.host == urlsplit(address).hostname  # and not a redirect's
                    if is_own and not any(isinstance(pages.get(one), Page) for one in own):
                        unreachable = reason  # its other pages would only take as long
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    pages[address] = _reason_of(error)
                except TimeoutError:
                    pages[address] = f"not within {seconds:g} s"
                tell(1)

    async with (
        httpx.AsyncClient(
            timeout=httpx.Timeout(seconds, connect=seconds / 2),  # told apart from a page that is slow
            headers={"User-Agent": USER_AGENT},
        ) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for own in hosts.values():
            tasks.create_task(ask_host(client, own))
    return pages


def _reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


async def _fetch(client: httpx.AsyncClient, address: str, seconds: float) -> Page:
    """Follow redirects by hand: httpx reads what comes with each, however long it is."""
    request = client.build_request("GET", address)
    async with asyncio.timeout(seconds):
        for _ in range(MAX_REDIRECTS + 1):
            response = await client.send(request, stream=True)
            try:
                if response.next_request is None:
                    return await _read(response)
            finally:
                await response.aclose()
            request = response.next_request
            if request.url.scheme != "https":
                raise httpx.UnsupportedProtocol(f"it redirects to {request.url}", request=request)
    raise httpx.TooManyRedirects(f"more than {MAX_REDIRECTS}", request=request)


async def _read(response: httpx.Response) -> Page:
    unread = Page(str(response.url), response.status_code)
    kind = response.headers.get("content-type", "text/html").partition(";")[0]
    if not response.is_success or not kind.startswith(("text/", "application/xhtml")):
        return unread
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MAX_BYTES:
            return unread
    try:
        text = content.decode(response.encoding or "utf-8", errors="replace")
        if kind == "text/plain":
            return replace(unread, text=text.casefold())
        reader = await asyncio.to_thread(_parse, text)  # a page can be made so that it takes long
    except (LookupError, UnicodeError, AssertionError):  # no charset for text, or a malformed declaration
        return unread
    return replace(unread, text=" ".join(reader.shown).casefold(), anchors=frozenset(reader.anchors))


def _parse(text: str) -> _HtmlReader:
    reader = _HtmlReader()
    reader.feed(text)
    reader.close()
    return reader


def _troubles_of(reference: Reference, page: Page | str) -> Iterator[tuple[Trouble, str]]:
    if isinstance(page, str):
        yield Trouble.UNANSWERED, page
        return
    if not httpx.codes.is_success(page.status):
        trouble = Trouble.GONE if page.status in _GONE else Trouble.UNANSWERED
        yield trouble, f"status {page.status}"
        return
    address, fragment = urldefrag(reference.url)
    if urldefrag(page.address).url.rstrip("/") != address.rstrip("/"):
        yield Trouble.MOVED, page.address
    if page.text is None:
        return
    anchors = {unquote(fragment), f"user-content-{unquote(fragment)}"}  # the latter is how GitHub writes them
    if fragment and page.anchors.isdisjoint(anchors):
        yield Trouble.NO_ANCHOR, f"#{fragment}"
    if missing := [word for word in section_words(reference.title) if word not in page.text]:
        yield Trouble.NO_SECTION, f"no {', '.join(missing)} of {reference.title!r}"


def section_words(title: str) -> list[str]:
    """Return the words of a title's section that its page must show, in lower case."""
    _, *section = _END_OF_DOCUMENT.split(title, maxsplit=1)
    words = dict.fromkeys(_WORD.findall(" ".join(section).casefold()))
    return [word for word in words if word not in _NOT_IN_HEADINGS]
