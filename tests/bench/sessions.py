"""Paced sessions: LiveKit's ``AgentSession`` in real time, with recognition and synthesis faked.

Everything that runs on the event loop is real: 20 ms frames of recorded speech, voice activity
detection, turn detection, the scripted language model's stream, playout. Recognition and synthesis
are faked, so that what telemetry adds isn't lost in the noise of inference; its share of the whole
is given twice, of this and of what a session costs with the worker's own speech models. A session
lasts half a minute, about as long as the shipped conversations: opening, closing and delivering one
costs a little more than one of its turns.

As a program it holds sessions and prints as JSON what that cost; each run is a process of its own,
and telemetry "off" means neither initialised nor asked to trace::

    python -m tests.bench.sessions on --sessions 50 --seconds 30 --dsn http://…
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    Agent,
    AgentSession,
    APIConnectOptions,
    LanguageCode,
    NotGivenOr,
    llm,
    stt,
    tts,
    utils,
)

import telemetry
from agent import providers
from agent.gateway.line import Microphone
from agent.gateway.playout import Playout
from agent.providers import Plugins, Say, scripted, voice_activity
from agent.session.turn_taking import USUAL
from agent.worker import settle_memory
from config import scenarios
from telemetry.integrations import livekit as livekit_telemetry

from .figures import Figure
from .sink import sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

RATE: Final = 16_000
FRAME: Final = RATE // 50
TURN_SECONDS: Final = 6.0
"""From one sentence of a caller to its next: it is answered in between."""
_SPEECH: Final = bytes(2 * RATE // 5) + b"\x00\x20\x00\xe0" * (3 * RATE // 4)
"""What the agent says: silence, as synthesis begins with, then 1.5 s that can be heard."""


class Recognizer(stt.STT[Any]):
    """Hears the same words in everything. It takes a stream and is flushed where somebody has
    finished, as the worker's own recogniser is."""

    def __init__(self) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True, interim_results=False, manual_flush=True
            )
        )

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        return _Heard(stt=self, conn_options=conn_options, sample_rate=RATE)

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        return _WORDS


class _Heard(stt.RecognizeStream):
    async def _run(self) -> None:
        speaks = False
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                heard = bytes(item.data)
                speaks = speaks or heard != bytes(len(heard))
            elif speaks:
                speaks = False
                self._event_ch.send_nowait(_WORDS)


_WORDS: Final = stt.SpeechEvent(
    type=stt.SpeechEventType.FINAL_TRANSCRIPT,
    alternatives=[stt.SpeechData(LanguageCode("en"), "A table for four, please.")],
)


class Voice(tts.TTS[Any]):
    """Says everything with the same sound."""

    def __init__(self) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1
        )

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Sound(tts=self, input_text=text, conn_options=conn_options)


class _Sound(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id="bench", sample_rate=RATE, num_channels=1, mime_type="audio/pcm"
        )
        output_emitter.push(_SPEECH)


class _Script:
    def reply(self, chat_ctx: llm.ChatContext) -> Say:
        return Say("A table for four. For what time would that be?")


@functools.cache
def sentences() -> list[bytes]:
    """The recorded sentences of the shipped scenarios: mono PCM16 at :data:`RATE`. A cough, which
    nobody answers, is none."""
    found = []
    for path in sorted(Path(scenarios.__file__).parent.glob("audio/*.wav")):
        if path.stem != "cough":
            with wave.open(str(path)) as recording:
                found.append(recording.readframes(recording.getnframes()))
    return found


def caller_frames(number: int, *, speaks: bool) -> Iterator[bytes]:
    """A caller's frames, without end; each begins at another point of its turn."""
    said = b""
    if speaks:
        recordings = sentences()
        said = recordings[number % len(recordings)]
    turn = said.ljust(round(TURN_SECONDS * RATE) * 2, b"\0")
    position = number * 37 * FRAME * 2 % len(turn)
    while True:
        yield turn[position : position + FRAME * 2]
        position = (position + FRAME * 2) % len(turn)


def null_plugins() -> Plugins:
    """A session's parts, those that cost much faked."""
    return Plugins(
        vad=voice_activity.detector(), stt=Recognizer(), llm=scripted.LLM(_Script()), tts=Voice()
    )


async def hold(
    number: int,
    seconds: float,
    *,
    traced: bool,
    plugins: Callable[[], Plugins] = null_plugins,
    speaks: bool = True,
) -> int:
    """Hold one session in real time; the number of frames its caller sent."""
    loop = asyncio.get_running_loop()
    own = plugins()
    session = AgentSession[None](
        vad=own.vad,
        stt=own.stt,
        llm=own.llm,
        tts=own.tts,
        turn_handling=USUAL.handling(),
        aec_warmup_duration=None,
        user_away_timeout=None,
    )
    microphone = session.input.audio = Microphone(sample_rate=RATE)
    playout = session.output.audio = Playout(lambda _: None, sample_rate=RATE)
    if traced:
        conversation = livekit_telemetry.trace(session, voiced_until=microphone.voiced_until)
        playout.on_audible = lambda at: livekit_telemetry.audible(conversation, at)
    playing = asyncio.create_task(playout.run())
    await session.start(Agent(instructions=""))
    began = loop.time()
    frames = 0
    for frame in caller_frames(number, speaks=speaks):
        frames += 1
        due = began + frames * FRAME / RATE
        if due > began + seconds:
            break
        await asyncio.sleep(due - loop.time())
        microphone.push(frame)
    microphone.close()
    await session.aclose()
    playing.cancel()
    return frames


async def hold_all(
    sessions: int,
    seconds: float,
    *,
    traced: bool,
    plugins: Callable[[], Plugins] = null_plugins,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(sessions):
            tasks.create_task(hold(number, seconds, traced=traced, plugins=plugins))
            await asyncio.sleep(0.02)


# -- what the program does: one of these, and prints the result ----------------------------------


def cost(sessions: int, seconds: float, *, dsn: str | None) -> dict[str, float]:
    """CPU seconds of this process for so many sessions; with a DSN, delivery and store included."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "traces.db")
        runtime = None if dsn is None else telemetry.init(dsn=dsn, store=store)
        traced = runtime is not None
        asyncio.run(hold(0, 1.0, traced=traced))  # what only a process's first one costs
        settle_memory()
        before = time.process_time()
        asyncio.run(hold_all(sessions, seconds, traced=traced))
        if runtime is not None:
            runtime.close(30)
        cpu = time.process_time() - before
        return {"cpu": cpu, "spans": 0 if runtime is None else runtime.stats().spans}


def cost_with_speech(sessions: int, seconds: float) -> dict[str, float]:
    """CPU seconds of this process with the worker's own recognition and synthesis, untraced."""
    choice = providers.Choice()
    providers.require(choice)
    with providers.load(choice) as models:
        plugins = partial(models.plugins, _Script())
        asyncio.run(hold(0, 1.0, traced=False, plugins=plugins))
        settle_memory()
        before = time.process_time()
        asyncio.run(hold_all(sessions, seconds, traced=False, plugins=plugins))
        return {"cpu": time.process_time() - before}


def calls_in_silence(seconds: float) -> dict[str, float]:
    """Calls of telemetry's functions while a traced session hears frames in which nobody speaks.

    ``per_frame`` are those that are made for every frame, or nearly: a detection window of 32 ms is
    1.6 frames. ``per_second`` are all of them.
    """
    inside = str(Path(telemetry.__file__).parent)
    calls: Counter[str] = Counter()
    counting = False

    def count(frame: FrameType, event: str, arg: object) -> None:
        if counting and event == "call" and frame.f_code.co_filename.startswith(inside):
            calls[f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}"] += 1

    async def listen() -> int:
        nonlocal counting
        held = asyncio.create_task(hold(0, seconds, traced=True, speaks=False))
        await asyncio.sleep(seconds / 3)  # starting makes spans
        sys.setprofile(count)
        counting = True
        await asyncio.sleep(seconds / 3)  # closing, too
        counting = False
        sys.setprofile(None)
        return await held

    threading.setprofile(count)  # the delivery thread's calls count, too
    with telemetry.init():
        frames = asyncio.run(listen()) / 3
    threading.setprofile(None)
    return {
        "per_frame": sum(number for number in calls.values() if number > frames / 2) / frames,
        "per_second": calls.total() / (seconds / 3),
    }


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["off", "on", "speech", "calls"])
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--dsn")
    given = parser.parse_args()
    match given.what:
        case "speech":
            result = cost_with_speech(given.sessions, given.seconds)
        case "calls":
            result = calls_in_silence(given.seconds)
        case _:
            result = cost(given.sessions, given.seconds, dsn=given.dsn)
    sys.stdout.write(json.dumps(result) + "\n")


# -- what the benchmark makes of it ----------------------------------------------------------------


def _start(what: str, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", __spec__.name, what, *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _result(program: subprocess.Popen[str]) -> dict[str, float]:
    out, complaints = program.communicate()
    if program.returncode:
        raise RuntimeError(f"{program.args!r} failed:\n{complaints}")
    found: dict[str, float] = json.loads(out)
    return found


def measure(rounds: int, *, sessions: int = 50, seconds: float = 30.0) -> list[Figure]:
    """Telemetry on against off, both at the same time; then what they are compared to."""
    size = ("--sessions", sessions, "--seconds", seconds)
    speakers = min(sessions, 6)  # as many as two cores hold in real time
    extra: list[float] = []
    whole: list[float] = []
    speech: list[float] = []
    with sink() as dsn:
        for _ in range(rounds):
            pair = _start("off", *size), _start("on", *size, "--dsn", dsn)
            off, on = map(_result, pair)
            extra.append((on["cpu"] - off["cpu"]) / sessions / seconds)
            whole.append(on["cpu"] / sessions / seconds)
            spoken = _result(_start("speech", "--sessions", speakers, "--seconds", seconds))
            speech.append(spoken["cpu"] / speakers / seconds)
    telemetry_cpu, null_cpu = statistics.median(extra), statistics.median(whole)
    worker_cpu = statistics.median(speech) + telemetry_cpu
    silent = _result(_start("calls", "--seconds", 6))
    return [
        Figure(f"CPU of telemetry, {sessions} sessions", telemetry_cpu * sessions * 100, "% core"),
        Figure(
            f"CPU of {sessions} sessions, speech faked",
            null_cpu * sessions * 100,
            "% core",
            ratio=telemetry_cpu / null_cpu,
            against="telemetry's share of it",
        ),
        Figure(
            f"CPU of {sessions} sessions, local speech",
            worker_cpu * sessions * 100,
            "% core",
            ratio=telemetry_cpu / worker_cpu,
            against="telemetry's share of it",
            target=0.02,
        ),
        Figure("telemetry calls per audio frame", silent["per_frame"], "calls", target=0.0),
        Figure("telemetry calls per silent second", silent["per_second"], "calls"),
    ]


if __name__ == "__main__":
    main()
