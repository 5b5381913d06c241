"""Figures over rounds that didn't all see the same."""

from __future__ import annotations

from .figures import medians


def test_what_a_round_has_not_seen_was_nothing() -> None:
    """A thread that lived in some rounds only counts as 0 in the others, first or last."""
    rounds = iter([{"all": 3.0, "b": 6.0}, {"all": 1.0, "a": 4.0}, {"all": 2.0, "a": 8.0}])
    found = medians(3, {"here": lambda: next(rounds)})
    assert found == {"here": {"all": 2.0, "b": 0.0, "a": 4.0}}
