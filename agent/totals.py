"""Totals: the metrics of several processes as those of one.

Counters and histograms of a process that has ended stay in the sum, as far as they had been seen:
else the sum would fall, which Prometheus takes for a start at zero, and it would count the others'
all over again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LARGEST: Final = frozenset(
    {"parley_sessions_max", "parley_telemetry_waiting_seconds", "process_max_fds", "python_info"}
)
"""Gauges of which the sum would mean nothing, and the largest does. Others are added up."""
_LEFT_OUT: Final = ("_created", "process_start_time_seconds")
"""Endings of gauges that mean something of one process only."""
_GROWING: Final = frozenset({"counter", "histogram", "summary"})

_Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Total:
    """One metric, of all of them."""

    documentation: str
    kind: str
    values: dict[tuple[str, _Labels], float] = field(default_factory=dict)
    """By a sample's name and labels."""

    def add(self, metric: Metric, *, largest: bool) -> None:
        for sample in metric.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            before = self.values.get(key, 0.0)
            value = max(before, sample.value) if largest else before + sample.value
            self.values[key] = value


class Totals(Collector):
    """The sum of what processes say; collected when it is asked for."""

    def __init__(self) -> None:
        self._said: dict[int, list[Metric]] = {}
        self._ended: list[Metric] = []
        """What those that have ended had counted, added up."""

    def heard(self, process: int, text: str) -> None:
        """Take note of what a process says, in Prometheus's own format. It holds until it says
        something else, or is :meth:`over`."""
        self._said[process] = [
            metric
            for metric in text_string_to_metric_families(text)
            if not metric.name.endswith(_LEFT_OUT)
        ]

    def over(self, process: int) -> None:
        """A process has ended: what it had counted stays, what it held doesn't."""
        said = self._said.pop(process, [])
        grown = [metric for metric in said if metric.type in _GROWING]
        self._ended = list(_added(self._ended + grown))

    def describe(self) -> list[Metric]:
        """No metrics: registering must not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics, as far as they have been heard."""
        yield from _added([*self._ended, *(m for said in self._said.values() for m in said)])

    def text(self, *more: Collector) -> bytes:
        """All of it in Prometheus's own format, and what ``more`` collectors have."""
        registry = CollectorRegistry()
        for collector in (self, *more):
            registry.register(collector)
        return generate_latest(registry)


def _added(metrics: Iterable[Metric]) -> Iterator[Metric]:
    totals: dict[str, _Total] = {}
    for metric in metrics:
        total = totals.setdefault(metric.name, _Total(metric.documentation, metric.type))
        total.add(metric, largest=metric.name in _LARGEST)
    for name, total in totals.items():
        made = Metric(name, total.documentation, total.kind)
        for (sample, labels), value in total.values.items():
            made.add_sample(sample, dict(labels), value)
        yield made
