"""What is known of a conversation when it ends, and the rules by which it is kept.

*Kept* is sent to Sentry, whole. The share of ordinary conversations that is kept is ``init``'s
``sample_rate``; those that ``keep`` chooses are kept in any case.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from . import attributes as names
from .errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Keep = Callable[["Summary"], bool]
    """Chooses conversations."""

_FINE: Final = frozenset({"ok", "cancelled"})
"""Statuses of spans in which nothing failed."""


class Verdict(enum.Enum):
    """What becomes of a conversation that has ended."""

    CHOSEN = "chosen"
    """Sent, as ``keep`` chose it."""
    ORDINARY = "ordinary"
    """Sent, as one of the share of the others."""
    LEFT_OUT = "left out"
    """Not sent: the local store has it."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation, or another transaction such as a service's request, that has ended."""

    id: str
    name: str
    op: str
    """``conversation``, ``http.server``, …"""
    status: str
    """Its root span's: ``ok``, ``internal_error``, ``aborted``, …"""
    duration_seconds: float
    outcome: str | None = None
    """``completed``, ``failed``, …: its ``conversation.outcome``."""
    turns: int = 0
    interruptions: int = 0
    slowest_response_seconds: float | None = None
    """The longest latency of a response; None if there was no response."""
    errors: int = 0
    """Errors that were reported in it."""
    failed_spans: int = 0
    """Spans in it whose status says that something failed."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Its root span's."""

    @property
    def failed(self) -> bool:
        """True if anything in it failed, or an error was reported."""
        return bool(self.errors or self.failed_spans or self.status not in _FINE)


# -- rules as text -------------------------------------------------------------------------------

RULES: Final = "errors, interrupted, slower:SECONDS, longer:SECONDS, outcome:NAME"
_RULE: Final = re.compile(r"\s*(\w+)\s*(?::\s*([^,\s]+))?\s*")


def rules(text: str) -> Keep:
    """The rules in a text like ``errors,slower:1.5,outcome:failed``: any of them chooses.

    ``errors``: anything failed. ``interrupted``: the agent was. ``slower:SECONDS``: an answer took
    longer. ``longer:SECONDS``: the conversation did. ``outcome:NAME``: its outcome is this one.

    Raises:
        TelemetryError: a rule is none of these.
    """
    chosen = [_rule(part) for part in text.split(",") if part.strip()]
    return lambda summary: any(rule(summary) for rule in chosen)


def _rule(text: str) -> Keep:
    found = _RULE.fullmatch(text)
    match found.groups() if found else None:
        case ("errors", None):
            return lambda summary: summary.failed
        case ("interrupted", None):
            return lambda summary: summary.interruptions > 0
        case ("slower", str(given)):
            slower = _seconds(text, given)
            return lambda summary: (summary.slowest_response_seconds or 0.0) > slower
        case ("longer", str(given)):
            longer = _seconds(text, given)
            return lambda summary: summary.duration_seconds > longer
        case ("outcome", str(name)):
            return lambda summary: summary.outcome == name
    raise TelemetryError(f"{text.strip()!r} is no rule; rules are {RULES}")


def _seconds(rule: str, given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise TelemetryError(f"{rule.strip()!r} should name seconds, like slower:1.5")
    return seconds


# -- made of spans -------------------------------------------------------------------------------


class Account:
    """Counts what a summary says of spans, while they end."""

    __slots__ = ("_failed", "_slowest")

    def __init__(self) -> None:
        self._failed = 0
        self._slowest: float | None = None

    def add(self, spans: Iterable[Any]) -> None:
        """Count spans that have ended, the root not among them."""
        for span in spans:
            if span.status not in _FINE:
                self._failed += 1
            latency = span.attributes.get(names.RESPONSE_LATENCY)
            if isinstance(latency, (int, float)) and latency > (self._slowest or 0.0):
                self._slowest = float(latency)

    def summary(self, id: str, name: str, root: Any, *, errors: int) -> Summary:
        """The summary of a transaction with this root span."""
        known = root.attributes
        return Summary(
            id=id,
            name=name,
            op=root.op,
            status=root.status,
            duration_seconds=(root.ended_at or root.started_at) - root.started_at,
            outcome=known.get(names.CONVERSATION_OUTCOME),
            turns=_count(known.get(names.CONVERSATION_TURNS)),
            interruptions=_count(known.get(names.CONVERSATION_INTERRUPTIONS)),
            slowest_response_seconds=self._slowest,
            errors=errors,
            failed_spans=self._failed,
            attributes=known,
        )


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
