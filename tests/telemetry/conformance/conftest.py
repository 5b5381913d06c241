"""Telemetry that delivers into memory, in each lifecycle."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from telemetry.testing import Captured, capture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .whole import Lifecycle


@pytest.fixture
def captured(lifecycle: Lifecycle) -> Iterator[Captured]:
    """Telemetry in strict mode: a lost conversation is an error where it is lost."""
    with capture(lifecycle=lifecycle) as captured:
        yield captured


@pytest.fixture
def collector(settled: None) -> Iterator[None]:
    """Garbage is collected when a case says so, and at no other time."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
