"""Prices of models, by what is known of them."""

from __future__ import annotations

import pytest

from telemetry import attributes as names
from telemetry.integrations.livekit import Prices

MILLION = 1_000_000
IN, OUT = names.GEN_AI_USAGE_INPUT_TOKENS, names.GEN_AI_USAGE_OUTPUT_TOKENS


def test_tokens_of_a_known_model_have_their_price() -> None:
    """Those read from the cache have another, and are among the input tokens."""
    prices = Prices()
    whole = prices.of_tokens("gpt-4.1-mini", "openai", {IN: MILLION, OUT: MILLION})
    assert whole == pytest.approx(0.4 + 1.6)
    cached = prices.of_tokens(
        "gpt-4.1-mini", "openai", {IN: MILLION, names.GEN_AI_USAGE_CACHE_READ: MILLION}
    )
    assert cached == pytest.approx(0.1)


def test_audio_is_not_priced_as_text() -> None:
    """A realtime model's input is mostly sound."""
    prices = Prices()
    text = {IN: MILLION, OUT: MILLION}
    sound = {
        "gen_ai.usage.audio.input_tokens": MILLION,
        "gen_ai.usage.audio.output_tokens": MILLION,
    }
    assert prices.of_tokens("gpt-realtime", "openai", text) == pytest.approx(4 + 16)
    assert prices.of_tokens("gpt-realtime", "openai", text | sound) == pytest.approx(32 + 64)


def test_providers_go_by_the_conventions_names() -> None:
    """Which aren't always the table's."""
    assert Prices().of_tokens("grok-3", "x_ai", {IN: MILLION}) is not None
    assert Prices().of_tokens("gemini-2.5-flash", "gcp.gen_ai", {IN: MILLION}) is not None


def test_a_gateways_model_is_its_providers() -> None:
    """LiveKit Inference names models by their provider."""
    prices = Prices()
    direct = prices.of_tokens("gpt-4.1-mini", "openai", {IN: 1_000})
    assert prices.of_tokens("openai/gpt-4.1-mini", "livekit", {IN: 1_000}) == direct is not None


@pytest.mark.parametrize(
    ("model", "provider"), [("mind-1", "openai"), ("gpt-4.1", "my.server:8000"), ("mind-1", None)]
)
def test_an_unknown_model_has_no_price(model: str, provider: str | None) -> None:
    """Nor one of a known name at a provider that nobody knows: None, not 0."""
    assert Prices().of_tokens(model, provider, {IN: 1_000}) is None


def test_speech_is_charged_by_the_minute_or_by_characters() -> None:
    """By a table; what isn't in it has no price."""
    prices = Prices(speech={"ear-1": {"minute": 0.6}, "tone-1": {"1000_characters": 0.03}})
    assert prices.of_speech("ear-1", seconds=30) == pytest.approx(0.3)
    assert prices.of_speech("tone-1", characters=500) == pytest.approx(0.015)
    assert prices.of_speech("tone-1", seconds=30) is None
    assert prices.of_speech("other-1", seconds=30) is None
    assert (prices.knows_speech("ear-1"), prices.knows_speech("other-1")) == (True, False)
