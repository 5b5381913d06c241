"""``parley start`` and ``parley dev``: the LiveKit agent worker."""

from __future__ import annotations

import functools
import logging
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from agent import certificates
from agent.errors import InputError
from agent.proxies import hide_from_livekit
from config import load

if TYPE_CHECKING:
    from agent.rooms import LiveKit, Options
    from config import Settings

    from .ending import Ending

log = logging.getLogger(__name__)

DEV_URL = "ws://127.0.0.1:7880"
DEV_KEY = "devkey"
DEV_SECRET = "secret"  # noqa: S105 - what `livekit-server --dev` has
DEV_TOKEN_PORT = 8082


def register(app: typer.Typer, *, panel: str) -> None:
    """Add the commands to ``parley``, in this panel of its help."""
    app.command(rich_help_panel=panel)(start)
    app.command(rich_help_panel=panel)(dev)


def start(
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Calls at once; more go to other workers.")
    ] = None,
    agent_name: Annotated[
        str | None, typer.Option(help="Take only calls that ask for this agent.")
    ] = None,
) -> None:
    """Run the LiveKit agent worker: many rooms in one process.

    Needs LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET. SIGTERM drains: no new calls, those
    that run may end within PARLEY_DRAIN_TIMEOUT, then they are said goodbye to. A second one ends
    at once. Traces are delivered either way.

    Example: `parley start --max-sessions 20`; docs/deploy.md says how to size and deploy it.
    """
    settings = load(max_sessions=max_sessions, agent_name=agent_name)
    _run(settings, livekit(settings))


def dev(
    max_sessions: Annotated[int | None, typer.Option(min=1, help="Calls at once.")] = None,
) -> None:
    """Run the LiveKit agent worker against `livekit-server --dev` on this machine.

    As `parley start`, with that server's address and key unless others are set, and with tokens
    for callers at http://127.0.0.1:8082/token (PARLEY_TOKEN_PORT).
    """
    found = load(max_sessions=max_sessions)
    settings = load(
        max_sessions=max_sessions,
        livekit_url=found.livekit_url or DEV_URL,
        livekit_api_key=found.livekit_api_key or DEV_KEY,
        livekit_api_secret=found.livekit_api_secret or DEV_SECRET,
        token_port=DEV_TOKEN_PORT if found.token_port is None else found.token_port,
        worker_host="127.0.0.1",
    )
    _run(settings, livekit(settings))


def livekit(settings: Settings) -> LiveKit:
    """The LiveKit server of the settings, to be reached without a proxy where it is here. Raises
    :class:`~agent.errors.InputError`."""
    from agent.rooms import LiveKit

    url, key, secret = (
        settings.livekit_url,
        settings.livekit_api_key,
        settings.livekit_api_secret,
    )
    wanted = {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": secret}
    missing = [name for name, value in wanted.items() if value is None]
    if url is None or key is None or secret is None:
        raise InputError(
            f"{', '.join(missing)} not set: the LiveKit server to take calls from "
            "(`parley dev` knows those of `livekit-server --dev`)"
        )
    certificates.require(url, os.environ)
    hide_from_livekit(url, os.environ)
    return LiveKit(url, key, secret.get_secret_value())


def _run(settings: Settings, server: LiveKit) -> None:
    from . import process

    process.begin(settings.log_level)
    if settings.job_executor == "process":
        # else Python looks in the working directory first, even for the modules it starts with
        os.environ["PYTHONSAFEPATH"] = "1"
    with process.ending(settings) as ending:
        process.run(_serve, settings, server, ending)


async def _serve(settings: Settings, server: LiveKit, ending: Ending) -> None:
    from agent import rooms
    from agent.rooms.tokens import serve_tokens

    from . import process

    async with ending.heard() as stopping, AsyncExitStack() as stack:
        if settings.token_port is not None:
            tokens = serve_tokens(server, port=settings.token_port, agent_name=settings.agent_name)
            log.info("tokens for callers: POST %s", await stack.enter_async_context(tokens))
        await rooms.serve(
            server,
            process.choice(settings),
            agent=settings.agent,
            environ=process.environ(settings),
            traced=functools.partial(process.traced, settings),
            stopping=stopping,
            options=options(settings),
        )


def options(settings: Settings) -> Options:
    """The worker's options, as the settings say."""
    from agent import rooms

    from . import process

    return rooms.Options(
        agent_name=settings.agent_name,
        max_sessions=settings.max_sessions,
        executor=settings.job_executor,
        drain_timeout=settings.drain_timeout,
        host=settings.worker_host,
        health_port=settings.health_port,
        metrics_port=settings.metrics_port,
        silence=settings.silence_timeout,
        record=process.record(settings),
        turns=process.turns(settings),
        limits=rooms.Limits(idle=settings.idle_timeout, duration=settings.max_duration),
    )
