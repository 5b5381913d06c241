"""The simulator, held against an agent whose every move is known."""
