"""Integrations of telemetry with frameworks."""
