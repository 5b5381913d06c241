"""From the operator's choice to a session's plugins: models once, plugins fresh each time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from . import scripted, voice_activity
from .errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from livekit.agents import llm, stt, tts, vad

    from .scripted import Script


@dataclass(frozen=True, slots=True)
class Choice:
    """Which providers to use."""

    stt: Literal["local"] = "local"
    llm: Literal["scripted", "openai"] = "scripted"
    tts: Literal["local"] = "local"
    llm_model: str | None = None
    base_url: str | None = None
    """The OpenAI-compatible server; OpenAI's own when None."""
    api_key: str | None = field(default=None, repr=False)
    inference_threads: int = 2
    """Threads that recognition and synthesis share, each with a recognition model of its own."""


@dataclass(frozen=True, slots=True)
class Plugins:
    """What one session listens, thinks and speaks with.

    Never shared between sessions: a plugin reports its metrics and errors to all who listen.
    """

    vad: vad.VAD
    stt: stt.STT[Any]
    llm: llm.LLM[Any]
    tts: tts.TTS[Any]

    async def aclose(self) -> None:
        """Close their connections. A closing ``AgentSession`` doesn't: call it afterwards."""
        await self.llm.aclose()
        await self.stt.aclose()
        await self.tts.aclose()


@dataclass(frozen=True, slots=True)
class Models:
    """The loaded models, one of these per process. A context manager: see :meth:`close`."""

    stt: Callable[[], stt.STT[Any]]
    llm: Callable[[Script], llm.LLM[Any]]
    tts: Callable[[], tts.TTS[Any]]
    close: Callable[[], None]
    """Waits for the inference that is running, then frees the models. Blocks; idempotent. What a
    session asks for afterwards fails: close the sessions first."""

    def plugins(self, script: Script | None = None) -> Plugins:
        """Fresh plugins for one session; cheap.

        ``script`` is what a scripted model says, an echo when None; others have no use for it.
        """
        return Plugins(
            vad=voice_activity.detector(),
            stt=self.stt(),
            llm=self.llm(script or scripted.EchoScript()),
            tts=self.tts(),
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
    :class:`ProviderError` when a package, the model's name or the key is missing.
    """
    with _extra("local", "the local speech packages are"):
        from . import moonshine, piper  # noqa: F401 - imported to see whether they can be
    _language_model(choice)


def load(choice: Choice) -> Models:
    """Load the models: blocks for two seconds, so run it in a thread.

    With ``llm="openai"`` that takes a :func:`require` on the main thread before. Raises
    :class:`ProviderError`.
    """
    language_model = _language_model(choice)
    with _extra("local", "the local speech packages are"):
        from . import moonshine, piper

    executor = ThreadPoolExecutor(choice.inference_threads, thread_name_prefix="inference")
    recognizer = moonshine.Recognizer(executor, threads=choice.inference_threads)
    voice = piper.Voice(executor)

    def close() -> None:
        executor.shutdown(cancel_futures=True)
        recognizer.close()

    return Models(
        stt=lambda: moonshine.STT(recognizer),
        llm=language_model,
        tts=lambda: piper.TTS(voice),
        close=close,
    )


def _language_model(choice: Choice) -> Callable[[Script], llm.LLM[Any]]:
    match choice.llm:
        case "scripted":
            return scripted.LLM
        case "openai":
            with _extra("openai", "LiveKit's OpenAI plugin is"):
                from . import openai
            connect = openai.server(
                model=choice.llm_model, base_url=choice.base_url, api_key=choice.api_key
            )
            return lambda _script: connect()


@contextmanager
def _extra(name: str, missing: str) -> Iterator[None]:
    """Say which extra to install when an import inside fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ProviderError(f"{missing} not installed: uv sync --extra {name}") from error
