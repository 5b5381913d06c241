"""Finished spans, conversations and their audio as plain, frozen values.

Delivery encodes them for Sentry, the store keeps them, the tree prints them. Times are Unix
seconds; identifiers are Sentry's (16 hex digits for a span, 32 for a trace).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .attributes import OP_CONVERSATION

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
    """One conversation, or another transaction, and all of its spans, the root first."""

    id: str
    trace_id: str
    name: str
    started_at: float
    ended_at: float | None
    """None while it runs, or when its process died before it ended."""
    status: str
    op: str = OP_CONVERSATION
    """The root's; another one where it is a part of somebody's trace: a service's request, a call
    as its caller made it."""
    user: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    spans: tuple[SpanRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class AudioRecord:
    """A file with the audio of a conversation, in the folder of the store's recordings."""

    file: str
    """Its name."""
    started_at: float
    """The time of its first sample."""
    seconds: float | None = None
    """Its length; None while it is being recorded."""
    channels: int = 2
    """Of two, the left is the caller, the right the agent."""
