"""An event loop whose time jumps to the next thing due: a minute is exact, and instant."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for time to pass, it lets it pass."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        if not (ready := super().select(0)):
            self.now += max(0.0, timeout)
        return ready


class VirtualTime(asyncio.SelectorEventLoop):
    """The loop; :meth:`stall` is a callback that takes too long."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds, from 0."""
        return self._virtual.now

    def stall(self, seconds: float) -> None:
        """Let time pass without anything running."""
        self._virtual.now += seconds


def run(main: Callable[[VirtualTime], Coroutine[object, object, T]]) -> T:
    """Run ``main`` on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTime)
        return runner.run(main(loop))
