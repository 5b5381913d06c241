"""A real HTTP server that speaks the OpenAI API: chat, transcription, speech."""

from __future__ import annotations

import email.utils
import io
import json
import math
import time
import wave
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.providers import Choice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.datastructures import Address
    from starlette.requests import Request

RATE = 24_000


def all_openai(base_url: str, **further: Any) -> Choice:
    """Everything by such a server."""
    return Choice(
        stt=("openai",),
        llm=("openai",),
        tts=("openai",),
        llm_model="tiny",
        base_url=base_url,
        api_key="key",
        **further,
    )


@dataclass
class Chat:
    """One request for a reply, as the server saw it."""

    body: dict[str, Any]
    headers: dict[str, str]
    """Names in lower case."""
    sent_at: float = 0.0
    """When the first word was sent, in Unix seconds."""


class OpenAIServer:
    """Answers those who have the key; https://platform.openai.com/docs/api-reference.

    ``broken`` makes every request fail with 503; ``hangs`` leaves each unanswered. ``stops`` has
    answers stop in the middle, ``drips`` has them come in pieces of so many bytes. ``limited``
    answers 429 until so many seconds after the first request, and says so in Retry-After: as
    a number, or as a date; with 0 it always does, and says nothing.
    """

    def __init__(
        self,
        *,
        reply: str = "Good evening.",
        heard: str = "hello",
        broken: bool = False,
        hangs: bool = False,
        stops: bool = False,
        drips: int = 0,
        limited: float | None = None,
        says_date: bool = False,
    ) -> None:
        self.hangs = hangs
        self.stops = stops
        self.drips = drips
        self.limited = limited
        self.says_date = says_date
        self._free_at: float | None = None
        self._over = anyio.Event()
        self._http: uvicorn.Server | None = None
        self.reply = reply
        self.heard = heard
        self.broken = broken
        self.requests: list[str] = []
        """The paths asked for, failures too."""
        self.chats: list[Chat] = []
        self.connections: set[Address | None] = set()
        """The callers' addresses and ports: one for each connection that asked for anything."""

    async def _refusal(self, request: Request) -> Response | None:
        self.requests.append(request.url.path)
        self.connections.add(request.client)
        await request.body()
        if self.hangs:
            await self._over.wait()
        if self.broken or self.hangs:
            return JSONResponse({"error": {"message": "out of order"}}, status_code=503)
        if self.limited is not None and (limit := self._limit(self.limited)) is not None:
            return limit
        if request.headers["authorization"] != "Bearer key":
            return JSONResponse({"error": {"message": "wrong key"}}, status_code=401)
        return None

    def _limit(self, seconds: float) -> Response | None:
        error = {"error": {"message": "too many requests"}}
        if not seconds:
            return JSONResponse(error, status_code=429)
        self._free_at = self._free_at or time.time() + seconds
        if time.time() >= self._free_at:
            return None
        left = str(math.ceil(self._free_at - time.time()))
        if self.says_date:
            left = email.utils.formatdate(self._free_at, usegmt=True)
        return JSONResponse(error, status_code=429, headers={"Retry-After": left})

    async def chat(self, request: Request) -> Response:
        """``/v1/chat/completions``, streamed."""
        if refusal := await self._refusal(request):
            return refusal
        chat = Chat(await request.json(), dict(request.headers))
        self.chats.append(chat)
        if self.stops or self.drips:
            events = "".join([event async for event in self._events(chat)])
            return self._answer(events.encode(), "text/event-stream")
        return StreamingResponse(self._events(chat), media_type="text/event-stream")

    def _answer(self, content: bytes, media_type: str, **headers: str) -> Response:
        """An answer, as whole as it is to be."""
        return StreamingResponse(self._parts(content), media_type=media_type, headers=headers)

    async def _parts(self, content: bytes) -> AsyncIterator[bytes]:
        if self.stops:
            yield content[: len(content) // 2]
            await self._over.wait()
        elif self.drips:
            for at in range(0, len(content), self.drips):
                yield content[at : at + self.drips]
                with anyio.move_on_after(0.02):
                    await self._over.wait()
        else:
            yield content

    async def _events(self, chat: Chat) -> AsyncIterator[str]:
        head = {"id": "c-1", "object": "chat.completion.chunk", "created": 0, "model": "tiny"}
        for word in self.reply.split(" "):
            choice = {"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}
            chat.sent_at = chat.sent_at or time.time()
            yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"

    async def transcribe(self, request: Request) -> Response:
        """``/v1/audio/transcriptions``."""
        if refusal := await self._refusal(request):
            return refusal
        return self._answer(json.dumps({"text": self.heard}).encode(), "application/json")

    async def speak(self, request: Request) -> Response:
        """``/v1/audio/speech``: half a second of a square wave, as WAV."""
        if refusal := await self._refusal(request):
            return refusal
        file = io.BytesIO()
        with wave.open(file, "wb") as wav:
            wav.setparams((1, 2, RATE, 0, "NONE", ""))
            wav.writeframes((b"\x00\x20" * 60 + b"\x00\xe0" * 60) * (RATE // 240))
        return self._answer(file.getvalue(), "audio/wav", **{"x-request-id": "r-1"})

    async def models(self, request: Request) -> Response:
        """``/v1/models``."""
        return await self._refusal(request) or JSONResponse({"object": "list", "data": []})

    @property
    def open(self) -> int:
        """How many connections there are."""
        return 0 if self._http is None else len(self._http.server_state.connections)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The base URL while it runs."""
        routes = [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/audio/transcriptions", self.transcribe, methods=["POST"]),
            Route("/v1/audio/speech", self.speak, methods=["POST"]),
            Route("/v1/models", self.models),
        ]
        config = uvicorn.Config(Starlette(routes=routes), lifespan="off", log_level="error", port=0)
        listening = config.bind_socket()
        http = self._http = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(http.serve, [listening])
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
            finally:
                self._over.set()
                http.should_exit = True
