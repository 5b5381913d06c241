"""The whole command, with Sentry listening: what its AI screens show is what the store knows.

A collector of OpenTelemetry's listens besides, and gets the same tree.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry import attributes as names
from telemetry.store import TraceStore
from tests import screens
from tests.ingest import Ingest
from tests.telemetry.integrations.collector import Collector
from tests.telemetry.integrations.otlp.sentrys import of_collector, of_sentry

ROOT = Path(__file__).parents[2]
PARLEY = Path(sys.executable).with_name("parley")
CALLERS = 2
LIFECYCLES = ("transaction", "stream")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_each_conversation_is_listed_as_it_was(tmp_path: Path, lifecycle: str) -> None:
    """With its turns, its calls of models and tools, its tokens, and its agents."""
    store = TraceStore(tmp_path / "traces.db")
    with Ingest() as ingest, Collector() as collector:
        environment = {
            **os.environ,
            "PARLEY_TRACE_STORE": str(store.path),
            "PARLEY_SEND_CONTENT": "true",
            "PARLEY_SPEECH_PRICES": '{"en_US-joe-medium": {"1000_characters": 10}}',
            "SENTRY_DSN": ingest.dsn,
            "PARLEY_OTLP_ENDPOINT": collector.endpoint,
            "PARLEY_TRACE_LIFECYCLE": lifecycle,
        }
        run = subprocess.run(
            [PARLEY, "simulate", "typed", "--callers", str(CALLERS)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        seen = screens.seen(ingest.envelopes)
        assert of_collector(collector.spans) == of_sentry(ingest)
    assert screens.is_one_tree(seen)
    rows = screens.conversations(seen)
    known = [each for each in store.conversations() if each.op == "conversation"]
    assert {each.id for each in known} == rows.keys()
    assert len(known) == CALLERS
    for each in known:
        whole, row = store.conversation(each.id), rows[each.id]
        assert whole is not None
        ops = [span.op for span in whole.spans]
        counted = (row.calls, row.tools, row.runs)
        assert counted == tuple(
            map(ops.count, (names.OP_CHAT, names.OP_TOOL, names.OP_INVOKE_AGENT))
        )
        about = whole.spans[0].attributes
        used = [about[names.USAGE + name] for name in ("input_tokens", "output_tokens")]
        assert row.tokens == sum(used)
        assert about[names.USAGE + "cost"] == pytest.approx(about[names.USAGE + "characters"] / 100)
        assert about[names.UNPRICED] == ["DeskScript"]
        assert row.agents == {"front_desk"}
        assert row.traces == {each.trace_id}
        assert all(names.GEN_AI_AGENT_NAME in span.data for span in row.named)
        chats = [span for span in whole.spans if span.op == names.OP_CHAT]
        assert row.seconds == pytest.approx(sum(c.ended_at - c.started_at for c in chats))
        told = screens.messages(seen, each.id)
        asked = [words for who, words in told if who == "user"]
        assert asked == [
            "Hello, I'd like a table for two on Saturday at 8 pm.",
            "Miller",
            "Yes please",
            "No, that's all. Thanks!",
        ]
