"""Stands in before ``init`` and after ``close``: everything can be called, nothing is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sentry_sdk

from ..stats import Delivered, Tally
from ..trace.registry import Registry

if TYPE_CHECKING:
    from sentry_sdk.client import BaseClient

    from ..trace.span import Span
    from ..trace.transaction import Transaction


class Nowhere:
    """A delivery, and its outbox, for a process that has no other."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.tally = Tally()
        self.client: BaseClient | None = None

    @property
    def streaming(self) -> bool:
        """True in the stream lifecycle: Sentry's own, where telemetry isn't initialised."""
        return bool(sentry_sdk.get_client().options.get("trace_lifecycle") == "stream")

    @property
    def stores(self) -> bool:
        """False: it keeps nothing."""
        return False

    @property
    def audio_folder(self) -> None:
        """None: it keeps nothing."""
        return

    @property
    def holds(self) -> bool:
        """False: it sends nothing."""
        return False

    @property
    def outbox(self) -> Nowhere:
        """Itself: nothing waits between taking and keeping nothing."""
        return self

    # -- as an outbox ----------------------------------------------------------------------------

    def opened(self, transaction: Transaction) -> None:
        """A transaction began."""
        self.registry.opened(transaction)

    def hand_over(self, transaction: Transaction) -> None:
        """Forget the spans of a running transaction."""
        transaction.spans.take()

    def late(self, transaction: Transaction, span: Span) -> None:
        """A span finished after its transaction had ended."""

    def closed(self, transaction: Transaction) -> None:
        """A transaction ended."""
        self.registry.closed(transaction)
        self.registry.done(id(transaction))

    def captured(
        self, error: BaseException, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """An error was reported."""

    # -- as a delivery ---------------------------------------------------------------------------

    @property
    def is_own_thread(self) -> bool:
        """False: it has none."""
        return False

    def start(self) -> None:
        """Nothing runs."""

    def flush(self, timeout: float) -> bool:
        """Nothing waits."""
        return True

    def stop(self, timeout: float) -> bool:
        """Nothing runs."""
        return True

    @property
    def account(self) -> Nowhere:
        """Itself: there is nothing to say."""
        return self

    def dropped(self) -> dict[str, int]:
        """Nothing is delivered, so nothing is dropped."""
        return {}

    def delivered(self) -> Delivered:
        """Nothing waits."""
        return Delivered()

    def troubles(self) -> tuple[str, ...]:
        """Nothing goes anywhere, and nothing goes wrong."""
        return ()

    def recover(self, timeout: float) -> bool:
        """Nobody left anything."""
        return True

    def before_fork(self) -> None:
        """Nothing is held that must not be copied."""

    def after_fork(self) -> None:
        """Nothing was let go of."""

    def begin_anew(self) -> None:
        """Nothing is the parent's alone."""
