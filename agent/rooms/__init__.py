"""The LiveKit transport: ``parley start``, an agent worker with many rooms in one process.

==============  ==================================================================================
module          contents
==============  ==================================================================================
``server``      the worker: registration, the cap on calls, draining
``jobs``        a job in its thread or process: models, telemetry, delivery
``call``        one call: connecting, the caller, the conversation, every way it ends
``line``        the caller's and the agent's audio as tracks, events as data
``chat``        the texts that a caller types in LiveKit's chat
``request``     the caller's identity and wishes, from metadata and attributes
``health``      the worker's health over HTTP
``client``      a caller's end, for the simulator and for tests
``ffi_events``  events of LiveKit's native client, each handed to its owner only
``loops``       LiveKit's watch over event loops, off where it can stop the process
``tokens``      tokens for callers in development
==============  ==================================================================================
"""

from __future__ import annotations

from .call import Limits
from .server import LiveKit, Options, RoomsError, serve

__all__ = ["Limits", "LiveKit", "Options", "RoomsError", "serve"]
