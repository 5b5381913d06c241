"""A program as its operator has it: a process and its log."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

START_TIMEOUT: Final = 60.0


class Program:
    """A process, and what it has written to stderr so far; ``options`` are those of Popen."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self.log: list[str] = []
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for line in stderr:
                with self._changed:
                    self.log.append(line.rstrip())
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def said(self) -> str:
        """Its log so far."""
        return "\n".join(self.log)

    def wait_for(self, words: str, *, timeout: float = START_TIMEOUT) -> None:
        """Wait until its log has these words."""
        with self._changed:
            self._changed.wait_for(lambda: words in self.said or self._ended, timeout)
        assert words in self.said, f"no {words!r} in {timeout:g} s:\n{self.said}"

    def wait_for_count(self, words: str, count: int, *, timeout: float = START_TIMEOUT) -> None:
        """Wait until so many lines of its log have these words."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: sum(words in line for line in self.log) >= count, timeout
            )
        assert found, f"{words!r} not {count} times in {timeout:g} s:\n{self.said}"

    def wait_for_silence(self, *, timeout: float = START_TIMEOUT) -> None:
        """Wait until nobody has its log any more, of the processes that it has started neither."""
        with self._changed:
            silent = self._changed.wait_for(lambda: self._ended, timeout)
        assert silent, f"not silent in {timeout:g} s:\n{self.said}"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def exit_code(self, *, timeout: float) -> int:
        """Wait for its end."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it runs on after {timeout:g} s:\n{self.said}") from None
        self._reader.join(5)
        return code
