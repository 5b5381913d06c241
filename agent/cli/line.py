"""The line between the process that keeps others and each of them: a pair of sockets.

=============  =====================================================================
on it          means
=============  =====================================================================
``LISTENS``    said to the keeper: this process takes calls
``DRAIN``      said by the keeper: what the first signal asks for (:mod:`.ending`)
``NOW``        said by the keeper: what the second one asks for
it breaks      the other end is gone. Without its keeper a process drains
=============  =====================================================================

Whatever is said twice, or comes as a signal as well, is one wish: who stops a service may signal
all of its processes at once, or end the keeper while they drain.
"""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from .ending import Ending

LISTENS: Final = b"!"
DRAIN: Final = b"d"
NOW: Final = b"n"


def hear(keeper: socket.socket, ending: Ending, folder: Path) -> threading.Thread:
    """Do what the keeper asks for until the process ends, or the keeper: then, when nobody else
    does, remove the ``folder`` that its processes share. Returns the thread on which it is done,
    and which has the socket: nobody is to close it."""
    hearing = threading.Thread(
        target=_hear, args=[keeper, ending, folder], name="keeper", daemon=True
    )
    hearing.start()
    return hearing


def _hear(keeper: socket.socket, ending: Ending, folder: Path) -> None:
    said = DRAIN
    while said:
        try:
            said = keeper.recv(1)
        except OSError:  # gone, and hasn't read all that it was told
            said = b""
        ending.ask(now=said == NOW)
    shutil.rmtree(folder, ignore_errors=True)


class Told(anyio.abc.TaskStatus[str]):
    """Tells the keeper, if there is one, that this process listens."""

    def __init__(self, keeper: socket.socket | None) -> None:
        self._keeper = keeper

    def started(self, value: str | None = None) -> None:
        """It does."""
        if self._keeper is not None:
            with suppress(OSError):  # it is gone, which is heard
                self._keeper.send(LISTENS)
