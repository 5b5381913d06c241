"""An agent whose speech costs nothing: ``PARLEY_AGENT`` in commands that tests run, and nothing has
to be loaded for.

It greets, and says what it is typed. Its recogniser and voice are those of the benchmark, as a
plugin of a name of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from livekit.agents import Agent

from agent.providers import EchoScript
from tests.bench.sessions import Recognizer, Voice

SETTINGS: Final = {
    "PARLEY_AGENT": f"{__name__}:FastAgent",
    "PARLEY_STT": "plugin:fast",
    "PARLEY_TTS": "plugin:fast",
    "PYTHONPATH": str(Path(__file__).parents[3]),
}
"""The environment of a command that is to use it."""
_plugin: Any = ModuleType("livekit.plugins.fast")
_plugin.STT, _plugin.TTS = Recognizer, Voice
sys.modules[_plugin.__name__] = _plugin


class FastAgent(Agent):
    """The agent."""

    script = EchoScript()

    def __init__(self) -> None:
        super().__init__(instructions="Repeat.")

    async def on_enter(self) -> None:
        """Greet."""
        self.session.say("Hello.")
