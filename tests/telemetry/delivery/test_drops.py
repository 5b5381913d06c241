"""What was dropped: counted by reason, and trouble for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.delivery import drops
from telemetry.delivery.drops import OVERFLOW, TOO_LARGE, Drops

if TYPE_CHECKING:
    import pytest


def test_what_was_dropped_lately_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its count since the start; after some minutes without more it is no trouble any more."""

    class Clock:
        now = 1_000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(drops, "time", clock)
    counted = Drops()
    counted.add(TOO_LARGE, 0)
    assert counted.told() == []
    counted.add(TOO_LARGE, 3)
    clock.now += drops.RECENT_SECONDS - 1
    counted.add(OVERFLOW)
    [told] = counted.told()
    assert told == (
        "spans or events were dropped in the last 5 min: queue_overflow (1 since the start), "
        "too_large (3 since the start)"
    )
    clock.now += 1
    [told] = counted.told()
    assert "too_large" not in told
    clock.now += drops.RECENT_SECONDS
    assert counted.told() == []
    assert counted.read() == {TOO_LARGE: 3, OVERFLOW: 1}
