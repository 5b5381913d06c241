"""What is said with pauses: they are as long as the scenario says, whatever the recordings have."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from agent.audio import audible
from agent.simulator.audio import SAMPLE_RATE_HZ, Speech
from agent.simulator.sentence import Sentence
from tests.agent.simulator.recordings import silence, tone

PIECE = Speech(Path("a.wav"), silence(0.2) + tone(0.3) + silence(0.1))


def gaps(pcm: bytes) -> list[float]:
    """The silences between what can be heard that are longer than a wave, in seconds."""
    heard = audible(pcm)
    return [(b - a - 1) / SAMPLE_RATE_HZ for a, b in pairwise(heard) if b - a > 160]


def test_one_recording_is_said_as_it_is() -> None:
    """Without a pause nothing is changed, whatever the chance."""
    sentence = Sentence((PIECE,))
    assert sentence.pcm == PIECE.pcm
    assert sentence.varied(np.random.default_rng(1)) == sentence
    assert (sentence.path, sentence.seconds) == (PIECE.path, 0.6)


@pytest.mark.parametrize("pause_ms", [20, 150, 299, 300, 600])
def test_a_pause_is_from_voice_to_voice(pause_ms: int) -> None:
    """The silence at the ends of the recordings is a part of it, or is cut."""
    sentence = Sentence((PIECE, PIECE, PIECE), (pause_ms, 700))
    assert gaps(sentence.pcm) == pytest.approx([pause_ms / 1000, 0.7], abs=0.001)
    assert sentence.seconds == pytest.approx(0.2 + 3 * 0.3 + pause_ms / 1000 + 0.7 + 0.1, abs=0.002)
    assert len(sentence.pcm) % 2 == 0


def test_what_is_too_faint_to_count_is_kept() -> None:
    """A word's last sound fades out; it isn't cut where it stops being heard."""
    faint = tone(0.05, amplitude=200)
    before = Speech(Path("a.wav"), tone(0.3) + faint)
    after = Speech(Path("b.wav"), faint + tone(0.3))
    loud = np.abs(np.frombuffer(Sentence((before, after), (300,)).pcm, "<i2"))
    assert loud[int(0.3 * 16_000) :][:700].max() > 100
    assert loud[int(0.6 * 16_000) - 700 :][:700].max() > 100


def test_pauses_vary_with_the_seed() -> None:
    """By a tenth at most; the same for the same seed."""
    sentence = Sentence((PIECE, PIECE), (600,))
    seeds = [sentence.varied(np.random.default_rng(seed)).pauses_ms[0] for seed in range(50)]
    assert len(set(seeds)) > 20
    assert 540 <= min(seeds) < 560
    assert 640 < max(seeds) <= 660
    assert seeds[0] == sentence.varied(np.random.default_rng(0)).pauses_ms[0]
