"""Holds what transactions hand over until they end, and decides then which of them are sent.

Only where ``init`` was given ``keep``: otherwise Sentry's own decision stands, which falls when a
transaction begins. What is held are envelopes, ready to be sent and compressed: most of a long
conversation; the rest is still in its :class:`~telemetry.trace.span_set.SpanSet`. So a conversation
is sent whole or not at all.

Of one thread: delivery's.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..encoding.envelope import decode, encode
from ..summary import Account, Verdict
from .content import Projected
from .drops import OVERFLOW, events_in
from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentry_sdk.envelope import Envelope

    from ..summary import Keep, Summary
    from ..trace.registry import Registry
    from ..trace.span import Span
    from ..trace.transaction import Transaction
    from .drops import Drops
    from .recovered import Recovered

HELD_BYTES: Final = 64_000_000
"""Of compressed envelopes, over all transactions: some 300,000 spans. The largest is left out where
there is more; the local store has it."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """What is held of one transaction."""

    transaction: Transaction
    account: Account = field(default_factory=Account)
    envelopes: list[tuple[bytes | Projected, int]] = field(default_factory=list)
    """Each with the number of spans in it."""
    size: int = 0
    """Bytes."""
    spans: int = 0
    """Spans that have ended in it."""


class Tail:
    """Decides when transactions end.

    Args:
        keep: chooses those that are sent in any case.
        registry: the transactions of the process.
        drops: where spans are counted that there is no room for.
    """

    def __init__(self, keep: Keep, registry: Registry, drops: Drops) -> None:
        self._keep = keep
        self._registry = registry
        self._drops = drops
        self._held: dict[int, _Held] = {}
        self._size = 0
        self._errors: dict[str, int] = {}
        """Errors that were reported, by trace, while it is open."""
        self._has_failed = False

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return self._size

    def note(self, transaction: Transaction, spans: Sequence[Span]) -> None:
        """Take account of spans that have ended."""
        held = self._of(transaction)
        held.account.add(spans)
        held.spans += len(spans)
        if transaction.verdict is not None:  # there was no room for it
            self._drops.add(OVERFLOW, len(spans))

    def error(self, trace_id: str | None) -> None:
        """An error was reported in this trace."""
        if trace_id is not None and self._registry.has_trace(trace_id):
            self._errors[trace_id] = self._errors.get(trace_id, 0) + 1

    def hold(self, transaction: Transaction, envelope: Envelope) -> None:
        """Keep an envelope of a transaction that isn't over."""
        if transaction.verdict is not None:  # there was no room for what came before
            return
        held = self._of(transaction)
        events = events_in(envelope)
        if isinstance(envelope, Projected):  # a test's, which wants to see what it was made of
            held.envelopes.append((envelope, events))
            return
        packed = zlib.compress(encode(envelope), 1)
        held.envelopes.append((packed, events))
        held.size += len(packed)
        self._size += len(packed)
        while self._size > HELD_BYTES:
            self._leave_out(max(self._held.values(), key=lambda one: one.size))

    def decide(self, transaction: Transaction, spans: Sequence[Span]) -> list[tuple[Envelope, int]]:
        """Decide on a transaction that has ended, and these are its last spans.

        Returns:
            What was held of it, if it is sent: envelopes, each with the number of spans in it.
        """
        self.note(transaction, spans)
        if transaction.verdict is not None:
            self._drops.add(OVERFLOW)  # its root
            return []
        held = self._of(transaction)
        errors = self._errors.get(transaction.trace_id, 0)
        summary = held.account.summary(
            transaction.id, transaction.name, transaction.root, errors=errors
        )
        ordinary = Verdict.ORDINARY if transaction.is_sampled else Verdict.LEFT_OUT
        transaction.verdict = Verdict.CHOSEN if self._chooses(summary) else ordinary
        if transaction.verdict is Verdict.LEFT_OUT:
            return []
        sampling = transaction.sampling_context()
        return [(_released(one, sampling), events) for one, events in held.envelopes]

    def wants(self, left: Recovered) -> bool:
        """Decide on a conversation that a process left which held it, too."""
        account = Account()
        account.add(left.spans)
        summary = account.summary(left.id, left.name, left.root, errors=0)
        return left.is_ordinary or self._chooses(summary)

    def forget(self, key: int, trace_id: str) -> None:
        """Delivery is done with the transaction of this ``id()``."""
        held = self._held.pop(key, None)
        if held is not None:
            self._size -= held.size
        if trace_id in self._errors and not self._registry.has_trace(trace_id):
            del self._errors[trace_id]

    def _of(self, transaction: Transaction) -> _Held:
        return self._held.setdefault(id(transaction), _Held(transaction))

    def _leave_out(self, held: _Held) -> None:
        held.transaction.verdict = Verdict.LEFT_OUT
        self._drops.add(OVERFLOW, held.spans)
        self._size -= held.size
        held.envelopes, held.size = [], 0

    def _chooses(self, summary: Summary) -> bool:
        with unobserved():
            try:
                return bool(self._keep(summary))
            except Exception:
                if not self._has_failed:
                    self._has_failed = True
                    logger.warning("keep raised; what it was asked about is sent", exc_info=True)
                return True


def _released(one: bytes | Projected, sampling: dict[str, str]) -> Envelope:
    envelope = one if isinstance(one, Projected) else decode(zlib.decompress(one))
    if "trace" in envelope.headers:
        envelope.headers["trace"] = {**envelope.headers["trace"], **sampling}
    return envelope
