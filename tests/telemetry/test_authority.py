"""The host that a request is for, and whether it is this machine."""

from __future__ import annotations

import pytest

from telemetry.authority import host_of, is_loopback


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("127.0.0.1:8790", "127.0.0.1"),
        ("LocalHost", "localhost"),
        ("[::1]:80", "::1"),
        ("evil.example", "evil.example"),
        ("", None),
        ("a b", None),
        ("user@127.0.0.1", None),
        ("127.0.0.1:port", None),
        ("127.0.0.1/..", None),
        ("::1", None),
    ],
)
def test_the_host_of_an_authority(authority: str, host: str | None) -> None:
    """With a port or without; whatever else is in it, it is none."""
    assert host_of(authority) == host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_this_machine(host: str, expected: bool) -> None:
    """Its name for itself, and its addresses; no name that somebody can have resolve to it."""
    assert is_loopback(host) is expected
