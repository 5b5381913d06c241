"""The place that transactions and their spans are handed over to, as a transaction sees it.

Every method is one hop to a queue: none waits, none raises, none looks at a lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    import sentry_sdk
    from sentry_sdk.client import BaseClient

    from ..stats import Tally
    from .span import Span

T_contra = TypeVar("T_contra", contravariant=True)
"""A transaction."""


class Sink(Protocol[T_contra]):
    """Takes what a call has recorded: delivery's outbox, or nobody before ``init``.

    Attributes:
        streaming: whether Sentry gets spans (the stream lifecycle) instead of transactions.
        stores: whether there is a store, which takes spans for itself.
        holds: whether nothing of a transaction is sent before it has ended.
        audio_folder: the folder of its recordings; None where there is no store to know them.
        tally: the running counts.
        client: Sentry's client, which a conversation keeps whatever becomes of the process's.
    """

    tally: Tally
    client: BaseClient | None

    @property
    def streaming(self) -> bool:
        """True in the stream lifecycle."""

    @property
    def stores(self) -> bool:
        """True if there is a store."""

    @property
    def audio_folder(self) -> Path | None:
        """The folder of recordings."""

    @property
    def holds(self) -> bool:
        """True if nothing of a transaction is sent before it has ended."""

    def opened(self, transaction: T_contra) -> None:
        """A transaction began. The store sees it from now on, and needs not be told."""

    def hand_over(self, transaction: T_contra) -> None:
        """A running transaction has a batch of finished spans."""

    def late(self, transaction: T_contra, span: Span) -> None:
        """A span finished after its transaction had been delivered."""

    def closed(self, transaction: T_contra) -> None:
        """A transaction ended."""

    def captured(
        self, error: BaseException, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """An error was reported, under these scopes."""
