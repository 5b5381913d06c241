"""The whole worker, held to account: ``parley simulate`` with 8 callers and Sentry listening.

One run of the real command, in a process of its own, with real speech; the tests read what came
of it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from telemetry import attributes as names
from telemetry.store import TraceStore
from tests.ingest import Ingest, assert_accepted

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PARLEY = Path(sys.executable).with_name("parley")
CALLERS = 8
SCENARIOS = ("booking", "opening_hours", "barge_in")
SEED = 1
OPS = {
    "conversation.turn",
    "user.speech",
    "turn.endpointing",
    "stt.recognize",
    "gen_ai.chat",
    "gen_ai.execute_tool",
    "tts.synthesize",
    "agent.speech",
    "http.client",
}
"""The design's table, less the transaction's own; ``http.client`` is a tool's request."""


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    exit_code: int
    output: str
    report: dict[str, Any]
    transactions: list[dict[str, Any]]
    """The callers', the agent's and the service's: all in one process."""
    errors: list[dict[str, Any]]
    store: Path
    junit: str

    @property
    def callers(self) -> list[dict[str, Any]]:
        return self._of("caller")

    @property
    def conversations(self) -> list[dict[str, Any]]:
        return self._of("conversation")

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self._of("http.server")

    def _of(self, op: str) -> list[dict[str, Any]]:
        return [event for event in self.transactions if event["contexts"]["trace"]["op"] == op]

    @property
    def turns(self) -> list[dict[str, Any]]:
        return [turn for call in self.report["conversations"] for turn in call["turns"]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Eight conversations at once, in one process and on one event loop."""
    folder = tmp_path_factory.mktemp("run")
    with Ingest() as ingest:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PARLEY_AGENT": "tests.agent.watched:WatchedDesk",
            "PARLEY_TRACE_STORE": str(folder / "traces.db"),
            "SENTRY_DSN": ingest.dsn,
            "PARLEY_SEND_ATTRIBUTES": "seen.*",  # of the agent's own making
            "PARLEY_STREAM_GEN_AI_SPANS": "false",  # each conversation is to be seen whole
        }
        command = [
            str(PARLEY),
            "simulate",
            *SCENARIOS,
            "--callers",
            str(CALLERS),
            "--seed",
            str(SEED),
        ]
        process = subprocess.run(
            [*command, "--report", folder / "report.json", "--junit", folder / "junit.xml"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        output = process.stdout + process.stderr
        assert (folder / "report.json").exists(), output
        yield Run(
            exit_code=process.returncode,
            output=output,
            report=json.loads((folder / "report.json").read_text()),
            transactions=ingest.transactions,
            errors=ingest.errors,
            store=folder / "traces.db",
            junit=(folder / "junit.xml").read_text(),
        )


pytestmark = [pytest.mark.realtime, pytest.mark.timeout(300)]


def test_every_expectation_holds(run: Run) -> None:
    """Every reply, tool and trace was right, and the exit code says so."""
    failed = [call for call in run.report["conversations"] if not call["passed"]]
    assert (failed, run.report["failures"], run.exit_code) == ([], [], 0), run.output
    assert len(run.report["conversations"]) == CALLERS
    assert all(turn["reply"] for turn in run.turns)
    assert {call["outcome"] for call in run.report["conversations"]} == {"completed"}


def test_agent_falls_silent_when_talked_over(run: Run) -> None:
    """Every barge-in stops the agent, by the audio, and is in the transaction that it cut."""
    cutting = [turn for turn in run.turns if turn["interruption"] is not None]
    assert [turn["interruption"] for turn in cutting] == ["stops"] * 2
    assert all(turn["stop_ms"] > 0 for turn in cutting)
    cut = {
        event["contexts"]["trace"]["trace_id"]
        for event in run.conversations
        for span in event["spans"]
        if span["op"] == "agent.speech" and span.get("data", {}).get("agent.speech.interrupted")
    }
    calls = run.report["conversations"]
    assert {call["trace_id"] for call in calls if call["scenario"] == "barge_in"} <= cut


def test_ci_can_read_it(run: Run) -> None:
    """The JUnit report has a case for each conversation, and the run can be made again."""
    cases = ElementTree.fromstring(run.junit).iter("testcase")  # noqa: S314 - our own
    assert {call["id"] for call in run.report["conversations"]} <= {
        case.get("name") for case in cases
    }
    assert run.report["command"] == (
        f"parley simulate {' '.join(SCENARIOS)} --callers {CALLERS} --seed {SEED}"
    )
    assert run.report["command"] in " ".join(run.output.split())


def test_callers_are_understood(run: Run) -> None:
    """At most 15 % of the words are heard wrong."""
    assert run.report["word_error_rate"] <= 0.15


def test_exactly_one_complete_transaction_each(run: Run) -> None:
    """Sentry's ingestion takes them, spans have their parents, and no op is missing."""
    assert len(run.conversations) == CALLERS
    told = {call["id"] for call in run.report["conversations"]}
    traces = [event["contexts"]["trace"] for event in run.conversations]
    assert {trace["data"]["gen_ai.conversation.id"] for trace in traces} == told
    for event in run.conversations:
        assert_accepted(event)
        assert not OPS - {span["op"] for span in event["spans"]}
    stats = run.report["stats"]
    assert [stats[n] for n in ("conversations", "orphan_spans", "dropped_spans")] == [8, 0, 0]
    assert stats["late_spans"] == 0


def test_services_hang_below_the_requests_made_of_them(run: Run) -> None:
    """Each request of a tool has its service below it, in the right conversation."""
    asked = {
        span["span_id"]: span
        for event in run.conversations
        for span in event["spans"]
        if span["op"] == "http.client"
    }
    served = [event["contexts"]["trace"] for event in run.requests]
    assert {trace["parent_span_id"] for trace in served} == asked.keys()
    assert len(served) == len(asked)
    for trace in served:
        assert trace["trace_id"] == asked[trace["parent_span_id"]]["trace_id"]
    queried = {span["op"] for event in run.requests for span in event["spans"]}
    assert queried == {"db.query"}
    for event in run.requests:
        assert_accepted(event)


def test_each_conversation_is_below_its_caller(run: Run) -> None:
    """Every caller has a transaction of its own; the conversation is its child, in its trace."""
    roots = [event["contexts"]["trace"] for event in run.callers]
    callers = {root["trace_id"]: root for root in roots}
    assert len(callers) == CALLERS
    for event in run.conversations:
        root = event["contexts"]["trace"]
        assert root["parent_span_id"] == callers[root["trace_id"]]["span_id"]


def test_inside_a_stage_sentry_sees_that_stage(run: Run) -> None:
    """In the LLM node, the tool and the TTS node `get_current_span()` is the stage's own span."""
    stages = {"llm": "gen_ai.chat", "tool": "gen_ai.execute_tool", "tts": "tts.synthesize"}
    seen = []
    for event in run.conversations:
        for span in event["spans"]:
            if stage := span.get("data", {}).get("seen.stage"):
                assert span["op"] == stages[stage]
                assert span["data"]["seen.span"] == span["span_id"]
                seen.append(stage)
    assert set(seen) == set(stages)


def test_tags_never_cross(run: Run) -> None:
    """What plain `sentry_sdk.set_tag` wrote in a conversation is on its transaction and errors."""
    own = {}
    for event in run.conversations:
        trace = event["contexts"]["trace"]
        own[trace["trace_id"]] = trace["data"]["gen_ai.conversation.id"]
        plain = {name: tag for name, tag in event["tags"].items() if name != "voice"}
        assert set(plain.values()) == {own[trace["trace_id"]]}
    entered = [error for error in run.errors if "entered" in str(error.get("message"))]
    assert len(entered) == CALLERS
    for error in entered:
        conversation = own[error["contexts"]["trace"]["trace_id"]]
        assert error["tags"]["own"] == conversation
        assert error["message"] == f"entered {conversation}"


def test_latency_adds_up_and_is_true(run: Run) -> None:
    """Stages sum to the total; telemetry and the callers' ears agree within 100 ms (p95)."""
    measured = [turn for turn in run.turns if turn["e2e_ms"] is not None]
    assert len(measured) >= 16
    for turn in measured:
        assert sum(turn["stages_ms"].values()) == pytest.approx(turn["e2e_ms"], abs=1.0)
    apart = [abs(turn["e2e_ms"] - turn["measured_ms"]) for turn in measured]
    assert statistics.quantiles(apart, n=20)[-1] <= 100


def test_what_the_callers_heard_is_beside_it(run: Run) -> None:
    """Responses have the gaps that their callers measured, in the store and as Sentry gets them;
    where one isn't believed, or comes too late, it is counted."""
    heard = missing = 0
    for call in run.report["conversations"]:
        stored = TraceStore(run.store).conversation(call["id"])
        assert stored is not None
        (event,) = (
            event
            for event in run.conversations
            if event["contexts"]["trace"]["trace_id"] == call["trace_id"]
        )
        told = [turn["measured_ms"] for turn in call["turns"] if turn["measured_ms"] is not None]
        responses = [span for span in stored.spans if span.op == names.OP_RESPONSE]
        sent = {span["span_id"]: span["data"] for span in event["spans"] if "data" in span}
        assert len(responses) >= 2
        for response in responses:
            gap = response.attributes.get(names.CALLER_GAP)
            assert sent[response.span_id].get(names.CALLER_GAP) == gap
            assert gap is None or any(abs(1000 * gap - ms) < 1 for ms in told)
            missing += gap is None
            heard += gap is not None
    assert missing <= run.report["stats"]["refused_gaps"]
    assert heard > missing


def test_what_was_said_stays_here(run: Run) -> None:
    """The store has the words; nothing that was sent to Sentry has."""
    stored = TraceStore(run.store).conversation(run.report["conversations"][0]["id"])
    assert stored is not None
    words = [str(span.attributes) for span in stored.spans]
    assert any(run.turns[0]["heard"] in text for text in words)
    sent = json.dumps([run.transactions, run.requests, run.errors])
    for said in ("Johnson", *(turn[who] for turn in run.turns for who in ("heard", "reply"))):
        assert said not in sent
