"""Frames of a traceback, looked at by another thread than the one they may still run in.

Sentry asks each frame for its local variables, if only whether one of them hides it. Asked from
delivery's thread that can end the process: Python 3.11 and 3.12 copy the variables into a dict, and
where garbage is collected meanwhile the frame goes on, returns, and is written to when it is gone.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Final

from sentry_sdk import utils

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

_HIDING: Final = frozenset({"__traceback_hide__", "__tracebackhide__"})
"""Local variables by which a function hides its frame."""


@functools.cache
def ask_for_no_locals() -> None:
    """Have Sentry look for the variables that hide a frame in its code first, once for the process.

    The answer is the same: a function has no local variables but those that its code names.
    """
    hides = utils.should_hide_frame

    def should_hide_frame(frame: FrameType) -> bool:
        if _may_hide(frame.f_code):
            return hides(frame)
        module = frame.f_globals.get("__name__")
        return isinstance(module, str) and module.startswith("sentry_sdk.")

    utils.should_hide_frame = should_hide_frame


def have_locals(error: BaseException | None) -> None:
    """Have each frame of an error copy its variables now, in the thread that it may run in.

    For an operator who wants them sent: a frame that has its dict makes no other.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        step: TracebackType | None = one.__traceback__
        while step is not None:
            _ = step.tb_frame.f_locals
            step = step.tb_next
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _may_hide(code: CodeType) -> bool:
    """True of a module's or a class's code, too: its variables are a dict of their own."""
    if not code.co_flags & inspect.CO_OPTIMIZED:
        return True
    return not _HIDING.isdisjoint((*code.co_varnames, *code.co_cellvars, *code.co_freevars))
