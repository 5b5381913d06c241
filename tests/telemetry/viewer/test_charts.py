"""Charts as geometry."""

from __future__ import annotations

import pytest

from telemetry.viewer.charts import HEIGHT, WIDTH, histogram, trend


def test_a_histogram_has_every_value_in_one_bar() -> None:
    """What is far out is in the last one, and doesn't flatten the others."""
    values = [0.1] * 500 + [0.25] * 500 + [99.0]
    found = histogram(values)
    assert sum(bar.count for bar in found.bars) == len(values)
    assert (found.bars[-1].count, found.bars[-1].ends) == (1, None)
    assert max(bar.height for bar in found.bars) == HEIGHT
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH for bar in found.bars)
    assert [round(tick.value, 3) for tick in found.ticks] == [0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [1e-9], [1e6], [-1.0, 2.0]])
def test_any_values_can_be_drawn(values: list[float]) -> None:
    """None, one, the same, tiny, huge, and those of a clock that was set back."""
    assert sum(bar.count for bar in histogram(values).bars) == len(values)
    found = trend([5.0] * len(values), values)
    assert sum(point.count for point in found.points) == len(values)


def test_a_trend_is_in_order_of_time() -> None:
    """Two percentiles of each piece of it; a piece without a value isn't there."""
    found = trend([0.0, 0.0, 100.0], [1.0, 3.0, 2.0])
    assert [(point.count, point.p50, point.p95) for point in found.points] == [
        (2, 1.0, 3.0),
        (1, 2.0, 2.0),
    ]
    assert (found.begins, found.ends) == (0.0, 100.0)
    assert found.points[0].y95 < found.points[0].y50 <= HEIGHT
    assert len(found.line("y50").split()) == 2
