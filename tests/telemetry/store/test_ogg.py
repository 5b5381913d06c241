"""The length of a file that may end anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry.store.ogg import seconds_of

if TYPE_CHECKING:
    from pathlib import Path


def _page(samples: int, body: bytes = b"") -> bytes:
    """A page of Ogg, as far as it is read."""
    sizes = [255] * (len(body) // 255) + [len(body) % 255]
    head = b"OggS\0\0" + samples.to_bytes(8, "little") + bytes(12)
    return head + bytes([len(sizes), *sizes]) + body


_HEAD = _page(0, b"OpusHead\x01\x02" + (312).to_bytes(2, "little") + bytes(7))


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (_HEAD + _page(48_312, b"x" * 500) + _page(96_312, b"y" * 500), 2.0),
        (_HEAD + _page(48_312, b"x" * 500) + _page(2**64 - 1, b"y" * 500), 1.0),
        (_HEAD + _page(48_312, b"x" * 500) + b"OggS\0\0\1", 1.0),
        (_HEAD + _page(48_312, b"x" * 500) + _page(96_312, b"y" * 500)[:-1], 1.0),
        (_HEAD + _page(48_312) + b"z" * 200_000, None),
        (_HEAD, 0.0),
        (b"", None),
        (b"RIFF" + bytes(100), None),
    ],
)
def test_up_to_the_last_page_that_says_it(
    tmp_path: Path, content: bytes, seconds: float | None
) -> None:
    """A page without the end of a packet, and a part of one, say nothing; no file has no length."""
    path = tmp_path / "a.ogg"
    assert seconds_of(path) is None
    path.write_bytes(content)
    assert seconds_of(path) == seconds
