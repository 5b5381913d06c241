"""The viewer: see and hear conversations in a browser, from the local trace stores.

================  ===============================================================
``app``           the application: its routes, and all that they share
``access``        who may ask, and the headers of each answer
``pages``         templates: everything shown is escaped, and printable
``listing``       the page of conversations
================  ===============================================================

``templates/`` and ``static/`` are plain files, sent as they are: no build step, nothing from
elsewhere. It needs starlette, jinja2 and uvicorn.
"""

from __future__ import annotations

from .app import app

__all__ = ["app"]
