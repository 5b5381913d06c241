"""The count that any thread may raise."""

from __future__ import annotations

import threading

from telemetry.stats import Counter


def test_counts_are_exact_under_threads() -> None:
    """No increment is lost without a lock; reading changes nothing."""
    counter = Counter()

    def add() -> None:
        for _ in range(20_000):
            counter.add()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counter.read()
    assert counter.read() == counter.read() == 80_000
