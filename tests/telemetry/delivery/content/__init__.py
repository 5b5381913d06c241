"""The rule for what may be sent."""
