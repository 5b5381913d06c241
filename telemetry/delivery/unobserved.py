"""Keeps delivery's own work out of what is recorded: it would feed itself.

Sentry's integrations patch ``http.client`` and ``logging`` for the whole process, and tell
requests to Sentry from others by comparing hosts, which fails for a DSN with a port: the delivery
of a span would make a span, whose delivery makes another. They all ask for the current client's
integration first, so a client without any turns them off for one thread or task alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from sentry_sdk import Scope
from sentry_sdk.client import BaseClient
from sentry_sdk.scope import use_scope

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Unobserving(BaseClient):
    """A client with no integrations that records nothing, yet is active.

    Look-ups of the current client stop at an active one. An inactive client would be skipped, and
    the process's own found behind it.
    """

    def is_active(self) -> Literal[True]:
        return True


_NOBODY: Final = _Unobserving()


@contextmanager
def unobserved() -> Iterator[None]:
    """A block that makes no spans, breadcrumbs, events or logs, and sends no trace headers."""
    scope = Scope()
    scope.set_client(_NOBODY)
    with use_scope(scope):
        yield
