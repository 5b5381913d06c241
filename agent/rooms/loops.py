"""LiveKit's watch over its event loops, off on a Python where it can stop the process.

For a loop that is 80 ms late LiveKit looks at the frames of all threads (``sys._current_frames``).
Up to Python 3.11 garbage may be collected in the middle of that, under a lock of the interpreter's:
should another thread get the interpreter meanwhile and come to its end, as livekit's native ones do
after every event, each waits for the other, and nothing in the process runs again
(https://github.com/python/cpython/issues/106883). Ten calls in threads are late enough for it.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

from livekit.agents.telemetry import loop_monitor

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger(__name__)

_SAFE_SINCE_PYTHON: Final = (3, 12)
"""The Python since which garbage is collected between two instructions only."""


def watch_if_safe(
    environ: MutableMapping[str, str], version: tuple[int, int] = sys.version_info[:2]
) -> None:
    """Turn the watch off in ``environ``, which jobs are started with, on a Python that needs it."""
    if version >= _SAFE_SINCE_PYTHON:
        return
    name = loop_monitor.ENV_WARN_THRESHOLD_MS
    if environ.get(name, "0") != "0":
        log.warning(
            "rooms: %s is ignored on Python %d.%d: watching loops could stop the process for good "
            "(python/cpython#106883): use 3.12 or later",
            name,
            *version,
        )
    environ[name] = "0"
