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
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.utils import capture_internal_exceptions, current_stacktrace

from ..context import chain, origin
from ..context.place import is_acting, is_collecting
from ..context.scopes import as_values
from ..written import logger_of
from . import loguru_tap
from .ignored_loggers import makes_errors, makes_structured_logs
from .log_events import TAKEN, Log, extra_of, level_of, message_of, plain

if TYPE_CHECKING:
    from logging import LogRecord
    from types import FrameType

    from sentry_sdk.client import BaseClient

    from .thread import Delivery

PACKAGE: Final = __name__.rsplit(".", 2)[0]
"""Telemetry's own name, wherever it was lifted to."""
_OURS: Final = (PACKAGE, "sentry_sdk", "urllib3")
"""Loggers of delivery itself, and those below them: it would feed itself."""

_REMEMBERED: Final = 1_000
"""Logs that are known again when they are passed on to another thread."""

_installed: list[LogCapture] = []


class LogCapture:
    """Takes the logs of level INFO and above, whichever logger makes them."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._taken: deque[tuple[object, ...]] = deque(maxlen=_REMEMBERED)
        self._client = sentry_sdk.get_client()
        options = self._client.options
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
        surfaces = is_acting() or is_collecting()  # what delivery's thread says isn't its own then
        if (self._delivery.is_own_thread and not surfaces) or _is_ours(record.name):
            return
        if _is_of_another_process(record):
            return  # which reports it: here it has no trace, no error, and all its words
        is_foreign = _is_from_elsewhere(record)
        if is_foreign and _identity(record) in self._taken:
            return
        record = plain(record)
        message, extra = message_of(record), extra_of(record, self._text)
        ignored = not makes_errors(record.name)
        is_error = record.levelno >= logging.ERROR and not ignored
        is_structured = self._structured and makes_structured_logs(record.name)
        if is_structured or is_error:
            self._taken.append(_identity(record))
            stack = self._stack(record) if is_error else None
            authors = () if is_foreign else logger_of(record.pathname, record.lineno)
            log = Log.of(
                record,
                message,
                extra,
                stack,
                authors=authors,
                is_error=is_error,
                is_structured=is_structured,
            )
            scopes_of = chain.scopes_of if is_foreign else chain.scopes_here
            scopes = scopes_of(log.error)
            if _client_of(*scopes) is not self._client:
                return  # somebody else's client, whose own integrations ask what it wants to know
            as_values(*scopes)
            origin.reported_under(log.error, scopes[1])
            self._delivery.outbox.logged(log, *scopes)
        # It says nothing about what is current here, or not to us.
        elsewhere = is_foreign or is_collecting() or sentry_sdk.get_client() is not self._client
        if not ignored and not elsewhere:
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


def _client_of(isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope) -> BaseClient:
    """The client that captures under these scopes; as the SDK finds it."""
    for one in (scope, isolation):
        if one.client.is_active():
            return one.client
    return sentry_sdk.get_global_scope().client


def _is_from_elsewhere(record: LogRecord) -> bool:
    """True if it was made elsewhere: in a thread whose log a listener has."""
    return record.thread not in (None, threading.get_ident())


def _is_of_another_process(record: LogRecord) -> bool:
    """True if a listener has it from there: LiveKit's parent process, from its jobs."""
    return record.process not in (None, os.getpid())


def _identity(record: LogRecord) -> tuple[object, ...]:
    """The facts that a log and its copies have in common, and no other log has."""
    return record.created, record.process, record.thread, record.pathname, record.lineno


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
