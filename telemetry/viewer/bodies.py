"""Bodies of requests as they were before they were compressed, and no more of them than may be."""

from __future__ import annotations

import zlib
from typing import Final

from .envelopes import RefusedError

try:
    import brotli
except ModuleNotFoundError:  # the layer is lifted without it
    brotli = None

MOST_BYTES: Final = 10_000_000
"""Of a body as it is sent."""
MOST_BYTES_INSIDE: Final = 20_000_000
"""Of a body as it is, decompressed."""
_WINDOW: Final = {"gzip": 31, "deflate": 47, "identity": 0, "": 0}
"""By content encoding: what zlib calls ``wbits``; 0 is none."""


def decompressed(body: bytes, encoding: str) -> bytes:
    """The bytes of a body as they were, and no more of them than may be.

    Raises:
        RefusedError: they are more, are no such bytes, or it is an encoding that isn't known here.
    """
    encoding = encoding.strip().lower()
    if encoding == "br" and brotli is not None:
        return _unbrotlied(body)
    if encoding not in _WINDOW:
        raise RefusedError(
            f"encoded as {encoding[:20]}",
            f"Content-Encoding {encoding[:20]!r} isn't taken here: gzip, deflate or none is. For "
            'Sentry\'s Python SDK: _experiments={"transport_compression_algo": "gzip"}',
            415,
        )
    if _WINDOW[encoding] == 0:
        return body
    inflate = zlib.decompressobj(_WINDOW[encoding])
    try:
        found = inflate.decompress(body, MOST_BYTES_INSIDE)
    except zlib.error as error:
        raise RefusedError("malformed", f"the body is no {encoding}: {error}") from None
    if inflate.unconsumed_tail:
        raise RefusedError("too large", "the body is too large when it is decompressed", 413)
    if not inflate.eof:
        raise RefusedError("malformed", f"the body ends within its {encoding}")
    return found


def _unbrotlied(body: bytes) -> bytes:
    """The same of Brotli, which Sentry's Python SDK uses where it is installed."""
    reader = brotli.Decompressor()
    try:
        found: bytes = reader.process(body, output_buffer_limit=MOST_BYTES_INSIDE)
        is_whole = reader.is_finished()
        is_too_large = not is_whole and reader.process(b"", output_buffer_limit=1) != b""
    except brotli.error as error:
        raise RefusedError("malformed", f"the body is no br: {error}") from None
    if is_too_large or len(found) > MOST_BYTES_INSIDE:
        raise RefusedError("too large", "the body is too large when it is decompressed", 413)
    if not is_whole:
        raise RefusedError("malformed", "the body ends within its br")
    return found
