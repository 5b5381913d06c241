"""What a finished span and a conversation look like once they are history: plain, frozen values.

Delivery encodes them for Sentry, the store keeps them, the tree prints them. Times are Unix
seconds; identifiers are Sentry's (16 hex digits for a span, 32 for a trace).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One finished span."""

    span_id: str
    parent_span_id: str | None
    op: str
    name: str
    started_at: float
    ended_at: float
    status: str = "ok"
    """Sentry's span status: ``ok``, ``internal_error``, ``cancelled``, ``deadline_exceeded``, …"""
    origin: str = "manual"
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return self.ended_at - self.started_at


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """One conversation and all of its spans, the root first."""

    id: str
    trace_id: str
    name: str
    started_at: float
    ended_at: float | None
    """None while it runs, or when its process died before it ended."""
    status: str
    user: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    spans: tuple[SpanRecord, ...] = ()
