"""What can be heard, in silence and over noise."""

from __future__ import annotations

import numpy as np
import pytest

from agent.audio import (
    LONG_SILENCE_SECONDS,
    QUIET_PEAK,
    Silence,
    audible,
    last_over_noise,
    noise_level,
)
from agent.simulator.audio import FRAME_BYTES, SAMPLE_RATE_HZ, SILENCE, last_audible, read_speech
from agent.simulator.impairment import Conditions, Impairment, active_level
from config import scenario_files

FRAME_SAMPLES = FRAME_BYTES // 2
NOTICED_AFTER = 20
"""Frames of silence after which detection notices that somebody is silent."""
BEFORE = 200
"""Frames of noise before somebody speaks."""


@pytest.mark.parametrize(
    ("conditions", "closeness"), [("clean", 0.001), ("snr=30", 0.05), ("snr=20,loss=0.02", 0.09)]
)
def test_the_end_of_speech_is_found_over_noise(conditions: str, closeness: float) -> None:
    """Noise that can be heard goes on after the words; where they end is still found."""
    for name in ("booking-2", "booking-3", "barge_in-2", "correction-3"):
        speech = read_speech(scenario_files()[0].parent / "audio" / f"{name}.wav")
        line = Impairment(
            Conditions.parse(conditions), np.random.default_rng(1), level=active_level(speech.pcm)
        )
        said = [SILENCE] * BEFORE + [*speech.frames()] + [SILENCE] * NOTICED_AFTER
        heard = b"".join(line.outgoing(frame).frame for frame in said)
        found = last_over_noise(heard, FRAME_SAMPLES, 100)
        assert found is not None
        ends = last_audible(b"".join(said))
        assert found / SAMPLE_RATE_HZ == pytest.approx(ends, abs=closeness)


def test_noise_that_swells_is_no_voice() -> None:
    """Whatever the noise does after the words, it is never taken for more of them."""
    speech = read_speech(scenario_files()[0].parent / "audio" / "opening_hours-1.wav")
    said = [SILENCE] * BEFORE + [*speech.frames()] + [SILENCE] * NOTICED_AFTER
    ends = last_audible(b"".join(said))
    assert ends is not None
    for seed in range(60):
        line = Impairment(
            Conditions(snr_db=20), np.random.default_rng(seed), level=active_level(speech.pcm)
        )
        heard = b"".join(line.outgoing(frame).frame for frame in said)
        found = last_over_noise(heard, FRAME_SAMPLES, 100)
        assert found is not None
        assert found / SAMPLE_RATE_HZ < ends + 0.05, seed


def test_what_was_heard_long_ago_is_not_the_end_of_what_is_said() -> None:
    """Only the latest frames are looked at; those before tell what is noise."""
    loud = (8000).to_bytes(2, "little") * 320
    said = loud + SILENCE * 100
    assert last_over_noise(said, FRAME_SAMPLES, 101) == 319
    assert last_over_noise(said, FRAME_SAMPLES, 100) is None


def test_of_the_oldest_frame_there_may_be_a_part() -> None:
    """Frames are counted from the end; the sample that is found is one of all."""
    loud = (8000).to_bytes(2, "little") * FRAME_SAMPLES
    said = bytes(2 * 7) + loud + SILENCE * 50
    assert last_over_noise(said, FRAME_SAMPLES, 100) == 7 + FRAME_SAMPLES - 1


def test_noise_alone_is_not_heard() -> None:
    """Where nobody speaks nothing stands out, however loud the room."""
    line = Impairment(Conditions(snr_db=10), np.random.default_rng(1))
    room = [line.outgoing(SILENCE).frame for _ in range(300)]
    assert audible(b"".join(room)).size
    assert not any(audible(frame, noise_level(room)).size for frame in room)
    assert last_over_noise(b"".join(room), FRAME_SAMPLES, 300) is None
    assert last_over_noise(SILENCE * 100, FRAME_SAMPLES, 100) is None
    assert last_over_noise(SILENCE[2:], FRAME_SAMPLES, 100) is None
    assert last_over_noise(b"", FRAME_SAMPLES, 100) is None


def test_a_long_silence() -> None:
    """It begins after a while in which nothing could be heard, however soft, and is over with
    the first sound."""
    silence = Silence(16_000)
    faint, soft = (QUIET_PEAK - 1, QUIET_PEAK)
    for _ in range(round(LONG_SILENCE_SECONDS * 50)):
        silence.hear(np.array([faint, -faint] * 160, "<i2").tobytes())
        assert not silence.is_long
    silence.hear(bytes(640))
    assert silence.is_long
    silence.hear(np.array([0, -soft] * 160, "<i2").tobytes())
    assert not silence.is_long
