"""Sentry's AI screens, replayed over envelopes: what the Agents and Conversations pages would show.

What Relay makes of each span and how each page selects spans is written down in ``docs/sentry.md``,
with where it stands in Sentry's own code. Spans arrive in a transaction or beside it; here they are
one list, as they are in Sentry's storage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sentry_sdk.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Iterable

_TYPES: Final = {
    "invoke_agent": "agent",
    "create_agent": "agent",
    "execute_tool": "tool",
    "handoff": "handoff",
}
OTHER: Final = "ai_client"
"""What an operation that Relay doesn't know is taken for: a call of a model."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as Sentry stores it."""

    id: str
    parent: str | None
    trace: str
    op: str
    name: str
    started_at: float
    ended_at: float
    origin: str
    data: dict[str, Any]
    beside: bool
    """True if it came beside its transaction."""

    @property
    def type(self) -> str | None:
        """``gen_ai.operation.type``, which Relay derives; None for a span that is none of AI."""
        operation = self.data.get("gen_ai.operation.name")
        if operation is None and not self.op.startswith(("gen_ai.", "ai.")):
            return None
        known = str(self.op if operation is None else operation)
        return _TYPES.get(known.removeprefix("gen_ai."), OTHER)

    @property
    def tokens(self) -> float:
        """``gen_ai.usage.total_tokens``, which Relay adds up."""
        names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        return 0.0 if self.type is None else sum(self.data.get(name, 0) for name in names)


@dataclass(slots=True)
class Row:
    """A row of a table of Sentry's: of the Agents page by trace, of Conversations by id."""

    calls: int = 0
    """Calls of models."""
    tools: int = 0
    runs: int = 0
    """Runs of agents."""
    tokens: float = 0
    seconds: float = 0
    """That models took to generate."""
    agents: set[str] = field(default_factory=set)
    traces: set[str] = field(default_factory=set)
    named: list[Seen] = field(default_factory=list)
    """The AI spans in it."""

    def add(self, span: Seen) -> None:
        """Count a span."""
        self.calls += span.type == OTHER
        self.tools += span.type == "tool"
        self.runs += span.type == "agent"
        if span.type == OTHER:
            self.tokens += span.tokens
            self.seconds += span.ended_at - span.started_at
        if span.type is not None:
            self.traces.add(span.trace)
            self.named.append(span)
            if (agent := span.data.get("gen_ai.agent.name")) is not None:
                self.agents.add(agent)


def agents(spans: Iterable[Seen]) -> dict[str, Row]:
    """The Agents page: its traces (``has:gen_ai.operation.type``)."""
    return _rows(spans, lambda span: span.trace)


def conversations(spans: Iterable[Seen]) -> dict[str, Row]:
    """Conversations (``has:gen_ai.conversation.id has:gen_ai.operation.type``)."""
    return _rows(spans, lambda span: span.data.get("gen_ai.conversation.id"))


def messages(spans: Iterable[Seen], conversation: str) -> list[tuple[str, str]]:
    """What a conversation's page shows of it: who said what, each text once, by when it ended.

    Of each call of a model, the last thing that the user said, and what the model did.
    """
    shown: dict[tuple[str, str], None] = {}
    row = conversations(spans).get(conversation) or Row()
    for span in sorted(row.named, key=lambda span: span.ended_at):
        if span.type == OTHER:
            for role, name in (
                ("user", "gen_ai.input.messages"),
                ("assistant", "gen_ai.output.messages"),
            ):
                given = [
                    one for one in json.loads(span.data.get(name, "[]")) if one["role"] == role
                ]
                text = given[-1:] and "\n".join(
                    part["content"] for part in given[-1]["parts"] if part["type"] == "text"
                )
                if text:
                    shown[role, text.strip()] = None
    return list(shown)


def _rows(spans: Iterable[Seen], key: Any) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for span in spans:
        if span.type is not None and (of := key(span)) is not None:
            rows.setdefault(of, Row()).add(span)
    return rows


def seen(envelopes: Iterable[bytes | Envelope]) -> list[Seen]:
    """All spans that envelopes bring, transactions' roots among them."""
    found: list[Seen] = []
    for each in envelopes:
        envelope = Envelope.deserialize(each) if isinstance(each, bytes) else each
        for item in envelope.items:
            if item.type == "transaction":
                found += _of_transaction(json.loads(item.get_bytes()))
            elif item.type == "span":
                found += map(_streamed, json.loads(item.get_bytes())["items"])
    return found


def is_one_tree(spans: Iterable[Seen]) -> bool:
    """True if each trace has one root, and all else in it is below that."""
    traces: dict[str, list[Seen]] = {}
    for span in spans:
        traces.setdefault(span.trace, []).append(span)
    for members in traces.values():
        ids = {span.id for span in members}
        if len(ids) != len(members) or sum(span.parent not in ids for span in members) != 1:
            return False
    return True


def _of_transaction(event: dict[str, Any]) -> list[Seen]:
    trace = event["contexts"]["trace"]
    root = {**trace, "description": event["transaction"]}
    root |= {name: event[name] for name in ("start_timestamp", "timestamp")}
    return [
        Seen(
            id=span["span_id"],
            parent=span.get("parent_span_id"),
            trace=span["trace_id"],
            op=span["op"],
            name=span.get("description") or span["op"],
            started_at=span["start_timestamp"],
            ended_at=span["timestamp"],
            origin=span.get("origin", "manual"),
            data=span.get("data") or {},
            beside=False,
        )
        for span in (root, *event["spans"])
    ]


def _streamed(span: dict[str, Any]) -> Seen:
    data = {name: one["value"] for name, one in span["attributes"].items()}
    return Seen(
        id=span["span_id"],
        parent=span.get("parent_span_id"),
        trace=span["trace_id"],
        op=data.get("sentry.op", "default"),
        name=span["name"],
        started_at=span["start_timestamp"],
        ended_at=span["end_timestamp"],
        origin=data.get("sentry.origin", "manual"),
        data=data,
        beside=True,
    )
