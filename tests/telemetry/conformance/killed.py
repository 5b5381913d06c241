"""Processes that are killed while they hold conversations, and what becomes of those.

::

    python -m tests.telemetry.conformance.killed --kills 50 [--lifecycle stream] [--away] [--seed N]

A child holds conversations, several at a time, and says by a file of its own what it began and what
ended. It is killed (SIGKILL) at a random moment, and the next one begins with the same store, which
is all that it knows of the one before. With ``--away`` Sentry refuses until the last of them has
been killed. In the end the file, the store and what Sentry got are compared.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import telemetry
from telemetry.store import TraceStore
from tests.ingest import Ingest

if TYPE_CHECKING:
    from collections.abc import Iterator

Lifecycle = Literal["transaction", "stream"]

MODULE: Final = "tests.telemetry.conformance.killed"
AT_ONCE: Final = 6
"""Conversations at a time."""
GRACE_SECONDS: Final = 1.0
"""What is younger when its process is killed may be lost."""


# -- the child -------------------------------------------------------------------------------------


def hold(dsn: str, store: str, lifecycle: Lifecycle, told: str, seed: int) -> None:
    """Hold conversations until somebody ends this process."""
    chance = random.Random(seed)
    file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(*words: object) -> None:
        os.write(file, (" ".join(map(str, words)) + "\n").encode())

    telemetry.init(dsn=dsn, store=store, lifecycle=lifecycle)
    calls: list[tuple[telemetry.Conversation, list[telemetry.Span]]] = []
    while True:
        if len(calls) < AT_ONCE:
            conversation = telemetry.conversation("host", user={"id": "u1"})
            tell("began", conversation.root.id, time.time())
            calls.append((conversation, []))
        conversation, spans = chance.choice(calls)
        if spans and chance.random() < 0.6:
            span = spans.pop(chance.randrange(len(spans)))
            span.finish()
            tell("ended", span.id, span.ended_at)
        elif chance.random() < 0.03:
            conversation.close()
            calls = [call for call in calls if call[0] is not conversation]
            for span in spans:
                tell("ended", span.id, span.ended_at)
            tell("ended", conversation.root.id, conversation.root.ended_at)
        else:
            spans.append(conversation.start_span("work", attributes={"user.words": "for Ada"}))
        time.sleep(0.002)


# -- who kills it ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    """What became of it."""

    kills: int = 0
    spans: int = 0
    """That had ended a second before the kill."""
    conversations: int = 0
    """That had begun a second before."""
    younger: int = 0
    """Conversations that hadn't; of them as many may be lost."""
    lost_spans: list[str] = field(default_factory=list)
    """Not in the store."""
    unsent_spans: list[str] = field(default_factory=list)
    """Sentry never got them."""
    unaccounted: list[str] = field(default_factory=list)
    """Conversations that are not in the store, still open there, or that Sentry never got."""
    several_ids: list[str] = field(default_factory=list)
    """Conversations that Sentry got under more than one event id."""
    sent_twice: int = 0
    """Spans that Sentry got more than once: after a kill between its answer and the note of it."""
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """True if nothing was lost, and nothing has two names."""
        bad = self.lost_spans, self.unsent_spans, self.unaccounted, self.several_ids
        return not any(bad) and not self.dropped


def kill(
    kills: int, lifecycle: Lifecycle, folder: Path, *, away: bool = False, seed: int = 0
) -> Found:
    """Kill so many processes, one after the other, and compare."""
    chance = random.Random(seed)
    store, found = folder / "traces.db", Found(kills)
    must: dict[str, bool] = {}
    with Ingest() as ingest:
        if away:
            ingest.refuse()
        for number in range(kills):
            told = folder / f"told-{number}"
            _kill_one(ingest.dsn, store, lifecycle, told, chance, found, must)
        ingest.heal()
        with telemetry.init(dsn=ingest.dsn, store=store, lifecycle=lifecycle) as runtime:
            _wait_for_all(runtime)
            found.dropped = dict(runtime.stats().dropped)
        _compare(ingest, TraceStore(store), must, found)
    return found


def _kill_one(
    dsn: str,
    store: Path,
    lifecycle: Lifecycle,
    told: Path,
    chance: random.Random,
    found: Found,
    must: dict[str, bool],
) -> None:
    command = [sys.executable, "-m", MODULE, "--hold", dsn, str(store), lifecycle, str(told)]
    child = subprocess.Popen([*command, str(chance.randrange(2**31))])
    try:
        _wait_for(told)
        time.sleep(chance.uniform(0.3, 3.0))  # the moment is what is drawn, nothing is waited for
    finally:
        killed_at = time.time()
        child.kill()
        child.wait()
    for line in told.read_text().splitlines():
        match line.split():
            case "began", root, at:
                young = float(at) > killed_at - GRACE_SECONDS
                found.younger += young
                found.conversations += not young
                if not young:
                    must[root] = True
            case "ended", span, at if float(at) <= killed_at - GRACE_SECONDS:
                found.spans += 1
                must.setdefault(span, False)


def _wait_for(told: Path) -> None:
    deadline = time.monotonic() + 60
    while not (told.exists() and told.stat().st_size):
        if time.monotonic() > deadline:
            raise AssertionError("the child didn't begin")
        time.sleep(0.01)


def _wait_for_all(runtime: telemetry.Runtime) -> None:
    """Wait until nothing of those before waits any more."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if runtime.recover(1.0) and runtime.stats().waiting == 0:
            return


def _compare(ingest: Ingest, store: TraceStore, must: dict[str, bool], found: Found) -> None:
    stored = {span.span_id for each in _all(store) for span in each.spans}
    is_open = {each.root_span_id for each in store.conversations(100_000) if each.ended_at is None}
    ids: dict[str, set[str]] = defaultdict(set)
    sent: dict[str, int] = defaultdict(int)
    for event in ingest.transactions:
        root = event["contexts"]["trace"]["span_id"]
        ids[root].add(event["event_id"])
        for span_id in {root, *(span["span_id"] for span in event["spans"])}:
            sent[span_id] += 1
    for span in ingest.spans:
        sent[span["span_id"]] += 1
        if span["is_segment"]:
            ids[span["span_id"]].add(span["span_id"])
    for span_id, is_root in must.items():
        if span_id not in stored:
            found.lost_spans.append(span_id)
        if span_id not in sent:
            found.unsent_spans.append(span_id)
        if is_root and (span_id not in ids or span_id in is_open):
            found.unaccounted.append(span_id)
    found.several_ids = [root for root, names in ids.items() if len(names) > 1]
    found.sent_twice = sum(count > 1 for count in sent.values())


def _all(store: TraceStore) -> Iterator[telemetry.records.ConversationRecord]:
    for listed in store.conversations(100_000):
        yield from store.trace(listed.trace_id)


def main() -> None:
    """Run it, and say what became of what."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--lifecycle", choices=["transaction", "stream"])
    parser.add_argument("--away", action="store_true", help="Sentry refuses until the end")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--hold", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.hold:
        dsn, store, lifecycle, told, seed = given.hold
        hold(dsn, store, lifecycle, told, int(seed))
    sys.stdout.write(f"seed {given.seed}\n")
    well = True
    both: list[Lifecycle] = ["transaction", "stream"]
    for lifecycle in [given.lifecycle] if given.lifecycle else both:
        with tempfile.TemporaryDirectory() as folder:
            found = kill(given.kills, lifecycle, Path(folder), away=given.away, seed=given.seed)
        well = well and found.is_well
        sys.stdout.write(
            f"{lifecycle}: {found.kills} kills; {found.spans} spans had ended a second before: "
            f"{len(found.lost_spans)} not stored, {len(found.unsent_spans)} never sent; "
            f"{found.conversations} conversations: {len(found.unaccounted)} unaccounted for, "
            f"{len(found.several_ids)} under several ids; {found.sent_twice} spans sent twice; "
            f"dropped {found.dropped}\n"
        )
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
