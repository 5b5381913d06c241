"""Tests of agent.desk."""
