"""The line to the process that keeps this one: each wish once, and an end that is always heard."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio
import pytest

from agent.cli.ending import Ending
from agent.cli.line import DRAIN, LISTENS, NOW, Told, hear

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The keeper's end and the other one."""
    keeper, kept = socket.socketpair()
    with keeper, kept:
        yield keeper, kept


@pytest.mark.parametrize(
    ("said", "now"), [(b"", False), (DRAIN, False), (DRAIN * 3, False), (NOW, True)]
)
async def test_each_wish_is_one(
    tmp_path: Path, line: tuple[socket.socket, socket.socket], said: bytes, now: bool
) -> None:
    """To drain, however often it is said, and though the keeper is gone then; or to end at once."""
    keeper, kept = line
    ending = Ending(60.0, deliver=lambda _: None)
    async with ending.heard() as stopping:
        hearing = hear(kept, ending, tmp_path / "shared")
        keeper.send(said)
        keeper.close()
        await anyio.to_thread.run_sync(hearing.join)
        assert (stopping.drain.is_set(), stopping.now.is_set()) == (True, now)


async def test_a_wish_is_heard_while_the_keeper_lives(
    tmp_path: Path, line: tuple[socket.socket, socket.socket]
) -> None:
    """As soon as it is said; what they share stays."""
    shared = anyio.Path(tmp_path / "shared")
    await shared.mkdir()
    keeper, kept = line
    ending = Ending(60.0, deliver=lambda _: None)
    async with ending.heard() as stopping:
        hearing = hear(kept, ending, tmp_path / "shared")
        keeper.send(DRAIN)
        await stopping.drain.wait()
        keeper.send(NOW)
        await stopping.now.wait()
        assert await shared.exists()
        keeper.close()
        await anyio.to_thread.run_sync(hearing.join)


async def test_a_keeper_that_has_read_nothing_is_missed(
    tmp_path: Path, line: tuple[socket.socket, socket.socket]
) -> None:
    """Gone before it has read that this process listens: the line breaks otherwise then. What they
    share is removed."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "1.sock").touch()
    keeper, kept = line
    ending = Ending(60.0, deliver=lambda _: None)
    async with ending.heard() as stopping:
        Told(kept).started()
        keeper.close()
        hearing = hear(kept, ending, shared)
        await stopping.drain.wait()
        await anyio.to_thread.run_sync(hearing.join)
        assert not stopping.now.is_set()
    assert not shared.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_the_keeper_is_told(line: tuple[socket.socket, socket.socket], is_there: bool) -> None:
    """That this process listens; when nobody hears it, it goes on, to drain."""
    keeper, kept = line
    if not is_there:
        keeper.close()
    Told(kept).started("ws://127.0.0.1:1")
    if is_there:
        assert keeper.recv(2) == LISTENS
