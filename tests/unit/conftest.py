"""What unit tests share: how Hypothesis searches, and a classroom for those that need storage."""

from __future__ import annotations

import hypothesis
import pytest

from domain.settings import Settings
from tests.fundamentals.conftest import classroom, shared_database_url, shared_repository

__all__ = ["classroom", "shared_database_url", "shared_repository"]

hypothesis.settings.register_profile(  # a busy machine is slow, not wrong
    "quiz", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("quiz")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test depend on the environment it is started in."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
