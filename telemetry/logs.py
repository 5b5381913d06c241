"""What the application logs, on its way to Sentry: errors, structured logs, breadcrumbs.

The stock integration builds the event inside the logging call, under whatever locks the caller,
the handlers and the SDK hold; and each of its three handlers has a lock of its own, held
meanwhile. A lock that logs can then wait for itself, and two threads for each other. Here a
logging call takes no lock: it adds the breadcrumb, and puts the record and the scopes it was made
under on a queue. The event and the structured log are built by the delivery thread.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk import logger as sentry_logs
from sentry_sdk.utils import capture_internal_exceptions, event_from_exception

from . import context
from .attributes import is_content

if TYPE_CHECKING:
    from collections.abc import Callable

    from .delivery import Delivery

_OURS: Final = frozenset((__package__ or "telemetry", "sentry_sdk", "urllib3"))
"""Loggers of delivery itself: what it does is never captured, it would feed itself."""
REPORTED: Final = "telemetry_reported"
"""Attribute of a record that only repeats an error which was reported by other means."""
_STANDARD: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", REPORTED)
)
"""Attributes that every record may have; the others were given as ``extra``."""
_CREATED: Final = "telemetry.created_ns"
"""Carries the time of a structured log past Sentry's API, which knows only now."""

_installed: list[LogCapture] = []


class LogCapture:
    """Takes the records of level INFO and above, whichever logger makes them."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._structured = bool(sentry_sdk.get_client().options.get("enable_logs"))

    @classmethod
    def install(cls, delivery: Delivery) -> LogCapture:
        """Start taking records."""
        capture = cls(delivery)
        _tap_logging()
        _installed.append(capture)
        return capture

    def remove(self) -> None:
        """Stop taking them."""
        _installed.remove(self)

    def take(self, record: logging.LogRecord) -> None:
        """Queue the record with the scopes it was logged under."""
        if self._delivery.is_current_thread or record.name.split(".", 1)[0] in _OURS:
            return
        if self._structured or record.levelno >= logging.ERROR:
            self._delivery.outbox.logged(
                record,
                context.snapshot(sentry_sdk.get_isolation_scope()),
                sentry_sdk.get_current_scope().fork(),
            )
        sentry_sdk.add_breadcrumb(
            type="log",
            level=_level(record),
            category=record.name,
            message=_message(record),
            data=_extra(record),
        )


@functools.cache
def _tap_logging() -> None:
    """Wrap what every logger calls, once, as Sentry's integration does.

    A handler on the root logger would miss the loggers that don't propagate, such as uvicorn's.
    """
    call_handlers = logging.Logger.callHandlers

    def tapped(self: logging.Logger, record: logging.LogRecord) -> None:
        try:
            call_handlers(self, record)
        finally:
            if record.levelno >= logging.INFO:
                with capture_internal_exceptions():
                    for capture in _installed:
                        capture.take(record)

    logging.Logger.callHandlers = tapped  # type: ignore[method-assign]  # no other place sees all


def send(record: logging.LogRecord) -> None:
    """Capture a record under the current scopes: as an error, as a structured log, or both."""
    if record.levelno >= logging.ERROR and not getattr(record, REPORTED, False):
        event, hint = _event(record)
        sentry_sdk.capture_event(event, hint)  # type: ignore[arg-type]  # a plain dict
    if sentry_sdk.get_client().options.get("enable_logs"):
        log = getattr(sentry_logs, _level(record))
        log(_message(record), attributes=_attributes(record))


def dated(
    before: Callable[[Any, Any], Any] | None,
) -> Callable[[Any, Any], Any]:
    """``before_send_log``: gives a log the time it was made at, then asks the operator's own."""

    def before_send_log(log: dict[str, Any], hint: dict[str, Any]) -> Any:
        created = log["attributes"].pop(_CREATED, None)
        if created is not None:
            log["time_unix_nano"] = created
        return log if before is None else before(log, hint)

    return before_send_log


def _event(record: logging.LogRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Sentry event of a log record, and its hint."""
    hint: dict[str, Any] = {"log_record": record}
    event: dict[str, Any] = {}
    if record.exc_info and record.exc_info[0] is not None:
        exception, hint_of_exception = event_from_exception(
            record.exc_info,
            client_options=sentry_sdk.get_client().options,
            mechanism={"type": "logging", "handled": True},
        )
        event.update(exception)
        hint.update(hint_of_exception)
    event["level"] = _level(record)
    event["logger"] = record.name
    event["logentry"] = {"message": str(record.msg), "formatted": _message(record), "params": []}
    event["extra"] = _extra(record)
    return event, hint


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    """A structured log's attributes, under the names of Sentry's integration."""
    return {
        **_extra(record),
        _CREATED: int(record.created * 1e9),
        "sentry.origin": "auto.log.stdlib",
        "sentry.message.template": str(record.msg),
        "code.file.path": record.pathname,
        "code.function.name": record.funcName or "",
        "code.line.number": record.lineno,
        "logger.name": record.name,
        "thread.name": record.threadName or "",
    }


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as ``extra``; what somebody said stays in the application's own log."""
    return {
        key: value
        for key, value in vars(record).items()
        if key not in _STANDARD and not is_content(key)
    }


def _level(record: logging.LogRecord) -> str:
    """The level under Sentry's name for it, from INFO up."""
    if record.levelno >= logging.ERROR:
        return "fatal" if record.levelno >= logging.CRITICAL else "error"
    return "warning" if record.levelno >= logging.WARNING else "info"


def _message(record: logging.LogRecord) -> str:
    """The message; unformatted when its arguments don't fit it."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments are the application's, and may do anything
        return str(record.msg)
