"""``parley viewer``: conversations in a browser."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from config import SettingsError, load
from telemetry.store import TraceStore, TraceStoreError

from . import terminal

if TYPE_CHECKING:
    from config import Settings
    from telemetry.viewer import Addresses, Runs


RECEIVED = "received.db"


def register(app: typer.Typer, *, panel: str) -> None:
    """Add the command to ``parley``, in this panel of its help."""
    app.command(rich_help_panel=panel)(viewer)


def viewer(
    store: Annotated[
        list[Path] | None,
        typer.Option(
            "--store",
            help="A trace store, instead of PARLEY_TRACE_STORE. Several, if services have their "
            "own.",
        ),
    ] = None,
    received: Annotated[
        Path | None,
        typer.Option(
            help="The viewer's own store, for what other processes deliver to it.",
            show_default="received.db beside the first store",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than loopback, with a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8790,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="A.json B.json",
            help="Reports of two runs, to be seen side by side: see `parley compare`.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Asked of everybody who comes.",
            show_default="PARLEY_VIEWER_TOKEN; made up where others than this machine can come",
        ),
    ] = None,
) -> None:
    """See conversations in a browser, live while calls run.

    Find them by what was said, see where their time went, and whether the telemetry itself is
    whole. Any process with a Sentry SDK may deliver to it, too: the DSN is printed. Ends at Ctrl-C.

    Example: `parley viewer --store traces.db --store service/traces.db`
    """
    settings = load(viewer_token=token)
    from telemetry.viewer import serve

    from . import process

    process.begin(settings.log_level, warns=False)
    secret, paths = settings.viewer_token, _stores(settings, store)
    serve(
        [TraceStore(path) for path in paths],
        received=_received(received, paths[0]),
        host=host,
        port=port,
        token=None if secret is None else secret.get_secret_value(),
        runs=None if compare is None else _runs(*compare),
        listening=_told,
    )


def _runs(before: Path, after: Path) -> Runs:
    """Two runs out of their reports. Raises :class:`~agent.errors.InputError`."""
    from telemetry.viewer import Runs

    from .compare import compared

    return Runs(before.name, after.name, compared(before, after))


def _told(at: Addresses) -> None:
    terminal.say(f"The viewer: {at.page}")
    terminal.say(f"Any process with a Sentry SDK may deliver to it: SENTRY_DSN={at.dsn}")


def _received(path: Path | None, beside: Path) -> TraceStore | None:
    """The store for what is delivered; none where one can't be and wasn't asked for."""
    if path is not None:
        return TraceStore(path)
    try:
        return TraceStore(beside.with_name(RECEIVED))
    except TraceStoreError as error:
        terminal.warn(f"parley: nothing can be delivered to the viewer: {error}")
        return None


def _stores(settings: Settings, paths: list[Path] | None) -> list[Path]:
    """The stores to show; one that isn't there yet appears with its first conversation."""
    found = paths or [path for path in (settings.trace_store,) if path is not None]
    if not found:
        raise SettingsError("PARLEY_TRACE_STORE is off: give the store with --store")
    return found
