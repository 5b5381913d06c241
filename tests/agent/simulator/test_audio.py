"""Recordings are read or refused; audible samples are found where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.simulator.audio import FRAME_BYTES, first_audible, last_audible, read_speech
from tests.agent.simulator.recordings import silence, tone, write_wav

if TYPE_CHECKING:
    from pathlib import Path


def test_reads_speech(tmp_path: Path) -> None:
    """A 16 kHz mono PCM16 file is read, and comes in whole frames."""
    speech = read_speech(write_wav(tmp_path / "a.wav", tone(0.05)))
    assert speech.seconds == 0.05
    assert [len(frame) for frame in speech.frames()] == [FRAME_BYTES] * 3
    assert b"".join(speech.frames()) == tone(0.05) + silence(0.01)


def test_a_recording_of_another_format_is_read(tmp_path: Path) -> None:
    """A WAV of a CD is as long as it is, and as loud; test_recording.py has other kinds."""
    two = b"".join(2 * sample for sample in _samples(tone(0.1, rate=44_100)))
    speech = read_speech(write_wav(tmp_path / "cd.wav", two, rate=44_100, channels=2))
    assert speech.seconds == pytest.approx(0.1, abs=0.001)
    loudest = max(abs(int.from_bytes(each, "little", signed=True)) for each in _samples(speech.pcm))
    assert loudest == pytest.approx(8_000, rel=0.05)


def _samples(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + 2] for at in range(0, len(pcm), 2)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"ID3 this is no MP3 file", "no recording that can be read"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    """What isn't a recording, or isn't there, is refused with the reason."""
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=why):
        read_speech(path)


def test_silent_recording_is_refused(tmp_path: Path) -> None:
    """A recording without one audible sample could never be measured from."""
    with pytest.raises(ValueError, match="is silent"):
        read_speech(write_wav(tmp_path / "a.wav", silence(0.1)))


def test_audible_samples_are_found_to_the_sample() -> None:
    """The first and last sample from 1 % of full scale on are found; fainter ones are not."""
    faint, loud, quiet = b"\x47\x01", b"\x48\x01", bytes(2)  # 327 and 328 of 32,768
    pcm = faint * 100 + loud + quiet * 20 + loud + faint * 30
    assert first_audible(pcm) == 100 / 16_000
    assert last_audible(pcm) == 121 / 16_000
    assert first_audible(b"\x00\x80") == 0
    assert first_audible(faint * 320) is last_audible(faint * 320) is None
