"""Names: every span LiveKit can make has an op, and its content is known as such."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import livekit.agents
import pytest
from livekit.agents import telemetry as livekit_telemetry
from livekit.agents.telemetry import pii, trace_types

from telemetry import attributes as names
from telemetry.integrations.livekit import vocabulary

from .call import Call, calling
from .tree import complete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.testing import Captured

PLUMBING = {
    # the job and its room
    "job_entrypoint",
    "job_shutdown",
    "on_session_end",
    "publish_audio_output",
    "room_connect",
    "room_disconnect",
    "rpc_call",
    "rpc_handler",
    "session_end_upload",
    "shutdown_callback",
    "wait_for_participant",
    # the session and its agents
    "agent_session",
    "drain_agent_activity",
    "on_enter",
    "on_exit",
    "pause_agent_activity",
    "resume_agent_activity",
    "session_close",
    "session_start",
    "setup_toolsets",
    "start_agent_activity",
    "update_agent",
    # within a turn
    "agent_turn",
    "eou_detection",
    "llm_request_run",
    "on_user_turn_completed",
    "realtime_metrics",
    "tts_request_run",
    "user_turn",
    # watching from beside
    "amd",
    "decision_model.evaluate",
    "event_loop_blocked",
    "judge_evaluation",
    "keyterm_detection",
}
"""Span names that are ``livekit.<name>`` on purpose."""

STARTS = {"start_span", "start_as_current_span", "detached_span", "session_span"}


def spans_in(source: str) -> Iterator[str]:
    """Names given to LiveKit's tracer in a module, and to its classes as span names."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(attr=name) | ast.Name(id=name),
                args=[ast.Constant(value=str(span)), *_],
            ) if name in STARTS:
                yield span
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(span))) if (
                name.endswith("_span_name")
            ):
                yield span
            case ast.Assign(
                targets=[ast.Name(id="SPAN_NAME")], value=ast.Constant(value=str(span))
            ):
                yield span


def test_every_span_livekit_makes_is_known() -> None:
    """Each is in our tables, or falls to ``livekit.<name>`` on purpose."""
    folder = Path(livekit.agents.__file__).parent
    made = {span for path in folder.rglob("*.py") for span in spans_in(path.read_text("utf-8"))}
    assert (
        made == vocabulary.OPS.keys() | vocabulary.REQUESTS.keys() | vocabulary.ADAPTERS | PLUMBING
    )


def test_every_attribute_that_is_looked_for_is_livekits() -> None:
    """A name that LiveKit has given up would be looked for in vain."""
    given = {value for key, value in vars(trace_types).items() if key.startswith("ATTR_")}
    assert vocabulary.RENAMED.keys() | vocabulary.LEFT_OUT <= given


async def test_a_span_of_a_later_livekit(captured: Captured) -> None:
    """A name nobody has heard of is recorded where it happened, under a name of its own."""
    call = Call()
    async with calling(call):
        with livekit_telemetry.tracer.start_as_current_span("time_travel"):
            pass
    [spans] = complete(captured)
    assert "livekit.time_travel" in {span.op for span in spans}


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            *pii.GEN_AI_PII_ATTRIBUTES,
            *(
                value
                for key, value in vars(trace_types).items()
                if key.startswith("ATTR_") and pii.is_pii_attribute(value)
            ),
            trace_types.ATTR_EXCEPTION_MESSAGE,
            trace_types.ATTR_EXCEPTION_TRACE,
            f"{trace_types.ATTR_GEN_AI_PROMPT_VARIABLE}.name",
        }
    ),
)
def test_what_livekit_calls_personal_is_content(name: str) -> None:
    """None of it leaves for Sentry unless the operator says so."""
    assert names.is_content(name)
