"""Settings of the ports at which others ask: health, metrics, tokens, the viewer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

WORKER_HOST: Any = Field(
    "0.0.0.0",  # noqa: S104 - an orchestrator asks from outside, and learns nothing secret
    validation_alias="PARLEY_WORKER_HOST",
    description="Address where the worker's health and metrics are served.",
)
HEALTH_PORT: Any = Field(
    8081,
    ge=0,
    le=65535,
    validation_alias="PARLEY_HEALTH_PORT",
    description="Port of the worker's health endpoint; 0 takes any free one.",
)
TOKEN_PORT: Any = Field(
    None,
    ge=0,
    le=65535,
    validation_alias="PARLEY_TOKEN_PORT",
    description="Port on loopback that gives out callers' tokens, for development; off when "
    "not set.",
)
PROCESSES: Any = Field(
    1,
    ge=1,
    le=64,
    validation_alias="PARLEY_PROCESSES",
    description="Processes that take calls on the gateway's port, one for each core that calls are "
    "to have; more than 1 needs Linux.",
)
METRICS_PORT: Any = Field(
    None,
    ge=0,
    le=65535,
    validation_alias="PARLEY_METRICS_PORT",
    description="Port of the Prometheus metrics, of the gateway or the worker; off when not set.",
)
METRICS_HOST: Any = Field(
    "127.0.0.1",
    validation_alias="PARLEY_METRICS_HOST",
    description="Address where the gateway's metrics are served; the worker's are at "
    "PARLEY_WORKER_HOST.",
)
VIEWER_TOKEN: Any = Field(
    None,
    validation_alias="PARLEY_VIEWER_TOKEN",
    description="The token that `parley viewer` asks for; made up and printed when it isn't on "
    "loopback.",
)
