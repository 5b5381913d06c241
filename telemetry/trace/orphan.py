"""An orphan: the transaction of a span that was started where no conversation is current."""

from __future__ import annotations

from .transaction import Transaction


class Orphan(Transaction):
    """A span that has no conversation is recorded in one of these, as its root."""

    def _began(self) -> None:
        tally = self.sink.tally
        tally.spans.add()
        tally.orphan_spans.add()
