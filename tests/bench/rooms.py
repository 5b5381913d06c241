"""What rooms in which nobody speaks cost a worker: CPU of a core, and the threads that take it.

``parley start`` as its operator has it, a LiveKit server, and a caller in each room who is greeted
and then says nothing. Its microphone hears the faint noise of a quiet room, and sends all of it, as
a browser does that isn't told to be silent in silence. The callers are a process of their own.

Given the path of another checkout (``--against``), with a ``.venv`` of its own, its worker takes
turns with this one's, for the same callers and in the same run.

As a program it calls: ten rooms of one agent, until its input ends::

    python -m tests.bench.rooms ws://127.0.0.1:7880 quiet 10
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import numpy as np
from livekit import rtc

from agent.rooms import LiveKit
from agent.rooms.client import caller_token
from agent.rooms.line import CONNECTION, SINGLE_PEER_CONNECTION
from tests.system import livekit
from tests.system.worker import COMMAND, working

from .figures import Figure, medians
from .load import program, tell, told

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOMS: Final = 10
SETTLE_SECONDS: Final = 12.0
"""Time to be greeted; then nobody speaks."""
SHARE_OF_BEFORE: Final = 0.5
"""Share of the other's that it is to be, of a checkout from before rooms were measured."""
_LEAST_SHOWN: Final = 0.1
_RATE_HZ: Final = 48_000
_FRAME_SECONDS: Final = 0.1
"""What is handed over at a time: the native client sends 20 ms of it at a time."""
_NOISE_RMS: Final = 10.0
"""Level of a quiet room: -70 dBFS."""
_JOIN_SECONDS: Final = 60.0
_MICROPHONE: Final = rtc.TrackPublishOptions(
    source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False, red=True
)
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


# -- callers ---------------------------------------------------------------------------------------


async def _call(url: str, agent: str, rooms: int) -> None:
    """Be in so many rooms with an agent each, until told to leave; say what part of the audio was
    sent, in per cent, and in how many an agent still was."""
    noise = np.random.default_rng(1).normal(0, _NOISE_RMS, round(_RATE_HZ * _FRAME_SECONDS))
    frame = rtc.AudioFrame(noise.astype("<i2").tobytes(), _RATE_HZ, 1, noise.size)
    sent: Counter[rtc.AudioSource] = Counter()
    async with AsyncExitStack() as calls, anyio.create_task_group() as tasks:
        joined: list[rtc.Room] = []
        for number in range(rooms):
            room = rtc.Room()
            joined.append(room)
            calls.push_async_callback(room.disconnect)
            await _join(room, LiveKit(url, livekit.KEY, livekit.SECRET), agent, number)
            source = rtc.AudioSource(_RATE_HZ, 1, queue_size_ms=400)
            calls.push_async_callback(source.aclose)
            track = rtc.LocalAudioTrack.create_audio_track("caller", source)
            await room.local_participant.publish_track(track, _MICROPHONE)
            tasks.start_soon(_be_silent, source, frame, sent)
        tell("joined")
        began, before = time.monotonic(), sent.total()
        await asyncio.to_thread(sys.stdin.readline)
        seconds = (sent.total() - before) * _FRAME_SECONDS / rooms
        sent_share = 100 * seconds / (time.monotonic() - began)
        tell(json.dumps({"sent": sent_share, "held": sum(map(_is_held, joined))}))
        tasks.cancel_scope.cancel()


def _is_held(room: rtc.Room) -> bool:
    """True if an agent's voice is subscribed to."""
    return any(
        publication.track is not None
        for agent in room.remote_participants.values()
        for publication in agent.track_publications.values()
    )


async def _join(room: rtc.Room, server: LiveKit, agent: str, number: int) -> None:
    """Join a room of one's own, and wait for the agent."""
    came = anyio.Event()
    room.on("participant_connected", lambda _: came.set())
    token = caller_token(
        server,
        room=f"quiet-{secrets.token_hex(4)}",
        identity=f"caller-{number}",
        agent_name=agent,
    )
    options = rtc.RoomOptions(rtc_config=CONNECTION, single_peer_connection=SINGLE_PEER_CONNECTION)
    with anyio.fail_after(_JOIN_SECONDS):
        await room.connect(server.url, token, options)
        if not room.remote_participants:
            await came.wait()


async def _be_silent(
    source: rtc.AudioSource, frame: rtc.AudioFrame, sent: Counter[rtc.AudioSource]
) -> None:
    while True:
        await source.capture_frame(frame)
        sent[source] += 1


# -- whose CPU it is -------------------------------------------------------------------------------


def _threads(process: int) -> dict[int, tuple[str, float]]:
    """The name of each thread of a process, and the seconds of CPU that it has used."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            said = (task / "stat").read_text()
        except OSError:
            continue  # it has just ended
        name = said[said.index("(") + 1 : said.rindex(")")]
        ticks = said[said.rindex(")") + 2 :].split()
        found[int(task.name)] = name, (int(ticks[11]) + int(ticks[12])) / _TICKS_A_SECOND
    return found


def _used(process: int, seconds: float) -> dict[str, float]:
    """Per cent of a core that a process uses, by kind of thread.

    Python's threads have the process's name, native ones one of their own. What Python does in a
    callback of a native thread is that thread's.
    """
    before, began = _threads(process), time.monotonic()
    time.sleep(seconds)
    after, took = _threads(process), time.monotonic() - began
    used: dict[str, float] = defaultdict(float)
    main = after[process][0]
    for number, (name, cpu) in after.items():
        kind = "loops" if name == main else name
        used[kind] += (cpu - before.get(number, (name, 0.0))[1]) / took * 100
    loops = used.pop("loops")
    return {"all": loops + sum(used.values()), "loops": loops, "native": sum(used.values()), **used}


def _hold(server: LiveKit, parley: str, rooms: int, seconds: float) -> dict[str, float]:
    """What so many silent rooms cost a worker of this ``parley``."""
    agent = f"quiet-{secrets.token_hex(4)}"
    settings = {
        "PARLEY_AGENT_NAME": agent,
        "PARLEY_MAX_SESSIONS": str(rooms),
        "PARLEY_SILENCE_TIMEOUT": "0",
        "PARLEY_LOG_LEVEL": "INFO",
    }
    with (
        tempfile.TemporaryDirectory() as home,
        working(server, Path(home), command=(parley, COMMAND[1]), **settings) as worker,
        program("rooms", server.url, agent, rooms) as callers,
    ):
        if told(callers) != "joined":
            raise RuntimeError("the callers were not taken")
        time.sleep(SETTLE_SECONDS)
        used = _used(worker.process.pid, seconds)
        said, _ = callers.communicate("leave\n", timeout=60)
    told_by_callers: dict[str, float] = json.loads(said)
    return used | told_by_callers


def measure(
    rounds: int, rooms: int, seconds: float, against: Path | None = None
) -> Iterator[Figure]:
    """CPU of so many rooms with this checkout's worker, in turns with another's if one is given."""
    contenders = {"here": COMMAND[0]}
    if against is not None:
        contenders["there"] = str(against / ".venv" / "bin" / "parley")
    with tempfile.TemporaryDirectory() as home, livekit.running(Path(home) / "log") as server:
        found = medians(
            rounds,
            {
                name: functools.partial(_hold, server.livekit, parley, rooms, seconds)
                for name, parley in contenders.items()
            },
        )
    here, there = found["here"], found.get("there")
    for whose, one in (("here", here), ("with the other checkout", there)):
        if one is not None:  # on a machine that is too busy a run isn't worth anything
            yield Figure(f"rooms held {whose}", one.pop("held"), f"of {rooms}")
            yield Figure(f"callers' audio sent in time {whose}", one.pop("sent"), "%")
    yield Figure(
        f"CPU of {rooms} silent rooms",
        here["all"],
        "% core",
        None if there is None else here["all"] / there["all"],
        "" if there is None else f"{there['all']:.2f} with the other checkout",
        None if there is None else SHARE_OF_BEFORE,
    )
    yield Figure("CPU of a silent room", here["all"] / rooms, "% core")
    for name in sorted(here.keys() - {"all"}, key=lambda name: -here[name]):
        if here[name] < _LEAST_SHOWN:
            continue
        ratio = None if there is None or not there.get(name) else here[name] / there[name]
        yield Figure(f"- {name}", here[name], "% core", ratio, "the other's" if ratio else "")


def main() -> None:
    """The program."""
    match sys.argv[1:]:
        case [url, agent, rooms]:
            os.nice(5)
            anyio.run(_call, url, agent, int(rooms))
        case _:
            sys.exit(f"usage: see {__doc__}")


if __name__ == "__main__":
    main()
