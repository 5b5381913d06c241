"""Conversations at a collector of OpenTelemetry's as well: the tree that Sentry gets.

::

    from telemetry.integrations import otlp

    telemetry.init(dsn=…, otlp=otlp.Collector("http://127.0.0.1:4318/v1/traces"))

Needs ``opentelemetry-sdk`` and ``opentelemetry-exporter-otlp-proto-http``.

=============  ====================================================================
``collector``  sends them, by the SDK's own exporter
``readable``   the spans of an envelope as the SDK's
=============  ====================================================================
"""

from __future__ import annotations

from .collector import Collector

__all__ = ["Collector"]
