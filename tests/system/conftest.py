"""What the system tests share: a LiveKit server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import livekit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[livekit.Server]:
    """A LiveKit server, for all tests that leave it running.

    Building it takes minutes the first time, which no test's own limit has room for.
    """
    with livekit.running(tmp_path_factory.mktemp("livekit") / "server.log") as running:
        yield running
