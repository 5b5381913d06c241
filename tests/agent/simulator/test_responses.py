"""Response latencies that telemetry tells find their turns, and are held beside the caller's."""

from __future__ import annotations

import pytest

from agent.simulator.responses import Response, apart, match


def test_what_the_line_swallowed_nobody_can_tell() -> None:
    """Telemetry may count from the last sample that surely reached the agent, or any after it."""
    assert apart(0.6, 0.6, 0.0) == 0
    assert apart(0.7, 0.6, 0.2) == 0
    assert apart(0.9, 0.6, 0.2) == pytest.approx(0.1)
    assert apart(0.5, 0.6, 0.2) == pytest.approx(0.1)


def test_responses_go_to_the_turn_they_answer() -> None:
    """Responses are matched by when the caller fell silent; a far one, or none, matches nothing."""
    told = [Response(at, 0.5, {}) for at in (10.0, 20.0, 33.0)]
    matched = match(told, [10.1, None, 19.9, 20.2, 30.0])
    assert matched == [told[0], None, told[1], None, None]
