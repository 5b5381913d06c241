"""Seats for calls: in one process, and shared by several."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from agent.gateway import CloseCode, TurnedAwayError
from agent.gateway.seats import Seats

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = """\
import sys
from contextlib import ExitStack
from agent.gateway.seats import Seats
seats = Seats(3, int(sys.argv[1]), first=2)
with ExitStack() as held:
    for id in sys.argv[2:]:
        held.enter_context(seats.taken(id))
    print("seated", flush=True)
    sys.stdin.readline()
print("left", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def shared() -> Iterator[int]:
    """The descriptor of a file by which processes share seats."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def other(shared: int, *ids: str) -> subprocess.Popen[str]:
    """Another process, with a call for each id."""
    pipe = subprocess.PIPE
    started = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(shared), *ids],
        stdin=pipe,
        stdout=pipe,
        text=True,
        pass_fds=[shared],
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "seated\n"
    return started


@pytest.mark.parametrize("is_shared", [False, True])
def test_seats_are_taken_and_given_back(shared: int, is_shared: bool) -> None:
    """So many at once and no more, whatever calls there were before; looking takes none."""
    seats = Seats(2, shared if is_shared else None, first=1)
    for _ in range(3):
        with seats.taken(None), seats.taken("c-1"):
            assert len(seats) == 2
            for look in (seats.check, lambda: seats.taken(None).__enter__()):
                with pytest.raises(TurnedAwayError, match=r"^all 2 sessions are taken") as full:
                    look()
                assert full.value.code == CloseCode.TRY_AGAIN_LATER
        for _ in range(3):
            seats.check()
        assert len(seats) == 0


@pytest.mark.parametrize("is_shared", [False, True])
def test_an_id_is_one_calls(shared: int, is_shared: bool) -> None:
    """Until it has ended. Who is turned away for that leaves the seat."""
    seats = Seats(2, shared if is_shared else None)
    with seats.taken("c-1"):
        for _ in range(3):
            with pytest.raises(TurnedAwayError, match="id c-1 has not ended") as refused:
                seats.taken("c-1").__enter__()
            assert refused.value.code == CloseCode.ID_TAKEN
        with seats.taken("c-2"):
            pass
    with seats.taken("c-1"):
        pass


@pytest.mark.parametrize("how", ["leaves", "is killed"])
def test_processes_share_them(shared: int, how: str) -> None:
    """Seats and ids of another process are taken; they are free when its calls have ended, and when
    it is killed."""
    seats = Seats(3, shared)
    with other(shared, "c-1", "c-2") as process, ExitStack() as held:
        with pytest.raises(TurnedAwayError, match="id c-1 has not ended"):
            seats.taken("c-1").__enter__()
        held.enter_context(seats.taken("c-3"))
        with pytest.raises(TurnedAwayError, match=r"^all 3 sessions are taken"):
            seats.check()
        assert len(seats) == 1
        if how == "leaves":
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("leave\n")
            process.stdin.flush()
            assert process.stdout.readline() == "left\n"
        else:
            process.kill()
            process.wait(10)
        held.enter_context(seats.taken("c-1"))
        held.enter_context(seats.taken("c-2"))
        process.kill()
