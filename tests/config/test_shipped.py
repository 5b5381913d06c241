"""The shipped configuration is found, and its recordings can be measured by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.audio import AUDIBLE_SHARE
from agent.simulator.audio import SAMPLE_RATE_HZ, read_speech
from config import scenario_files

RECORDINGS = sorted((Path(__file__).parents[2] / "config" / "scenarios").rglob("*.wav"))


def test_scenario_files_are_yaml_by_name() -> None:
    """What ships is found wherever the package is installed, in a stable order; what is in a
    folder only when that is named."""
    files, further = scenario_files(), scenario_files("pauses")
    for found in (files, further):
        assert found == sorted(found)
        assert all(file.suffix == ".yaml" and file.is_file() for file in found)
    assert {file.parent.name for file in further} == {"pauses"}
    assert not set(files) & set(further)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_where_a_voice_ends_is_no_matter_of_a_decibel(path: Path) -> None:
    """3 dB more or less, as a codec may make of it: it ends in the same 40 ms at both ends."""
    loud = np.abs(np.frombuffer(read_speech(path).pcm, "<i2") / 2**15)
    ends = [
        np.flatnonzero(loud >= AUDIBLE_SHARE * by)[-1] / SAMPLE_RATE_HZ for by in (2**-0.5, 2**0.5)
    ]
    assert ends[0] - ends[1] <= 0.04
