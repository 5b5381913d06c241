"""Recordings are decoded once, and tell when each side was heard."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from telemetry.viewer.waveform import PER_SECOND, Waveform, Waveforms, decoded

from .spoken import SOUND, write

if TYPE_CHECKING:
    from pathlib import Path


def edges(waveform: Waveform, side: int) -> list[tuple[float, float]]:
    return waveform.voiced(side, 0.0, waveform.seconds, earliest=0.0)


def test_each_side_is_heard_where_it_was(tmp_path: Path) -> None:
    """Left is the caller, right the agent, to two hundredths of a second."""
    write(tmp_path / "one.ogg", SOUND, 10)
    waveform = decoded(tmp_path / "one.ogg")
    assert waveform.seconds == pytest.approx(10, abs=0.05)
    for side, name in enumerate(("left", "right")):
        found = edges(waveform, side)
        assert len(found) == len(SOUND[name])
        for (at, until), (began, ended) in zip(found, SOUND[name], strict=True):
            assert at == pytest.approx(began, abs=0.02)
            assert until == pytest.approx(ended, abs=0.03)


def test_detection_that_is_late_is_made_up_for(tmp_path: Path) -> None:
    """A voice that leads into a stretch belongs to it, one before a pause doesn't."""
    write(tmp_path / "one.ogg", SOUND, 10)
    waveform = decoded(tmp_path / "one.ogg")
    [(at, _)] = waveform.voiced(0, 3.1, 3.5, earliest=2.5)
    assert at == pytest.approx(2.9, abs=0.02)
    [(at, _)] = waveform.voiced(0, 2.2, 2.6, earliest=1.0)
    assert at == pytest.approx(2.0, abs=0.02)


def test_noise_is_no_voice() -> None:
    """A voice is what stands out of the noise around it; clicks and silence are none."""
    noise, voice = round(255 * 0.03**0.5), round(255 * 0.3**0.5)
    values = bytes([noise] * 100 + [voice] * 50 + [noise] * 100)
    assert Waveform((values,)).voiced(0, 0, 2.5, earliest=0) == [(1.0, 1.5)]
    assert Waveform((bytes(100),)).voiced(0, 0, 1, earliest=0) == []
    assert Waveform((bytes([0] * 50 + [255] + [0] * 50),)).voiced(0, 0, 1, earliest=0) == []
    assert Waveform((values,)).voiced(1, 0, 2.5, earliest=0) == [], "there is no such side"


def test_a_recording_is_decoded_once(tmp_path: Path) -> None:
    """It is kept while there is room, and made anew when there is more of it."""
    one, two = tmp_path / "one.ogg", tmp_path / "two.ogg"
    for path in (one, two):
        write(path, SOUND, 10)
    waveforms = Waveforms(kept_bytes=3 * 10 * PER_SECOND)
    assert waveforms.known(one) is None
    first = waveforms.of(one)
    assert waveforms.of(one) is first
    assert waveforms.known(one) is first
    waveforms.of(two)
    assert waveforms.known(one) is None, "there is room for one of them"
    write(two, SOUND, 8)
    assert waveforms.known(two) is not None, "as it was"
    assert waveforms.of(two).seconds == pytest.approx(8, abs=0.05)


def test_a_recording_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """So it is with one that is being written, and one of a process that was killed."""
    path = tmp_path / "one.ogg"
    write(path, SOUND, 10)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert 1 < decoded(path).seconds < 9


@pytest.mark.parametrize("content", [b"", b"OggS", b"no sound" * 100])
def test_what_is_no_recording_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one.ogg"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"one\.ogg"):
        decoded(path)


def test_values_as_a_page_gets_them() -> None:
    """A byte a value, in Base64, beginning where the recording does."""
    peaks = Waveform((b"\x00\xff", b"\x01\x02")).peaks(-0.5)
    assert (peaks["at"], peaks["per_second"]) == (-0.5, PER_SECOND)
    assert [base64.b64decode(each) for each in peaks["channels"]] == [b"\x00\xff", b"\x01\x02"]
