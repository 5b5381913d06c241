"""JSON without what its readers differ in: keys that are there twice, NaN, nesting without end."""

from __future__ import annotations

import json
import math
from typing import Any


def read_json(text: str) -> Any:
    """The value of some JSON. Raises ValueError where readers of it would differ."""
    try:
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite
        )
    except ValueError as error:
        raise ValueError(f"should be JSON: {error}") from None
    except RecursionError:
        raise ValueError("should be JSON that is nested less") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is there twice: leave one out")
        found[name] = value
    return found


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError("there is no NaN or Infinity in it")
    return value
