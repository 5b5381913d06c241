"""Voice activity: the 32 ms windows of a caller's audio that hold a voice.

The model (Silero, in ``livekit.local_inference``) is one native singleton; each caller has only
its recurrent state. A window takes it 21 µs, less than handing it to a thread does, so it runs
where the audio is: on the event loop.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from livekit.agents import inference

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATION_PROBABILITY: Final = 0.5
"""Probability of voice with which a window begins speech."""
DEACTIVATION_PROBABILITY: Final = 0.35
"""Probability of voice below which a window isn't voiced, within speech either."""
MIN_SPEECH_SECONDS: Final = 0.05
"""Length of voice in a row that makes speech: shorter is a click."""
MIN_SILENCE_SECONDS: Final = 0.3
"""Length of a pause that ends speech.

Every reply waits for it; a caller who pauses longer within a sentence is heard in two pieces,
which LiveKit joins while its endpointing delay lasts.
"""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class InlineExecutor(Executor):
    """An executor that runs each call where it is submitted, and returns its finished future.

    For calls that cost less than a thread hop. The session's detector takes 65 µs a window with
    it and 120 µs with a thread of its own, nearly all of it LiveKit's.
    """

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call ``fn`` now; its error is the future's exception."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an executor hands on whatever it was
            future.set_exception(error)
        return future


def detector() -> inference.VAD:
    """The detector an ``AgentSession`` listens with; a new one for each session."""
    return inference.VAD(
        executor=InlineExecutor(),
        activation_threshold=ACTIVATION_PROBABILITY,
        deactivation_threshold=DEACTIVATION_PROBABILITY,
        min_speech_duration=MIN_SPEECH_SECONDS,
        min_silence_duration=MIN_SILENCE_SECONDS,
    )
