"""The line does to a caller's audio what its conditions say, and the same again for the seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent.errors import InputError
from agent.simulator.audio import FRAME_BYTES, SILENCE, Speech, read_speech
from agent.simulator.impairment import (
    NOMINAL_LEVEL_RMS,
    Arrival,
    Conditions,
    Impairment,
    active_level,
    noise,
)
from config import scenario_files
from tests.agent.simulator.recordings import tone

EVERYTHING = Conditions.parse("snr=20,loss=0.05,jitter=40,gap=200,clip=150,echo=-30")
LOUD = tone(0.02)


@pytest.fixture(scope="module")
def speech() -> Speech:
    """A shipped recording."""
    return read_speech(scenario_files()[0].parent / "audio" / "booking-3.wav")


def line(conditions: Conditions, seed: int = 7, level: float = NOMINAL_LEVEL_RMS) -> Impairment:
    return Impairment(conditions, np.random.default_rng(seed), level=level)


def sent(impairment: Impairment, frames: list[bytes]) -> list[bytes]:
    return [impairment.outgoing(frame, LOUD)[1] for frame in frames]


def pcm(*frames: bytes) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.frombuffer(b"".join(frames), "<i2").astype(np.float64)


def test_conditions_are_read_as_they_are_written() -> None:
    """What ``str`` writes, ``parse`` reads; a line with nothing wrong is called clean."""
    text = "snr=20,loss=0.02,jitter=40,gap=200,clip=150,echo=-30"
    assert str(Conditions.parse(text)) == text
    assert Conditions.parse(" snr = 0 ") == Conditions(snr_db=0)
    assert str(Conditions(snr_db=0)) == "snr=0"
    assert Conditions.parse("clean") == Conditions()
    assert str(Conditions()) == "clean"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("snr=20,los=0.02", "unknown condition 'los'; known are snr, loss, jitter, gap, clip"),
        ("snr", "snr needs a number, as in"),
        ("snr=loud", "snr needs a number"),
        ("loss=2", "loss has to be 0 to 0.5, not 2"),
        ("loss=nan", "loss has to be 0 to 0.5, not nan"),
        ("echo=3", "echo_db has to be -80 to 0, not 3"),
        ("snr=3,snr=4", "snr is given twice"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(text: str, why: str) -> None:
    """The text, what is wrong with it and what it could be."""
    with pytest.raises(InputError, match=why) as refused:
        Conditions.parse(text)
    assert text in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_clean_line_changes_nothing(speech: Speech) -> None:
    """With no conditions the agent gets what the caller's microphone takes, at once."""
    clean = line(Conditions())
    for frame in speech.frames():
        assert clean.outgoing(frame, LOUD) == Arrival(0.0, frame)


def test_a_seed_is_a_line(speech: Speech) -> None:
    """The same seed makes the same line, to the bit and the microsecond; another seed another."""
    frames = list(speech.frames())
    one, again, other = (
        [impairment.outgoing(frame, LOUD) for frame in frames]
        for impairment in (line(EVERYTHING), line(EVERYTHING), line(EVERYTHING, seed=8))
    )
    assert one == again
    assert one != other


def test_one_condition_leaves_the_others_as_they_were(speech: Speech) -> None:
    """Frames are lost where they were lost before noise and jitter were added."""
    lossy, more = line(Conditions(loss=0.2)), line(Conditions(loss=0.2, snr_db=60, jitter_ms=80))
    frames = list(speech.frames())
    one, other = pcm(*sent(lossy, frames)), pcm(*sent(more, frames))
    assert np.abs(one - other).max() < 0.01 * 2**15


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_is_as_far_below_the_speech_as_asked(speech: Speech, snr_db: float) -> None:
    """Signal-to-noise ratio over the active speech, within half a decibel."""
    frames = list(speech.frames()) * 5
    level = active_level(speech.pcm)
    noisy = line(Conditions(snr_db=snr_db), level=level)
    added = pcm(*sent(noisy, frames)) - pcm(*frames)
    measured = 20 * math.log10(level * 2**15 / np.sqrt(np.square(added).mean()))
    assert measured == pytest.approx(snr_db, abs=0.5)


def test_active_level_leaves_pauses_out(speech: Speech) -> None:
    """Silence around what is said does not make it fainter."""
    assert active_level(tone(1)) == pytest.approx(8_000 / math.sqrt(2) / 2**15, rel=0.01)
    padded = SILENCE * 200 + speech.pcm[: -(len(speech.pcm) % FRAME_BYTES)] + SILENCE * 200
    assert active_level(padded) == pytest.approx(active_level(speech.pcm), rel=0.02)
    assert active_level(SILENCE) == 0


def test_noise_is_pink_and_repeats_without_a_click() -> None:
    """Each octave of it is equally loud, and its end joins its beginning."""
    room = noise(8.0, np.random.default_rng(3))
    power = np.abs(np.fft.rfft(room)) ** 2
    frequency = np.fft.rfftfreq(room.size, 1 / 16_000)
    low, high = (
        power[(frequency >= start) & (frequency < 2 * start)].sum() for start in (400, 1600)
    )
    assert abs(10 * math.log10(high / low)) < 1
    assert abs(room[0] - room[-1]) < 3 * np.abs(np.diff(room)).std()


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.3])
def test_as_many_frames_are_lost_as_asked_and_in_bursts(loss: float) -> None:
    """The share of lost frames is right over a long call, and losses come two at a time."""
    lossy = line(Conditions(loss=loss))
    lost = np.array([lossy.outgoing(LOUD).swallowed for _ in range(60_000)])
    bursts = np.count_nonzero(np.diff(lost.astype(np.int8)) == 1)
    assert lost.mean() == pytest.approx(loss, rel=0.15)
    assert lost.sum() / bursts == pytest.approx(2, rel=0.1)


def test_a_frame_that_is_lost_is_filled_in() -> None:
    """A short loss is filled in as a receiver does it, a long one ends in silence."""
    gaps = line(Conditions(gap_ms=200))
    arrivals = [gaps.outgoing(LOUD) for _ in range(3000)]
    start = next(n for n, arrival in enumerate(arrivals) if arrival.swallowed)
    peaks = [int(np.abs(pcm(arrival.frame)).max()) for arrival in arrivals[start : start + 11]]
    assert peaks[0] == 8000 > peaks[1] > peaks[2] > peaks[3] == 0
    assert set(peaks[3:10]) == {0}
    assert peaks[10] == 8000


def test_what_the_line_swallows_is_told() -> None:
    """A frame that is lost, and one that can't be told from the noise; no other."""
    assert not line(Conditions()).outgoing(LOUD).swallowed
    lossy = line(Conditions(loss=0.5))
    assert 0 < sum(lossy.outgoing(LOUD).swallowed for _ in range(100)) < 100
    faint = tone(0.02, amplitude=400)
    level = 8000 / 2**15 / math.sqrt(2)
    assert line(Conditions(snr_db=20), level=level).outgoing(faint).swallowed
    assert not line(Conditions(snr_db=40), level=level).outgoing(faint).swallowed


def test_gaps_are_as_long_as_asked_and_now_and_then() -> None:
    """Each lasts its time, and there is one about every five seconds."""
    gaps = line(Conditions(gap_ms=200))
    lost = np.array([gaps.outgoing(LOUD).swallowed for _ in range(30_000)], np.int8)
    starts, ends = np.flatnonzero(np.diff(lost) == 1), np.flatnonzero(np.diff(lost) == -1)
    lengths = {int(end - start) for start, end in zip(starts, ends, strict=False)}
    assert lengths <= {10, 11}
    assert starts.size == pytest.approx(30_000 * 0.02 / 5.2, rel=0.25)


def test_frames_are_late_but_in_order() -> None:
    """No frame is more than the jitter late, and none arrives before the one before it."""
    late = line(Conditions(jitter_ms=80))
    delays = [late.outgoing(LOUD)[0] for _ in range(2000)]
    arrivals = [0.02 * number + delay for number, delay in enumerate(delays)]
    assert np.diff(arrivals).min() > -1e-9
    assert max(delays) <= 0.08 < max(delays) + 0.01
    assert len(set(delays)) > 1000


def test_the_start_of_each_utterance_is_cut() -> None:
    """So much from its first audible sample on; a short pause makes no new utterance."""
    clipped = line(Conditions(clip_start_ms=150))
    word, pause, silence = tone(0.4), SILENCE * 10, SILENCE * 50
    said = silence + word + pause + word + silence + word
    frames = [said[at : at + FRAME_BYTES] for at in range(0, len(said), FRAME_BYTES)]
    assert len(frames[-1]) == FRAME_BYTES
    cut = bytes(round(0.15 * 16_000) * 2)
    rest = word[len(cut) :]
    expected = silence + cut + rest + pause + word + silence + cut + rest
    assert b"".join(sent(clipped, frames)) == expected


def test_what_the_caller_hears_comes_back() -> None:
    """120 ms later, and so much fainter; when nothing is heard nothing comes back."""
    echoing = line(Conditions(echo_db=-20))
    heard: list[bytes | None] = [LOUD, *[None] * 9]
    returned = [pcm(echoing.outgoing(SILENCE, each)[1]) for each in heard]
    assert [number for number, frame in enumerate(returned) if frame.any()] == [6]
    assert np.abs(returned[6] - 0.1 * pcm(LOUD)).max() <= 0.5
