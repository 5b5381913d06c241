"""Settings that name a collector of OpenTelemetry's, and what its requests say."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

_URL: Final = re.compile(r"https?://[^\s/?#@]+/[^\s?#]+")
_HEADER: Final = re.compile(r"([!#$%&'*+.^`|~\w-]+)\s*=\s*([!-~]+(?: [!-~]+)*)", re.ASCII)


def endpoint_in(value: str) -> str:
    """The URL where a collector takes traces.

    Raises:
        ValueError: it is none, or may hold a secret, which belongs into a header.
    """
    if not _URL.fullmatch(value):
        raise ValueError(
            "should be the URL where traces are taken, without user, password and query: "
            "http://127.0.0.1:4318/v1/traces"
        )
    return value


def headers_in(value: object) -> object:
    """Names and values of headers in a text; anything but a text as it is.

    Written as in OpenTelemetry's own ``OTEL_EXPORTER_OTLP_HEADERS``: a comma in a value is ``%2C``.

    Raises:
        ValueError: one is no header. It doesn't say which: it may be a key.
    """
    if not isinstance(value, str):
        return value
    found = [_HEADER.fullmatch(part.strip()) for part in value.split(",") if part.strip()]
    read = tuple((header[1], unquote(header[2])) for header in found if header)
    if len(read) < len(found) or not all(_can_be_sent(value) for _, value in read):
        raise ValueError("should be a header like x-api-key=KEY")
    return read


def _can_be_sent(value: str) -> bool:
    return value.isascii() and value.isprintable()


Endpoint = Annotated[str, AfterValidator(endpoint_in)]
Headers = Annotated[tuple[tuple[str, str], ...], NoDecode, BeforeValidator(headers_in)]
"""The types of such settings."""

ENDPOINT: Any = Field(
    None,
    repr=False,
    validation_alias="PARLEY_OTLP_ENDPOINT",
    description="A collector of OpenTelemetry's (OTLP over HTTP) that gets the spans that Sentry "
    "gets, too, or alone. Needs the extra `otlp`.",
)
HEADERS: Any = Field(
    (),
    repr=False,
    validation_alias="PARLEY_OTLP_HEADERS",
    description="Headers of requests to that collector, separated by commas.",
)
