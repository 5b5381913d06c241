"""From the operator's choice to a session's plugins: models once, plugins fresh each time."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from livekit.agents.voice.agent_session import SessionConnectOptions

from . import failures, fallback, remote, scripted, voice_activity
from .errors import ProviderError
from .inference import Threads
from .listening import Listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from livekit.agents import llm, stt, tts, vad

    from .choice import Choice
    from .connections import Connections
    from .scripted import Script


_USUAL: Final = Listening()
_Made = TypeVar("_Made")


class Closeable(Protocol):
    """A plugin or an adapter of several."""

    async def aclose(self) -> None:
        """Close its connections."""


@dataclass(frozen=True, slots=True)
class Plugins:
    """The parts one session listens, thinks and speaks with.

    Never shared between sessions: a plugin reports its metrics and errors to all who listen.
    """

    vad: vad.VAD
    stt: stt.STT[Any]
    llm: llm.LLM[Any]
    tts: tts.TTS[Any]
    connect: SessionConnectOptions = field(default_factory=SessionConnectOptions)
    """The session's patience with them: its waits, and its retries."""
    members: tuple[Closeable, ...] = ()
    """The providers that adapters among them stand for: closed after them."""

    async def aclose(self) -> None:
        """Close their connections. A closing ``AgentSession`` doesn't: call it afterwards."""
        parts: tuple[Closeable, ...] = (self.llm, self.stt, self.tts, *self.members)
        for part in parts:
            await part.aclose()


@dataclass(frozen=True, slots=True)
class Models:
    """The loaded models, one of these per process. A context manager: see :meth:`close`."""

    stt: tuple[Callable[[Listening], stt.STT[Any]], ...]
    """Makers of a session's recogniser, and of those that stand in for it; likewise the others."""
    llm: tuple[Callable[[Script], llm.LLM[Any]], ...]
    tts: tuple[Callable[[], tts.TTS[Any]], ...]
    timeout: float
    hears_within_pauses: bool
    """True if recognition is that of this machine alone, which begins within a pause and holds
    back what may go on (:mod:`.moonshine`)."""
    prepare: Callable[[Iterable[str]], None]
    """Has these sentences ready, where the voice is on this machine. Doesn't wait for it."""
    close: Callable[[], None]
    """Waits for the inference that is running, then frees the models. Blocks; idempotent. Requests
    of sessions fail afterwards: close the sessions first."""

    def plugins(
        self,
        script: Script | None = None,
        *,
        connections: Connections | None = None,
        listening: Listening = _USUAL,
    ) -> Plugins:
        """Fresh plugins for one session; cheap.

        Args:
            script: what a scripted model says, an echo when None; others have no use for it.
            connections: those of the event loop's sessions; of its own when None.
            listening: the way in which it listens to a caller who pauses.
        """
        detector = voice_activity.detector(listening.pause)
        with nullcontext() if connections is None else connections.lent():
            minds = [make(script or scripted.EchoScript()) for make in self.llm]
            ears = [make(listening) for make in self.stt]
            voices = [make() for make in self.tts]
        failures.count("llm", minds)
        failures.count("stt", ears)
        failures.count("tts", voices)
        mind = fallback.language_model(minds, self.timeout)
        voice = fallback.voice(voices)
        ear, adapters = fallback.recognition(ears, detector, self.timeout)
        parts: tuple[Closeable, ...] = (*adapters, *minds, *ears, *voices)
        return Plugins(
            vad=detector,
            stt=ear,
            llm=mind,
            tts=voice,
            connect=fallback.patience(self.timeout),
            members=tuple(part for part in parts if part not in (mind, ear, voice)),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def require(choice: Choice) -> None:
    """Check that the choice can be loaded, by importing what it needs: takes under a second.

    Call it on the main thread, where LiveKit wants its plugins imported. Raises
    :class:`ProviderError` when a package, a model's name or a key is missing.
    """
    if "local" in choice.stt:
        with _local_packages():
            from . import moonshine  # noqa: F401 - imported to see whether it can be
    if "local" in choice.tts:
        with _local_packages():
            from . import piper  # noqa: F401 - likewise
    _minds(choice)
    _remote("stt", choice.stt, choice)
    _remote("tts", choice.tts, choice)


def load(choice: Choice) -> Models:
    """Load the models: blocks for two seconds when they are local, so run it in a thread.

    Providers on a server take a :func:`require` on the main thread before. Raises
    :class:`ProviderError`.
    """
    ears = {name: _unasked(make) for name, make in _remote("stt", choice.stt, choice).items()}
    voices = _remote("tts", choice.tts, choice)
    minds = _minds(choice)
    threads = Threads(choice.inference_threads)
    free: Callable[[], None] | None = None
    prepare: Callable[[Iterable[str]], None] = _nothing
    if "local" in choice.stt:
        with _local_packages():
            from . import moonshine
        recognizer = moonshine.Recognizer(threads, choice.inference_threads)
        free = recognizer.close
        ears["local"] = partial(moonshine.STT, recognizer)
    if "local" in choice.tts:
        with _local_packages():
            from . import piper
        voice = piper.Voice(threads)
        voices["local"] = partial(piper.TTS, voice, streams=len(choice.tts) == 1)
        prepare = voice.prepare

    def close() -> None:
        threads.close()
        if free is not None:
            free()

    return Models(
        stt=tuple(ears[name] for name in choice.stt),
        llm=minds,
        tts=tuple(voices[name] for name in choice.tts),
        timeout=choice.timeout,
        hears_within_pauses=choice.stt == ("local",),
        prepare=prepare,
        close=close,
    )


def _nothing(_: Iterable[str]) -> None:
    pass


def _remote(
    kind: remote.Kind, names: tuple[str, ...], choice: Choice
) -> dict[str, Callable[[], Any]]:
    return {name: remote.maker(kind, name, choice) for name in names if name != "local"}


def _minds(choice: Choice) -> tuple[Callable[[Script], llm.LLM[Any]], ...]:
    return tuple(
        scripted.LLM if name == "scripted" else _unasked(remote.maker("llm", name, choice))
        for name in choice.llm
    )


def _unasked(make: Callable[[], _Made]) -> Callable[[object], _Made]:
    """A maker that has no use for what it is given."""
    return lambda _: make()


@contextmanager
def _local_packages() -> Iterator[None]:
    """Say which extra to install when an import inside fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ProviderError(
            "the local speech packages are not installed: uv sync --extra local"
        ) from error
