"""Seats: a call has one from its ``start`` to its end, and there are only so many.

Several processes that share a port share the seats as well, through an empty file: a seat is a byte
of it, and who has locked that byte has the seat. So the cap holds for all together without anybody
who counts, and the kernel gives back the seats of a process that is killed. The id that a caller
gives its call is kept to it in the same way, by a byte far behind the seats.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from agent import metrics
from agent.metrics import Limit

from .protocol import CloseCode, TurnedAwayError

if TYPE_CHECKING:
    from collections.abc import Iterator

_IDS: Final = 1 << 48
"""The first byte of the ids."""
_ID_BYTES: Final = 6
"""Length of an id's hash: two of a million calls have the same with a chance of 0.2 %."""


class Seats:
    """Seats for ``most`` calls at once.

    Args:
        most: the number of seats, those of other processes included.
        shared: the descriptor of the file by which processes share them; None where there is no
            other. The process may have no other one of that file: closing any of them gives
            back all seats.
        first: the seat to look at first. Processes that each begin elsewhere find one at once.
    """

    def __init__(self, most: int, shared: int | None = None, *, first: int = 0) -> None:
        self.most = most
        self._first = first
        self._file = shared
        self._held: set[int] = set()
        """Bytes that this process has; to itself the kernel would give them again."""
        self._calls = 0

    def __len__(self) -> int:
        """How many calls of this process have one."""
        return self._calls

    def check(self) -> None:
        """See that there is a seat, without taking it. Raises
        :class:`~agent.gateway.protocol.TurnedAwayError`."""
        self._give_back(self._find())

    @contextmanager
    def taken(self, id: str | None) -> Iterator[None]:
        """Have a seat inside the block, and keep the ``id`` that a caller gave its call to it.

        Raises :class:`~agent.gateway.protocol.TurnedAwayError`.
        """
        seat = self._find()
        self._calls += 1
        try:
            if id is None:
                yield
                return
            with self._claimed(id):
                yield
        finally:
            self._calls -= 1
            self._give_back(seat)

    @contextmanager
    def _claimed(self, id: str) -> Iterator[None]:
        digest = blake2b(id.encode(errors="surrogatepass"), digest_size=_ID_BYTES).digest()
        claim = _IDS + int.from_bytes(digest, "big")
        if not self._take(claim):
            raise TurnedAwayError(CloseCode.ID_TAKEN, f"a call with the id {id} has not ended")
        try:
            yield
        finally:
            self._give_back(claim)

    def _find(self) -> int:
        for number in range(self.most):
            seat = (self._first + number) % self.most
            if self._take(seat):
                return seat
        metrics.reached(Limit.SESSIONS)
        taken = f"all {self.most} sessions are taken: try again later"
        raise TurnedAwayError(CloseCode.TRY_AGAIN_LATER, taken)

    def _take(self, byte: int) -> bool:
        if byte in self._held:
            return False
        if self._file is not None:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except (BlockingIOError, PermissionError):  # POSIX allows either
                return False
        self._held.add(byte)
        return True

    def _give_back(self, byte: int) -> None:
        self._held.discard(byte)
        if self._file is not None:
            with suppress(OSError):  # no call ends otherwise for that
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)
