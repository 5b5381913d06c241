"""The metrics of several processes as those of one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agent.totals import Totals


def said(*, calls: int, sessions: int, waits: float = 0.0) -> str:
    """What a process says that has had so many calls and holds so many."""
    registry = CollectorRegistry()
    answers = Histogram("answer_seconds", "Answers", buckets=(1.0, 2.0), registry=registry)
    for _ in range(calls):
        answers.observe(1.5)
    dropped = Counter("dropped", "Dropped", ["reason"], registry=registry)
    dropped.labels("full").inc(calls)
    Gauge("parley_sessions", "Calls", registry=registry).set(sessions)
    Gauge("parley_sessions_max", "Calls at once", registry=registry).set(20)
    Gauge("parley_telemetry_waiting_seconds", "Age", registry=registry).set(waits)
    return generate_latest(registry).decode()


def lines(totals: Totals) -> set[str]:
    """The samples of the sum."""
    return set(totals.text().decode().splitlines())


def test_they_are_added_up() -> None:
    """Counters, histograms and gauges; but the cap, and the age of what waits, are the largest."""
    totals = Totals()
    totals.heard(1, said(calls=2, sessions=1, waits=3.5))
    totals.heard(2, said(calls=3, sessions=4, waits=1.0))
    assert {
        'answer_seconds_bucket{le="1.0"} 0.0',
        'answer_seconds_bucket{le="2.0"} 5.0',
        'answer_seconds_bucket{le="+Inf"} 5.0',
        "answer_seconds_count 5.0",
        "answer_seconds_sum 7.5",
        'dropped_total{reason="full"} 5.0',
        "parley_sessions 5.0",
        "parley_sessions_max 20.0",
        "parley_telemetry_waiting_seconds 3.5",
        "# TYPE answer_seconds histogram",
        "# TYPE dropped_total counter",
    } <= lines(totals)
    assert "_created" not in totals.text().decode()


def test_what_a_process_says_anew_replaces_what_it_said() -> None:
    """The newest counts."""
    totals = Totals()
    totals.heard(1, said(calls=2, sessions=2))
    totals.heard(1, said(calls=3, sessions=0))
    assert {'dropped_total{reason="full"} 3.0', "parley_sessions 0.0"} <= lines(totals)


def test_counters_never_fall() -> None:
    """What a process had counted stays when it ends; its calls are gone. One that comes after it
    begins anew."""
    totals = Totals()
    totals.heard(1, said(calls=2, sessions=2))
    totals.heard(2, said(calls=3, sessions=3))
    totals.over(1)
    counted = {'dropped_total{reason="full"} 5.0', "answer_seconds_count 5.0"}
    assert {*counted, "parley_sessions 3.0"} <= lines(totals)
    totals.over(2)
    totals.over(2)
    assert counted <= lines(totals)
    totals.heard(3, said(calls=1, sessions=1))
    assert {'dropped_total{reason="full"} 6.0', "parley_sessions 1.0"} <= lines(totals)


def test_more_can_stand_beside_the_sum() -> None:
    """What only the process that asks knows."""
    more = Gauge("parley_processes", "Processes", registry=None)
    more.set(2)
    assert b"parley_processes 2.0\n" in Totals().text(more)
