"""The README's promises in code: each of its Python blocks runs as it stands."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import telemetry
from telemetry.testing import Captured, capture

if TYPE_CHECKING:
    import pytest

README = (Path(telemetry.__file__).parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def block(containing: str) -> str:
    """The one block with these words, importing telemetry under whatever name it has here."""
    (found,) = [text for text in BLOCKS if containing in text]
    name = telemetry.__name__
    found = re.sub(r"^import telemetry$", f"import {name} as telemetry", found, flags=re.MULTILINE)
    return re.sub(r"^from telemetry\b", f"from {name}", found, flags=re.MULTILINE)


def run(source: str) -> dict[str, Any]:
    """Run a block as a program; its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102 - it is our own
    return names


def test_every_block_is_run_here() -> None:
    """A block that is added gets a test."""
    assert len(BLOCKS) == 5


def test_any_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first program keeps one conversation in its store, with no orphan."""
    monkeypatch.chdir(tmp_path)
    run(block("async def reply"))
    assert "conversations=1, spans=1, orphan_spans=0" in capsys.readouterr().out
    assert (tmp_path / "traces.db").exists()


def test_every_boundary() -> None:
    """Whatever boundary it crossed, a span is where the block says."""
    with capture() as captured:
        run(block("born before any conversation"))
        [transaction] = captured.transactions
        crossed = ("to_thread", "thread", "executor", "worker", "foreign thread")
        assert captured.tree(transaction) == "\n".join(
            (
                "conversation host",
                "└─ turn",
                *(f"   ├─ work {name}" for name in crossed),
                "   ├─ tts.synthesize",
                "   └─ user.speech",
            )
        )


def test_through_a_queue() -> None:
    """What is done with a message hangs below the span that sent it."""
    with capture() as captured:
        run(block("telemetry.inject(job)"))
        sender, done = captured.transactions
    [tool] = sender["spans"]
    trace = done["contexts"]["trace"]
    assert trace["trace_id"] == sender["contexts"]["trace"]["trace_id"]
    assert trace["parent_span_id"] == tool["span_id"]
    assert captured.tree(done) == (
        "queue.process confirmation\n└─ db.query SELECT email FROM guests WHERE id = ?"
    )


def test_testing() -> None:
    """The test that the README shows passes."""
    assert isinstance(run(block("capture() as captured"))["captured"], Captured)


def test_two_lines_for_livekit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent with the two lines has its conversation, which ends with its job."""
    from livekit import agents  # not at the top: the other blocks run without it

    monkeypatch.delenv("SENTRY_DSN", raising=False)
    names = run(block("JobContext"))
    sessions: list[Any] = []
    at_shutdown: list[Any] = []
    job = SimpleNamespace(room=agents.NOT_GIVEN, add_shutdown_callback=at_shutdown.append)

    def session() -> Any:
        sessions.append(agents.AgentSession())
        return sessions[-1]

    async def hold_job() -> None:
        names["AgentSession"] = session
        await names["entrypoint"](job)
        assert telemetry.current_conversation() is not None
        await asyncio.gather(sessions[0].aclose(), *(callback() for callback in at_shutdown))
        assert telemetry.current_conversation() is None

    with names["runtime"] as runtime:
        asyncio.run(hold_job())
        assert runtime.stats().conversations == 1
        assert runtime.stats().orphan_spans == 0
