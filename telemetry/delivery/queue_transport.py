"""The SDK's way to delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sentry_sdk.transport import Transport

from .drops import events_of

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

    from .thread import Delivery

_DECISIONS: Final = frozenset(
    {"before_send", "event_processor", "ignored", "insufficient_data", "sample_rate"}
)
"""Sentry's reasons for what an operator, or a profiler, didn't want: no loss."""


class QueueTransport(Transport):
    """The SDK's way to :class:`Delivery`: an envelope is queued and nothing else happens.

    The DSN is for the sampling context in headers, which names its public key; the organization,
    if its host doesn't say, for telling whose traces may be continued.
    """

    def __init__(
        self, delivery: Delivery, *, dsn: str | None = None, org_id: str | None = None
    ) -> None:
        super().__init__({"dsn": dsn, "org_id": org_id})
        self._delivery = delivery

    def capture_envelope(self, envelope: Envelope) -> None:
        """Queue it."""
        self._delivery.send(envelope)

    def record_lost_event(
        self,
        reason: str,
        data_category: Any = None,
        item: Any = None,
        *,
        quantity: int = 1,
    ) -> None:
        """Count what the SDK lost: a batch of its own overflowed, a hook raised.

        A transaction is told of twice, as such and as its spans: those count.
        """
        if reason not in _DECISIONS and data_category != "transaction":
            self._delivery.drop(reason, quantity if item is None else events_of(item))

    def flush(self, timeout: float, callback: object = None) -> None:
        """Wait for delivery."""
        self._delivery.flush(timeout)
