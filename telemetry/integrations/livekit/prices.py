"""What a call's models cost, in US dollars: tokens by ``genai-prices``, speech by a table.

::

    prices = Prices(speech={"nova-3": {"minute": 0.0077}, "sonic-3": {"1000_characters": 0.03}})
    ...
    telemetry_livekit.trace(session, ctx, prices=prices)

``genai-prices`` (https://github.com/pydantic/genai-prices) knows the tokens of most models, those
of audio apart from text. A model that it doesn't know has no price, which isn't a price of 0.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from ... import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

_USAGE: Final = {
    names.GEN_AI_USAGE_INPUT_TOKENS: "input_tokens",
    names.GEN_AI_USAGE_OUTPUT_TOKENS: "output_tokens",
    names.GEN_AI_USAGE_CACHE_READ: "cache_read_tokens",
    names.GEN_AI_USAGE_CACHE_CREATION: "cache_write_tokens",
    "gen_ai.usage.audio.input_tokens": "input_audio_tokens",
    "gen_ai.usage.audio.output_tokens": "output_audio_tokens",
    "gen_ai.usage.audio.cache_read.input_tokens": "cache_audio_read_tokens",
    "gen_ai.usage.image.input_tokens": "input_image_tokens",
    "gen_ai.usage.image.cache_read.input_tokens": "cache_image_read_tokens",
}
"""The conventions' names of tokens, and those of ``genai-prices``."""
_PROVIDERS: Final = {
    "aws.bedrock": "aws",
    "gcp.gen_ai": "google",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}
"""Providers whose name in the conventions isn't one that ``genai-prices`` knows."""
_WARMED: Final = (
    ("gpt-4.1", "openai"),
    ("gpt-realtime", "openai"),
    ("claude-sonnet-4-5", "anthropic"),
    ("gemini-2.5-flash", "google"),
)
"""Models asked for at the start: what is done at the first time may take longer than a loop has."""
_GATEWAYS: Final = ("livekit",)
"""Providers that pass requests on: their models are named ``PROVIDER/MODEL``."""


class Prices:
    """Prices of models. Make one at the start of the process: it reads a large table.

    Args:
        speech: dollars for a minute, or for 1,000 characters, by the name of a recognition's or
            a synthesis's model.
    """

    def __init__(self, speech: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self._speech = {model: dict(price) for model, price in (speech or {}).items()}
        self._knows_tokens = importlib.util.find_spec("genai_prices") is not None
        for model, provider in _WARMED:
            self.of_tokens(model, provider, {names.GEN_AI_USAGE_INPUT_TOKENS: 1})

    def of_tokens(
        self, model: str, provider: str | None, usage: Mapping[str, float]
    ) -> float | None:
        """Dollars that these tokens cost, by their attributes' names; None if nobody knows."""
        if not self._knows_tokens:
            return None
        import genai_prices

        if provider in _GATEWAYS:
            provider, _, model = model.rpartition("/")
        provider = _PROVIDERS.get(provider or "", provider) or None
        tokens = {_USAGE[name]: int(usage[name]) for name in usage if name in _USAGE}
        try:
            found = genai_prices.calc_price(
                genai_prices.Usage(**tokens), model, provider_id=provider
            )
        except (LookupError, ValueError):
            return None
        return float(found.total_price)

    def knows_speech(self, model: str) -> bool:
        """True if a recognition's or a synthesis's model has a price."""
        return model in self._speech

    def of_speech(
        self, model: str, *, seconds: float | None = None, characters: float | None = None
    ) -> float | None:
        """Dollars that so much speech costs, by what its model is charged by; None otherwise."""
        price = self._speech.get(model, {})
        if seconds is not None and "minute" in price:
            return price["minute"] * seconds / 60
        if characters is not None and "1000_characters" in price:
            return price["1000_characters"] * characters / 1_000
        return None
