"""Kinds of errors: the first of a kind says something new, its repeats can wait for the rest.

Of one thread: delivery's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentry_sdk.envelope import Envelope

REMEMBERED: Final = 1_000
"""Kinds that are remembered, the latest."""
FORGOTTEN_AFTER_SECONDS: Final = 60.0
"""An error that hasn't come for so long is new again."""


class Kinds:
    """The kinds of the errors that came lately."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], float] = {}

    def is_first(self, envelope: Envelope) -> bool:
        """True if no error like this one came lately."""
        event: Any = envelope.get_event()
        kind = tuple(_facts(event)) if event is not None else ()
        now = time.monotonic()
        before = self._seen.pop(kind, None)
        self._seen[kind] = now
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return before is None or now - before > FORGOTTEN_AFTER_SECONDS


def _facts(event: Any) -> Iterator[str]:
    """The facts that errors of a kind share: types and places, template, logger."""
    yield str(event.get("level"))
    yield str(event.get("logger"))
    yield str((event.get("logentry") or {}).get("message") or event.get("message"))
    for exception in (event.get("exception") or {}).get("values") or ():
        yield str(exception.get("type"))
        frames = (exception.get("stacktrace") or {}).get("frames") or [{}]
        yield f"{frames[-1].get('abs_path')}:{frames[-1].get('lineno')}"
