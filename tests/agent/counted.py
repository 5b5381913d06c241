"""Figures of Prometheus's, read as it reads them; they count for the whole process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.metrics import Limit


def counted(name: str, **labels: str) -> float:
    """A counter's value; 0 before it counted anything."""
    return REGISTRY.get_sample_value(f"{name}_total", labels) or 0.0


def times_reached(limit: Limit) -> float:
    """How often this limit was reached so far."""
    return counted("parley_limits_reached", limit=limit.value)


@contextmanager
def reaching(limit: Limit, times: int | None = None) -> Iterator[None]:
    """Hold that this limit is reached inside the block: so many times, or at least once."""
    before = times_reached(limit)
    yield
    found = times_reached(limit) - before
    assert found == times if times is not None else found > 0
