"""Tests of the providers, with the real models."""
