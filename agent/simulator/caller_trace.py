"""The caller's side of a call in the trace: its transaction, with the words it said and heard.

The conversation hangs below it: by the headers of ``start``, and a typed turn by its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import telemetry
from telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from agent.simulator.report import CallResult, TurnResult
    from agent.simulator.scenario import Kind
    from telemetry import Span


@dataclass(frozen=True, slots=True)
class Origin:
    """A conversation's place in the trace: below its caller."""

    trace_id: str
    span_id: str
    """The caller's transaction, the conversation's parent."""
    turns: frozenset[str] = frozenset()
    """The caller's own turns, which may be parents of the agent's."""


class CallerTrace:
    """A caller's transaction; current inside the block, and ended with it."""

    def __init__(self, scenario: str) -> None:
        self._transaction = telemetry.transaction(names.OP_CALLER, scenario)
        self._turns: list[Span] = []
        self._began: list[float] = []
        """Times at which turns began; each ended the turn before it."""

    @property
    def origin(self) -> Origin:
        """The place in the trace where the conversation has to be."""
        return Origin(
            self._transaction.trace_id,
            self._transaction.root.id,
            frozenset(turn.id for turn in self._turns),
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers that make a conversation this transaction's child."""
        return self._transaction.root.trace_headers()

    def begin(self, kind: Kind) -> dict[str, str]:
        """Begin the caller's next turn, which ends the one before; returns its span's headers."""
        self._began.append(time.time())
        span = self._transaction.root.start_span(names.OP_CALLER_TURN, kind)
        self._turns.append(span)
        return span.trace_headers()

    def tell(self, result: CallResult) -> None:
        """Write the result of the call, which is over, into the trace."""
        whole = self._transaction
        if result.outcome is not None:
            whole.set({names.CONVERSATION_OUTCOME: result.outcome.value})
        _fail(whole.root, result.all_failures)
        ends = [*self._began[1:], time.time()]
        for span, turn, ended_at in zip(self._turns, result.turns, ends, strict=False):
            _describe(span, turn)
            span.finish(ended_at)

    def __enter__(self) -> Self:
        self._transaction.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transaction.__exit__(kind, error, traceback)


def _describe(span: Span, turn: TurnResult) -> None:
    """Set the words that the caller said and heard in a turn."""
    told: dict[str, Any] = {
        names.USER_WORDS: turn.caller if turn.kind == "typed" else turn.words,
        names.AGENT_WORDS: turn.reply,
        names.RESPONSE_LATENCY: None if turn.measured_ms is None else turn.measured_ms / 1000,
        names.CALLER_INTERRUPTION: turn.interruption,
    }
    span.set({name: value for name, value in told.items() if value not in (None, "")})
    _fail(span, turn.failures)


def _fail(span: Span, failures: Sequence[str]) -> None:
    """Set the failures, which are content: they quote what was said."""
    if failures:
        span.set({names.CALLER_FAILURES: list(failures)})
        span.status = "internal_error"
