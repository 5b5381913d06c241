"""The SDK's way to delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentry_sdk.transport import Transport

from .drops import CALLBACK_ERROR

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

    from .thread import Delivery


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
        """Count what a hook lost by raising; what it refuses is the operator's decision."""
        if reason == CALLBACK_ERROR and data_category != "transaction":  # its spans count
            self._delivery.drop(reason, quantity)

    def flush(self, timeout: float, callback: object = None) -> None:
        """Wait for delivery."""
        self._delivery.flush(timeout)
