"""Speech and language: the parts a session listens, thinks and speaks with.

:func:`load` turns a :class:`Choice` into :class:`Models`, once per process; their
:meth:`~Models.plugins` are made afresh for each session, share the models and one bounded set of
inference threads.

``choice``
    The providers to use.
``models``
    The loading, the plugins.
``listening``
    The way in which a session's plugins listen to a caller who pauses.
``voice_activity``
    Detection of speech: LiveKit's native detector, on the event loop.
``speech_events``
    The beginnings and ends of speech that it finds, as LiveKit's own pipeline would.
``utterance``
    Speech to be recognised, cut out of the audio it came in.
``unfinished``
    Sentences that surely go on.
``inference``
    The threads local models run on: the most urgent call is served first.
``moonshine``, ``piper``
    Recognition and synthesis on this machine (extra ``local``).
``clauses``
    Text to be said, cut into clauses as it is written.
``spoken``
    Clauses that were synthesised, kept for the sessions that say them again.
``scripted``
    A deterministic language model: a :class:`Script` decides what it says.
``remote``
    Providers on servers: OpenAI-compatible ones, LiveKit Inference, any LiveKit plugin.
``openai``
    LiveKit's OpenAI plugin, on clients that are reused and closed to the last connection.
``patient``
    Their HTTP client, which waits for a server no longer than a caller does.
``connections``
    HTTP clients that the sessions of an event loop share.
``fallback``
    Several of a kind as one, which asks the next when one fails.
``failures``
    Failed attempts, counted for Prometheus.
``errors``
    :class:`ProviderError`, the one error of loading providers.

Packages are imported only when chosen.
"""

from __future__ import annotations

from .choice import Choice
from .connections import Connections
from .errors import ProviderError
from .listening import Listening
from .models import Models, Plugins, load, require
from .scripted import CallTool, EchoScript, Reply, Say, Script

__all__ = [
    "CallTool",
    "Choice",
    "Connections",
    "EchoScript",
    "Listening",
    "Models",
    "Plugins",
    "ProviderError",
    "Reply",
    "Say",
    "Script",
    "load",
    "require",
]
