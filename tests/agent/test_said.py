"""An agent that quotes its caller, in a gateway: no word is sent; the operator finds the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from telemetry.store import TraceStore
from tests.agent.said import facts_of, found_in, words_of
from tests.ingest import Ingest

if TYPE_CHECKING:
    from telemetry.store import StoredConversation

ROOT = Path(__file__).parents[2]
PARLEY = Path(sys.executable).with_name("parley")
SCENARIO = """
name: quoted
description: Says what must not leave.
outcome: completed
turns:
  - text: violet tulipan from Zanzibar
  - text: goodbye
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
def test_not_a_word_leaves_a_gateway(tmp_path: Path, lifecycle: str) -> None:
    """`parley simulate` with Sentry listening, and the agent in tests/agent/quoting.py."""
    (tmp_path / "quoted.yaml").write_text(SCENARIO)
    store = TraceStore(tmp_path / "traces.db")
    with Ingest() as ingest:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PARLEY_AGENT": "tests.agent.quoting:QuotingAgent",
            "PARLEY_TRACE_STORE": str(store.path),
            "PARLEY_TRACE_LIFECYCLE": lifecycle,
            "SENTRY_DSN": ingest.dsn,
        }
        run = subprocess.run(
            [PARLEY, "simulate", "quoted.yaml", "--callers", "1"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert ingest.errors, run.stdout + run.stderr
        found = found_in(ingest, ["violet tulipan from Zanzibar"])
        errors = ingest.errors
        sent = ingest.transactions + ingest.spans
    assert found == set()
    assert sent
    [conversation] = [each for each in store.conversations() if each.op == "conversation"]
    whole = store.conversation(conversation.id)
    assert whole is not None
    assert any("violet tulipan" in words for words in words_of(whole.spans))
    _assert_an_operator_finds(store, whole, errors)


def _assert_an_operator_finds(
    store: TraceStore, conversation: StoredConversation, errors: list[dict[str, object]]
) -> None:
    """The tool's error: its type and place in Sentry, in the call's trace; its words here."""
    kinds = {facts_of(error) for error in errors}
    assert ("LookupError", conversation.trace_id) in kinds
    for error in errors:
        [stored] = store.errors_by_event(str(error["event_id"]))
        if facts_of(error) == ("LookupError", conversation.trace_id):
            assert "no guest called violet tulipan" in stored.message
            assert stored.conversation == conversation.id
