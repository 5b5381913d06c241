"""What every test shares: asyncio, and telemetry that delivers into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sentry_sdk

from telemetry.testing import Captured, capture

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """LiveKit needs asyncio, so that is what everything runs on."""
    return "asyncio"


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Telemetry in strict mode, delivering into memory."""
    with capture() as captured:
        yield captured


@pytest.fixture(autouse=True)
def fresh_scopes() -> Iterator[None]:
    """Sentry scopes of the test's own: no tag, user or breadcrumb of an earlier one."""
    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        yield
