"""`python -m simulator`: a local Telegram on a port of this machine."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from local.cross_site import allowed_hosts
from simulator.options import Options
from simulator.runs import RunOffer
from simulator.server import SimulatorApp, create_app

_GRACE_SECONDS: Final = 1


class _Server(uvicorn.Server):
    """A server that lets go of live streams and long polls as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, app: SimulatorApp) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._app.simulator.stop_streams)


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        data=arguments.data,
        fast_retries=arguments.fast_retries,
        bot_rate=arguments.rate,
        bot_burst=max(1, round(arguments.rate)),
        chat_rate=arguments.chat_rate,
        prefect_ui_url=os.environ.get("PREFECT_UI_URL", ""),
        runs=tuple(arguments.run),
        clock=arguments.clock,
        hosts=allowed_hosts(arguments.host),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulator", description="A local Telegram: Bot API and chat page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="port to listen on (default: %(default)s)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="remember chats in this folder")
    parser.add_argument("--fast-retries", action="store_true", help="redeliver within fractions of a second")
    parser.add_argument("--rate", type=float, default=30.0, help="messages a second of a bot, 0: unlimited (30)")
    parser.add_argument("--chat-rate", type=float, default=1.0, help="messages a second to a chat, 0: unlimited (1)")
    parser.add_argument("--clock", type=Path, metavar="FILE", help="a clock for the page to move, which the bot reads")
    parser.add_argument(
        "--run", type=_run_offer, action="append", default=[], metavar="JSON",
        help='a run that the menu offers: {"label": ..., "deployment": "flow/name", "parameters": {}}; repeatable',
    )  # fmt: skip
    return parser


def _run_offer(text: str) -> RunOffer:
    try:
        return RunOffer(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {text}: {error}") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Said outright, for asyncio sends small answers at once only on what calls itself TCP: else each waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        listener = _listen(arguments.host, arguments.port)
    except OSError as error:
        print(f"simulator: cannot listen on {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        app = create_app(_options(arguments))
    except (OSError, sqlite3.Error) as error:
        listener.close()
        print(f"simulator: cannot use the folder {arguments.data}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=75,
    )
    host, port = listener.getsockname()[:2]
    print(f"Simulator of Telegram: http://{host}:{port}/", flush=True)  # noqa: T201
    with listener:
        # uvicorn sends a caught signal again once it has ended: SIGTERM is a clean end here.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config, app).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
