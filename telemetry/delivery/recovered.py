"""A conversation whose process is gone, as the encoders see it; and what was noted for that.

While a conversation runs, the store's thread notes beside its row how it is to be sent: by which
rule, in which lifecycle, under which user, tags and contexts. That is all there is of it once its
process was killed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.utils import BadDsn, Dsn

from ..context.scopes import values_of
from ..encoding.scopes import said
from ..written import Written
from .content import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sentry_sdk.client import BaseClient

    from ..records import SpanRecord
    from ..store import Left
    from ..trace.transaction import Transaction

_OPTIONS = ("release", "environment", "server_name", "dist")
"""Options of Sentry's client that its events name."""


class Notes:
    """Notes how the conversations of this process are to be sent.

    Args:
        rule: what this process may send.
        streaming: whether Sentry gets spans instead of transactions.
        held: whether it is decided at their end which of them are sent.
    """

    def __init__(self, rule: Rule, *, streaming: bool, held: bool = False) -> None:
        self._facts: dict[str, Any] = {
            "rule": rule.to_text(),
            "streaming": streaming,
            "held": held,
        }
        self._has_options = False

    def heard(self, transaction: Transaction) -> tuple[Any, ...]:
        """What the notes on one are made of, to be compared: that takes a tenth of making them."""
        return transaction.name, transaction.is_sampled, values_of(*transaction.said_by)

    def of(self, transaction: Transaction) -> str:
        """The notes on one, as JSON."""
        client = transaction.sink.client
        if not self._has_options and client is not None:
            self._facts |= {name: client.options.get(name) for name in _OPTIONS}
            self._has_options = True
        name = transaction.name
        noted = {
            **self._facts,
            "name": name.code if isinstance(name, Written) else None,
            "sampled": transaction.is_sampled,
            **said(*transaction.said_by),
        }
        return json.dumps(noted, default=str)


class RecoveredSpan:
    """A span read from the store."""

    def __init__(
        self, conversation: Recovered, record: SpanRecord, code: tuple[str, str] | None
    ) -> None:
        self.conversation = conversation
        self.id = record.span_id
        self.parent_id = record.parent_span_id
        self.started_at = record.started_at
        self.ended_at: float | None = record.ended_at
        self.status = record.status
        self.origin = record.origin
        self.attributes = dict(record.attributes)
        self.op = record.op
        self._name = record.name
        self._code: tuple[str | None, str | None] = code or (None, None)

    def written(self) -> tuple[str, str]:
        """Its op and its name, of which is known what stands in the code."""
        op, name = self._code
        return Written(self.op, code=op), Written(self._name, code=name)


class Recovered:
    """A conversation read from the store, to be sent by this process.

    Attributes:
        spans: those that are in no envelope yet, its root not among them.
        has_root: whether the root is in none either.
        rule: the rule of the process that recorded it.
        streaming: the lifecycle in which that one would have sent it.
        was_held: whether that one would have decided at its end whether to send it.
        is_ordinary: whether it is one of the share of ordinary ones that is sent.
    """

    is_sampled = True
    verdict = None

    def __init__(self, left: Left, client: BaseClient) -> None:
        facts, record = left.facts, left.conversation
        self.left = left
        self.id = record.id
        self.trace_id = record.trace_id
        self.name = Written(record.name, code=facts.get("name"))
        self.rule = Rule.of_text(facts.get("rule") or "")
        self.streaming = bool(facts.get("streaming"))
        self.was_held = bool(facts.get("held"))
        self.is_ordinary = bool(facts.get("sampled"))
        self._client = client
        self._facts = facts
        made = [RecoveredSpan(self, span.record, span.code) for span in left.spans]
        self.all = [RecoveredSpan(self, span, None) for span in record.spans]
        """All spans, for what was said in them."""
        root = record.root_span_id
        self.has_root = any(span.id == root for span in made)
        self.spans = [span for span in made if span.id != root]
        [self.root] = [span for span in made if span.id == root] or self.all[:1]
        self.said_by = self._scopes()

    def sampling_context(self) -> dict[str, str]:
        """A dynamic sampling context: that of its events was only in the process."""
        found = {"trace_id": self.trace_id, "sampled": "true"}
        with suppress(BadDsn, ValueError):
            found["public_key"] = Dsn(self._client.options.get("dsn") or "").public_key
        found |= {
            name: value for name in ("release", "environment") if (value := self._facts.get(name))
        }
        return found

    def event_facts(self) -> dict[str, Any]:
        """Fields of its events that are about the process that recorded it."""
        return {name: value for name in _OPTIONS if (value := self._facts.get(name)) is not None}

    def _scopes(self) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
        """Scopes that say what the conversation's own said."""
        isolation = sentry_sdk.Scope()
        isolation.set_client(self._client)
        if user := self._facts.get("user"):
            isolation.set_user(user)
        codes = self._facts.get("code_tags") or ()
        for name, value in _pairs(self._facts.get("tags")):
            isolation.set_tag(name, Written.known(value) if name in codes else value)
        for name, context in _pairs(self._facts.get("contexts")):
            isolation.set_context(name, context)
        for name, attribute in (
            ("release", "sentry.release"),
            ("environment", "sentry.environment"),
            ("server_name", "server.address"),
        ):
            if value := self._facts.get(name):
                isolation.set_attribute(attribute, value)
        own = sentry_sdk.Scope()
        own.set_client(self._client)
        return isolation, own


def _pairs(said: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    return [*(said or {}).items()]
