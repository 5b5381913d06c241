"""Async generators that are inside a block, and which of them is executing.

A block inside an async generator stays entered while the generator is suspended and its consumer
runs in the same context. So such a generator has blocks of its own, which count only while its
frame is executing, in whatever task pulls it.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from types import FrameType

T = TypeVar("T")

GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
"""Code flags of any generator; cheaper to test for than :func:`generator_frame`."""


class Generators(Generic[T]):
    """The generators that are inside a block, with the innermost block of each."""

    def __init__(self) -> None:
        self._blocks: dict[FrameType, T] = {}

    def executing(self) -> FrameType | None:
        """The innermost of these generators that is executing here."""
        if not self._blocks:
            return None
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame not in self._blocks:
            frame = frame.f_back
        return frame

    def block(self, frame: FrameType) -> T | None:
        """The innermost block of a generator, or None."""
        return self._blocks.get(frame)

    def put(self, frame: FrameType, block: T | None) -> None:
        """Make this the innermost block of a generator; None: it is inside none any longer."""
        if block is None:
            self._blocks.pop(frame, None)
        else:
            self._blocks[frame] = block


def generator_frame(frame: FrameType | None) -> FrameType | None:
    """The async generator that ``frame`` enters a block in, or None.

    A generator that ``contextlib`` makes a block of, or enters on somebody's behalf, is its
    caller's block.
    """
    while frame is not None:
        if frame.f_globals.get("__name__") != "contextlib":
            if not frame.f_code.co_flags & GENERATOR:
                return None
            driver = frame.f_back
            if driver is None or driver.f_globals.get("__name__") != "contextlib":
                return frame if frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR else None
        frame = frame.f_back
    return None
