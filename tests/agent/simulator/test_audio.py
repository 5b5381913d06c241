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


def test_wrong_format_says_what_it_is_and_how_to_convert_it(tmp_path: Path) -> None:
    """A WAV in another format is refused in one line, with the command that converts it."""
    path = write_wav(tmp_path / "cd.wav", tone(0.1, rate=44_100), rate=44_100, channels=2)
    with pytest.raises(ValueError, match="44100 Hz, 2 channels, 16 bits") as refused:
        read_speech(path)
    assert "ffmpeg -i" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no such file"),
        (b"", "cut short"),
        (b"ID3 this is an MP3 file", "not a PCM WAV file"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    """What isn't a WAV file, or isn't there, is refused with the reason."""
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
