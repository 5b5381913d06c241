"""Speech recognition on this machine: Moonshine, with the English model of its wheel.

Measured with 0.0.73 on two cores, which is why it is used as it is here:

- A ``Transcriber`` isn't safe to share between threads: it runs one call at a time, and hands out
  a transcript that the next call overwrites (four at once gave garbled text). One model for each
  inference thread costs 90 MB and gives twice the throughput.
- ONNX Runtime's own threads, on by default, gain nothing for a model this small and compete with
  everything else; ``MOONSHINE_ORT_SINGLE_THREAD`` turns them off.
- Its own voice detection, which would run over audio that is known to be speech, costs a fifth.
- It hears "You" in silence: only speech may be given to it.
"""

from __future__ import annotations

import asyncio
import os
import queue
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Never

import numpy as np
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    APIError,
    LanguageCode,
    NotGivenOr,
    stt,
    utils,
)
from moonshine_voice import ModelArch, MoonshineError, Transcriber, get_model_path

from .errors import ProviderError
from .listening import Listening
from .unfinished import Ending, ending
from .utterance import SAMPLE_RATE_HZ, SpeechBuffer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .inference import Threads
    from .utterance import Samples

MODEL: Final = "tiny-en"
LANGUAGE: Final = LanguageCode("en")

PAUSE_SECONDS: Final = 0.09
"""Length of a pause in which recognition begins: shorter ones are within words."""
LINE_GONE_SECONDS: Final = 0.15
"""Time without audio after which a flush says that the call is over."""
_PADDING_SAMPLES: Final = round(0.3 * SAMPLE_RATE_HZ)
"""Silence after what is recognised. With less than 0.3 s of it, the model takes a sentence for the
beginning of a longer one: it writes a comma, and hears more words wrong."""

_USUAL: Final = Listening()
_OPTIONS: Final = {"vad_threshold": "0.0", "return_audio_data": "false"}
_SHORTEST_SAMPLES: Final = SAMPLE_RATE_HZ // 2
"""Length of the shortest audio the model is given; it fails below about 1,000 samples."""


class Recognizer:
    """The models, shared by all sessions: ``count`` of them, one for each of the threads.

    Loading blocks for about 0.2 s a model, the first recognition of each included. Raises
    :class:`ProviderError` if there is no model, as in the wheels of moonshine-voice 0.1.
    """

    def __init__(self, threads: Threads, count: int) -> None:
        os.environ.setdefault("MOONSHINE_ORT_SINGLE_THREAD", "1")  # read as a model is loaded
        self._threads = threads
        try:
            self._models = [
                Transcriber(get_model_path(MODEL), ModelArch.TINY, options=_OPTIONS)
                for _ in range(count)
            ]
        except MoonshineError as error:
            raise ProviderError(f"moonshine's model {MODEL} can't be loaded: {error}") from error
        self._idle: queue.SimpleQueue[Transcriber] = queue.SimpleQueue()
        for model in self._models:
            self._idle.put(model)
            self._transcribe(np.zeros(_SHORTEST_SAMPLES, np.int16))  # the first run is slower

    async def transcribe(self, samples: Samples) -> str:
        """The words in mono PCM16 at 16 kHz, empty if there are none.

        Raises :class:`livekit.agents.APIError` if the model fails.
        """
        try:
            return await self._threads.run(partial(self._transcribe, samples))
        except MoonshineError as error:
            raise APIError(f"moonshine could not recognise speech: {error}") from error

    def close(self) -> None:
        """Free the models. Nothing may be running on the threads any more."""
        for model in self._models:
            model.close()

    def _transcribe(self, samples: Samples) -> str:
        padding = max(_PADDING_SAMPLES, _SHORTEST_SAMPLES - len(samples))
        audio = np.pad(samples, (0, padding)).astype(np.float32) / 32768
        model = self._idle.get()
        try:
            transcript = model.transcribe_without_streaming(audio.tolist(), SAMPLE_RATE_HZ)
            return " ".join(line.text for line in transcript.lines).strip()
        finally:
            self._idle.put(model)


class STT(stt.STT[Never]):
    """One session's recognition. LiveKit's voice detection says when an utterance is over."""

    def __init__(self, recognizer: Recognizer, listening: Listening = _USUAL) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True, interim_results=False, manual_flush=True
            )
        )
        self._recognizer = recognizer
        self._listening = listening

    @property
    def model(self) -> str:
        """The model's name."""
        return f"moonshine-{MODEL}"

    @property
    def provider(self) -> str:
        """The provider that runs the model."""
        return "moonshine"

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> RecognizeStream:
        """Recognise a caller's audio, an utterance at each flush."""
        return RecognizeStream(self, self._recognizer, self._listening, conn_options)

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        text = await self._recognizer.transcribe(_samples(buffer))
        return stt.SpeechEvent(
            stt.SpeechEventType.FINAL_TRANSCRIPT,
            request_id=utils.shortuuid("stt_"),
            alternatives=[stt.SpeechData(LANGUAGE, text)],
        )


@dataclass(frozen=True, slots=True)
class _Words:
    """What was recognised, when it was said (Unix seconds), and how much audio it was (seconds)."""

    text: str
    began: float
    ended: float
    duration: float


@dataclass(frozen=True, slots=True)
class _Held:
    """Words that are held back, until the timer tells them."""

    words: _Words
    timer: asyncio.TimerHandle


class RecognizeStream(stt.RecognizeStream):
    """One caller's audio in, a final transcript for each utterance out.

    A pause may be the end of an utterance: its recognition begins in it, ahead of the flush, which
    then takes what has been recognised. Where the caller goes on, it was in vain.

    A sentence that may go on is held back for a while, and recognised anew together with what
    comes. It comes out alone when nothing does, or when it is flushed and no audio comes any more.
    Of one that as often doesn't go on the words are told at once, as LiveKit's preflight: its
    answer is prepared.

    A transcript's ``speech_start_time`` and ``speech_end_time`` are the Unix times of the first
    voiced and the last audible sample, on the clock of their arrival. Speech that never pauses is
    recognised in pieces. An utterance whose recognition fails is lost; the stream goes on.
    """

    def __init__(
        self,
        parent: STT,
        recognizer: Recognizer,
        listening: Listening,
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(stt=parent, conn_options=conn_options, sample_rate=SAMPLE_RATE_HZ)
        self._recognizer = recognizer
        self._listening = listening
        self._speech = SpeechBuffer()
        self._arrived = 0.0
        """Seconds of audio that have arrived, recognised or not."""
        self._arrived_at = time.time()
        self._ahead: asyncio.Task[str] | None = None
        """Recognition of what is kept of the speech, since its pause."""
        self._held: _Held | None = None
        """What is held back, since it was found that it may go on."""
        self._flushes: deque[stt.RecognizeStream._FlushSentinel] = deque()
        """Flushes that have come while an utterance was recognised."""

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Take audio in real time; the time of its arrival dates the speech in it."""
        super().push_frame(frame)
        self._arrived += frame.duration
        self._arrived_at = time.time()

    async def _run(self) -> None:
        try:
            async for item in self._items():
                if isinstance(item, rtc.AudioFrame):
                    self._hear(item)
                else:
                    await self._take_flush()
                while self._speech.full or self._is_over:
                    await self._recognize(may_go_on=not self._speech.full)
            self._let_go(self._held, self._arrived)
        finally:
            self._go_on()
            if self._ahead is not None:
                await utils.aio.cancel_and_wait(self._ahead)

    async def _take_flush(self) -> None:
        if self._held is None:
            # in the middle of a word nobody waits for more: the call ends, or the turn
            await self._recognize(may_go_on=self._speech.paused >= PAUSE_SECONDS)
        if self._held is not None:
            # LiveKit flushes at each end of speech that it hears, a breath's too, and at the end of
            # the call: then no more audio comes
            loop = asyncio.get_running_loop()
            loop.call_later(LINE_GONE_SECONDS, self._let_go, self._held, self._arrived)

    async def _items(self) -> AsyncIterator[rtc.AudioFrame | stt.RecognizeStream._FlushSentinel]:
        """What comes in, a flush after what :meth:`_catch_up` has heard before it."""
        async for item in self._input_ch:
            yield item
            while self._flushes:
                yield self._flushes.popleft()

    @property
    def _is_over(self) -> bool:
        """True if there is speech that is taken to be over, and not told or held yet. Where
        sentences are held it is so without a flush: after a hold none may come, as LiveKit's
        detector may not have heard what ended it."""
        holds = bool(self._listening.hold) and self._held is None
        return holds and self._speech.paused >= self._listening.pause

    def _hear(self, frame: rtc.AudioFrame) -> None:
        """Take a frame; begin to recognise what may be all, or forget that it was begun."""
        self._speech.push(np.frombuffer(frame.data, np.int16))
        if self._speech.paused < PAUSE_SECONDS:
            self._go_on()
            if self._ahead is not None:
                self._ahead.cancel()
                self._ahead = None
        elif self._ahead is None:
            self._look_ahead()

    def _look_ahead(self) -> asyncio.Task[str] | None:
        """Begin to recognise the speech that is kept; None if there is none."""
        if (utterance := self._speech.look()) is None:
            return None
        self._ahead = asyncio.create_task(self._recognizer.transcribe(utterance.samples))
        # its error is that of who waits for it, if somebody does
        self._ahead.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._ahead

    def _catch_up(self) -> None:
        """Hear what has come while it was recognised. A flush of a pause that is over counts no
        more."""
        while not self._input_ch.empty():
            item = self._input_ch.recv_nowait()
            if isinstance(item, rtc.AudioFrame):
                self._hear(item)
                if self._speech.paused < PAUSE_SECONDS:
                    self._flushes.clear()
            else:
                self._flushes.append(item)

    def _go_on(self) -> None:
        """Hold nothing back any more: the caller speaks again, or all is over."""
        if self._held is not None:
            self._held.timer.cancel()
            self._held = None

    def _let_go(self, held: _Held | None, arrived: float) -> None:
        """Say what is held back, if it still is, and no audio has come since."""
        if held is not None and held is self._held and arrived == self._arrived:
            self._say(held.words)

    async def _recognize(self, *, may_go_on: bool) -> None:
        """Say what was said, or hold it back."""
        began_at = time.monotonic()
        utterance, task = self._speech.look(), self._ahead or self._look_ahead()
        if utterance is None or task is None:
            return
        # dated first: while it is recognised, more arrives
        began, ended = self._wall_clock(utterance.begins), self._wall_clock(utterance.ends)
        try:
            text = await task
        except BaseException:
            task.cancel()
            self._ahead = None
            self._speech.take()  # it is lost; what comes isn't
            raise
        words = _Words(text, began, ended, len(utterance.samples) / SAMPLE_RATE_HZ)
        if not (may_go_on and self._listening.hold):
            self._say(words)
            return
        self._catch_up()
        if self._ahead is not task:  # the caller goes on: it is recognised as a whole, then
            return
        end = ending(text)
        wait = self._listening.wait(end) - (time.monotonic() - began_at)
        if wait <= 0:
            self._say(words)
            return
        if end is Ending.LOOSE:  # the answer can be prepared meanwhile
            self._tell(stt.SpeechEventType.PREFLIGHT_TRANSCRIPT, words)
        timer = asyncio.get_running_loop().call_later(wait, self._say, words)
        self._held = _Held(words, timer)

    def _say(self, words: _Words) -> None:
        """Hand out what was said, and forget its sound."""
        self._go_on()
        self._ahead = None
        self._speech.take()
        request_id = self._tell(stt.SpeechEventType.FINAL_TRANSCRIPT, words)
        self._event_ch.send_nowait(
            stt.SpeechEvent(
                stt.SpeechEventType.RECOGNITION_USAGE,
                request_id=request_id,
                recognition_usage=stt.RecognitionUsage(audio_duration=words.duration),
            )
        )

    def _tell(self, type: stt.SpeechEventType, said: _Words) -> str:
        """Hand out words, if there are any; returns the request's id."""
        request_id = utils.shortuuid("stt_")
        if said.text:
            stream_began = self.start_time - self.start_time_offset
            words = stt.SpeechData(
                LANGUAGE,
                said.text,
                start_time=said.began - stream_began,
                end_time=said.ended - stream_began,
            )
            self._event_ch.send_nowait(
                stt.SpeechEvent(
                    type,
                    request_id=request_id,
                    alternatives=[words],
                    speech_start_time=said.began,
                    speech_end_time=said.ended,
                )
            )
        return request_id

    def _wall_clock(self, position: float) -> float:
        """The Unix time of a position in the audio, in seconds since its beginning."""
        return self._arrived_at - (self._arrived - position)


def _samples(buffer: utils.AudioBuffer) -> Samples:
    """Frames of any sample rate as mono PCM16 at 16 kHz."""
    frame = rtc.combine_audio_frames(buffer)
    if frame.sample_rate == SAMPLE_RATE_HZ:
        return np.frombuffer(frame.data, np.int16)
    resampler = rtc.AudioResampler(frame.sample_rate, SAMPLE_RATE_HZ)
    frames = [*resampler.push(frame), *resampler.flush()]
    return np.concatenate([np.frombuffer(f.data, np.int16) for f in frames])
