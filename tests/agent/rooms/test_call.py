"""A call's endings that no server can be made to time: the order in which its client tells them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

import anyio
import pytest
from livekit import rtc

import telemetry
from agent.gateway import MAX_TEXT_CHARACTERS, Text, encode
from agent.gateway.budget import MAX_TYPED_CHARACTERS, MAX_TYPED_TURNS
from agent.metrics import Limit
from agent.rooms import call, chat
from agent.rooms.call import Call, Limits
from agent.rooms.line import TOPIC, RoomLine
from agent.session import Outcome, SessionRequest
from agent.stopping import Stops
from telemetry import attributes as names
from tests.agent.counted import counted, reaching, times_reached

if TYPE_CHECKING:
    from livekit.agents import JobContext

    from agent.session import VoiceSession
    from telemetry.testing import Captured


RELIABLE = rtc.DataPacketKind.KIND_RELIABLE


class Room(rtc.Room):
    """A room without a server. It goes as the client has it: first the state, then the reason."""

    here = False

    def isconnected(self) -> bool:
        return self.here

    def go(self) -> None:
        self.here = False
        self.emit("connection_state_changed", rtc.ConnectionState.CONN_DISCONNECTED)


class Job:
    """A job whose room can be connected to."""

    def __init__(self) -> None:
        self.room = Room()
        self.connected = anyio.Event()

    async def connect(self, **_: object) -> None:
        self.room.here = True
        self.connected.set()


class Session:
    """A session that is never run, with a real conversation."""

    def __init__(self) -> None:
        self.conversation = telemetry.conversation("call")
        self.id, self.trace_id = self.conversation.id, self.conversation.trace_id
        self.heard: list[str] = []
        self.gaps: list[object] = []
        self.ended: list[Outcome] = []
        self.limits: list[Limit | None] = []

    def end(self, outcome: Outcome, limit: Limit | None = None) -> None:
        self.ended.append(outcome)
        self.limits.append(limit)

    def hear(self, text: str, _: object = None) -> None:
        self.heard.append(text)

    def caller_gap(self, seconds: object) -> None:
        self.gaps.append(seconds)


@pytest.fixture
async def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(call, "own_events_only", lambda _: None)
    return Job()


async def held(job: Job, said: list[Outcome]) -> None:
    """Hold a call of the job; tells how it ended."""
    session = Session()
    with session.conversation.attach():
        said.append(await a_call(job, session).run())


def a_call(job: Job, session: Session, limits: Limits = Limits()) -> Call:  # noqa: B008 - frozen
    """A call of the job."""
    never = threading.Event()
    return Call(
        cast("JobContext", job),
        SessionRequest(),
        RoomLine(job.room, on_response=lambda _: None),
        cast("VoiceSession", session),
        limits,
        Stops(never, never),
    )


async def test_a_room_that_goes_before_its_reason(captured: Captured, job: Job) -> None:
    """Deleted while the caller is waited for: hung up, though the reason comes a moment later."""
    said: list[Outcome] = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held, job, said)
            await job.connected.wait()
            await anyio.wait_all_tasks_blocked()  # it waits for the caller
            job.room.go()
            await anyio.wait_all_tasks_blocked()
            job.room.emit("disconnected", rtc.DisconnectReason.ROOM_DELETED)
    assert said == [Outcome.HUNG_UP]
    assert outcome(captured) == "hung_up"
    assert not captured.errors


async def test_a_room_that_goes_for_no_reason(
    captured: Captured, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone, and no reason comes: failed, and no longer waited for."""
    monkeypatch.setattr(call, "LAST_WORDS_SECONDS", 0.01)
    said: list[Outcome] = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held, job, said)
            await job.connected.wait()
            await anyio.wait_all_tasks_blocked()  # it waits for the caller
            job.room.go()
    assert said == [Outcome.FAILED]
    assert outcome(captured) == "failed"


@pytest.mark.parametrize(
    ("limits", "limit", "ended"),
    [
        (Limits(connect=0.01), Limit.CONNECT, Outcome.FAILED),
        (Limits(answer=0.01), Limit.NO_CALLER, Outcome.HUNG_UP),
        (Limits(reconnect=0.01), Limit.RECONNECT, Outcome.FAILED),
        (Limits(idle=0.01), Limit.IDLE, Outcome.IDLE),
        (Limits(duration=0.01), Limit.DURATION, Outcome.TIME_LIMIT),
    ],
)
async def test_a_room_in_which_nothing_happens(
    job: Job, limits: Limits, limit: Limit, ended: Outcome
) -> None:
    """No connection, no caller, a server that is gone, silence, a call without end: each has its
    limit, which is counted, and so has how the call ended."""
    if limit is Limit.CONNECT:
        job.connect = never  # type: ignore[method-assign]  # a server that doesn't answer
    session = Session()
    before = counted("parley_calls", outcome=ended.value)
    with reaching(limit, times=1), session.conversation.attach(), anyio.fail_after(10):
        the_call = a_call(job, session, limits)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(the_call.run)
            await anyio.wait_all_tasks_blocked()
            if limit is Limit.RECONNECT:
                job.room.emit("reconnecting")
    assert (session.ended, session.limits) == ([ended], [limit])
    assert counted("parley_calls", outcome=ended.value) == before + 1


async def never(**_: object) -> None:
    await anyio.sleep_forever()


class Participant:
    """Somebody in the room."""

    def __init__(self, identity: str) -> None:
        self.identity = identity


class Unread:
    """A text that nobody is to read."""

    closed = False

    def close(self) -> None:
        self.closed = True


async def test_typing_faster_than_anybody(job: Job) -> None:
    """Ten typed turns at once are heard, from the caller alone; the next one, in whatever way it
    comes, ends the call."""
    session = Session()
    with session.conversation.attach():
        the_call = a_call(job, session)
        caller, other = (cast("rtc.RemoteParticipant", Participant(who)) for who in ("me", "you"))
        the_call._caller = caller
        with the_call._listening():
            for number in range(MAX_TYPED_TURNS):
                for who in (caller, other):
                    text = encode(Text(text=f"{who.identity} {number}"))
                    assert isinstance(text, str)
                    packet = rtc.DataPacket(text.encode(), RELIABLE, who, TOPIC)
                    job.room.emit("data_received", packet)
            assert session.heard == [f"me {number}" for number in range(MAX_TYPED_TURNS)]
            assert session.ended == []
            chatted = job.room._text_stream_handlers[chat.TOPIC]
            for who, ended in ((other, []), (caller, [Outcome.REFUSED])):
                reader = Unread()
                chatted(cast("rtc.TextStreamReader", reader), who.identity)
                assert reader.closed
                assert session.ended == ended
        session.conversation.close()


@pytest.mark.parametrize(
    "text", [b"{}", Text(text="a" * MAX_TEXT_CHARACTERS).model_dump_json().encode()]
)
async def test_more_messages_than_anybody_sends(job: Job, text: bytes) -> None:
    """Messages of the caller's, sound or not, and what is typed in them: too much ends the call."""
    session = Session()
    with session.conversation.attach():
        the_call = a_call(job, session)
        caller = cast("rtc.RemoteParticipant", Participant("me"))
        the_call._caller = caller
        with the_call._listening():
            before = times_reached(Limit.TOO_FAST)
            for _ in range(1000):
                job.room.emit("data_received", rtc.DataPacket(text, RELIABLE, caller, TOPIC))
        assert session.ended == [Outcome.REFUSED]
        assert session.limits == [Limit.TOO_FAST]
        assert sum(map(len, session.heard)) <= MAX_TYPED_CHARACTERS
        assert times_reached(Limit.TOO_FAST) == before + 1
        session.conversation.close()


async def test_what_the_caller_says_it_waited(job: Job) -> None:
    """It is the caller's alone to say, may be anything, and ends nothing."""
    session = Session()
    with session.conversation.attach():
        the_call = a_call(job, session)
        caller, other = (cast("rtc.RemoteParticipant", Participant(who)) for who in ("me", "you"))
        the_call._caller = caller
        with the_call._listening():
            for who, seconds in ((other, "9"), (caller, "0.74"), (caller, "-1"), (caller, "[{}]")):
                data = f'{{"type": "gap", "seconds": {seconds}}}'.encode()
                job.room.emit("data_received", rtc.DataPacket(data, RELIABLE, who, TOPIC))
        assert session.gaps == [0.74, -1, [{}]]
        assert session.ended == []
        session.conversation.close()


def outcome(captured: Captured) -> object:
    """How the one conversation ended."""
    (transaction,) = captured.transactions
    return transaction["contexts"]["trace"]["data"][names.CONVERSATION_OUTCOME]
