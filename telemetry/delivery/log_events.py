"""Errors and structured logs out of what the application logs: built in the delivery thread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk import logger as sentry_logs
from sentry_sdk.utils import event_from_exception

from ..attributes import is_content

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import LogRecord

REPORTED: Final = "telemetry_reported"
"""Attribute of a log that only repeats an error which was reported by other means."""
_STANDARD: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", REPORTED)
)
"""Attributes that every log may have; the others were given as ``extra``."""
_CREATED: Final = "telemetry.created_ns"
"""Carries the time of a structured log past Sentry's API, which knows only now."""


def send(log: LogRecord) -> None:
    """Capture a log under the current scopes: as an error, as a structured log, or both."""
    if log.levelno >= logging.ERROR and not getattr(log, REPORTED, False):
        event, hint = _event(log)
        sentry_sdk.capture_event(event, hint)  # type: ignore[arg-type]  # a plain dict
    if sentry_sdk.get_client().options.get("enable_logs"):
        write = getattr(sentry_logs, level_of(log))
        write(message_of(log), attributes=_attributes(log))


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


def _event(log: LogRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Sentry event of a log, and its hint."""
    hint: dict[str, Any] = {"log_record": log}
    event: dict[str, Any] = {}
    if log.exc_info and log.exc_info[0] is not None:
        exception, hint_of_exception = event_from_exception(
            log.exc_info,
            client_options=sentry_sdk.get_client().options,
            mechanism={"type": "logging", "handled": True},
        )
        event.update(exception)
        hint.update(hint_of_exception)
    event["level"] = level_of(log)
    event["logger"] = log.name
    event["logentry"] = {"message": str(log.msg), "formatted": message_of(log), "params": []}
    event["extra"] = extra_of(log)
    return event, hint


def _attributes(log: LogRecord) -> dict[str, Any]:
    """A structured log's attributes, under the names of Sentry's integration."""
    return {
        **extra_of(log),
        _CREATED: int(log.created * 1e9),
        "sentry.origin": "auto.log.stdlib",
        "sentry.message.template": str(log.msg),
        "code.file.path": log.pathname,
        "code.function.name": log.funcName or "",
        "code.line.number": log.lineno,
        "logger.name": log.name,
        "thread.name": log.threadName or "",
    }


def extra_of(log: LogRecord) -> dict[str, Any]:
    """The values given as ``extra``; content stays in the application's own log."""
    return {
        key: value
        for key, value in vars(log).items()
        if key not in _STANDARD and not is_content(key)
    }


def level_of(log: LogRecord) -> str:
    """The level under Sentry's name for it, from INFO up."""
    if log.levelno >= logging.ERROR:
        return "fatal" if log.levelno >= logging.CRITICAL else "error"
    return "warning" if log.levelno >= logging.WARNING else "info"


def message_of(log: LogRecord) -> str:
    """The message; unformatted when its arguments don't fit it."""
    try:
        return log.getMessage()
    except Exception:  # noqa: BLE001 - arguments are the application's, and may do anything
        return str(log.msg)
