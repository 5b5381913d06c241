"""Copies of Sentry's scopes, taken without ever waiting.

Forking a scope copies its feature flags under a lock of the SDK's, which whoever logs may be
holding, and which a fork of the process may copy while it is held.
"""

from __future__ import annotations

from _thread import RLock  # the real one, also where a profiler has replaced threading's
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sentry_sdk


def snapshot(isolation: sentry_sdk.Scope) -> sentry_sdk.Scope:
    """An isolation scope as it is now, without ever waiting.

    Its lock is exchanged for one that is re-entrant and that nothing can have wrapped: no thread
    that holds it ever logs.
    """
    lock: object = isolation.flags.lock
    if not isinstance(lock, RLock):
        free(isolation)
    try:
        return isolation.fork()
    except RuntimeError:  # another thread, under the former lock, changed the flags meanwhile
        return isolation


def free(*scopes: sentry_sdk.Scope) -> None:
    """Exchange the one lock that scopes have: a thread that isn't in this process may hold it."""
    for scope in scopes:
        scope.flags.lock = RLock()  # type: ignore[assignment]  # used in `with` only
