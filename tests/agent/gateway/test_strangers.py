"""Connections without a call: a bounded number, and the right one makes room."""

from __future__ import annotations

from agent.gateway.strangers import Strangers


def test_the_oldest_makes_room() -> None:
    """One at a time, in the order of arrival; who has left is not sent away."""
    gone: list[str] = []
    strangers = Strangers(gone.append, most=2)
    for name in ("a", "b", "c"):
        strangers.arrive(name, "192.0.2.1")
    assert gone == ["a"]
    strangers.leave("b")
    strangers.leave("a")  # as its connection closes
    strangers.arrive("d", "192.0.2.1")
    assert gone == ["a"]
    assert len(strangers) == 2


def test_an_address_drives_out_its_own() -> None:
    """A caller elsewhere who has waited longest stays while one address has most of the places."""
    gone: list[str] = []
    strangers = Strangers(gone.append, most=3)
    strangers.arrive("caller", "198.51.100.1")
    for number in range(5):
        strangers.arrive(f"flood {number}", "192.0.2.1")
    assert gone == ["flood 0", "flood 1", "flood 2"]
