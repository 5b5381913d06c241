"""The bytes of an envelope, and how much Sentry takes in one.

Format: https://develop.sentry.dev/sdk/foundations/envelopes/. Nothing here holds the interpreter
for long: a call's event loop runs in the same process.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sentry_sdk.envelope import Envelope, Item, PayloadRef

from .fitting import fit_event, fit_log
from .values import paced, size_of, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

MAX_SPANS = 1_000
"""Spans in one transaction or item: Sentry's limit."""
MAX_BYTES = 800_000
"""Bytes of spans in one transaction or item: Sentry refuses events of 1 MB and more."""
MAX_ITEM_BYTES: Final = 990_000
"""Bytes of an item's payload: a transaction with its spans, an error, some logs."""
_BATCH_BYTES: Final = 16 * 1024
"""JSON made before other threads get their turn: under 1 ms of work. Measured with 1,000 spans
(800 kB): an event loop waits 1.1 ms at most, without the turns 5.3 ms."""


def batches(spans: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Encoded spans in the order given, each batch within Sentry's limits; ``size`` is in bytes."""
    batch: list[T] = []
    total = 0
    for span in paced(spans):
        length = size(span)
        if batch and (len(batch) == MAX_SPANS or total + length > MAX_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(span)
        total += length
    if batch:
        yield batch


def encode(envelope: Envelope) -> bytes:
    """The envelope's bytes, without ever holding the interpreter for long.

    One ``json.dumps`` of a conversation with 1,000 spans is one C call of 10 to 34 ms in which no
    other thread runs, event loops included. So a payload is encoded a member at a time, its lists
    (spans, logs) an element at a time, and other threads get their turn in between.

    Raises:
        ValueError, TypeError, RecursionError: a value has no JSON form (NaN, a cycle, a key that
            isn't text). Objects JSON doesn't know become text.
    """
    return b"".join(pieces(envelope.headers, envelope.items))


def pieces(headers: Mapping[str, Any], items: Iterable[Item]) -> Iterator[bytes]:
    """The bytes of an envelope with these headers and items, in pieces; see :func:`encode`.

    An item that is larger than Sentry takes is divided, or its longest values are cut.
    """
    yield to_json(headers) + b"\n"
    for item in items:
        for item_headers, payload in _parts(item):
            length = sum(map(len, payload))
            yield to_json({**item.headers, **item_headers, "length": length}) + b"\n"
            yield from payload
            yield b"\n"


def in_bytes(envelope: Envelope) -> Envelope:
    """The same envelope, its payloads encoded: what is kept and what is sent are then the same.

    Raises:
        ValueError, TypeError, RecursionError: as :func:`encode`.
    """
    return Envelope(
        envelope.headers,
        [
            Item(PayloadRef(bytes=b"".join(payload)), headers={**item.headers, **headers})
            for item in envelope.items
            for headers, payload in _parts(item)
        ],
    )


def bytes_in(envelope: Envelope) -> int:
    """The bytes of an envelope's payloads, which are bytes already."""
    return sum(len(item.get_bytes()) for item in envelope.items)


def decode(body: bytes) -> Envelope:
    """An envelope of its bytes. The payloads stay bytes: parsing one would take its time."""
    line, _, rest = body.partition(b"\n")
    headers, items = json.loads(line), []
    while rest:
        line, _, rest = rest.partition(b"\n")
        own = json.loads(line)
        length = own.pop("length")
        items.append(Item(PayloadRef(bytes=rest[:length]), headers=own))
        rest = rest[length + 1 :]
    return Envelope(headers, items)


def _parts(item: Item) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """The headers that an item's parts differ in, and their payloads; most items are one part."""
    content = item.payload.json
    if item.payload.bytes is not None or not isinstance(content, dict):
        yield {}, [item.get_bytes()]
        return
    payload = _payload(content)
    size = sum(map(len, payload))
    if size <= MAX_ITEM_BYTES:
        yield {}, payload
    elif isinstance(content.get("items"), list):
        for log in paced(content["items"] if item.type == "log" else ()):
            fit_log(log, MAX_BYTES)
        for batch in batches(content["items"], size_of):
            yield {"item_count": len(batch)}, _payload({**content, "items": batch})
    else:
        spans = paced(content.get("spans") or [])
        fit_event(content, MAX_ITEM_BYTES - sum(size_of(span) + 1 for span in spans))
        yield {}, _payload(content)


def _payload(content: Mapping[str, Any]) -> list[bytes]:
    payload: list[bytes] = []
    size = 0
    for piece in _members(content):
        payload.append(piece)
        size += len(piece)
        if size >= _BATCH_BYTES:
            size = 0
            time.sleep(0)  # lets go of the interpreter, no more
    return payload


def _members(content: Mapping[str, Any]) -> Iterator[bytes]:
    before = b"{"
    for key, value in content.items():
        yield before + to_json(key) + b":"
        before = b","
        if isinstance(value, list) and value:
            between = b"["
            for element in value:
                yield between + to_json(element)
                between = b","
            yield b"]"
        else:
            yield to_json(value)
    yield b"}" if content else b"{}"
