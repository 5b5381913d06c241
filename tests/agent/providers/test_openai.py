"""The OpenAI-compatible model, against a real HTTP server that speaks the streaming format."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import uvicorn
from livekit.agents import APIStatusError, llm
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.providers import ProviderError
from agent.providers.openai import server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


class Completions:
    """Streams a fixed reply to those who have the key; https://platform.openai.com/docs/api-reference/chat."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    async def __call__(self, request: Request) -> Response:
        if request.headers["authorization"] != "Bearer key":
            return JSONResponse({"error": {"message": "wrong key"}}, status_code=401)
        self.requests.append(await request.json())
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        head = {"id": "c-1", "object": "chat.completion.chunk", "created": 0, "model": "tiny"}
        for word in ("Good ", "evening."):
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"


@asynccontextmanager
async def serving(completions: Completions) -> AsyncIterator[str]:
    """The base URL of a running server."""
    app = Starlette(routes=[Route("/v1/chat/completions", completions.__call__, methods=["POST"])])
    config = uvicorn.Config(app, lifespan="off", log_level="error", port=0)
    listening = config.bind_socket()
    http = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(http.serve, [listening])
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            http.should_exit = True


async def test_reply_streams_from_the_server() -> None:
    """The model asked for is the one configured; the reply and its usage come back."""
    chat_ctx = llm.ChatContext.empty()
    chat_ctx.add_message(role="user", content="hello")
    completions = Completions()
    async with (
        serving(completions) as base_url,
        server(model="tiny", base_url=base_url, api_key="key")() as model,
    ):
        response = await model.chat(chat_ctx=chat_ctx).collect()
    assert response.text == "Good evening."
    assert response.usage is not None
    assert response.usage.total_tokens == 5
    (request,) = completions.requests
    assert (request["model"], request["stream"]) == ("tiny", True)
    assert request["messages"][-1]["content"] == "hello"


async def test_refusal_is_an_api_error() -> None:
    """A server that refuses raises what LiveKit expects of a provider, with its status."""
    async with (
        serving(Completions()) as base_url,
        server(model="tiny", base_url=base_url, api_key="wrong")() as model,
    ):
        with pytest.raises(APIStatusError) as refused:
            await model.chat(chat_ctx=llm.ChatContext.empty()).collect()
    assert refused.value.status_code == 401


@pytest.mark.parametrize(
    ("model", "api_key", "setting"),
    [(None, "key", "PARLEY_LLM_MODEL"), ("tiny", None, "OPENAI_API_KEY")],
)
def test_missing_name_or_key_is_one_line(
    model: str | None, api_key: str | None, setting: str
) -> None:
    """What is missing is said at loading, by the name of its setting."""
    with pytest.raises(ProviderError, match=setting):
        server(model=model, base_url=None, api_key=api_key)
