"""The loggers that ``ignore_logger`` of Sentry's logging integration names.

They make no errors and no breadcrumbs; structured logs they do make, as with Sentry.
"""

from __future__ import annotations

import logging
import time
from typing import Final

import sentry_sdk
from sentry_sdk.integrations.logging import BreadcrumbHandler
from sentry_sdk.scope import use_isolation_scope

ASK_AGAIN_AFTER_SECONDS: Final = 1.0
"""A logger may be named at any time."""
_MOST: Final = 1_000
"""Loggers whose answer is remembered."""

_answers: dict[str, tuple[float, bool]] = {}


class _Probe(sentry_sdk.Scope):
    """An isolation scope that only notices that it gets a breadcrumb."""

    got_one = False

    def add_breadcrumb(self, *args: object, **kwargs: object) -> None:
        self.got_one = True


def is_ignored(name: str) -> bool:
    """True if a logger is ignored. Only Sentry's own handlers know: one is given a log of it."""
    now = time.monotonic()
    known = _answers.get(name)
    if known is None or known[0] < now:
        with use_isolation_scope(_Probe()) as probe:
            BreadcrumbHandler().emit(logging.LogRecord(name, logging.INFO, "", 0, "", (), None))
        if len(_answers) > _MOST:
            _answers.clear()
        ignored = isinstance(probe, _Probe) and not probe.got_one
        known = _answers[name] = now + ASK_AGAIN_AFTER_SECONDS, ignored
    return known[1]
