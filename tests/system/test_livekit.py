"""The LiveKit server that tests start for themselves."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.system import livekit

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.timeout(300, func_only=True)]


def test_port_taken_meanwhile(tmp_path: Path) -> None:
    """A port that somebody else takes before the server does: it goes elsewhere."""
    server = livekit.Server(livekit.command(), tmp_path / "log")
    before = server.ports
    with socket.create_server(("127.0.0.1", before.tcp)):
        try:
            server.start()
            assert server.ports != before
            assert str(server.ports.http) in server.livekit.url
        finally:
            server.stop()
