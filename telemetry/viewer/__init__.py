"""The viewer: see and hear conversations in a browser, from the local trace stores.

============  =====================================================================
``serving``   the viewer on a port
``app``       the application: its routes, and all that they share
``access``    who may ask, and the headers of each answer
``pages``     templates: everything shown is escaped, and printable
``listing``   the page of conversations
``search``    full-text search over what was said
``latency``   the page of latency
``charts``    its charts, as geometry
``runs_compared``  the page of two runs side by side
``health``    the health of the telemetry itself
``ingest``    Sentry's envelope protocol: other processes deliver here
``bodies``    what is delivered, decompressed
``envelopes``  it, as transactions, spans and errors
``received``  those in a store of the viewer's own
``index``     what the stores hold, in tables made for the views
``tables``    those tables
``entries``   their rows
``seen``      how far each store was read
``figures``   a conversation in figures and words
``timeline``  the page of one conversation, and what it asks for
``document``  one conversation as one document: all that its page draws
``turns``     its turns: who said what and when, answers in tiles
``numbers``   numbers that attributes hold
``words``     words, placed in time
``waterfall`` its spans as rows, across processes
``waveform``  recordings, as they are drawn
``export``    one conversation as one file
============  =====================================================================

``templates/`` and ``static/`` are plain files, sent as they are: no build step, nothing from
elsewhere. It needs starlette, jinja2 and uvicorn.
"""

from __future__ import annotations

from .app import app
from .export import exported, file_name
from .runs_compared import Runs
from .serving import Addresses, serve

__all__ = ["Addresses", "Runs", "app", "exported", "file_name", "serve"]
