"""The lifecycles, in each of which a test holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.telemetry.conformance.whole import LIFECYCLES

if TYPE_CHECKING:
    from tests.telemetry.conformance.whole import Lifecycle


@pytest.fixture(params=LIFECYCLES)
def lifecycle(request: pytest.FixtureRequest) -> Lifecycle:
    """How Sentry gets the spans."""
    chosen: Lifecycle = request.param
    return chosen
