"""Settings that name providers, and options and prices for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from .strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Collection

_REMOTE: Final = re.compile(r"openai|plugin:[a-z]\w*|[\w.-]+(/[\w.-]+)+(:[\w.-]+)?")
_HERE: Final = {"stt": "local", "llm": "scripted", "tts": "local"}
"""The providers on this machine, by kind."""
_PER: Final = ("minute", "1000_characters")
"""The measures that speech is charged by."""


def providers_in(value: object, kind: str) -> object:
    """The providers of a kind in a text, the first choice first; what is no text as it is.

    Raises:
        ValueError: one of them is none, or is there twice; or there is none.
    """
    if not isinstance(value, str):
        return value
    here = _HERE[kind]
    names = tuple(name for part in value.split(",") if (name := part.strip()))
    for name in names:
        if name != here and not _REMOTE.fullmatch(name):
            raise ValueError(f"{name!r} should be {here}, openai, PROVIDER/MODEL or plugin:NAME")
        if names.count(name) > 1:
            raise ValueError(f"{name!r} should be there once")
    if not names:
        raise ValueError("should name a provider")
    return names


def options_in(value: object, names: Collection[str] | None, variable: str) -> object:
    """Options by provider; ``names`` are those that ``variable`` has, where it could be read.

    Raises:
        ValueError: they are none, or of a provider that isn't named.
    """
    if not isinstance(value, str):
        return value
    options = read_json(value)
    if not isinstance(options, dict) or not all(isinstance(o, dict) for o in options.values()):
        raise ValueError('should be like {"NAME": {"OPTION": "VALUE"}}')
    for name in options:
        if names is not None and name not in names:
            raise ValueError(f"has options of {name!r}, which is not in {variable}")
    return options


def prices_in(value: object) -> object:
    """Prices of speech by model, each in dollars for a minute or for 1,000 characters.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(value, str):
        return value
    prices = read_json(value)
    if not isinstance(prices, dict) or not all(map(_is_price, prices.values())):
        raise ValueError(
            'should be like {"MODEL": {"minute": 0.01}, "VOICE": {"1000_characters": 0.02}}'
        )
    return prices


Prices = Annotated[dict[str, dict[str, float]], NoDecode, BeforeValidator(prices_in)]
"""The type of the setting."""
PRICES: Any = Field(
    {},
    validation_alias="PARLEY_SPEECH_PRICES",
    description="Prices of models of speech in US dollars, as JSON, for what conversations "
    'cost: {"nova-3": {"minute": 0.0077}, "sonic-3": {"1000_characters": 0.03}}. Those of '
    "language models are known.",
)


def _is_price(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    [(per, price)] = value.items()
    return per in _PER and type(price) in (int, float) and price >= 0
