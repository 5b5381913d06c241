"""What every test shares: asyncio, and telemetry that delivers into memory."""

from __future__ import annotations

import gc
import os
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


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """An environment that each test leaves as it found it: others would fail for it, far away."""
    # pytest's own, and what loading a model sets for the rest of the process
    others = {"PYTEST_CURRENT_TEST": "", "MOONSHINE_ORT_SINGLE_THREAD": "1"}
    before = os.environ | others
    yield
    after = os.environ | others
    os.environ.clear()
    os.environ.update(before)
    assert after == before, "the test changed the environment and did not put it back"


@pytest.fixture(scope="module")
def settled() -> Iterator[None]:
    """A heap in which only what a module's tests make is looked through, by the collector and
    :func:`gc.get_objects`: what was there before, all tests' modules among it, takes half a second.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


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
