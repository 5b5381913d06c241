"""What isn't there is filled in with the voice that was."""

from __future__ import annotations

import numpy as np
import pytest

from agent.simulator.concealment import FULL_SECONDS, SILENT_AFTER_SECONDS, Concealment

RATE = 16_000
FRAME = 320


def voice(hertz: float, frames: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A hum with overtones, as a voice has them."""
    at = np.arange(frames * FRAME) / RATE
    hum = sum(np.sin(2 * np.pi * n * hertz * at) / n for n in (1, 2, 3))
    return np.asarray(8000 * hum, np.float32).reshape(frames, FRAME)


@pytest.mark.parametrize("hertz", [80.0, 125.0, 200.0, 320.0])
def test_a_voice_goes_on(hertz: float) -> None:
    """While it is filled in as loud as it was, it is the hum that was lost."""
    said = voice(hertz, 6)
    receiver = Concealment(RATE)
    for frame in said[:5]:
        assert receiver.arrived(frame) is frame
    filled, full = receiver.lost(FRAME), round(FULL_SECONDS * RATE)
    error = np.square(filled[:full] - said[5][:full]).mean() / np.square(said[5][:full]).mean()
    assert error < 0.1


def test_it_fades_into_silence() -> None:
    """Evenly, over frames of any length, and begins anew after the next frame that arrives."""
    receiver = Concealment(RATE)
    for frame in voice(125.0, 5):
        receiver.arrived(frame)
    filled = np.concatenate([receiver.lost(size) for size in (100, 400, 700)])
    loudness = [float(np.abs(filled[at : at + 128]).max()) for at in range(0, 896, 128)]
    assert loudness == sorted(loudness, reverse=True)
    assert not filled[round(SILENT_AFTER_SECONDS * RATE) :].any()
    receiver.arrived(voice(125.0, 1)[0])
    assert np.abs(receiver.lost(FRAME)).max() > 0.9 * loudness[0]


def test_nothing_is_made_of_nothing() -> None:
    """A line that loses its first frames is silent."""
    assert not Concealment(RATE).lost(FRAME).any()
