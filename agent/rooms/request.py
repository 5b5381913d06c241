"""The caller's request: read from the job before the room is connected to, from the caller then.

A job's metadata (explicit dispatch), else its room's, may be a JSON object with the fields of the
gateway's ``start``: ``id``, ``user``, ``tags``, ``headers``. Other applications put what they like
there, so anything that isn't ours is ignored. Without either, the caller's own attributes speak:
``sentry-trace`` (or ``traceparent``) and ``baggage`` continue its trace, ``parley.conversation`` is
the id, the rest are tags.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

import anyio
from livekit import api
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from pydantic import ValidationError

from agent.gateway import Start
from agent.session import SessionRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from livekit.agents import JobContext

log = logging.getLogger(__name__)

CONVERSATION: Final = "parley.conversation"
"""Attribute of a participant: the conversation's id, as the caller asks for it and as the agent
tells it."""
TRACE: Final = "parley.trace"
"""Attribute of the agent's participant: the id of the conversation's trace."""

ASK_TIMEOUT_SECONDS: Final = 2.0
"""Time to ask the server something about a room."""
_CALLERS: Final = frozenset(map(int, DEFAULT_PARTICIPANT_KINDS))
"""Kinds of participants that are people: the others are agents, recorders and the like."""
_FIELDS: Final = frozenset({"id", "user", "tags", "headers"})
_TRACE_HEADERS: Final = ("sentry-trace", "traceparent", "baggage")
_NOT_TAGS: Final = ("lk.", "sip.", "parley.")
"""Prefixes of attributes that are LiveKit's or ours; a SIP caller's are its telephone number."""
_MAX_TAGS: Final = 32


async def who_calls(job: JobContext) -> SessionRequest:
    """The caller's request: the job's metadata, else the room's, else who is there already."""
    for text in (job.job.metadata, job.job.room.metadata):
        if (found := from_metadata(text)) is not None:
            return found
    try:
        with anyio.fail_after(ASK_TIMEOUT_SECONDS):
            asked = api.ListParticipantsRequest(room=job.job.room.name)
            present = (await job.api.room.list_participants(asked)).participants
    except Exception as error:  # noqa: BLE001 - the caller can be asked once we are connected
        log.info("rooms: %s: could not ask who is there: %s", job.job.room.name, error)
        return SessionRequest()
    for each in present:
        if each.kind in _CALLERS:
            return from_participant(each.identity, each.name, dict(each.attributes))
    return SessionRequest()


def from_metadata(text: str) -> SessionRequest | None:
    """Read a job's or a room's metadata; None if it says nothing to us."""
    try:
        found: Any = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    given = {name: value for name, value in found.items() if name in _FIELDS}
    headers = {name: found[name] for name in _TRACE_HEADERS if name in found}
    if headers:
        given.setdefault("headers", headers)
    if not given:
        return None
    try:
        return _request(Start.model_validate({"sample_rate": 48000, **given}))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        log.warning("rooms: metadata is ignored: %s: %s", where, first["msg"])
        return None


def from_participant(identity: str, name: str, attributes: Mapping[str, str]) -> SessionRequest:
    """Read a caller's identity, name and attributes. Anything that breaks a limit is left out."""
    tags = {
        key: value
        for key, value in attributes.items()
        if key not in _TRACE_HEADERS and not key.startswith(_NOT_TAGS)
    }
    parts: dict[str, Any] = {
        "id": attributes.get(CONVERSATION),
        "user": {"id": identity, **({"username": name} if name else {})},
        "tags": dict(list(tags.items())[:_MAX_TAGS]),
        "headers": {key: attributes[key] for key in _TRACE_HEADERS if key in attributes},
    }
    said: dict[str, Any] = {"sample_rate": 48000}
    for part, value in parts.items():
        try:
            Start.model_validate({**said, part: value})
        except ValidationError:
            log.warning("rooms: the %s of caller %r breaks a limit: left out", part, identity[:64])
        else:
            said[part] = value
    return _request(Start.model_validate(said))


def _request(start: Start) -> SessionRequest:
    return SessionRequest(id=start.id, user=start.user, tags=start.tags, headers=start.headers)
