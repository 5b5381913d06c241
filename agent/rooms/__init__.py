"""The LiveKit transport: ``parley start``, an agent worker with many rooms in one process.

===========  =====================================================================================
module       what is in it
===========  =====================================================================================
``server``   the worker: registration, the cap on calls, draining
``jobs``     what runs a job, in a thread or a process: models, telemetry, delivery
``call``     one call: connecting, the caller, the conversation, every way it ends
``line``     the caller's and the agent's audio as tracks, and what happens as data
``chat``     what the caller types in LiveKit's chat
``request``  who is calling: from metadata and attributes
``metrics``  what Prometheus is told
``client``   a caller's end, for the simulator and for tests
``wakeups``  each room, stream and source is woken by what is its own
``loops``    LiveKit's watch over event loops, off where it can stop the process
``tokens``   tokens for callers in development
===========  =====================================================================================
"""

from __future__ import annotations

from .call import Limits
from .server import LiveKit, Options, RoomsError, Stopping, serve

__all__ = ["Limits", "LiveKit", "Options", "RoomsError", "Stopping", "serve"]
