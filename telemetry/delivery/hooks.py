"""The operator's hooks, as delivery calls them: unobserved, and heard of when they raise."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


def guarded(name: str, hook: Any, failed: Callable[[], None] = lambda: None) -> Any:
    """A hook that makes no spans and errors of its own: delivered, they would ask it again.

    That it raises is logged once, and left to Sentry, which drops what it was asked about.

    Args:
        name: the option that it was given as.
        hook: the hook, or None.
        failed: called each time it raises, where Sentry doesn't count that.
    """
    if hook is None:
        return None
    told = False

    @functools.wraps(hook)
    def calling(*args: Any) -> Any:
        nonlocal told
        with unobserved():
            try:
                return hook(*args)
            except Exception:
                failed()
                if not told:
                    told = True
                    logger.warning(
                        "%s raised; what it was asked about is dropped", name, exc_info=True
                    )
                raise

    return calling


def harmless(name: str, hook: Any) -> Any:
    """A :func:`guarded` hook that Sentry asks in the application's own call: it never raises.

    One that raises refuses what it was asked about.
    """
    asked = guarded(name, hook)
    if asked is None:
        return None

    @functools.wraps(hook)
    def calling(*args: Any) -> Any:
        try:
            return asked(*args)
        except Exception:  # noqa: BLE001 - the operator's code, which guarded has told of
            return None

    return calling
