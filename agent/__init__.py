"""Parley's worker: realtime voice conversations, each one complete trace.

From the top down; each imports only those below it:

``cli``
    The ``parley`` command, the only place that reads settings.
``rooms``
    The LiveKit transport: an agent worker with many rooms in one process.
``simulator``
    Scripted callers that hold all of it to account.
``gateway``
    The WebSocket transport: many sessions on one event loop.
``worker``
    The things a process loads once, and the opener of its sessions.
``session``
    One conversation: an ``AgentSession`` from accept to close.
``desk``
    The example, a restaurant's front desk. The piece you replace.
``providers``
    Speech and language, local and remote.
``proxies``
    Proxies of the environment: this machine is reached without one.
``certificates``
    Certificates that the environment names and that can't be used.
``audio``
    The one measure of audibility that all of them use.
``metrics``
    The figures for Prometheus, of either transport.
``siblings``
    Processes that take calls on one port: where they meet, and their health as one.
``totals``
    The metrics of several processes as those of one.
``health``
    A process's health: what is wrong with it, in words.
``listening``
    Small HTTP servers beside the calls, and a port that several processes share.
``stopping``
    How calls end when the process is asked to stop.
``errors``
    The base of errors that are somebody's input.
"""
