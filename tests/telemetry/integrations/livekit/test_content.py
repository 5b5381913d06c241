"""What was said stays here: the local store has it, no envelope does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Literal

import pytest
import sentry_sdk
from livekit.agents import Agent, APIStatusError, ToolError, function_tool

from telemetry import attributes as names
from telemetry.store import TraceStore
from telemetry.testing import capture

from .call import Call, calling
from .providers import Reply
from .tree import turns

if TYPE_CHECKING:
    from pathlib import Path

# Put together here, so that no line of source in a stack trace has them.
HEARD, SPOKEN, GIVEN, FOUND, WRONG, PROMPT, LATE = (
    word[::-1]
    for word in ("enibuac", "ilognop", "nagevol", "eppircs", "nodrag", "tsnuoc", "egdirb")
)
WORDS = (HEARD, SPOKEN, GIVEN, FOUND, WRONG, PROMPT, LATE)


class Confidant(Agent):
    """Is told things, and has tools that work, complain and break."""

    def __init__(self) -> None:
        super().__init__(instructions=f"Never mention {PROMPT}.")

    @function_tool
    async def search(self, query: str) -> str:
        """Find it."""
        logging.getLogger("livekit.agents").error("found", extra={"lk.pii.result": FOUND})
        sentry_sdk.capture_message("searched")
        return FOUND

    @function_tool
    async def complain(self, query: str) -> str:
        """Complain."""
        raise ToolError(f"no {WRONG}")

    @function_tool
    async def crash(self, query: str) -> str:
        """Break, with the words in reach."""
        words = f"{query} and {WRONG}"
        raise LookupError(len(words))


async def confide() -> None:
    """A conversation in which words go everywhere they can."""
    call = Call(
        {
            f"I want {HEARD}": Reply(
                tools={name: {"query": GIVEN} for name in ("search", "complain", "crash")}
            ),
            "So": f"You can have {SPOKEN}",
            "Fail": Reply(error=APIStatusError("refused", status_code=403, retryable=False)),
        }
    )
    async with calling(call, Confidant()):
        await call.asks(f"I want {HEARD}")
        await call.asks("So")
        await call.session.say(f"{SPOKEN} again")
        call.says("Fail")
        await call.until(lambda: call.mind.requests >= 4 and call.is_listening)
        await call.session.run(user_input=f"Typed {HEARD}")
        call.starts_speaking()
        call.ear.hear(LATE)
        closing = asyncio.create_task(call.session.aclose())
        call.activity.stops()
        await closing


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
async def test_no_envelope_has_words_in_it(
    tmp_path: Path, lifecycle: Literal["transaction", "stream"]
) -> None:
    """Not as an attribute, a name, a breadcrumb, a log, an error's or a frame's variable."""
    with capture(store=tmp_path / "traces.db", lifecycle=lifecycle, enable_logs=True) as captured:
        await confide()
        sent = b"".join(captured.envelopes)
        [conversation] = captured.conversations
        assert len(captured.errors) >= 4
        assert b'"type":"log"' in sent
        assert b"breadcrumbs" in sent
    assert [word for word in WORDS if word.encode() in sent] == []
    with contextlib.closing(TraceStore(tmp_path / "traces.db")) as store:
        stored = store.conversation(conversation["contexts"]["trace"]["trace_id"])
        assert stored is not None
        kept = str([span.attributes for span in stored.spans])
    assert [word for word in WORDS if word not in kept] == []


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
async def test_a_tools_name_that_the_model_made_up_stays_here(
    tmp_path: Path, lifecycle: Literal["transaction", "stream"]
) -> None:
    """Of what it heard, though it looks like a name: as one, as an id, in the log that tells of it.
    The call is sent, and the store has its name."""
    name = f"find_{HEARD}_{SPOKEN}"
    call = Call({"Find it": Reply(tools={name: {}, "search": {"query": GIVEN}})})
    with capture(store=tmp_path / "traces.db", lifecycle=lifecycle, enable_logs=True) as captured:
        async with calling(call, Confidant()):
            await call.asks("Find it")
        sent = b"".join(captured.envelopes)
        [conversation] = captured.conversations
    assert [word for word in (HEARD, SPOKEN) if word.encode() in sent] == []
    assert b'"gen_ai.tool.name":"search"' in sent or b'{"value":"search"' in sent
    assert b'"gen_ai.tool.name":"[Filtered]"' in sent or b'{"value":"[Filtered]"' in sent
    with contextlib.closing(TraceStore(tmp_path / "traces.db")) as store:
        stored = store.conversation(conversation["contexts"]["trace"]["trace_id"])
    assert stored is not None
    called = [span for span in stored.spans if span.op == names.OP_TOOL]
    assert {span.attributes[names.GEN_AI_TOOL_NAME] for span in called} == {name, "search"}


async def test_the_operator_may_send_them() -> None:
    """Asked for, what was said is where it belongs."""
    with capture(send_content=True) as captured:
        await confide()
        [event] = captured.conversations
        turn = turns(captured.spans(event))[0]
        assert turn.attributes[names.USER_WORDS] == f"I want {HEARD}"
