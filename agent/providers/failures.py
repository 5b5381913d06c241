"""Failures of providers, counted by what kind of provider it is and what went wrong."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError

from agent.metrics import PROVIDER_FAILURES, PROVIDER_FALLBACKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from livekit import rtc

    from .remote import Kind

Reason = Literal["timeout", "connection", "rate_limited", "refused", "failed", "other"]
_MAX_CAUSES: Final = 10


def count(kind: Kind, members: Iterable[rtc.EventEmitter[Any]]) -> None:
    """Count the failed attempts of providers, for as long as they live."""
    for member in members:
        member.on("error", partial(_failed, kind))


def count_fallbacks(kind: Kind, adapter: rtc.EventEmitter[Any]) -> None:
    """Count the times that an adapter turns to the next provider."""

    def changed(event: Any) -> None:
        if not event.available:
            PROVIDER_FALLBACKS.labels(kind).inc()

    adapter.on(f"{kind}_availability_changed", changed)


def _failed(kind: Kind, event: Any) -> None:
    PROVIDER_FAILURES.labels(kind, reason_of(event.error)).inc()


def reason_of(error: BaseException) -> Reason:
    """The kind of failure that an exception of LiveKit's plugins stands for."""
    match error:
        case APIStatusError(status_code=HTTPStatus.TOO_MANY_REQUESTS):
            return "rate_limited"
        case APIStatusError(status_code=status) if 400 <= status < 500:
            return "refused"
        case APIStatusError():
            return "failed"
        case APITimeoutError():
            return "timeout"
        case APIConnectionError():
            return "timeout" if _was_late(error) else "connection"
        case APIError():
            return "failed"
        case _:
            return "other"


def _was_late(error: BaseException) -> bool:
    """True if a time limit is behind a failed connection: plugins don't always say so."""
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        cause = cause.__cause__ if cause is not None else None
        # each HTTP client has exceptions of its own, ReadTimeout and the like
        if isinstance(cause, TimeoutError) or type(cause).__name__.endswith("Timeout"):
            return True
    return False
