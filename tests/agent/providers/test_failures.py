"""The reasons that failures of providers are counted by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError

from agent.providers.failures import reason_of

if TYPE_CHECKING:
    from agent.providers.failures import Reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (APIStatusError("", status_code=429), "rate_limited"),
        (APIStatusError("", status_code=401), "refused"),
        (APIStatusError("", status_code=503), "failed"),
        (APITimeoutError(), "timeout"),
        (APIConnectionError(), "connection"),
        (APIError("no audio"), "failed"),
        (ValueError(), "other"),
    ],
)
def test_each_has_one(error: Exception, reason: Reason) -> None:
    """By what LiveKit's plugins raise."""
    assert reason_of(error) == reason


@pytest.mark.parametrize("cause", [TimeoutError(), httpx2.ReadTimeout("late")])
def test_a_time_limit_behind_a_failed_connection(cause: Exception) -> None:
    """A plugin that calls everything a connection's failure is seen through."""
    error = APIConnectionError()
    error.__cause__ = RuntimeError()
    error.__cause__.__cause__ = cause
    assert reason_of(error) == "timeout"
