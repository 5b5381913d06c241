"""The transactions of a process: which run, which are over, which were left to a parent process.

Any thread may open and close transactions; every step is one operation of a dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from .orphan import Orphan

if TYPE_CHECKING:
    import sentry_sdk

    from .sink import Sink
    from .transaction import Transaction


class Registry:
    """Transactions by ``id()``, from their beginning."""

    def __init__(self) -> None:
        self._undelivered: dict[int, Transaction] = {}
        """Those that delivery isn't done with, over or not."""
        self._open: dict[int, Transaction] = {}
        self._ended: WeakValueDictionary[int, Transaction] = WeakValueDictionary()
        """Those that are over, while anything may still start a span in them."""

    def opened(self, transaction: Transaction) -> None:
        """A transaction began."""
        self._open[id(transaction)] = self._undelivered[id(transaction)] = transaction

    def closed(self, transaction: Transaction) -> None:
        """A transaction ended."""
        self._open.pop(id(transaction), None)
        self._ended[id(transaction)] = transaction

    def done(self, key: int) -> None:
        """Delivery is done with the transaction of this ``id()``."""
        self._undelivered.pop(key, None)

    def find(self, key: int) -> Transaction | None:
        """The transaction of this ``id()``, until delivery is done with it."""
        return self._undelivered.get(key)

    def awaits_delivery(self, transaction: Transaction) -> bool:
        """True until delivery is done with it."""
        return id(transaction) in self._undelivered

    def alive(self) -> list[Transaction]:
        """The transactions that delivery isn't done with."""
        return list(self._undelivered.values())

    def has_trace(self, trace_id: str) -> bool:
        """True while delivery isn't done with a transaction of this trace."""
        return any(transaction.trace_id == trace_id for transaction in self.alive())

    def open_ids(self) -> list[str]:
        """Ids of the conversations that are open."""
        return [
            transaction.id
            for transaction in list(self._open.values())
            if not isinstance(transaction, Orphan)
        ]

    def end_all(self) -> None:
        """End transactions, orphans, and spans that were started after their conversation."""
        for transaction in list(self._open.values()):
            if isinstance(transaction, Orphan):
                transaction.cancel_open_spans()
            else:
                transaction.root.status = "aborted"
                transaction.close()
        for transaction in self._all_ended():
            transaction.cancel_open_spans()

    def leave_to_parent(self, sink: Sink[Transaction]) -> list[sentry_sdk.Scope]:
        """In a forked child: all of them are the parent's from now on. Returns their scopes.

        One that another thread was just closing stays closed: that thread isn't here.
        """
        known = [*self._open.values(), *self._all_ended()]
        for transaction in known:
            transaction.left_to_parent(sink)
        return [transaction.isolation for transaction in known]

    def _all_ended(self) -> list[Transaction]:
        """Unlike iteration, ``valuerefs`` is safe while other threads close conversations."""
        return [found for ended in self._ended.valuerefs() if (found := ended()) is not None]
