"""Latency that adds up: whatever is known of a turn, in whatever order it happened."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import attributes as names
from telemetry.integrations.livekit import Marks, tile
from telemetry.integrations.livekit.latency import Step, percentiles

if TYPE_CHECKING:
    from telemetry.integrations.livekit import Stage

times = st.integers(min_value=1_000, max_value=1_100).map(float)
maybe = st.none() | times
steps = st.builds(
    Step, times, first_token_at=maybe, ended_at=maybe, tools_at=maybe, tools_ended_at=maybe
)
anything = st.builds(
    Marks,
    voiced_until=maybe,
    speech_ended=maybe,
    transcript_at=maybe,
    decided_at=maybe,
    steps=st.lists(steps, max_size=4),
    synthesis_at=maybe,
    first_byte_at=maybe,
    first_frame_at=maybe,
    audible_at=maybe,
)


@given(anything)
def test_stages_tile_the_response(marks: Marks) -> None:
    """No gap, no overlap, no empty stage, and they sum to the wait, for marks in any order."""
    stages = tile(marks)
    start, end = marks.voiced_until, marks.audible_at or marks.first_frame_at
    if start is None or end is None or end <= start:
        assert stages == []
        return
    assert (stages[0].started_at, stages[-1].ended_at) == (start, end)
    assert all(before.ended_at == after.started_at for before, after in pairwise(stages))
    assert all(stage.duration > 0 for stage in stages)
    assert sum(stage.duration for stage in stages) == end - start
    assert {stage.name for stage in stages} <= set(names.STAGES)


def told(stages: list[Stage]) -> list[tuple[str, float]]:
    return [(stage.name, stage.duration) for stage in stages]


def test_a_plain_answer() -> None:
    """Each stage is what lies between its two marks."""
    marks = Marks(0.0, 1.0, 3.0, 6.0, [Step(6.0, 10.0, 40.0)], 15.0, 21.0, 28.0, 36.0)
    assert told(tile(marks)) == [
        ("endpointing", 1.0),
        ("transcription", 2.0),
        ("turn_decision", 3.0),
        ("llm", 4.0),
        ("first_sentence", 5.0),
        ("synthesis", 6.0),
        ("audio_out", 7.0),
        ("leading_silence", 8.0),
    ]


def test_an_answer_made_ahead_of_time() -> None:
    """What was done while the turn was still being decided took the caller no time."""
    marks = Marks(0.0, 1.0, 3.0, 9.0, [Step(4.0, 5.0, 8.0)], 6.0, 7.0, 10.0)
    assert told(tile(marks)) == [
        ("endpointing", 1.0),
        ("transcription", 2.0),
        ("turn_decision", 6.0),
        ("audio_out", 1.0),
    ]


def test_an_answer_after_tools() -> None:
    """The model until it called the tool, the tool until its result, the model again."""
    steps = [Step(1.0, 2.0, 3.5, 3.0, 10.0), Step(10.0, 12.0, 20.0)]
    marks = Marks(0.0, 1.0, None, None, steps, 13.0, 14.0, 15.0)
    assert told(tile(marks)) == [
        ("endpointing", 1.0),
        ("llm", 2.0),
        ("tools", 7.0),
        ("llm", 2.0),
        ("first_sentence", 1.0),
        ("synthesis", 1.0),
        ("audio_out", 1.0),
    ]


def test_a_tool_that_speaks_while_it_works() -> None:
    """The wait ends with the tool's words, not with its result."""
    steps = [Step(1.0, 2.0, 3.5, 3.0, 30.0), Step(30.0, 31.0, 32.0)]
    marks = Marks(0.0, 1.0, None, None, steps, 5.0, 6.0, 7.0)
    assert told(tile(marks)) == [
        ("endpointing", 1.0),
        ("llm", 2.0),
        ("tools", 2.0),
        ("synthesis", 1.0),
        ("audio_out", 1.0),
    ]


@pytest.mark.parametrize("marks", [Marks(), Marks(voiced_until=1.0), Marks(audible_at=1.0)])
def test_what_answers_nobody_has_no_latency(marks: Marks) -> None:
    """A greeting, or a turn without an answer."""
    assert tile(marks) == []


def test_percentiles_are_latencies_that_occurred() -> None:
    """Nearest rank: of twenty, the tenth and the nineteenth."""
    assert percentiles([n / 10 for n in range(20, 0, -1)]) == {
        names.RESPONSE_LATENCY_P50: 1.0,
        names.RESPONSE_LATENCY_P95: 1.9,
    }
    assert percentiles([]) == {}
