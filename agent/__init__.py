"""Parley's worker: realtime voice conversations, each one complete trace.

``session``
    One conversation: an ``AgentSession`` from accept to close.
``gateway``
    The WebSocket transport: many sessions on one event loop.
``providers``
    Speech and language, local and remote.
``desk``
    The example, a restaurant's front desk. The piece you replace.
``simulator``
    Scripted callers that hold all of it to account.
``worker``
    What a process loads once, and how it opens sessions.
``audio``
    What can be heard: the one measure that all of them use.
``errors``
    The base of errors that are somebody's input.
``cli``
    The ``parley`` command, the only place that reads settings.
"""
