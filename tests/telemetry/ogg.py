"""Recordings as samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import av
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HZ: Final = 48_000


def samples_of(path: Path) -> NDArray[np.int16]:
    """The samples of a recording, a row for each channel."""
    with av.open(path) as file:
        frames = [frame.to_ndarray() for frame in file.decode(audio=0)]
    return np.asarray(np.clip(np.concatenate(frames, axis=1), -1, 1) * 32_767, np.int16)
