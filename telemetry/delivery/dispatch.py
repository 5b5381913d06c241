"""The last of an envelope's way through delivery: its copy for the store, the rule, the queue.

What Sentry's client has made passes :meth:`Dispatch.send`, what is made here
:meth:`Dispatch.pass_on`.
An envelope is encoded once: the store and Sentry get the same bytes.
"""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..encoding.envelope import decode, encode, in_bytes
from ..store import StoredError, Unsent, bounded
from .content import Projected, Projection, Rule
from .given import Error, Forget, Put
from .redaction import Redaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sentry_sdk.envelope import Envelope

    from ..trace.registry import Registry
    from .collector_lane import CollectorLane
    from .content.projection import SpansAnew
    from .drops import Drops
    from .send_queue import SendQueue
    from .side_car import SideCar
    from .store_lane import StoreLane


class Dispatch:
    """Passes envelopes on.

    Args:
        store: writes to the local trace store, or None.
        queue: the envelopes that wait for Sentry, or None.
        drops: where what can't be sent is counted.
        registry: the transactions of the process, which know what was said.
        rule: what this process may send.
        collector: gets copies besides, or None.
    """

    def __init__(
        self,
        *,
        store: StoreLane | None,
        queue: SendQueue | None,
        drops: Drops,
        registry: Registry,
        rule: Rule,
        collector: CollectorLane | None = None,
    ) -> None:
        self.side_car: SideCar | None = None
        """Gets a copy of each envelope."""
        self.rule = rule
        """The rule for what is passed on now."""
        self.redaction = None if rule.content else Redaction(registry)
        """Knows what was said, if that isn't sent."""
        self.collector = collector
        self._store = store
        self._queue = queue
        self._drops = drops
        self._registry = registry
        self._own = rule
        self._projection = self._projection_of(rule)
        self._copies: list[Unsent] | None = None
        self._hold: Callable[[Envelope], None] | None = None
        self.heard_error: Callable[[str | None], None] = lambda trace_id: None
        """Told of the trace of each error."""

    @property
    def delivers(self) -> bool:
        """True if anybody gets what is passed on."""
        others = self.side_car, self.collector
        return self._queue is not None or any(other is not None for other in others)

    @contextmanager
    def by(self, rule: Rule) -> Iterator[None]:
        """Apply another rule in the block, of whoever recorded what is sent there."""
        former = self._projection, self.redaction
        self.rule = rule
        if rule != self._own:
            self.redaction = self.redaction or Redaction(self._registry)
            self._projection = self._projection_of(rule)
        try:
            yield
        finally:
            self.rule = self._own
            self._projection, self.redaction = former

    @contextmanager
    def copied(self, put: Put) -> Iterator[None]:
        """Give the store what is passed on in the block as one, with what this says of it."""
        if self._store is None:
            yield
            return
        copies = self._copies = []
        try:
            yield
        finally:
            self._copies = None
            put.unsent = tuple(copies)
            self._store.give(put)

    @contextmanager
    def held(self, hold: Callable[[Envelope], None]) -> Iterator[None]:
        """Give what is passed on in the block to ``hold``, and to nobody else."""
        self._hold = hold
        try:
            yield
        finally:
            self._hold = None

    # -- envelopes ---------------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        """Store the error in it, and have it sent without what people said."""
        event = envelope.get_event()
        if event is not None:
            self.heard_error(_trace_of(event).get("trace_id"))
            if self._store is not None:
                self._store.give(_row_of(dict(event)))
        if not self.delivers:
            return
        sent = envelope if self._projection is None else self._projection.of(envelope)
        if sent is not None:
            self.pass_on(sent)

    def anew(self, trace_id: str) -> SpansAnew | None:
        """Makes a trace's streamed spans anew; None if they may be sent as they are."""
        return None if self._projection is None else self._projection.spans(trace_id)

    def pass_on(self, envelope: Envelope, *, events: int | None = None) -> None:
        """Have it sent as it is: nobody's words are in it. ``events`` as the queue takes it."""
        if self._hold is not None:
            self._hold(envelope)
            return
        if self.side_car is not None:
            self.side_car.copy(envelope)
        if self.collector is not None:
            self.collector.copy(envelope, spans=events)
        if self._queue is None:
            return
        try:
            # a test's wants to see what it was made of
            packed = None if isinstance(envelope, Projected) else in_bytes(envelope)
            body = b"" if self._store is None else encode(packed or envelope)
        except (TypeError, ValueError, RecursionError):
            self._queue.add(envelope)  # whoever sends it finds that out, and counts it
            return
        if self._store is None:
            self._queue.add(envelope, packed=packed, events=events)
            return
        key = envelope.headers.get("event_id") or uuid.uuid4().hex
        waiting = self._queue.add(envelope, key=key, packed=packed, events=events)
        if waiting is None:
            return
        copy = Unsent(key, waiting.worth, waiting.events, self.rule.to_text(), body, time.time())
        if self._copies is None:
            self._store.give(Put((copy,)))
        else:
            self._copies.append(copy)

    def loaded(self, unsent: list[Unsent]) -> list[tuple[Unsent, Envelope]]:
        """Envelopes that waited in the store, by the rule of whoever recorded them and by ours."""
        found: list[tuple[Unsent, Envelope]] = []
        for one in unsent:
            envelope: Envelope | None = decode(one.envelope)
            rule = Rule.of_text(one.rule)
            if not self._own.allows(rule):
                with self.by(self._own.with_other(rule)):
                    assert self._projection is not None
                    assert envelope is not None
                    envelope = self._projection.of(envelope)
            if envelope is not None:
                found.append((one, envelope))
            elif self._store is not None:
                self._store.give(Forget((one.key,)))
        return found

    def close(self, deadline: float) -> None:
        """Wait for those who get copies, until the deadline (monotonic seconds)."""
        if self.collector is not None:
            self.collector.close(deadline)
        if self.side_car is not None:
            self.side_car.close(max(0.0, deadline - time.monotonic()))

    def drop_all(self) -> None:
        """Drop what they haven't got. Two threads may: each is counted once."""
        if self.collector is not None:
            self.collector.drop_all()

    def _projection_of(self, rule: Rule) -> Projection | None:
        if rule.content or self.redaction is None:
            return None
        return Projection(rule.policy, self.redaction, self._drops)


def _trace_of(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return (event.get("contexts") or {}).get("trace") or {}


def _row_of(event: dict[str, Any]) -> Error:
    """An error as the store has it: here and now, as sending may cut it."""
    trace = _trace_of(event)
    values = (event.get("exception") or {}).get("values") or [{}]
    message = (event.get("logentry") or {}).get("formatted") or event.get("message")
    return Error(
        StoredError(
            trace.get("trace_id"),
            trace.get("span_id"),
            time.time(),
            str(values[-1].get("type") or event.get("level") or "error"),
            str(values[-1].get("value") or message or ""),
            event.get("event_id"),
        ),
        bounded(event),
    )
