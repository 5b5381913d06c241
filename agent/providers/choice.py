"""The operator's choice of providers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Choice:
    """The providers to use. Of several of a kind the first is asked first, the others when those
    before them fail.

    ``local`` and ``scripted`` are on this machine; :mod:`.remote` says how the others are named.
    """

    stt: tuple[str, ...] = ("local",)
    llm: tuple[str, ...] = ("scripted",)
    tts: tuple[str, ...] = ("local",)
    options: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    """Arguments of the plugins' constructors, by kind (``stt``, ``llm``, ``tts``) and name."""
    llm_model: str | None = None
    base_url: str | None = None
    """The server of ``openai``; OpenAI's own when None."""
    api_key: str | None = field(default=None, repr=False)
    """Key of that server."""
    timeout: float = 5.0
    """Seconds a provider has to connect, and then to go on answering."""
    inference_threads: int = 2
    """Threads that local recognition and synthesis share, each with a recognition model of its
    own."""

    speech_prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Dollars for a ``minute``, or for ``1000_characters``, of models of speech, by their names."""

    def options_of(self, kind: str, name: str) -> Mapping[str, Any]:
        """The arguments for a provider's constructor."""
        return self.options.get(kind, {}).get(name, {})
