"""The audio of a transaction: a file beside the store, and what is known of it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..records import AudioRecord

if TYPE_CHECKING:
    from pathlib import Path

    from ..summary import Keep


class AudioFile:
    """A place for a recording, which goes with its conversation.

    Whoever records writes Ogg/Opus at 48 kHz to :attr:`path` (of two channels the left is the
    caller, the right the agent), says when the first sample was heard, and in the end how long it
    is. :meth:`Transaction.record_audio` makes it.

    Attributes:
        path: the file, in a folder beside the store.
        keep: asked when the conversation has ended whether the file stays; None keeps it.
        record: the facts by which the store knows it; None before :meth:`began`.
        unwanted: whether ``keep`` has decided against it.
    """

    def __init__(self, path: Path, keep: Keep | None) -> None:
        self.path = path
        self.keep = keep
        self.record: AudioRecord | None = None
        self.unwanted = False

    def create(self) -> None:
        """Create the file, and the folder, for nobody else to read. Raises :class:`OSError`.

        It waits for the disk: on an event loop, call it in a thread.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))

    def began(self, at: float, *, channels: int = 2) -> None:
        """Its first sample was heard then (Unix seconds): from now on the store knows it."""
        self.record = AudioRecord(self.path.name, at, channels=channels)

    def ended(self, seconds: float) -> None:
        """It is complete, and so long."""
        if self.record is not None:
            self.record = replace(self.record, seconds=seconds)

    def discard(self) -> None:
        """Delete the file, if nobody wants it: whoever writes it does so last of all.

        If it can't be deleted it stays, for the store to try again.
        """
        if self.unwanted:
            with suppress(OSError):
                self.path.unlink()
