"""Probes: each reaches one thing that a worker depends on, to see that it can be reached.

A probe returns a few words on its success, or raises :class:`Problem`. None leaves anything
behind: no room, no conversation, no event.
"""

from __future__ import annotations

import dataclasses
import datetime
import errno
import json
import os
import socket
import sqlite3
import ssl
import time
import wave
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import anyio
import httpx
from livekit import api, rtc
from livekit.agents import APIConnectOptions, APIError, APIStatusError, llm, stt

from agent import certificates, desk, providers, proxies
from agent.errors import InputError
from agent.session import load_agent
from config import question
from telemetry import TelemetryError
from telemetry.printable import printable
from telemetry.store import TraceStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telemetry.integrations.otlp import Collector

SENTENCE: Final = "Can you hear me?"
"""The sentence that each voice says."""
SENTRY_TIMEOUT_SECONDS: Final = 5.0
"""Time that Sentry has to answer: delivery gives it no more."""
_NO_RETRIES: Final = 0
"""Number of retries: a check tells of the first answer, not of the last one."""


class Problem(Exception):  # noqa: N818 - what was found, not what went wrong with finding it
    """A problem, and the way to mend it."""


async def agent(path: str) -> str:
    """Import the agent's class."""
    load_agent(path)
    return path


async def recognition(choice: providers.Choice, name: str) -> str:
    """Have a recorded question recognised."""
    choice = dataclasses.replace(choice, stt=(name,), llm=(), tts=())
    providers.require(choice)
    models = await anyio.to_thread.run_sync(providers.load, choice, abandon_on_cancel=True)
    with models, _explained(f"PARLEY_STT={name}"):
        ear = models.stt[0](providers.Listening())
        try:
            words = await _recognise(ear, _once(choice))
        finally:
            await ear.aclose()
    if not words:
        raise Problem(f'{ear.model} heard nothing in the recorded "Are you open on Monday?"')
    return f'{ear.model} heard "{words}"'


async def _recognise(ear: stt.STT[Any], once: APIConnectOptions) -> str:
    frame = _question()
    if not ear.capabilities.streaming or ear.capabilities.manual_flush:
        return _words(await ear.recognize(frame, conn_options=once))
    async with ear.stream(conn_options=once) as stream:
        stream.push_frame(frame)
        silence = bytes(2 * frame.sample_rate)
        stream.push_frame(rtc.AudioFrame(silence, frame.sample_rate, 1, frame.sample_rate))
        stream.end_input()
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                return _words(event)
    return ""


def _words(event: stt.SpeechEvent) -> str:
    return event.alternatives[0].text.strip() if event.alternatives else ""


def _question() -> rtc.AudioFrame:
    with wave.open(str(question()), "rb") as wav:
        count = wav.getnframes()
        return rtc.AudioFrame(wav.readframes(count), wav.getframerate(), 1, count)


async def language_model(choice: providers.Choice, name: str) -> str:
    """Ask for a word, and wait for the first of the answer."""
    choice = dataclasses.replace(choice, stt=(), llm=(name,), tts=())
    providers.require(choice)
    models = providers.load(choice)
    with models, _explained(f"PARLEY_LLM={name}"):
        mind = models.llm[0](providers.EchoScript())
        chat_ctx = llm.ChatContext.empty()
        chat_ctx.add_message(role="user", content="Answer with the word yes.")
        began = time.perf_counter()
        try:
            async with mind.chat(chat_ctx=chat_ctx, conn_options=_once(choice)) as answer:
                async for _ in answer:
                    return f"{mind.model} answered in {_ms(began)} ms"
        finally:
            await mind.aclose()
    raise Problem(f"{mind.model} answered nothing")


async def voice(choice: providers.Choice, name: str) -> str:
    """Have a sentence said."""
    choice = dataclasses.replace(choice, stt=(), llm=(), tts=(name,))
    providers.require(choice)
    models = await anyio.to_thread.run_sync(providers.load, choice, abandon_on_cancel=True)
    with models, _explained(f"PARLEY_TTS={name}"):
        mouth = models.tts[0]()
        began = time.perf_counter()
        try:
            async with mouth.synthesize(SENTENCE, conn_options=_once(choice)) as speech:
                async for _ in speech:
                    return f"{mouth.model} spoke after {_ms(began)} ms"
        finally:
            await mouth.aclose()
    raise Problem(f"{mouth.model} said nothing")


def _once(choice: providers.Choice) -> APIConnectOptions:
    return APIConnectOptions(max_retry=_NO_RETRIES, timeout=choice.timeout)


async def reservations(url: str) -> str:
    """Ask the example's service how it is."""
    async with desk.Reservations.connect(url) as service:
        try:
            await service.check()
        except desk.ReservationsError:
            raise Problem(
                f"{url} doesn't answer: start it with `parley reservations`, or set "
                "PARLEY_RESERVATIONS_URL"
            ) from None
    return url


async def sentry(dsn: str) -> str:
    """Send an envelope with an empty client report: it is authenticated, and leaves nothing.

    https://develop.sentry.dev/sdk/data-model/envelopes/ and …/telemetry/client-reports/
    """
    parts = urlsplit(dsn)
    path, _, project = parts.path.rpartition("/")
    host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    report: dict[str, object] = {"timestamp": time.time(), "discarded_events": []}
    envelope: tuple[dict[str, object], ...] = ({}, {"type": "client_report"}, report)
    try:
        with proxies.of_environment(dsn) as trusted:
            bundle = certificates.bundle(dsn, os.environ)
            client = httpx.AsyncClient(
                verify=_trusting(bundle), trust_env=trusted, timeout=SENTRY_TIMEOUT_SECONDS
            )
        async with client as http:
            answer = await http.post(
                f"{parts.scheme}://{host}{path}/api/{project}/envelope/",
                content="\n".join(json.dumps(part) for part in envelope),
                headers={
                    "Content-Type": "application/x-sentry-envelope",
                    "X-Sentry-Auth": f"Sentry sentry_version=7, sentry_client=parley-check/1, "
                    f"sentry_key={parts.username}",
                },
            )
    except httpx.TimeoutException:
        raise Problem(
            f"{host} doesn't answer within {SENTRY_TIMEOUT_SECONDS:g} s, and has no more time in "
            "a call: check the network and the proxy on the way to it"
        ) from None
    except httpx.HTTPError as error:
        why = _reason(error)
        mend = "name its certificates with SSL_CERT_FILE" if "SSL" in why else "check SENTRY_DSN"
        raise Problem(f"{host} can't be reached ({why}): {mend}") from None
    if (refusal := _refusal(answer, project)) is not None:
        raise Problem(f"{host} {refusal}")
    return f"{host} takes envelopes of project {project}"


def _refusal(answer: httpx.Response, project: str) -> str | None:
    """What Sentry says against an envelope, and the way to mend it; None if it takes it."""
    said = printable(answer.headers.get("X-Sentry-Error", ""), 200)
    status = f"HTTP {answer.status_code}{said and ': '}{said}"
    again = "copy SENTRY_DSN again from the project's settings, Client Keys"
    limits = printable(answer.headers.get("X-Sentry-Rate-Limits", ""), 200)
    match answer.status_code:
        case 400 | 401 | 403:
            return f"refuses the key of project {project} ({status}): {again}"
        case 404:
            return f"knows no project {project} ({status}): see that it is there, and {again}"
        case 429:
            return (
                f"takes no more of project {project} for now ({status}): raise its quota, or send "
                "less with PARLEY_SAMPLE_RATE"
            )
        case _ if not answer.is_success:
            return f"answers {status}: look at its status page, or the proxy's before it"
        case _ if limits:
            return (
                f"takes project {project}'s key and holds some of it back ({limits}): raise its "
                "quota, or send less with PARLEY_SAMPLE_RATE"
            )
    return None


async def collector(endpoint: Collector) -> str:
    """Send an empty request: it leaves nothing."""
    try:
        host = await anyio.to_thread.run_sync(endpoint.reach, abandon_on_cancel=True)
    except TelemetryError as error:
        raise Problem(f"{error}: check PARLEY_OTLP_ENDPOINT and PARLEY_OTLP_HEADERS") from None
    return f"{host} takes spans"


def _trusting(bundle: str | None) -> ssl.SSLContext:
    if bundle is None:
        return httpx.create_ssl_context(trust_env=False)
    return ssl.create_default_context(cafile=bundle)


async def trace_store(path: Path) -> str:
    """See that the store can be written, without writing; and what waits in it."""
    await anyio.to_thread.run_sync(_try_store, path)
    left = await anyio.to_thread.run_sync(_left_in, path)
    return "; ".join([str(path), *left])


def _left_in(path: Path) -> list[str]:
    """What waits in a store for Sentry, and what killed processes left open in it."""
    try:
        left = TraceStore(path).left()
    except TelemetryError as error:
        raise Problem(f"PARLEY_TRACE_STORE: {error}") from None
    said = []
    if left.unsent:
        since = datetime.datetime.fromtimestamp(left.since or 0.0).astimezone()
        said.append(f"waiting for Sentry since {since:%Y-%m-%d %H:%M:%S}: {left.unsent}")
    if left.conversations:
        said.append(
            f"left by processes that are gone: {left.conversations}, see `parley traces recover`"
        )
    return said


def _try_store(path: Path) -> None:
    mend = "choose another file with PARLEY_TRACE_STORE, or `off`"
    if not path.is_file():
        try:
            TraceStore(path)
        except TelemetryError as error:
            raise Problem(f"PARLEY_TRACE_STORE: {error}") from None
        folder = path.absolute().parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise Problem(f"{path} can't be made, {folder} is no folder that is writable: {mend}")
        return
    try:
        store = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=2)
        try:
            store.execute("BEGIN IMMEDIATE")
            store.rollback()
        finally:
            store.close()
    except sqlite3.Error as error:
        raise Problem(f"{path} can't be written ({error}): {mend}") from None


async def gateway_port(host: str, port: int) -> str:
    """See that the gateway could listen there."""
    where = f"{host}:{port}"
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        mend = "end what listens there, or set" if taken else "set"
        raise Problem(
            f"{where}: {(error.strerror or str(error)).lower()}; {mend} PARLEY_GATEWAY_HOST or "
            "PARLEY_GATEWAY_PORT"
        ) from None
    return f"{where} is free"


async def livekit(url: str, key: str, secret: str) -> str:
    """Have the server list its rooms."""
    certificates.require(url, os.environ)
    try:
        async with api.LiveKitAPI(url, key, secret) as server:
            rooms = await server.room.list_rooms(api.ListRoomsRequest())
    except api.TwirpError as error:
        raise Problem(
            f"{url} refuses ({error.code}): check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Problem(f"{url} can't be reached ({_reason(error)}): check LIVEKIT_URL") from None
    return f"{url} has {len(rooms.rooms)} rooms"


@contextmanager
def _explained(setting: str) -> Iterator[None]:
    """Turn an error of a provider into one line of text with the way to mend it."""
    try:
        yield
    except APIStatusError as error:
        match error.status_code:
            case 401 | 403:
                mend = "check the key"
            case 404:
                mend = "check the model's name and the URL"
            case 429:
                mend = "wait, or raise the account's limit"
            case _:
                mend = "look at the provider's status page"
        raise Problem(
            f"{setting}: {_in_one_line(error.message)} (HTTP {error.status_code}): {mend}"
        ) from None
    except APIError as error:
        raise Problem(
            f"{setting}: {_in_one_line(error.message)}: check its URL, the network, and "
            "PARLEY_PROVIDER_TIMEOUT"
        ) from None


def reason(error: BaseException) -> str:
    """The message of any other error, in one line of text."""
    return str(error) if isinstance(error, InputError) else _reason(error)


def _reason(error: BaseException) -> str:
    return _in_one_line(str(error)) or type(error).__name__


def _in_one_line(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")


def _ms(began: float) -> int:
    return round(1000 * (time.perf_counter() - began))
