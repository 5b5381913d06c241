"""An envelope made anew of what may be sent: the last that happens before it is queued.

Whatever an item is not known to be, it isn't sent, and counts as dropped.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sentry_sdk.envelope import Envelope, Item, PayloadRef

from ...encoding.values import paced
from ..drops import CONTENT, events_of
from .allowed import Allowed
from .events import Events
from .items import Items
from .texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..drops import Drops
    from ..redaction import Redaction, Said

_HEADERS: Final[tuple[str, ...]] = ("event_id", "sent_at", "sdk")
_ITEM_HEADERS: Final[tuple[str, ...]] = ("type", "content_type", "platform")


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator wants sent besides what is known to hold nothing that anybody said."""

    attributes: tuple[str, ...] = ()
    """Names of attributes, and beginnings of such that end with ``*``."""
    errors: tuple[str, ...] = ()
    """Types of exceptions whose texts are sent."""
    keeps_whole: bool = False
    """Whether an envelope is to know what it was made of, for tests."""


NOTHING_ELSE: Final = Policy()
"""Nothing is sent but what is known."""


class Projected(Envelope):
    """An envelope that was made anew, and what it was made of."""

    def __init__(self, headers: dict[str, Any], items: list[Item], whole: Envelope) -> None:
        super().__init__(headers, items)
        self.whole = whole


class Projection:
    """Makes envelopes anew.

    Args:
        policy: what the operator allows.
        redaction: knows what was said, by trace.
        drops: where items that are left out are counted.
    """

    def __init__(self, policy: Policy, redaction: Redaction, drops: Drops) -> None:
        self._allowed = Allowed(policy.attributes)
        self._redaction = redaction
        self._drops = drops
        self._keeps_whole = policy.keeps_whole
        self._said: dict[Any, Said | None] = {}
        """What was said in the traces of the envelope that is being made."""

    def of(self, envelope: Envelope) -> Envelope | None:
        """The envelope as it may be sent; None if nothing of it may."""
        headers = self._headers(envelope)
        items: list[Item] = []
        self._said = {}
        for item in envelope.items:
            payload = self._payload(item)
            if payload is None:
                self._drops.add(CONTENT, events_of(item))
                continue
            kept: dict[str, Any] = {
                name: item.headers[name] for name in _ITEM_HEADERS if name in item.headers
            }
            if "items" in payload:
                kept["item_count"] = len(payload["items"])
            items.append(Item(PayloadRef(json=payload), headers=kept))
        if not items:
            return None
        return (
            Projected(headers, items, envelope) if self._keeps_whole else Envelope(headers, items)
        )

    def spans(self, trace_id: str) -> SpansAnew:
        """What makes a conversation's streamed spans anew while they are encoded."""
        items = Items(self._allowed, self._redaction.said_in(trace_id))
        return SpansAnew(items, self._headers, keeps_whole=self._keeps_whole)

    def _headers(self, envelope: Envelope) -> dict[str, Any]:
        headers: dict[str, Any] = {
            name: envelope.headers[name] for name in _HEADERS if name in envelope.headers
        }
        trace = envelope.headers.get("trace")
        if isinstance(trace, dict):
            headers["trace"] = Texts(self._allowed, None).sampling(trace)
        return headers

    def _payload(self, item: Item) -> dict[str, Any] | None:
        kind = item.type
        if kind not in _ALONE and kind not in _TOGETHER:
            return None
        content = item.payload.json
        if content is None:
            try:
                content = json.loads(item.get_bytes())
            except ValueError:
                return None
        if not isinstance(content, dict):
            return None
        if kind in _ALONE:
            trace = (content.get("contexts") or {}).get("trace") or {}
            return _ALONE[kind](self._searching(trace), content)
        items = list(self._each(_TOGETHER[kind], content.get("items") or ()))
        if len(items) < len(content.get("items") or ()):
            self._drops.add(CONTENT, len(content["items"]) - len(items))
        return {**_version(content), "items": items} if items else None

    def _each(
        self, make: Callable[[Items, Any], dict[str, Any] | None], members: Any
    ) -> Iterator[dict[str, Any]]:
        of_trace: dict[Any, Items] = {}
        for member in paced(members):
            key = member.get("trace_id")
            if key not in of_trace:
                of_trace[key] = Items(*self._searching(member))
            made = make(of_trace[key], member)
            if made is not None:
                yield made

    def _searching(self, trace: Mapping[str, Any]) -> Any:
        key = trace.get("trace_id")
        if key not in self._said:
            self._said[key] = self._redaction.said_in(key)
        return self._allowed, self._said[key]


class SpansAnew:
    """Makes streamed spans anew, and the envelopes that they are put into."""

    def __init__(
        self,
        items: Items,
        headers: Callable[[Envelope], dict[str, Any]],
        *,
        keeps_whole: bool,
    ) -> None:
        self._items = items
        self._headers = headers
        self._whole: deque[dict[str, Any]] | None = deque() if keeps_whole else None

    def span(self, span: dict[str, Any]) -> dict[str, Any]:
        """A span as it may be sent."""
        if self._whole is not None:
            self._whole.append(span)
        return self._items.span(span)

    def envelope(self, envelope: Envelope) -> Envelope:
        """The envelope of spans that were made anew, with headers that were."""
        headers = self._headers(envelope)
        if self._whole is None:
            return Envelope(headers, envelope.items)
        [item] = envelope.items
        members = [self._whole.popleft() for _ in range(item.headers["item_count"])]
        payload = PayloadRef(json={"version": 2, "items": members})
        whole = Envelope(envelope.headers, [Item(payload, headers=item.headers)])
        return Projected(headers, envelope.items, whole)


def _version(content: Mapping[str, Any]) -> dict[str, Any]:
    version = content.get("version")
    return {"version": version} if isinstance(version, int) else {}


_ALONE: Final[dict[str | None, Callable[[Any, dict[str, Any]], dict[str, Any] | None]]] = {
    "event": lambda about, content: Events(*about).event(content),
    "transaction": lambda about, content: Events(*about).event(content),
    "check_in": lambda about, content: Items(*about).check_in(content),
    "profile_chunk": lambda about, content: Items(*about).profile_chunk(content),
}
"""Items that are one thing."""
_TOGETHER: Final[dict[str | None, Callable[[Items, Any], dict[str, Any] | None]]] = {
    "log": Items.log,
    "span": Items.span,
    "trace_metric": Items.metric,
}
"""Items that hold several things."""
