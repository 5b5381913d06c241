"""A call that is recorded: both voices, where the spans say they are."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from agent.audio import audible
from agent.session import Record
from agent.session.recorded import failed
from telemetry import Summary
from telemetry import attributes as names
from telemetry.store import TraceStore
from telemetry.testing import capture
from tests.agent.session.phone import RATE, desk_worker, phone, recording, serving
from tests.telemetry.ogg import HZ, samples_of

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.store import Recording, StoredConversation

pytestmark = pytest.mark.realtime

APART_SECONDS: Final = 0.02
WORDS: Final = "opening_hours-1"


async def test_both_voices_are_where_the_spans_say(tmp_path: Path) -> None:
    """The caller's last sound and the agent's first, within 20 ms of the response's two ends; and
    the caller's words are as long as they were."""
    conversation, found = await _held(tmp_path)
    caller, agent = samples_of(found.path)
    utterance = audible(caller)
    [speech] = [one for one in conversation.spans if one.op == names.OP_USER_SPEECH]
    [response] = [one for one in conversation.spans if one.op == names.OP_RESPONSE]
    spoke_until = found.started_at + utterance[-1] / HZ
    assert abs(spoke_until - speech.ended_at) < APART_SECONDS
    assert abs(spoke_until - response.started_at) < APART_SECONDS
    said = audible(recording(WORDS))
    assert abs(np.ptp(utterance) / HZ - np.ptp(said) / RATE) < APART_SECONDS
    heard = audible(agent)
    answer = heard[heard > utterance[-1]]  # what came before it is the greeting
    answered_at = found.started_at + answer[0] / HZ
    assert abs(answered_at - response.ended_at) < APART_SECONDS
    assert found.seconds is not None
    assert abs(found.seconds - len(caller) / HZ) < APART_SECONDS
    assert found.channels == 2


async def _held(folder: Path) -> tuple[StoredConversation, Recording]:
    """A question and its answer, as the store has them."""
    path = folder / "traces.db"
    with capture(store=path) as captured:
        async with (
            desk_worker(folder / "book.db", record=Record.ALL) as desk,
            serving(desk) as url,
            phone(url) as caller,
        ):
            await caller.said("")  # the greeting
            caller.say(recording(WORDS))
            await caller.said("closed on Mondays")
            await caller.call.end()
            await caller.ended()
        assert captured.runtime.flush(30)
        with closing(TraceStore(path)) as store:
            [one] = store.conversations()
            conversation = store.conversation(one.id)
            assert conversation is not None
            [found] = store.recordings(conversation)
    return conversation, found


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, False),
        ({"outcome": "hung_up"}, False),
        ({"errors": 1}, True),
        ({"failed_spans": 1}, True),
        ({"outcome": "refused"}, True),
        ({"outcome": "failed"}, True),
        ({"status": "internal_error"}, True),
    ],
)
def test_calls_that_failed(said: dict[str, object], kept: bool) -> None:
    """Those in which anything did: then one wants to hear them."""
    facts = {"status": "ok", "duration_seconds": 1.0, **said}
    assert failed(Summary(id="c-1", name="call", op="conversation", **facts)) is kept  # type: ignore[arg-type]  # its fields
