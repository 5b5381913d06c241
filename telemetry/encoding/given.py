"""Things to encode, as the encoders see them: of a running conversation, or of one read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sentry_sdk


class GivenSpan(Protocol):
    """A span that has ended."""

    @property
    def id(self) -> str:
        """Sentry's span id, 16 hex digits."""

    @property
    def parent_id(self) -> str | None:
        """Its parent's."""

    @property
    def op(self) -> str:
        """Its op."""

    @property
    def started_at(self) -> float:
        """Unix seconds."""

    @property
    def ended_at(self) -> float | None:
        """Unix seconds."""

    @property
    def status(self) -> str:
        """Sentry's span status."""

    @property
    def origin(self) -> str:
        """Sentry's name for who made it."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Names to values."""

    def written(self) -> tuple[str, str]:
        """Its op and its name, which know what of them stands in the code."""


class GivenTransaction(Protocol):
    """A transaction, over or not."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def trace_id(self) -> str:
        """Sentry's trace id, 32 hex digits."""

    @property
    def root(self) -> GivenSpan:
        """Its root span."""

    @property
    def said_by(self) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
        """The isolation and the current scope that its events are built under."""

    def sampling_context(self) -> dict[str, str]:
        """The dynamic sampling context of its events."""
