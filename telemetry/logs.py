"""Errors that the application logs, on their way to Sentry.

The stock integration builds the event inside the logging call, under whatever locks the caller,
the handlers and the SDK hold: a lock that logs can then wait for itself. Here a logging call only
puts the record and the scopes it was made under on a queue; the event is built by the delivery
thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.utils import event_from_exception

if TYPE_CHECKING:
    from .delivery import Delivery

_OURS = (__package__ or "telemetry", "sentry_sdk", "urllib3")


class LogCapture(logging.Handler):
    """A handler on the root logger that takes records of level ERROR and above."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(logging.ERROR)
        self._delivery = delivery

    def createLock(self) -> None:  # noqa: N802 - the base's name
        """None is needed: emitting is one append to a lock-free queue."""
        self.lock = None

    @classmethod
    def install(cls, delivery: Delivery) -> LogCapture:
        """Add one to the root logger."""
        handler = cls(delivery)
        logging.getLogger().addHandler(handler)
        return handler

    def remove(self) -> None:
        """Take it off the root logger again."""
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record with the scopes it was logged under."""
        if self._delivery.is_current_thread or record.name.split(".", 1)[0] in _OURS:
            return  # what delivery itself does is never captured: it would feed itself
        self._delivery.logged(
            record, sentry_sdk.get_isolation_scope().fork(), sentry_sdk.get_current_scope().fork()
        )


def event_of(record: logging.LogRecord) -> tuple[dict[str, Any], dict[str, Any]]:
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
    event["level"] = "fatal" if record.levelno >= logging.CRITICAL else "error"
    event["logger"] = record.name
    event["logentry"] = {"message": str(record.msg), "formatted": record.getMessage(), "params": []}
    return event, hint
