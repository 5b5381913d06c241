"""The operator's settings: one frozen value, read once and passed on as plain values.

Each setting is an environment variable, or an entry of ``.env`` in the working directory; the
environment wins. An empty value means "not set", and so hides what ``.env`` says.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .collecting import ENDPOINT, HEADERS, Endpoint, Headers
from .keeping import KEPT, RECORD, RECORDED, UNSENT, Kept
from .listening import (
    HEALTH_PORT,
    METRICS_HOST,
    METRICS_PORT,
    PROCESSES,
    TOKEN_PORT,
    VIEWER_TOKEN,
    WORKER_HOST,
)
from .name_lists import names_in
from .provider_names import PRICES, Prices, options_in, providers_in
from .turns import ENDPOINTING, MAX_DELAY, MIN_DELAY, SILENCE_TIMEOUT, TURN_DETECTION

_DSN = re.compile(r"https?://[^@/\s]+@[^/\s]+/(\S+/)?\d+")
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Settings(BaseSettings):
    """All of Parley's settings. Read them with :func:`config.load`."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        case_sensitive=True,
    )

    # -- telemetry -----------------------------------------------------------------------------

    sentry_dsn: SecretStr | None = Field(
        None,
        validation_alias="SENTRY_DSN",
        description="The project conversations are delivered to; without it they stay in the local "
        "store.",
    )
    sentry_environment: str | None = Field(
        None,
        validation_alias="SENTRY_ENVIRONMENT",
        description="The deployment, as Sentry names it: production, staging, …",
    )
    sentry_release: str | None = Field(
        None,
        validation_alias="SENTRY_RELEASE",
        description="The version that runs, as Sentry names it.",
    )
    sample_rate: float = Field(
        1.0,
        ge=0,
        le=1,
        validation_alias="PARLEY_SAMPLE_RATE",
        description="Share of conversations delivered to Sentry.",
    )
    keep: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="PARLEY_KEEP",
        description="Rules for conversations that are delivered in any case, separated by commas: "
        "errors, interrupted, slower:1.5 (an answer took longer, in seconds), longer:600, "
        "outcome:failed. With any, nothing of a conversation is delivered before its end.",
    )
    trace_lifecycle: Literal["transaction", "stream"] = Field(
        "transaction",
        validation_alias="PARLEY_TRACE_LIFECYCLE",
        description="Delivery to Sentry: conversations whole at their end, or span by span before.",
    )
    stream_gen_ai_spans: bool = Field(
        True,
        validation_alias="PARLEY_STREAM_GEN_AI_SPANS",
        description="Send the spans of agents, models and tools beside their transaction, as "
        "Sentry's Conversations page needs them. Turn it off for a self-hosted Sentry that "
        "doesn't take them, and for Spotlight.",
    )
    trace_store: Path | None = Field(
        Path("traces.db"),
        validation_alias="PARLEY_TRACE_STORE",
        description="The local trace store, an SQLite file; `off` or an empty value turns it off.",
    )
    trace_keep: Kept = KEPT
    trace_keep_unsent: Kept = UNSENT
    record: Literal["off", "failed", "all"] = RECORD
    record_keep: Kept = RECORDED
    send_content: bool = Field(
        False,
        validation_alias="PARLEY_SEND_CONTENT",
        description="Send the words people said to Sentry, too. The local store always has them.",
    )
    send_attributes: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="PARLEY_SEND_ATTRIBUTES",
        description="Attributes, tags and fields sent to Sentry besides those that can't hold "
        "words, separated by commas: app.party_size, app.*, user.email, context.order.number.",
    )
    send_errors: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="PARLEY_SEND_ERRORS",
        description="Types of exceptions whose messages are sent to Sentry as they are, separated "
        "by commas: NoTable, restaurant.errors.NoTable.",
    )
    strict_trace_continuation: bool = Field(
        True,
        validation_alias="PARLEY_STRICT_TRACE_CONTINUATION",
        description="Continue a caller's trace only if it is of the same Sentry organization as "
        "the DSN, or if neither names one.",
    )
    propagate_to: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "localhost"),
        validation_alias="PARLEY_PROPAGATE_TO",
        description="Hosts that get trace headers with a request, separated by commas.",
    )

    otlp_endpoint: Endpoint | None = ENDPOINT
    otlp_headers: Headers = HEADERS

    # -- the agent and its providers -----------------------------------------------------------

    agent: str = Field(
        "agent.desk:FrontDesk",
        validation_alias="PARLEY_AGENT",
        description="The agent that answers, as module:Class.",
    )
    scenarios: Path | None = Field(
        None,
        validation_alias="PARLEY_SCENARIOS",
        description="The scenarios that `parley simulate` runs if none is named: a folder of them, "
        "or one file. When not set, scenarios/ and scenario.yaml beside the agent.",
    )
    stt: Annotated[tuple[str, ...], NoDecode] = Field(
        ("local",),
        validation_alias="PARLEY_STT",
        description="Speech recognition: local, openai, PROVIDER/MODEL (LiveKit Inference) or "
        "plugin:NAME (livekit-plugins-NAME); after a comma another one, for when it fails.",
    )
    llm: Annotated[tuple[str, ...], NoDecode] = Field(
        ("scripted",),
        validation_alias="PARLEY_LLM",
        description="Language model, named as PARLEY_STT is; scripted is the agent's own script.",
    )
    tts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("local",),
        validation_alias="PARLEY_TTS",
        description="Speech synthesis, named as PARLEY_STT is; PROVIDER/MODEL:VOICE has a voice.",
    )
    stt_options: Annotated[dict[str, dict[str, Any]], NoDecode] = Field(
        default_factory=dict,
        repr=False,
        validation_alias="PARLEY_STT_OPTIONS",
        description="Arguments of the plugins of PARLEY_STT: "
        '{"plugin:deepgram": {"language": "en"}}.',
    )
    llm_options: Annotated[dict[str, dict[str, Any]], NoDecode] = Field(
        default_factory=dict,
        repr=False,
        validation_alias="PARLEY_LLM_OPTIONS",
        description='Arguments of the plugins of PARLEY_LLM: {"openai": {"temperature": 0.2}}.',
    )
    tts_options: Annotated[dict[str, dict[str, Any]], NoDecode] = Field(
        default_factory=dict,
        repr=False,
        validation_alias="PARLEY_TTS_OPTIONS",
        description='Arguments of the plugins of PARLEY_TTS: {"openai": {"voice": "ash"}}.',
    )
    provider_timeout: float = Field(
        5.0,
        gt=0,
        allow_inf_nan=False,
        validation_alias="PARLEY_PROVIDER_TIMEOUT",
        description="Seconds a provider has to connect, and to go on answering, before it is "
        "asked again or the next one is.",
    )
    llm_model: str | None = Field(
        None,
        validation_alias="PARLEY_LLM_MODEL",
        description="The model asked for; needed with PARLEY_LLM=openai.",
    )
    openai_base_url: str | None = Field(
        None,
        validation_alias="OPENAI_BASE_URL",
        description="The OpenAI-compatible server of the provider openai; OpenAI's own when not "
        "set.",
    )
    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias="OPENAI_API_KEY",
        description="The server's key; needed with the provider openai.",
    )
    speech_prices: Prices = PRICES
    inference_threads: int = Field(
        2,
        ge=1,
        le=64,
        validation_alias="PARLEY_INFERENCE_THREADS",
        description="Threads that local recognition and synthesis share; about 100 MB each.",
    )

    # -- the gateway ---------------------------------------------------------------------------

    gateway_host: str = Field(
        "127.0.0.1",
        validation_alias="PARLEY_GATEWAY_HOST",
        description="Address the gateway listens on.",
    )
    gateway_port: int = Field(
        8765,
        ge=0,
        le=65535,
        validation_alias="PARLEY_GATEWAY_PORT",
        description="Port the gateway listens on; 0 takes any free one.",
    )
    gateway_token: SecretStr | None = Field(
        None,
        validation_alias="PARLEY_GATEWAY_TOKEN",
        description="The bearer token that callers must present; no check when not set.",
    )
    processes: int = PROCESSES

    # -- calls ---------------------------------------------------------------------------------

    max_sessions: int = Field(
        20,
        ge=1,
        validation_alias="PARLEY_MAX_SESSIONS",
        description="Conversations at once; more are turned away.",
    )
    idle_timeout: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        validation_alias="PARLEY_IDLE_TIMEOUT",
        description="Seconds without anything from the caller until the conversation ends.",
    )
    max_duration: float = Field(
        1800.0,
        gt=0,
        allow_inf_nan=False,
        validation_alias="PARLEY_MAX_DURATION",
        description="Seconds a conversation may last.",
    )
    silence_timeout: float = SILENCE_TIMEOUT
    turn_detection: Literal["words", "model", "vad"] = TURN_DETECTION
    endpointing: Literal["fixed", "dynamic"] = ENDPOINTING
    endpointing_min_delay: float | None = MIN_DELAY
    endpointing_max_delay: float | None = MAX_DELAY

    # -- LiveKit -------------------------------------------------------------------------------

    livekit_url: str | None = Field(
        None,
        validation_alias="LIVEKIT_URL",
        description="The LiveKit server that `parley start` takes calls from: ws://… or wss://….",
    )
    livekit_api_key: str | None = Field(
        None, validation_alias="LIVEKIT_API_KEY", description="Key of the LiveKit server."
    )
    livekit_api_secret: SecretStr | None = Field(
        None, validation_alias="LIVEKIT_API_SECRET", description="The key's secret."
    )
    agent_name: str = Field(
        "",
        validation_alias="PARLEY_AGENT_NAME",
        description="Take only calls that ask for this agent; every new room when not set.",
    )
    job_executor: Literal["thread", "process"] = Field(
        "thread",
        validation_alias="PARLEY_JOB_EXECUTOR",
        description="The place of a call: a thread, sharing the models, or a process with its own.",
    )
    drain_timeout: float = Field(
        25.0,
        gt=0,
        allow_inf_nan=False,
        validation_alias="PARLEY_DRAIN_TIMEOUT",
        description="Seconds from SIGTERM until the last call has ended, goodbyes included.",
    )
    worker_host: str = WORKER_HOST
    health_port: int = HEALTH_PORT
    token_port: int | None = TOKEN_PORT

    # -- the example's reservations service ----------------------------------------------------

    reservations_url: str = Field(
        "http://127.0.0.1:8780",
        validation_alias="PARLEY_RESERVATIONS_URL",
        description="The reservations service the front desk asks.",
    )
    reservations_db: Path = Field(
        Path("reservations.db"),
        validation_alias="PARLEY_RESERVATIONS_DB",
        description="The reservations service's own SQLite file.",
    )

    # -- the process ---------------------------------------------------------------------------

    metrics_port: int | None = METRICS_PORT
    metrics_host: str = METRICS_HOST
    viewer_token: SecretStr | None = VIEWER_TOKEN
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", validation_alias="PARLEY_LOG_LEVEL", description="The least level logged to stderr."
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_set(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Drop empty values; the trace store's empty value means ``off``."""
        values = {k: v.strip() if isinstance(v, str) else v for k, v in values.items()}
        store = variable_of("trace_store")
        return {k: v for k, v in values.items() if v != "" or k == store}

    @field_validator("sentry_dsn", mode="after")
    @classmethod
    def _is_a_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _DSN.fullmatch(value.get_secret_value()):
            raise ValueError("should be a Sentry DSN: https://KEY@HOST/PROJECT")
        return value

    @field_validator("trace_store", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if isinstance(value, str) and value.lower() in {"", "off"} else value

    @field_validator("record", mode="after")
    @classmethod
    def _is_kept_somewhere(cls, value: str, info: ValidationInfo) -> str:
        if value != "off" and info.data.get("trace_store", True) is None:
            raise ValueError("needs a trace store, which is off: recordings are kept beside it")
        return value

    @field_validator("endpointing_max_delay", mode="after")
    @classmethod
    def _is_the_longer_one(cls, value: float | None, info: ValidationInfo) -> float | None:
        least = info.data.get("endpointing_min_delay")
        if value is not None and least is not None and value < least:
            raise ValueError(f"is shorter than PARLEY_ENDPOINTING_MIN_DELAY, {least:g}")
        return value

    @field_validator("propagate_to", "send_attributes", "send_errors", "keep", mode="before")
    @classmethod
    def _names(cls, value: object, info: ValidationInfo) -> object:
        return names_in(value, info.field_name or "")

    @field_validator("stt", "llm", "tts", mode="before")
    @classmethod
    def _providers(cls, value: object, info: ValidationInfo) -> object:
        return providers_in(value, info.field_name or "")

    @field_validator("stt_options", "llm_options", "tts_options", mode="before")
    @classmethod
    def _options(cls, value: object, info: ValidationInfo) -> object:
        kind = (info.field_name or "").removesuffix("_options")
        return options_in(value, info.data.get(kind), variable_of(kind))

    @field_validator("agent", mode="after")
    @classmethod
    def _names_a_class(cls, value: str) -> str:
        if not _CLASS.fullmatch(value):
            raise ValueError("should be module:Class, like agent.desk:FrontDesk")
        return value

    @field_validator("livekit_url", mode="after")
    @classmethod
    def _is_a_livekit_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(ws|http)s?://[^\s/]+\S*", value):
            raise ValueError("should be a LiveKit server's URL, ws://… or wss://…")
        return value

    @field_validator("openai_base_url", "reservations_url", mode="after")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/]+\S*", value):
            raise ValueError("should be a URL, http://… or https://…")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


def variable_of(field: str) -> str:
    """The environment variable of a field."""
    return str(Settings.model_fields[field].validation_alias)
