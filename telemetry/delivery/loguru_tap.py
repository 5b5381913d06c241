"""Takes what the application logs with loguru, as it takes what is logged with ``logging``.

loguru asks a handler's ``filter`` before it formats anything or takes the handler's lock. So what
is added here is a filter, and a sink that never gets a message. ``logger.remove()``, with which
most applications begin, removes all handlers; this one is then added again.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@functools.cache
def tap(take: Callable[[logging.LogRecord], None]) -> None:
    """Have ``take`` called with what loguru's logger logs from INFO up, if there is loguru."""
    if importlib.util.find_spec("loguru") is None:
        return
    logger: Any = importlib.import_module("loguru").logger
    remove = type(logger).remove
    ids: set[int] = set()

    def passes(log: Any) -> bool:
        take(as_standard(log))
        return False

    def add() -> None:
        ids.add(logger.add(_nothing, level=logging.INFO, filter=passes, format="{message}"))

    @functools.wraps(remove)
    def removed(self: Any, handler_id: int | None = None) -> None:
        remove(self, handler_id)
        if handler_id is None or handler_id in ids:
            add()

    type(logger).remove = removed
    add()


def as_standard(log: Any) -> logging.LogRecord:
    """Something logged with loguru as a record of ``logging``'s."""
    error = log["exception"]
    made = logging.LogRecord(
        str(log["name"]),
        log["level"].no,
        log["file"].path,
        log["line"],
        log["message"],
        (),
        (error.type, error.value, error.traceback) if error else None,
        log["function"],
    )
    made.levelname = log["level"].name
    made.created = log["time"].timestamp()
    known = vars(made)
    known.update({key: value for key, value in log["extra"].items() if key not in known})
    return made


def _nothing(message: object) -> None:
    """Never called."""
