"""Conversations at a collector of OpenTelemetry's."""
