"""Settings that say how much is kept."""

from __future__ import annotations

import pytest

from config.keeping import Keep, keep_in


@pytest.mark.parametrize(
    ("text", "keep", "shown"),
    [
        ("30d, 2GB", Keep(2_592_000, 2 * 10**9), "30d, 2GB"),
        ("500MB,12 h", Keep(43_200, 500 * 10**6), "12h, 500MB"),
        ("48h,3000MB", Keep(172_800, 3 * 10**9), "2d, 3GB"),
    ],
)
def test_an_age_and_a_size(text: str, keep: Keep, shown: str) -> None:
    """In either order, and told as briefly as can be."""
    assert keep_in(text) == keep
    assert str(keep) == shown


@pytest.mark.parametrize(
    "text", ["", "30", "30d", "2GB", "1d, 2d", "0d, 1GB", "forever", "1d, 1TB"]
)
def test_anything_else_is_refused(text: str) -> None:
    """In words that say what is right."""
    with pytest.raises(ValueError, match="like 30d, 2GB"):
        keep_in(text)
