"""What keeps these tests free of servers."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def data_folder() -> None:
    """Refuse what every server's fixture begins with."""
    pytest.fail("tests/unit starts no server: a test that needs one belongs to tests/integration")
