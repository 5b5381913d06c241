"""The length of an Ogg/Opus file, as far as it was written: of one that nobody completed, too.

Each page says how many samples there are up to its end (RFC 7845, 4); the first says how many of
them are the encoder's own, and not to be played.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ: Final = 48_000
_PAGE: Final = b"OggS"
_HEAD: Final = b"OpusHead"
_LONGEST_PAGE: Final = 65_307
"""Bytes, by the format."""
_SIZES: Final = 27
"""Bytes of a page before the sizes of its segments; the last says how many there are."""
_UNFINISHED: Final = 2**64 - 1
"""In place of a number of samples, on a page in which no packet ends."""


def seconds_of(path: Path) -> float | None:
    """The length of a file in seconds; None if nothing of it can be played."""
    try:
        with path.open("rb") as file:
            first = file.read(_LONGEST_PAGE)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * _LONGEST_PAGE))
            last = file.read(2 * _LONGEST_PAGE)
    except OSError:
        return None
    head = first.find(_HEAD)
    if head < 0:
        return None
    skipped = int.from_bytes(first[head + 10 : head + 12], "little")
    at = len(last)
    while (at := last.rfind(_PAGE, 0, at)) >= 0:
        samples = int.from_bytes(last[at + 6 : at + 14], "little")
        if samples != _UNFINISHED and _is_whole(last, at):
            return max(0.0, (samples - skipped) / RATE_HZ)
    return None


def _is_whole(data: bytes, at: int) -> bool:
    """True if all of a page is there: its head says how long its segments are."""
    sizes = at + _SIZES
    if len(data) < sizes:
        return False
    begins = sizes + data[sizes - 1]
    return len(data) >= begins + sum(data[sizes:begins])
