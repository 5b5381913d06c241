"""A caller's budgets: what anybody may do is taken, more is refused, once and for a reason."""

from __future__ import annotations

import pytest

from agent.gateway.budget import (
    CHARACTERS_WITHIN_SECONDS,
    MAX_AHEAD_SECONDS,
    MAX_TYPED_CHARACTERS,
    MAX_TYPED_TURNS,
    TYPED_WITHIN_SECONDS,
    FramePace,
    TypedTurns,
)
from agent.gateway.protocol import FRAME_SECONDS, CloseCode, ProtocolError


def frames(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)


def test_a_fast_sound_card_for_an_hour() -> None:
    """A clock that is a hundredth fast is never ahead by much."""
    pace = FramePace()
    for number in range(frames(3600)):
        pace.count(number * FRAME_SECONDS / 1.01, FRAME_SECONDS)


def test_a_network_that_stood_still() -> None:
    """What it held back may come at once, as often as it happens."""
    pace = FramePace()
    for minute in range(10):
        for _ in range(frames(MAX_AHEAD_SECONDS) - 1):
            pace.count(60.0 * minute, FRAME_SECONDS)


def sent_until_refused(pace: FramePace, *, times_real: float) -> float:
    """Seconds of audio that are taken at so many times the pace of real time."""
    for number in range(frames(3600)):
        try:
            pace.count(number * FRAME_SECONDS / times_real, FRAME_SECONDS)
        except ProtocolError as error:
            refused = error.code, error.reason
            break
    assert refused == (CloseCode.TOO_FAST, "more than 10 s of audio ahead of real time")
    return number * FRAME_SECONDS


def test_twice_real_time() -> None:
    """Who sends at twice the pace is stopped once it is as far ahead as anybody may be."""
    sent = sent_until_refused(FramePace(), times_real=2)
    assert 2 * MAX_AHEAD_SECONDS <= sent < 2.1 * MAX_AHEAD_SECONDS


def test_silence_is_no_credit() -> None:
    """Who sent nothing for an hour may be no further ahead than anybody else."""
    pace = FramePace()
    pace.count(-3600.0, FRAME_SECONDS)
    assert sent_until_refused(pace, times_real=1e9) == pytest.approx(MAX_AHEAD_SECONDS, abs=0.1)


def test_typed_turns() -> None:
    """Ten are taken in ten seconds; another one when the first is older than that."""
    typed = TypedTurns()
    for _ in range(MAX_TYPED_TURNS):
        typed.count(1.0)
    with pytest.raises(ProtocolError, match="more than 10 typed turns in 10 s"):
        typed.count(1.0 + TYPED_WITHIN_SECONDS / 2)
    typed.count(1.0 + TYPED_WITHIN_SECONDS)


def test_typed_characters() -> None:
    """So many are taken in a minute, however they are divided; then as many in the next."""
    typed = TypedTurns()
    for part in range(4):
        typed.measure(float(part), MAX_TYPED_CHARACTERS // 4)
    typed.measure(CHARACTERS_WITHIN_SECONDS, MAX_TYPED_CHARACTERS // 4)
    with pytest.raises(ProtocolError, match="more than 20000 typed characters in 60 s"):
        typed.measure(CHARACTERS_WITHIN_SECONDS, 1)
