"""Takes what the application logs, for Sentry: errors, structured logs, breadcrumbs.

The stock integration builds the event inside the logging call, under whatever locks the caller,
the handlers and the SDK hold; and each of its three handlers has a lock of its own, held
meanwhile. A lock that logs can then wait for itself, and two threads for each other. Here a
logging call takes no lock: it adds the breadcrumb, and puts the log and the scopes it was made
under on a queue. The event and the structured log are built by the delivery thread.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.utils import capture_internal_exceptions, current_stacktrace

from ..context import chain
from ..context.scopes import as_values, snapshot
from . import loguru_tap
from .ignored_loggers import is_ignored
from .log_events import TAKEN, Log, extra_of, level_of, message_of, plain

if TYPE_CHECKING:
    from logging import LogRecord
    from types import FrameType

    from .thread import Delivery

PACKAGE: Final = __name__.rsplit(".", 2)[0]
"""Telemetry's own name, wherever it was lifted to."""
_OURS: Final = (PACKAGE, "sentry_sdk", "urllib3")
"""Loggers of delivery itself, and those below them: it would feed itself."""

_installed: list[LogCapture] = []


class LogCapture:
    """Takes the logs of level INFO and above, whichever logger makes them."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        options = sentry_sdk.get_client().options
        self._structured = bool(options["enable_logs"])
        self._stacks = bool(options["attach_stacktrace"])
        self._values = bool(options["include_local_variables"])
        self._custom = options["custom_repr"]

    @classmethod
    def install(cls, delivery: Delivery) -> LogCapture:
        """Start taking logs."""
        capture = cls(delivery)
        _tap_logging()
        loguru_tap.tap(_take_of_loguru)
        _installed.append(capture)
        return capture

    def remove(self) -> None:
        """Stop taking them."""
        _installed.remove(self)

    def take(self, record: LogRecord) -> None:
        """Hand a log over, as a value, with the scopes of the conversation that it is of."""
        if self._delivery.is_own_thread or _is_ours(record.name):
            return
        record = plain(record)
        message, extra = message_of(record), extra_of(record, self._text)
        ignored = is_ignored(record.name)
        is_error = record.levelno >= logging.ERROR and not ignored
        if self._structured or is_error:
            stack = self._stack(record) if is_error else None
            log = Log.of(record, message, extra, stack, is_error=is_error)
            scopes = chain.scopes_elsewhere(log.error) or (
                snapshot(sentry_sdk.get_isolation_scope()),
                sentry_sdk.get_current_scope().fork(),
            )
            if is_error:
                as_values(*scopes)
            self._delivery.outbox.logged(log, *scopes)
        if not ignored:
            sentry_sdk.add_breadcrumb(
                type="log",
                level=level_of(record),
                category=record.name,
                message=message,
                data=extra,
            )

    def _stack(self, record: LogRecord) -> dict[str, Any] | None:
        """The stack of the call, if the operator or the caller wants it."""
        if record.exc_info or not (self._stacks or record.stack_info):
            return None
        return current_stacktrace(include_local_variables=self._values)

    def _text(self, value: Any) -> str:
        """The operator's ``custom_repr`` of a value, or its own text."""
        if self._custom is not None:
            with capture_internal_exceptions():
                if isinstance(text := self._custom(value), str):
                    return text
        return str(value)


_handling = threading.local()
"""``depth``: the number of logging calls whose handlers are at work in this thread."""


@functools.cache
def _tap_logging() -> None:
    """Wrap what every logger calls, once, as Sentry's integration does.

    A handler on the root logger would miss the loggers that don't propagate, such as uvicorn's.
    """
    call_handlers = logging.Logger.callHandlers

    def tapped(self: logging.Logger, record: LogRecord) -> None:
        depth = getattr(_handling, "depth", 0)
        _handling.depth = depth + 1
        try:
            call_handlers(self, record)
        finally:
            _handling.depth = depth
            if record.levelno >= logging.INFO and not hasattr(record, TAKEN):
                setattr(record, TAKEN, True)
                if not _is_passed_on():
                    _take(record)

    logging.Logger.callHandlers = tapped  # type: ignore[method-assign]  # no other place sees all


def _take(record: LogRecord) -> None:
    with capture_internal_exceptions():
        for capture in _installed:
            capture.take(record)


def _take_of_loguru(record: LogRecord) -> None:
    """Take what loguru logs, but for what a handler of ``logging`` only passes on to it."""
    if not getattr(_handling, "depth", 0):
        _take(record)


def _is_passed_on() -> bool:
    """True if it is loguru that logs here, by a sink that passes on to ``logging``."""
    if "loguru" not in sys.modules:
        return False
    frame: FrameType | None = sys._getframe(2)
    for _ in range(12):
        if frame is None:
            break
        if frame.f_globals.get("__name__") == "loguru._logger":
            return True
        frame = frame.f_back
    return False


def _is_ours(logger: str) -> bool:
    return any(logger == name or logger.startswith(f"{name}.") for name in _OURS)
