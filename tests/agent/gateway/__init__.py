"""Tests of the WebSocket transport."""
