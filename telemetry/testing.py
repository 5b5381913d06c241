"""In-memory delivery, for tests: what would have been sent, and trees as text.

::

    with telemetry.testing.capture() as captured:
        with telemetry.conversation("host"), telemetry.span("gen_ai.chat", "reply"):
            ...
    [transaction] = captured.transactions
    assert captured.tree(transaction) == "conversation host\\n└─ gen_ai.chat reply"
"""

from __future__ import annotations

import datetime
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from . import configure, items, runtime
from .delivery import Delivery
from .errors import TelemetryError
from .records import SpanRecord
from .store import TraceStore
from .transport import Delivered, encode
from .tree import outline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sentry_sdk.envelope import Envelope

__all__ = ["Captured", "capture"]


class Captured:
    """What was delivered in a :func:`capture` block. Reading it waits for delivery."""

    def __init__(self) -> None:
        self._items: list[tuple[str, dict[str, Any]]] = []
        self._envelopes: list[bytes] = []
        self._runtime: runtime.Runtime | None = None

    @property
    def runtime(self) -> runtime.Runtime:
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
        """The transactions of op ``conversation``."""
        return [event for event in self.transactions if _trace(event)["op"] == "conversation"]

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
        lines = self._envelopes[-1].split(b"\n")
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
    sample_rate: float = 1.0,
    lifecycle: Literal["transaction", "stream"] = "transaction",
    **options: Any,
) -> Iterator[Captured]:
    """Initialise telemetry with in-memory delivery; ``strict`` raises on a missing conversation."""
    captured = Captured()
    delivery = Delivery(
        store=TraceStore(store) if store is not None else None,
        sender=captured,
        send_content=send_content,
        streaming=lifecycle == "stream",
    )
    with configure.start(
        delivery,
        strict=strict,
        traces_sample_rate=sample_rate,
        include_local_variables=send_content,
        **options,
    ) as captured._runtime:
        yield captured


# -- streamed spans as transactions --------------------------------------------------------------


def transactions_of(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Streamed spans as the transactions they would have been, one for each segment.

    Args:
        spans: spans as the protocol has them, in any order. Those whose segment span isn't among
            them are left out.
    """
    below: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        if not span["is_segment"]:
            segment = _values(span).get("sentry.segment.id", "")
            below.setdefault(segment, []).append(_span(span))
    return [
        _transaction(span, below.get(span["span_id"], [])) for span in spans if span["is_segment"]
    ]


def _transaction(segment: dict[str, Any], spans: list[dict[str, Any]]) -> dict[str, Any]:
    root = _span(segment)
    everywhere = _values(segment, after=items.SEGMENT_NAME)
    contexts: dict[str, Any] = {"trace": root}
    for key in [key for key in root["data"] if key.startswith(items.CONTEXT)]:
        context, _, field = key.removeprefix(items.CONTEXT).partition(".")
        contexts.setdefault(context, {})[field] = root["data"].pop(key)
    user = {
        {"name": "username"}.get(key, key): value
        for name, value in everywhere.items()
        if (key := name.removeprefix("user.")) != name
    }
    tags = {
        name: value
        for name, value in everywhere.items()
        if not name.startswith(("process.runtime.", "sentry.", "server.address", "user."))
    }
    return {
        "type": "transaction",
        "transaction": root.pop("description"),
        "start_timestamp": root.pop("start_timestamp"),
        "timestamp": root.pop("timestamp"),
        "contexts": contexts,
        "spans": spans,
        **({"user": user} if user else {}),
        **({"tags": tags} if tags else {}),
    }


def _span(span: dict[str, Any]) -> dict[str, Any]:
    known = _values(span)
    own = _values(span, before=items.SEGMENT_NAME)
    return {
        "trace_id": span["trace_id"],
        "span_id": span["span_id"],
        "parent_span_id": span.get("parent_span_id"),
        "op": known.get("sentry.op", "default"),
        "description": span["name"],
        "start_timestamp": span["start_timestamp"],
        "timestamp": span["end_timestamp"],
        "status": known.get(items.STATUS, "ok" if span["status"] == "ok" else "internal_error"),
        "origin": known.get("sentry.origin", "manual"),
        "data": {name: own[name] for name in own if not name.startswith("sentry.")},
    }


def _values(
    span: dict[str, Any], *, before: str | None = None, after: str | None = None
) -> dict[str, Any]:
    """Values of a span's attributes, of those before or after one of this name in their order."""
    names = list(span["attributes"])
    start = names.index(after) + 1 if after in names else 0
    end = names.index(before) if before in names else None
    return {name: span["attributes"][name]["value"] for name in names[start:end]}


def _trace(event: dict[str, Any]) -> dict[str, Any]:
    trace: dict[str, Any] = event["contexts"]["trace"]
    return trace


def _seconds(value: float | str) -> float:
    """Our transactions have Unix seconds, Sentry's own have ISO 8601."""
    return datetime.datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value
