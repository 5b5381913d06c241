"""One process of the matrix: conversations under locks that log, then flush and close.

``python -m tests.telemetry.locks.cell MOMENT CAPTURE LIFECYCLE REMEDY SECONDS DSN``: the wrapper
comes first of all, before Sentry is imported. Prints one line of JSON; or, should it take longer
than the seconds given, where each thread stands.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import queue
import sys
import threading

from .matrix import CONVERSATIONS, JOBS, Capture, Cell, Remedy, failure, span_name
from .wrapper import install

app = logging.getLogger("app")


def main(cell: Cell, hang: float, dsn: str) -> None:
    """Run the cell and print what came of it."""
    faulthandler.dump_traceback_later(hang, exit=True)  # a thread of C: no lock stops it
    install(cell.moment)
    # The application's own handler: its lock is held while it writes, and logs like any other.
    logging.basicConfig(level=logging.INFO, stream=open(os.devnull, "w"))  # noqa: SIM115 - for good
    sys.setswitchinterval(1e-5)  # threads meet each other halfway through everything

    import telemetry

    runtime = telemetry.init(
        dsn=dsn,
        lifecycle=cell.lifecycle,
        enable_logs=cell.capture is Capture.LOGS,
        send_content=True,  # what arrives is told apart by what it says
    )
    if cell.remedy is not Remedy.FULL:
        _stock(dsn, cell)
    asyncio.run(_conversations())
    delivered = runtime.flush(15.0)
    closed = runtime.close(5.0)
    report = {"flushed": delivered, "closed": closed, "dropped": runtime.stats().dropped}
    sys.stdout.write(json.dumps(report))


def _stock(dsn: str, cell: Cell) -> None:
    """Sentry's client as everybody has it, in place of the one that telemetry configured."""
    import sentry_sdk

    ours = sentry_sdk.get_client().transport if cell.remedy is Remedy.TRANSPORT else None
    sentry_sdk.init(
        dsn,
        transport=ours,
        traces_sample_rate=1.0,
        enable_logs=cell.capture is Capture.LOGS,
        trace_lifecycle="stream" if cell.lifecycle == "stream" else "static",
    )


async def _conversations() -> None:
    await asyncio.gather(*(_conversation(number) for number in range(CONVERSATIONS)))


async def _conversation(number: int) -> None:
    import sentry_sdk
    from sentry_sdk.feature_flags import add_feature_flag

    import telemetry

    async with telemetry.conversation(f"c-{number}", user={"id": str(number)}) as conversation:
        jobs: queue.Queue[int] = queue.Queue()
        with telemetry.span("step", span_name(number, "outer")):
            for job in range(JOBS):
                jobs.put(job)
            add_feature_flag("fast", result=True)  # under a lock of the SDK's own
            workers = [
                threading.Thread(target=telemetry.bind(_work), args=(number, jobs))
                for _ in range(2)
            ]
            for worker in workers:
                worker.start()
            await asyncio.to_thread(_join, workers)
            sentry_sdk.capture_exception(ValueError(failure(number, "captured")))
        conversation.capture_exception(ValueError(failure(number, "reported")))


def _work(number: int, jobs: queue.Queue[int]) -> None:
    import telemetry

    while True:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return
        with telemetry.span("step", span_name(number, job)):
            app.error("%s", failure(number, job))
        jobs.task_done()


def _join(workers: list[threading.Thread]) -> None:
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main(Cell.parse(sys.argv[1:5]), float(sys.argv[5]), sys.argv[6])
