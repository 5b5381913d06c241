"""Speech and language: what a session listens, thinks and speaks with.

:func:`load` turns a :class:`Choice` into :class:`Models`, once per process; their
:meth:`~Models.plugins` are made afresh for each session, share the models and one bounded set of
inference threads.

``models``
    The choice, the loading, the plugins.
``voice_activity``
    When a caller speaks: LiveKit's native detector, on the event loop.
``utterance``
    What to recognise: speech, cut out of the audio it came in.
``moonshine``, ``piper``
    Recognition and synthesis on this machine (extra ``local``).
``scripted``
    A deterministic language model: a :class:`Script` decides what it says.
``openai``
    A language model on any OpenAI-compatible server (extra ``openai``).

To add a provider: a module that makes LiveKit plugins, a word in :class:`Choice`, a case in
``models``. Packages of an extra are imported only when chosen.
"""

from __future__ import annotations

from .errors import ProviderError
from .models import Choice, Models, Plugins, load, require
from .scripted import CallTool, EchoScript, Reply, Say, Script

__all__ = [
    "CallTool",
    "Choice",
    "EchoScript",
    "Models",
    "Plugins",
    "ProviderError",
    "Reply",
    "Say",
    "Script",
    "load",
    "require",
]
