"""Errors and structured logs out of what the application logs: built in the delivery thread."""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk import logger as sentry_logs
from sentry_sdk.utils import event_from_exception

from ..attributes import is_content
from ..context.scopes import OURS
from ..context.wording import reword, texts_of
from ..frozen import frozen
from ..written import FILTERED, Author, Written, here

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import LogRecord

TAKEN: Final = "telemetry_taken"
"""Attribute of a log that has been taken: it may be given to a second logger."""
REPORTED: Final = "telemetry_reported"
"""Attribute of a log that only repeats an error which was reported by other means."""
_STANDARD: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", REPORTED, TAKEN)
)
"""Attributes that every log may have; the others were given as ``extra``."""
_CREATED: Final = "telemetry.created_ns"
"""Carries the time of a structured log past Sentry's API, which knows only now."""


@dataclass(frozen=True, slots=True)
class Log:
    """Something logged, as it was when it was: all that it says may be changed right after."""

    record: LogRecord
    """For hints and facts: formatted, without arguments."""
    template: str
    message: str
    extra: dict[str, Any]
    texts: list[str]
    """The texts of the exception that was logged, see :mod:`telemetry.context.wording`."""
    stack: dict[str, Any] | None = None
    """The stack of the call, where it is wanted."""
    authors: tuple[Author, ...] = ()
    """The place in code that it was logged at, if that is known."""
    is_error: bool = False
    """Whether it is to be an error."""
    is_structured: bool = False
    """Whether it is to be a structured log."""

    @classmethod
    def of(
        cls,
        record: LogRecord,
        message: str,
        extra: dict[str, Any],
        stack: dict[str, Any] | None = None,
        *,
        authors: tuple[Author, ...] = (),
        is_error: bool = False,
        is_structured: bool = False,
    ) -> Log:
        """Take a record over, formatted as :class:`logging.handlers.QueueHandler` does it."""
        formatted: LogRecord = object.__new__(type(record))
        vars(formatted).update({**vars(record), **extra})
        vars(formatted).update(msg=message, message=message, args=None)
        error = _error_in(record)
        texts = [] if error is None else texts_of(error)
        return cls(
            formatted,
            str(record.msg),
            message,
            extra,
            texts,
            stack,
            authors,
            is_error,
            is_structured,
        )

    @property
    def error(self) -> BaseException | None:
        """The exception that was logged, if one was."""
        return _error_in(self.record)


def send(log: Log) -> None:
    """Capture a log under the current scopes: as an error, as a structured log, or both."""
    record = log.record
    if log.is_error and not getattr(record, REPORTED, False):
        event, hint = _event(log)
        sentry_sdk.capture_event(event, hint)  # type: ignore[arg-type]  # a plain dict
    if log.is_structured:
        write = getattr(sentry_logs, level_of(record))
        write(_told(log, log.message), attributes=_attributes(log))


def dated(
    before: Callable[[Any, Any], Any] | None,
) -> Callable[[Any, Any], Any]:
    """``before_send_log``: gives a log the time it was made at, then asks the operator's own."""

    def before_send_log(log: dict[str, Any], hint: dict[str, Any]) -> Any:
        created = log["attributes"].pop(_CREATED, None)
        if created is not None:
            log["time_unix_nano"] = created
        else:  # Sentry's own, which is made here and now
            log["body"] = Written(log["body"], *here())
        return log if before is None else before(log, hint)

    return before_send_log


def named(
    before: Callable[[Any, Any], Any] | None,
) -> Callable[[Any, Any], Any]:
    """``before_send_metric``: notes who wrote a metric's name, then asks the operator's own."""

    def before_send_metric(metric: dict[str, Any], hint: dict[str, Any]) -> Any:
        metric["name"] = Written(str(metric["name"]), *here())
        return metric if before is None else before(metric, hint)

    return before_send_metric


def _event(log: Log) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Sentry event of a log, and its hint."""
    record = log.record
    hint: dict[str, Any] = {"log_record": record, OURS: True}
    event: dict[str, Any] = {}
    if log.error is not None:
        exception, hint_of_exception = event_from_exception(
            record.exc_info,  # type: ignore[arg-type]  # it is a triple, as there is an error
            client_options=sentry_sdk.get_client().options,
            mechanism={"type": "logging", "handled": True},
        )
        reword(exception, log.error, log.texts)
        event.update(exception)
        hint.update(hint_of_exception)
    elif log.stack is not None:
        thread = {"stacktrace": log.stack, "crashed": False, "current": True}
        event["threads"] = {"values": [thread]}
    event["level"] = level_of(record)
    event["logger"] = record.name
    event["logentry"] = {
        "message": _told(log, log.template),
        "formatted": _told(log, log.message),
        "params": [],
    }
    event["extra"] = dict(log.extra)
    return event, hint


def _told(log: Log, text: str) -> Written:
    """What a log says, as far as its template stands in the code; else who says it, and where."""
    found = Written(text, *log.authors)
    if found.code != FILTERED:
        return found
    record = log.record
    name = record.name if _NAME.fullmatch(record.name) else "log"
    return Written(text, code=f"{name} in {record.funcName} at line {record.lineno}")


_NAME: Final = re.compile(r"[A-Za-z_][\w.:-]{0,99}")


def _error_in(record: LogRecord) -> BaseException | None:
    exc_info = record.exc_info
    return exc_info[1] if isinstance(exc_info, tuple) else None


def _attributes(log: Log) -> dict[str, Any]:
    """A structured log's attributes, under the names of Sentry's integration."""
    record = log.record
    return {
        **log.extra,
        _CREATED: int(record.created * 1e9),
        "sentry.origin": "auto.log.stdlib",
        "sentry.message.template": _told(log, log.template),
        "code.file.path": record.pathname,
        "code.function.name": record.funcName or "",
        "code.line.number": record.lineno,
        "logger.name": record.name,
        "thread.name": record.threadName or "",
    }


def extra_of(record: LogRecord, text: Callable[[Any], str] = str) -> dict[str, Any]:
    """The values given as ``extra``; content stays in the application's own log."""
    return {
        str(key): frozen(value, text=text)
        for key, value in vars(record).items()
        if key not in _STANDARD and not is_content(str(key))
    }


def plain(record: LogRecord) -> LogRecord:
    """The log itself; structlog's for its ``ProcessorFormatter`` as one of an ordinary kind."""
    event = record.msg
    if not isinstance(event, dict) or "event" not in event:
        return record
    made = logging.makeLogRecord(vars(record))
    made.msg, made.args = str(event["event"]), None
    known, exc_info = vars(made), event.get("exc_info")
    for name in ("_logger", "_name"):
        known.pop(name, None)
    if exc_info and not made.exc_info:
        if isinstance(exc_info, BaseException):
            exc_info = type(exc_info), exc_info, exc_info.__traceback__
        made.exc_info = exc_info if isinstance(exc_info, tuple) else sys.exc_info()
    for key in event.keys() - {"event", "exc_info", "level", "logger", "stack_info", "timestamp"}:
        known.setdefault(str(key), event[key])
    return made


def level_of(record: LogRecord) -> str:
    """The level under Sentry's name for it, from INFO up."""
    if record.levelno >= logging.ERROR:
        return "fatal" if record.levelno >= logging.CRITICAL else "error"
    return "warning" if record.levelno >= logging.WARNING else "info"


def message_of(record: LogRecord) -> str:
    """The message; unformatted when its arguments don't fit it."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments are the application's, and may do anything
        return str(record.msg)
