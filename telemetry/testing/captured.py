"""In-memory delivery: the things that would have been sent in a block."""

from __future__ import annotations

import datetime
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from .. import configure
from .. import options as sentrys_options
from ..delivery.content import Projected
from ..delivery.sender import Delivered
from ..delivery.thread import Delivery
from ..encoding.envelope import encode
from ..errors import TelemetryError
from ..records import SpanRecord
from ..store import TraceStore
from ..tree import outline
from .segments import transactions_of, with_spans_beside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sentry_sdk.envelope import Envelope

    from ..runtime import Runtime
    from ..summary import Keep

__all__ = ["Captured", "capture"]


class Captured:
    """The deliveries of a :func:`capture` block. Reading them waits for delivery."""

    def __init__(self) -> None:
        self._items: list[tuple[str, dict[str, Any]]] = []
        self._envelopes: list[bytes] = []
        self._runtime: Runtime | None = None

    @property
    def runtime(self) -> Runtime:
        """The runtime, for its ``stats()``."""
        assert self._runtime is not None
        return self._runtime

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """Transactions as Sentry's event dictionaries, in the order of delivery.

        In the stream lifecycle, segments: :func:`transactions_of` the spans that have arrived.
        """
        return self._of("transaction") + transactions_of(self.streamed)

    @property
    def streamed(self) -> list[dict[str, Any]]:
        """Streamed spans as the protocol has them, in the order of delivery."""
        return self._of("span")

    @property
    def envelopes(self) -> list[bytes]:
        """All that would have been sent, as it goes over the wire: whatever isn't in here stays."""
        self._of("")
        return list(self._envelopes)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Error events, in the order of delivery."""
        return self._of("event")

    @property
    def conversations(self) -> list[dict[str, Any]]:
        """The transactions of op ``conversation``, each with the spans that were sent beside it."""
        streamed = self.streamed
        return [
            with_spans_beside(event, streamed)
            for event in self.transactions
            if _trace(event)["op"] == "conversation"
        ]

    @staticmethod
    def spans(transaction: dict[str, Any]) -> list[SpanRecord]:
        """The spans of a transaction as records, its root first."""
        trace = _trace(transaction)
        root = SpanRecord(
            span_id=trace["span_id"],
            parent_span_id=None,
            op=trace["op"],
            name=transaction["transaction"],
            started_at=_seconds(transaction["start_timestamp"]),
            ended_at=_seconds(transaction["timestamp"]),
            status=trace.get("status", "ok"),
            attributes=trace.get("data", {}),
        )
        return [
            root,
            *(
                SpanRecord(
                    span_id=span["span_id"],
                    parent_span_id=span["parent_span_id"],
                    op=span["op"],
                    name=span.get("description") or span["op"],
                    started_at=_seconds(span["start_timestamp"]),
                    ended_at=_seconds(span["timestamp"]),
                    status=span.get("status", "ok"),
                    origin=span["origin"],
                    attributes=span.get("data", {}),
                )
                for span in transaction["spans"]
            ),
        ]

    def tree(self, transaction: dict[str, Any]) -> str:
        """A transaction as an indented tree of ``op name``, children by start time."""
        return outline(self.spans(transaction))

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
        """Take an envelope, through the same encoding as over the wire."""
        self._envelopes.append(encode(envelope))
        whole = envelope.whole if isinstance(envelope, Projected) else envelope
        lines = encode(whole).split(b"\n")
        position = 1
        while position + 1 < len(lines) and lines[position]:
            header = json.loads(lines[position])
            if header["type"] in ("transaction", "event"):
                self._items.append((header["type"], json.loads(lines[position + 1])))
            elif header["type"] == "span":
                spans = json.loads(lines[position + 1])["items"]
                self._items += [("span", span) for span in spans]
            position += 2
        return Delivered()

    def close(self) -> None:
        """Nothing to release."""

    def _of(self, kind: str) -> list[dict[str, Any]]:
        if not self.runtime.flush(30):
            raise TelemetryError("telemetry did not deliver within 30 s")
        return [event for type_, event in self._items if type_ == kind]


@contextmanager
def capture(
    strict: bool = True,
    *,
    store: str | Path | None = None,
    send_content: bool = False,
    send_attributes: Sequence[str] = (),
    send_errors: Sequence[str] = (),
    sample_rate: float = 1.0,
    keep: str | Keep | None = None,
    lifecycle: Literal["transaction", "stream"] = "transaction",
    propagate_to: Sequence[str] | None = None,
    **options: Any,
) -> Iterator[Captured]:
    """Initialise telemetry with in-memory delivery; ``strict`` raises on a missing conversation.

    Without ``send_content`` delivery leaves out what it leaves out for Sentry: ``envelopes`` are
    what would have been sent, everything else is what that was made of.

    A transaction has all of its spans, as a test wants to see them together. With
    ``stream_gen_ai_spans=True``, which is Sentry's default, ``gen_ai.*`` spans are ``streamed``.
    """
    sentrys_options.check(options)
    options.setdefault("stream_gen_ai_spans", False)
    captured = Captured()
    delivery = Delivery(
        store=TraceStore(store) if store is not None else None,
        sender=captured,
        send_content=send_content,
        policy=configure.policy(send_attributes, send_errors, keeps_whole=True),
        streaming=lifecycle == "stream",
        keep=configure.chooses(keep),
    )
    with configure.start(
        delivery,
        strict=strict,
        traces_sample_rate=sample_rate,
        trace_propagation_targets=configure.targets(propagate_to),
        include_local_variables=send_content,
        **options,
    ) as captured._runtime:
        yield captured


def _trace(event: dict[str, Any]) -> dict[str, Any]:
    trace: dict[str, Any] = event["contexts"]["trace"]
    return trace


def _seconds(value: float | str) -> float:
    """Our transactions have Unix seconds, Sentry's own have ISO 8601."""
    return datetime.datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value
