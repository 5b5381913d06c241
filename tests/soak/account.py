"""The account: each conversation that a caller was told of, in the store and at Sentry."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from telemetry import attributes as names
from telemetry.store import TraceStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.ingest import Ingest

    from .callers import Called
    from .world import Ended

GRACE_SECONDS: Final = 1.0
"""What is younger when its process is killed may be lost."""
ABORTED: Final = "aborted"


@dataclass(slots=True)
class Account:
    """What became of the conversations, by their ids."""

    delivered: int = 0
    """At Sentry under one event id, and in the store with an end of their own."""
    recovered: int = 0
    """Likewise, with the end that a later process gave them."""
    younger: int = 0
    """Lost, as they may be: begun less than a second before their process was killed."""
    unsent: list[str] = field(default_factory=list)
    """Sentry never got them."""
    unended: list[str] = field(default_factory=list)
    """No store has an end of them."""
    several_ids: list[str] = field(default_factory=list)
    """Sentry got them under more than one event id."""
    sent_twice: int = 0
    """Events that Sentry got more than once: after a kill, or from a store that was moved away."""

    @property
    def lost(self) -> list[str]:
        """All that went wrong, a line each."""
        return [
            *(f"{each} never reached Sentry" for each in self.unsent),
            *(f"{each} has no end in the store" for each in self.unended),
            *(f"{each} has several event ids" for each in self.several_ids),
        ]


def account(
    calls: Iterable[Called], ended: Iterable[Ended], stores: Iterable[Path], ingest: Ingest
) -> Account:
    """Account for the calls."""
    found = Account()
    ends = _ends(stores)
    events = _events(ingest)
    killed_at = [each.at for each in ended if each.code is None]
    for call in calls:
        ids = events.get(call.trace_id, [])
        end = ends.get(call.trace_id)
        if not (ids and end) and any(0 <= at - call.at < GRACE_SECONDS for at in killed_at):
            found.younger += 1
            continue
        if not ids:
            found.unsent.append(call.id)
        if end is None:
            found.unended.append(call.id)
        if len(set(ids)) > 1:
            found.several_ids.append(call.id)
        if ids and end:
            found.recovered += end == {ABORTED}
            found.delivered += end != {ABORTED}
        found.sent_twice += len(ids) - len(set(ids))
    return found


def _ends(stores: Iterable[Path]) -> dict[str, set[str]]:
    """The statuses of the ended conversations of all stores, by trace."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in stores:
        for each in TraceStore(path).conversations(1_000_000):
            if each.ended_at is not None:
                found[each.trace_id].add(each.status)
    return found


def _events(ingest: Ingest) -> dict[str, list[str]]:
    """The ids under which Sentry got conversations, by trace. In the stream lifecycle the id is
    that of the span."""
    found: dict[str, list[str]] = defaultdict(list)
    for event in ingest.transactions:
        trace = event["contexts"]["trace"]
        if trace["op"] == names.OP_CONVERSATION:
            found[trace["trace_id"]].append(event["event_id"])
    for span in ingest.spans:
        if span["is_segment"] and span["attributes"]["sentry.op"]["value"] == names.OP_CONVERSATION:
            found[span["trace_id"]].append(span["span_id"])
    return found
