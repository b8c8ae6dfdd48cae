"""`python -m local.prefect_server`: Prefect's own server, whose pages ask nobody else and are shown in no other page.

Whoever makes a deployment in it runs commands as the service. So without a login, as on somebody's own machine, it is
closed to web pages other than its UI.
"""

from __future__ import annotations

import sys

import uvicorn

from domain.environment import export_secret_files
from domain.errors import StartupError
from local.cross_site import keep_pages_at_home, refuse_foreign_pages


def main() -> None:
    """Serve as `prefect server start` does, background services included, until SIGTERM or SIGINT."""
    export_secret_files("PREFECT_")  # its login and the address of its database
    from prefect.server.api.server import create_app  # noqa: PLC0415 - reads the environment when it is imported
    from prefect.settings import get_current_settings  # noqa: PLC0415 - likewise

    server = get_current_settings().server
    app = keep_pages_at_home(create_app(final=True), server.ui.api_url or "")
    uvicorn.run(
        app if server.api.auth_string else refuse_foreign_pages(app),
        host=server.api.host,
        port=server.api.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    try:
        main()
    except StartupError as error:
        sys.exit(f"prefect-server: {error}")
