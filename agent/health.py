"""Health, as an orchestrator and a person read it.

A process that takes calls is healthy or degraded, and either way in its place: nobody's call gets
better when it is restarted because Sentry is away. So the status code says only that it lives, and
the text the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def report(troubles: Sequence[str], *, sessions: int, max_sessions: int) -> dict[str, Any]:
    """The health of a process, to be written as JSON.

    ``troubles`` are those of :meth:`telemetry.Runtime.troubles`. Strangers read them.
    """
    return {
        "status": "degraded" if troubles else "healthy",
        "reasons": [printable(trouble) for trouble in troubles],
        "sessions": sessions,
        "max_sessions": max_sessions,
    }
