"""A browser on a busy machine is slow, not wrong."""

from __future__ import annotations

from playwright import async_api, sync_api

from tests.support.waiting import WAIT_MILLISECONDS

async_api.expect.set_options(timeout=WAIT_MILLISECONDS)
sync_api.expect.set_options(timeout=WAIT_MILLISECONDS)
