"""The time at which audio was spoken, whenever it arrives."""

from __future__ import annotations

import random

import pytest

from telemetry.integrations.livekit.arrivals import BATCHES, Arrivals

FRAME = 0.02


def _batch(arrivals: Arrivals, start: float, late: list[float]) -> float:
    """Frames that follow one another from then on, each so late; the end of the last."""
    for number, each in enumerate(late, 1):
        arrivals.add(start + number * FRAME + each, FRAME)
    return start + len(late) * FRAME


def test_one_frame_in_time_is_enough() -> None:
    """However late the others come."""
    arrivals = Arrivals()
    draw = random.Random(1)
    end = 100.0
    for _ in range(20):
        late = [draw.uniform(0, 0.08) for _ in range(24)] + [0.0]
        draw.shuffle(late)
        end = _batch(arrivals, end, late)
        assert arrivals.spoken_until(is_last=False) == pytest.approx(end)


def test_a_batch_that_is_late_is_where_those_before_say() -> None:
    """A stall of up to a tenth of a second moves nothing."""
    arrivals = Arrivals()
    end = _batch(arrivals, 100.0, [0.0] * 25)
    arrivals.spoken_until(is_last=False)
    end = _batch(arrivals, end, [0.09] * 25)
    assert arrivals.spoken_until(is_last=False) == pytest.approx(end)


def test_a_longer_stall_is_waited_for() -> None:
    """What comes behind it may have been in time."""
    arrivals = Arrivals()
    end = _batch(arrivals, 100.0, [0.0] * 25)
    arrivals.spoken_until(is_last=False)
    end = _batch(arrivals, end, [0.3] * 25)
    assert arrivals.spoken_until(is_last=False) is None
    end = _batch(arrivals, end, [0.0] * 5)
    assert arrivals.spoken_until(is_last=False) == pytest.approx(end)


def test_where_something_is_missing_it_begins_anew() -> None:
    """A microphone that was off for three seconds."""
    arrivals = Arrivals()
    end = _batch(arrivals, 100.0, [0.0] * 25)
    arrivals.spoken_until(is_last=False)
    end = _batch(arrivals, end + 3.0, [0.01] * 25)
    assert arrivals.spoken_until(is_last=False) is None
    assert arrivals.spoken_until(is_last=True) == pytest.approx(end + 0.01)


def test_a_clock_that_is_slower() -> None:
    """A caller's hour may be longer than ours: what was in time long ago counts no more."""
    arrivals, found = Arrivals(), None
    position = 0.0
    for _ in range(25 * 10 * BATCHES):
        position += FRAME
        arrivals.add(100.0 + position * 1.001, FRAME)
        if round(position / FRAME) % 25 == 0:
            found = arrivals.spoken_until(is_last=False)
    assert found == pytest.approx(100.0 + position * 1.001, abs=0.001 * (BATCHES + 1) * 0.5)
