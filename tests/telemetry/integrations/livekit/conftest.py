"""Everything the integration promises holds in both of Sentry's lifecycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry.testing import Captured, capture

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["transaction", "stream"])
def captured(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Telemetry in strict mode, delivering into memory, with what was said."""
    with capture(lifecycle=request.param, send_content=True) as captured:
        yield captured
