"""The agent's way to the reservations service: typed calls over one reused HTTP client."""

from __future__ import annotations

import functools
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent import certificates, proxies
from agent.desk.speech import spoken_choice, spoken_time
from agent.desk.wire import (
    Availability,
    Booking,
    Change,
    Problem,
    Reason,
    Reservation,
    Seating,
    Week,
)
from agent.metrics import Limit, reached

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

log = logging.getLogger(__name__)

_UNREACHABLE: Final = (
    "I'm sorry, I can't reach our reservations book at the moment. Please try again later."
)
_LIMITS: Final = httpx.Limits(
    max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.5
)
"""Idle connections are let go well before the service does so, which uvicorn does after 5 seconds,
and so does httpx by default: a request sent on one that is just being closed gets no answer."""
_M = TypeVar("_M", bound=BaseModel)
_RESERVATIONS: Final = TypeAdapter(list[Reservation])


@functools.cache
def _tls() -> ssl.SSLContext:
    """The TLS context, made once: that takes up to 0.16 s, and in a LiveKit worker each call has
    its own client."""
    return certificates.context(httpx.create_ssl_context)


class ReservationsError(Exception):
    """A request that could not be carried out; the message is a sentence the agent can speak.

    ``problem`` is the service's answer, or None if it could not be reached.
    """

    def __init__(self, sentence: str, problem: Problem | None = None) -> None:
        super().__init__(sentence)
        self.problem = problem


class Reservations:
    """The reservations service. Every method raises :class:`ReservationsError`, and only that.

    ``http`` has the service's URL as its base URL, and is shared by all conversations of a
    process: connections are reused, and headers are made for each request.
    """

    def __init__(self, http: httpx.AsyncClient, *, limit: float | None = None) -> None:
        self._http = http
        self._limit = limit
        """Seconds that a request may take, from first to last."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, *, patience: float = 4.0) -> AsyncIterator[Reservations]:
        """A client of the service at ``url``; a request fails when the service takes longer
        than ``patience`` seconds to be connected to, or to send the next part of its answer, or
        than twice that for all of it.

        Raises :class:`~agent.errors.InputError` when it can't be asked as the environment says.
        """
        with proxies.of_environment(url) as trusted:
            http = httpx.AsyncClient(
                base_url=url, timeout=patience, limits=_LIMITS, verify=_tls(), trust_env=trusted
            )
        async with http:
            yield cls(http, limit=2 * patience)

    async def check(self) -> None:
        """Find out whether the service can be reached."""
        await self._request("GET", "/health")

    async def hours(self) -> Week:
        """Opening hours by weekday."""
        return _parse(Week, await self._request("GET", "/hours"))

    async def availability(self, seating: Seating) -> Availability:
        """Ask for a table: free, or the nearest times."""
        query = seating.model_dump(mode="json")
        return _parse(Availability, await self._request("GET", "/availability", params=query))

    async def under(self, name: str) -> list[Reservation]:
        """The reservations under a name from today on, soonest first."""
        response = await self._request("GET", "/reservations", params={"name": name})
        try:
            return _RESERVATIONS.validate_json(response.content)
        except ValidationError as error:
            raise ReservationsError(_UNREACHABLE) from error

    async def book(self, booking: Booking, *, approved: bool = False) -> Reservation:
        """Book a table; ``approved`` by the manager, for a party of any size."""
        body = booking.model_dump(mode="json")
        query = {"approved": "true"} if approved else None
        answer = await self._request("POST", "/reservations", params=query, json=body)
        return _parse(Reservation, answer)

    async def change(self, id: str, change: Change) -> Reservation:
        """Change a reservation."""
        body = change.model_dump(mode="json", exclude_none=True)
        return _parse(Reservation, await self._request("PATCH", f"/reservations/{id}", json=body))

    async def cancel(self, id: str) -> None:
        """Cancel a reservation."""
        await self._request("DELETE", f"/reservations/{id}")

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: object = None,
    ) -> httpx.Response:
        try:
            with anyio.fail_after(self._limit):
                response = await self._http.request(method, path, params=params, json=json)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            if isinstance(error, httpx.TimeoutException | TimeoutError):
                reached(Limit.RESERVATIONS)
            log.warning("reservations: %s %s: %s: %s", method, path, type(error).__name__, error)
            raise ReservationsError(_UNREACHABLE) from error
        if response.is_success:
            return response
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError as error:
            raise ReservationsError(_UNREACHABLE) from error
        raise ReservationsError(_sentence(problem), problem)


def _parse(model: type[_M], response: httpx.Response) -> _M:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise ReservationsError(_UNREACHABLE) from error


def _sentence(problem: Problem) -> str:
    times = [spoken_time(time, daypart=False) for time in problem.alternatives]
    offer = f" I could offer you {spoken_choice(times)}." if times else ""
    match problem.reason:
        case Reason.CLOSED if times:
            return f"I'm sorry, the kitchen is closed at that time.{offer}"
        case Reason.CLOSED:
            return "I'm sorry, we are closed on that day."
        case Reason.FULLY_BOOKED:
            return f"I'm sorry, we are fully booked at that time.{offer}"
        case Reason.NOT_A_SLOT:
            return "We take bookings on the hour and on the half hour. Which would you like?"
        case Reason.PAST:
            return "I'm sorry, that time has already passed."
        case Reason.PARTY_TOO_LARGE:
            return "I'm sorry, that is a larger party than we can seat."
        case Reason.UNKNOWN_RESERVATION:
            return "I'm sorry, I can't find that reservation any more."
        case Reason.MAINTENANCE:
            return (
                "I'm sorry, our reservations book is being looked after at the moment. "
                "Please try again later."
            )
        case Reason.BUSY:
            return (
                "I'm sorry, our reservations book is very busy at the moment. "
                "Please try again in a minute."
            )
        case Reason.INVALID:
            return "I'm sorry, I did not get that right. Could you say it again?"
