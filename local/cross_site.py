"""Keeps a server and other sites apart in a browser: their pages away from it, and its own pages away from them."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.addresses import LOOPBACK_HOSTS

LOCAL_NAMES = tuple(f"[{host}]" if ":" in host else host for host in LOOPBACK_HOSTS)
"""This machine, as a browser on it may write it."""


def allowed_hosts(address: str) -> tuple[str, ...]:
    """Return by which names a server is called that listens on an address."""
    return LOCAL_NAMES if address in LOOPBACK_HOSTS else ("*",)


def refuse_foreign_pages(
    app: ASGIApp, hosts: tuple[str, ...] = LOCAL_NAMES, api: tuple[str, ...] = ("/api/",)
) -> ASGIApp:
    """Wrap a server so that it answers programs and its own pages only.

    A `Host` that is not the server's is refused, since a foreign name can be made to lead here; so is what a page of
    another origin sends, be it one of this machine's.

    Args:
        hosts: its names; `("*",)` for any.
        api: starts of paths that are no pages, so that no link from elsewhere may lead there.
    """
    return TrustedHostMiddleware(_OwnPages(app, api), allowed_hosts=hosts, www_redirect=False)


def keep_pages_at_home(app: ASGIApp, api_url: str) -> ASGIApp:
    """Wrap the Prefect server so that its pages ask no other server, and no other page shows them in a frame.

    Args:
        api_url: where the pages ask, which can be another of the server's names than a browser opened.
    """
    policy = _content_policy(api_url).encode()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", policy)]
            await send(message)

        await app(scope, receive, send_with_policy)

    return answer


def _content_policy(api_url: str) -> str:
    api = urlsplit(api_url)
    other = f" {api.scheme}://{api.netloc} {api.scheme.replace('http', 'ws')}://{api.netloc}" if api.netloc else ""
    return "; ".join(
        (
            "default-src 'self'",
            f"connect-src 'self'{other}",
            "script-src 'self' 'unsafe-eval'",  # what draws the graph of a run compiles code of its own,
            "worker-src 'self' blob:",  # and lays the graph out in workers
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class _OwnPages:
    """Reads who sends a request from what browsers add to it and no page can change."""

    def __init__(self, app: ASGIApp, api: tuple[str, ...]) -> None:
        self._app = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._is_allowed(scope, Headers(scope=scope)):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse("Requests of other sites' pages are refused", 403)(scope, receive, send)

    def _is_allowed(self, scope: Scope, headers: Headers) -> bool:
        if origin := headers.get("origin"):
            return _is_own(origin, headers.get("host", ""))
        if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
            return True
        return _is_link(scope, headers) and not scope["path"].startswith(self._api)


def _is_own(origin: str, host: str) -> bool:
    """Return whether an origin is the server's, by any of this machine's names."""
    for name in LOCAL_NAMES:
        port = host.removeprefix(name)
        if port != host and (not port or port.startswith(":")):
            return origin in {f"http://{one}{port}" for one in LOCAL_NAMES}
    return origin.partition("://")[2] == host


def _is_link(scope: Scope, headers: Headers) -> bool:
    """Return whether a link was followed, which shows nothing to the page that has it."""
    opens = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return opens and scope["type"] == "http" and scope["method"] == "GET"
