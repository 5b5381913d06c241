"""The end of a caller's turn: the silence that it takes, and who decides how much.

LiveKit's ``AgentSession`` decides; this says with what. A turn is over when the caller has been
silent for the least delay, or, where a turn detector says that more is to come, for the longest.
Delays count from the last voiced window (:mod:`agent.providers.voice_activity`), which comes 50 to
110 ms after the last sample that can be heard.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from livekit import local_inference
from livekit.agents import TurnHandlingOptions, inference

from agent.providers import Listening
from agent.providers.unfinished import Ending, ending

if TYPE_CHECKING:
    from livekit.agents import LanguageCode, llm
    from livekit.agents.voice.turn import EndpointingOptions, TurnDetectionMode

_HOLD_SECONDS: Final = 1.2
"""Time for which an unfinished sentence is kept from LiveKit. An interrupted agent goes on when no
words have come by :data:`_FALSE_INTERRUPTION_SECONDS`."""
_LINGER_SECONDS: Final = 0.38
"""Time for which a sentence is kept that is as likely to go on as not, after the silence that ended
it: with that a pause of 0.6 s is outlasted."""
_FALSE_INTERRUPTION_SECONDS: Final = 1.5

Detection = Literal["words", "model", "vad"]


@dataclass(frozen=True, slots=True)
class _Delays:
    """Silences in seconds."""

    pause: float
    """Silence that ends speech: what was said is recognised, and it is decided over."""
    least: float
    longest: float


_DELAYS: Final[dict[Detection, _Delays]] = {
    # The words come when they come, and may be those of the first clause only: less answers that.
    "words": _Delays(pause=0.3, least=0.45, longest=2.0),
    # LiveKit asks for at least 0.25 s of silence, and these are its own delays
    "model": _Delays(pause=0.3, least=0.3, longest=2.5),
    # Nobody knows whether more is to come: less cuts people off between two clauses.
    "vad": _Delays(pause=0.3, least=0.45, longest=3.0),
}


_OUR_WORDS: Final = _Delays(pause=0.16, least=0.16, longest=2.0)
"""Delays where recognition begins within the silence, and holds back what may go on: its words are
what one waits for, and a longer delay gains nothing."""


@dataclass(frozen=True, slots=True)
class TurnTaking:
    """The way in which the end of a turn is found."""

    detection: Detection = "words"
    """The judge of whether more is to come: ``words`` (the transcript's grammar, English),
    ``model`` (LiveKit's ``turn-detector-v1-mini``, which listens to the voice: 14 languages,
    255 MB), ``vad`` (nobody: silence alone)."""
    endpointing: Literal["fixed", "dynamic"] = "fixed"
    """``dynamic`` lengthens the least delay as the caller's own pauses show."""
    min_delay: float | None = None
    """The least silence before a turn is over, in seconds; the detection's own when None."""
    max_delay: float | None = None
    """The silence before a turn is over that sounds unfinished, likewise."""
    is_ours: bool = False
    """True if the words are those of our own recogniser, which works within a pause."""

    def of(self, *, our_words: bool) -> TurnTaking:
        """The same, with our own recogniser or another."""
        return replace(self, is_ours=our_words and self.detection == "words")

    @property
    def _delays(self) -> _Delays:
        return _OUR_WORDS if self.is_ours else _DELAYS[self.detection]

    @property
    def listening(self) -> Listening:
        """The way in which the session's plugins listen meanwhile."""
        if not self.is_ours:
            return Listening(self._delays.pause)
        hold = min(_HOLD_SECONDS, self.endpointing_options()["max_delay"])
        return Listening(self._delays.pause, hold=hold, linger=min(_LINGER_SECONDS, hold))

    def prepare(self) -> None:
        """Load what all sessions share. Blocks for 0.3 s where that is a model."""
        if self.detection == "model":
            local_inference.init_eot()

    def handling(self) -> TurnHandlingOptions:
        """LiveKit's options for one session, with a detector of its own."""
        detection: TurnDetectionMode
        match self.detection:
            case "words":
                detection = SentenceDetector()
            case "model":
                detection = inference.TurnDetector(version="v1-mini")
            case "vad":
                detection = "vad"
        return TurnHandlingOptions(
            turn_detection=detection,
            endpointing=self.endpointing_options(),
            # Speech stops as soon as a voice is sure, and goes on where it stopped if no words
            # come of it: so being quick to stop costs little when it was a cough. Recognition has
            # the timeout to find words: going on before it has would be talking over the caller
            # for a moment.
            interruption={
                "mode": "vad",
                "min_duration": 0.16,
                "resume_false_interruption": True,
                "false_interruption_timeout": _FALSE_INTERRUPTION_SECONDS,
                # how close to either end of a speech a "mm-hm" is ignored: a cloud model's business
                "backchannel_boundary": None,
            },
            # The reply is generated and synthesised while the end of the turn is being decided.
            preemptive_generation={"enabled": True, "preemptive_tts": True},
        )

    def endpointing_options(self) -> EndpointingOptions:
        """LiveKit's options of the delays."""
        least = self._delays.least if self.min_delay is None else self.min_delay
        longest = self._delays.longest if self.max_delay is None else self.max_delay
        return {"mode": self.endpointing, "min_delay": least, "max_delay": max(least, longest)}


USUAL: Final = TurnTaking()
"""The way in which it is found unless the operator says otherwise."""


class SentenceDetector:
    """LiveKit's interface to a turn detector, on the grammar of what was said."""

    model = "words"
    provider = "parley"

    async def supports_language(self, language: LanguageCode | None) -> bool:
        """True for English. Without it the least delay decides, as where nobody says which language
        it is."""
        return language is not None and language.language == "en"

    async def unlikely_threshold(self, language: LanguageCode | None) -> float | None:
        """The probability below which a turn isn't over."""
        return 0.5

    async def predict_end_of_turn(
        self,
        chat_ctx: llm.ChatContext,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - LiveKit's interface
    ) -> float:
        """The probability that the turn is over whose words are the last in this history: 1 or
        0."""
        said, asked = "", ""
        for message in reversed(chat_ctx.messages()):
            if message.role == "assistant":
                asked = message.text_content or ""
                break
            if message.role == "user" and not said:
                said = message.text_content or ""
        return 0.0 if ending(said, asked) is Ending.OPEN else 1.0
