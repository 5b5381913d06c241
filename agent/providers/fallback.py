"""Several providers of a kind as one: LiveKit's fallback adapters, and what they leave open.

The adapters ask the next provider when one fails, and probe a failed one until it works again.
LiveKit's spans show each attempt at a language model and at a voice; recognition has none, so its
failed attempts become spans here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from livekit.agents import APIConnectOptions, llm, stt, tts, utils
from livekit.agents.voice.agent_session import SessionConnectOptions

import telemetry
from telemetry.attributes import GEN_AI_PROVIDER_NAME, GEN_AI_REQUEST_MODEL

from . import failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from livekit.agents import vad

RETRY_AFTER_SECONDS: Final = 0.5
"""Time before a provider is asked a third time; the second time is at once."""
OP_ATTEMPT: Final = "stt.attempt"
"""The op of an attempt at recognition that failed."""
RETRIES: Final = 1
"""Number of times a provider without a fallback is asked again: a caller is waiting."""


def patience(timeout: float) -> SessionConnectOptions:
    """A session's patience with its providers: its waits, and its retries."""
    one = APIConnectOptions(max_retry=RETRIES, retry_interval=RETRY_AFTER_SECONDS, timeout=timeout)
    return SessionConnectOptions(stt_conn_options=one, llm_conn_options=one, tts_conn_options=one)


def language_model(members: Sequence[llm.LLM[Any]], timeout: float) -> llm.LLM[Any]:
    """One model of them all. A reply that has begun isn't begun again."""
    if len(members) == 1:
        return members[0]
    one = LanguageModels([*members], attempt_timeout=timeout, retry_interval=RETRY_AFTER_SECONDS)
    failures.count_fallbacks("llm", one)
    return one


class LanguageModels(llm.FallbackAdapter):
    """LiveKit's adapter, which leaves its probes of failed members running when it is closed (those
    of recognition and voice don't): they would outlive the conversation and its connections."""

    async def aclose(self) -> None:
        """End the probes, too."""
        probes = [status.recovering_task for status in self._status]
        await utils.aio.cancel_and_wait(*(probe for probe in probes if probe is not None))
        await super().aclose()


def voice(members: Sequence[tts.TTS[Any]]) -> tts.TTS[Any]:
    """One voice of them all."""
    if len(members) == 1:
        return members[0]
    one = tts.FallbackAdapter([*members], max_retry_per_tts=0)
    failures.count_fallbacks("tts", one)
    return one


def recognition(
    members: Sequence[stt.STT[Any]], vad: vad.VAD, timeout: float
) -> tuple[stt.STT[Any], list[stt.STT[Any]]]:
    """One recogniser of them all, and the adapters it is made of, to be closed before them.

    An utterance goes to the next one when the first fails: nothing is lost.
    Of a stream that fails, the next one hears only what comes then.
    """
    for member in members:
        member.on("error", partial(_failed, member))
    if len(members) == 1:
        return members[0], []
    by_utterance = [member for member in members if _takes_utterances(member)]
    adapters: list[stt.STT[Any]] = []
    if len(by_utterance) < len(members):
        # a flush ends an utterance only when all of them understand it, so none may need one
        adapters.extend(stt.StreamAdapter(stt=member, vad=vad) for member in by_utterance)
        members = [
            adapters[by_utterance.index(member)] if member in by_utterance else member
            for member in members
        ]
    one = stt.FallbackAdapter(
        [*members],
        vad=vad,
        attempt_timeout=timeout,
        max_retry_per_stt=0,
        retry_interval=RETRY_AFTER_SECONDS,
    )
    failures.count_fallbacks("stt", one)
    if adapters:
        return one, [one, *adapters]
    whole = stt.StreamAdapter(stt=one, vad=vad)
    return whole, [whole, one]


def _takes_utterances(member: stt.STT[Any]) -> bool:
    return not member.capabilities.streaming or member.capabilities.manual_flush


def _failed(member: stt.STT[Any], event: stt.STTError) -> None:
    """Make a span of a failed attempt where it is noticed; LiveKit doesn't say when it began."""
    conversation = telemetry.current_conversation()
    if conversation is None or conversation.ended:
        return
    asked = {GEN_AI_REQUEST_MODEL: member.model, GEN_AI_PROVIDER_NAME: member.provider}
    with telemetry.span(OP_ATTEMPT, member.model, attributes=asked) as span:
        span.fail(event.error)
