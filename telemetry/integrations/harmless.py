"""A guard around what a framework calls: a fault of telemetry's is not the framework's problem.

:func:`harmless` goes around everything that a framework calls: a fault of ours is counted, logged
once for each place and kind, and passed over.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ..stats import faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Signature

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__package__)

_told: set[tuple[str, type[Exception]]] = set()


def harmless(
    function: Callable[P, R], *, signature: Signature | None = None
) -> Callable[P, R | None]:
    """The function, but None instead of an exception; cancellation goes through.

    ``signature`` is written down on it, for who asks at each call: working it out takes longer than
    most of ours do.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            faults.add()
            kind = getattr(function, "__qualname__", repr(function)), type(error)
            if kind not in _told:
                _told.add(kind)
                logger.exception("telemetry failed in %s; the call goes on", kind[0])
            return None

    if signature is not None:
        guarded.__signature__ = signature  # type: ignore[attr-defined]
    return guarded
