"""Numbers that somebody has put into attributes: taken only where they are some, and not too large
for SQLite or JavaScript."""

from __future__ import annotations

from typing import Final

MOST: Final = 2**53
"""What is beyond this, either way, nobody has counted or measured."""


def number(value: object) -> float | None:
    """A number, where there is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < MOST else None  # nor is NaN less than anything


def whole_number(value: object) -> int | None:
    """A whole number, where there is one."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < MOST else None
