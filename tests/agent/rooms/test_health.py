"""The worker's health: LiveKit's answers are passed on, what is wrong is said beside them."""

from __future__ import annotations

import json

import anyio
import httpx
from livekit.agents import AgentServer, JobContext, JobExecutorType

from agent.rooms import health


async def test_livekits_answers_and_ours() -> None:
    """Before LiveKit's server has started it isn't well; then all three are there."""
    server = AgentServer(
        job_executor_type=JobExecutorType.THREAD,
        num_idle_processes=0,
        host=health.LIVEKITS_HOST,
        port=0,
    )

    @server.rtc_session(agent_name="desk")
    async def entrypoint(_: JobContext) -> None:
        """Nobody calls."""

    report = {"status": "degraded", "reasons": ["Sentry isn't reached"]}
    started = anyio.Event()
    server.on("worker_started", started.set)
    async with (
        health.served(server, lambda: report, host="127.0.0.1", port=0) as url,
        httpx.AsyncClient(trust_env=False) as http,
        anyio.create_task_group() as tasks,
    ):
        base = url.removesuffix("/health")
        assert (await http.get(f"{base}/")).status_code == 503
        assert (await http.get(url)).json() == report
        tasks.start_soon(lambda: server.run(unregistered=True))
        with anyio.fail_after(30):
            await started.wait()
        alive = await http.get(f"{base}/")
        assert (alive.status_code, alive.text) == (200, "OK")
        worker = await http.get(f"{base}/worker")
        assert worker.headers["Content-Type"].startswith("application/json")
        assert json.loads(worker.text)["agent_name"] == "desk"
        assert (await http.get(url)).status_code == 200
        assert (await http.get(f"{base}/elsewhere")).status_code == 404
        await server.aclose()
        tasks.cancel_scope.cancel()
