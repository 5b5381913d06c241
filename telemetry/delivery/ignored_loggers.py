"""The loggers that ``ignore_logger`` and its kin of Sentry's logging integration name.

``ignore_logger``: they make no errors and no breadcrumbs. ``ignore_logger_for_sentry_logs``: they
make no structured logs. A logger may be named by either, at any time, and by a pattern.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, Literal

import sentry_sdk
from sentry_sdk.client import BaseClient
from sentry_sdk.integrations.logging import BreadcrumbHandler, SentryLogsHandler
from sentry_sdk.scope import use_isolation_scope, use_scope

if TYPE_CHECKING:
    from collections.abc import Callable

ASK_AGAIN_AFTER_SECONDS: Final = 1.0
"""A logger may be named at any time."""
_MOST: Final = 1_000
"""Loggers whose answer is remembered."""


class _Probe(sentry_sdk.Scope):
    """An isolation scope that only notices that it gets a breadcrumb."""

    got_one = False

    def add_breadcrumb(self, *args: object, **kwargs: object) -> None:
        self.got_one = True


class _ProbeClient(BaseClient):
    """A client that takes no structured logs, and only notices that it is there for one."""

    got_one = False

    def is_active(self) -> Literal[True]:
        self.got_one = True
        return True


def _makes_errors(name: str) -> bool:
    with use_isolation_scope(_Probe()) as probe:
        BreadcrumbHandler().emit(_log_of(name))
    return not isinstance(probe, _Probe) or probe.got_one


def _makes_structured_logs(name: str) -> bool:
    scope, client = sentry_sdk.Scope(), _ProbeClient()
    scope.set_client(client)
    with use_scope(scope):
        SentryLogsHandler().emit(_log_of(name))
    return client.got_one


def _log_of(name: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, "", 0, "", (), None)


class _Asked:
    """The answers that Sentry's own handlers give: only they know, so each is given a log."""

    def __init__(self, makes: Callable[[str], bool]) -> None:
        self._makes = makes
        self._answers: dict[str, tuple[float, bool]] = {}

    def __call__(self, name: str) -> bool:
        now = time.monotonic()
        known = self._answers.get(name)
        if known is None or known[0] < now:
            makes = self._makes(name)
            if len(self._answers) > _MOST:
                self._answers.clear()
            known = self._answers[name] = now + ASK_AGAIN_AFTER_SECONDS, makes
        return known[1]


makes_errors: Final = _Asked(_makes_errors)
"""True if a logger's logs are breadcrumbs and, from ERROR up, errors."""
makes_structured_logs: Final = _Asked(_makes_structured_logs)
"""True if a logger's logs are structured logs, where those are on."""
